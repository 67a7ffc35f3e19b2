"""Test-time augmentation: the mean of a network's probabilities over several views of an image.

`mirror` is the image and its mirror image. `ten-crop` is AlexNet's (Krizhevsky et al. 2012, NeurIPS, sec. 4.1): the
four corners and the middle at 224/256 of the side, and their mirror images. `scales` is the image at 7/8, 1 and 9/8 of
its side, each with its mirror image, as in VGG (Simonyan & Zisserman 2015, arXiv:1409.1556, sec. 4.2); the network must
take images of several sizes, as those with global pooling do. One departure: a crop is resized to the size that the
network was trained on, since the image is read at that size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from searchspaces import UserError, nearest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from estimators.trained import Trained

CROP: Final = 224 / 256
SCALES: Final = (7 / 8, 1.0, 9 / 8)
BATCH: Final = 256


def probabilities(
    trained: Trained, images: NDArray[np.uint8], views: str = "one", which: str = "best"
) -> NDArray[np.float32]:
    """The probabilities (N, classes) of images uint8 (N, side, side, channels), on the CPU.

    Args:
        trained: the network.
        images: read at the size of the network's task.
        views: a name in `VIEWS`.
        which: the weights, `best` or `last`.

    Raises:
        UserError: the views are unknown, the network cannot take images of their size, or its outputs are not finite.
    """
    import numpy as np
    import torch

    if views not in VIEWS:
        raise UserError(f"unknown views {views!r}{nearest(views, VIEWS)}")
    module, found = trained.module(which), []
    with torch.inference_mode():
        for start in range(0, len(images), BATCH):
            several = list(VIEWS[views](trained.scaled_images(images[start : start + BATCH])))
            try:
                total = sum(module(each).softmax(1) for each in several)
            except RuntimeError as error:
                if views == "scales":
                    first = str(error).splitlines()[0]
                    raise UserError(f"views scales: the network takes images of one size only ({first})") from error
                raise
            found.append(total / len(several))
    whole: NDArray[np.float32] = torch.cat(found).numpy()
    if not np.isfinite(whole).all():
        raise UserError(f"{trained.folder}: the outputs of the network are not finite; are its weights damaged?")
    return whole


def _one(images: Tensor) -> Iterator[Tensor]:
    yield images


def _mirror(images: Tensor) -> Iterator[Tensor]:
    yield images
    yield images.flip(3)


def _ten_crop(images: Tensor) -> Iterator[Tensor]:
    side = images.shape[2]
    part = round(CROP * side)
    far, middle = side - part, (side - part) // 2
    for top, left in ((0, 0), (0, far), (far, 0), (far, far), (middle, middle)):
        yield from _mirror(_sized(images[:, :, top : top + part, left : left + part], side))


def _scales(images: Tensor) -> Iterator[Tensor]:
    for scale in SCALES:
        yield from _mirror(_sized(images, round(scale * images.shape[2])))


def _sized(images: Tensor, side: int) -> Tensor:
    from torch.nn import functional

    if images.shape[2] == side:
        return images
    return functional.interpolate(images, (side, side), mode="bilinear", align_corners=False, antialias=True)


VIEWS: Final[dict[str, Callable[[Tensor], Iterator[Tensor]]]] = {
    "one": _one,
    "mirror": _mirror,
    "ten-crop": _ten_crop,
    "scales": _scales,
}
"""The views by name."""
