"""Class activation maps: which parts of an image the score of a class comes from.

A network that ends with global average pooling and one linear layer has the map of Zhou et al. 2016, arXiv:1512.04150,
sec. 2: the last feature maps f_k weighted by the class's weights w_k, M(x, y) = sum_k w_k f_k(x, y). Its mean over the
map is the class's logit less its bias. Every other network has Grad-CAM, Selvaraju et al. 2017, arXiv:1610.02391,
sec. 3: the weights are the means over the map of the logit's gradients, and negative sums are cut to 0. Where both are
defined Grad-CAM is the positive part of the first, divided by the number of its pixels.

The last feature maps are those after the last step of the network, taken apart into the steps of its chains, that have
more than one pixel. Left out: resizing the map to the image, which is a matter of showing it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from searchspaces import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from estimators.trained import Trained

BATCH: Final = 64
CAM: Final = "class activation map (arXiv:1512.04150)"
GRAD_CAM: Final = "Grad-CAM (arXiv:1610.02391)"


@dataclass(frozen=True, eq=False)
class ActivationMaps:
    """The maps of several images.

    Attributes:
        method: `CAM` or `GRAD_CAM`.
        maps: (N, height, width), in parts of the logit where they are class activation maps.
    """

    method: str
    maps: NDArray[np.float32]


def activation_maps(
    trained: Trained, images: NDArray[np.uint8], classes: Sequence[int], which: str = "best"
) -> ActivationMaps:
    """The map of one class for each image, on the CPU.

    Args:
        trained: the network.
        images: uint8 (N, side, side, channels), at the size of the network's task.
        classes: N positions of logits.
        which: its weights, `best` or `last`.

    Raises:
        UserError: the network has no feature maps of more than one pixel on these images.
    """
    import torch

    steps = list(_steps(trained.module(which)))
    with torch.no_grad():
        split = _last_map(steps, trained.scaled_images(images[:1]))
    before, after = steps[:split], steps[split:]
    linear = _pooled_linear(after)
    found = []
    for start in range(0, len(images), BATCH):
        wanted = torch.as_tensor(classes[start : start + BATCH])
        with torch.no_grad():
            features = _run(before, trained.scaled_images(images[start : start + BATCH]))
        found.append(grad_cam(after, features, wanted) if linear is None else cam(linear, features, wanted))
    maps: NDArray[np.float32] = torch.cat(found).numpy()
    return ActivationMaps(GRAD_CAM if linear is None else CAM, maps)


def cam(linear: nn.Linear, features: Tensor, classes: Tensor) -> Tensor:
    """Feature maps (N, channels, height, width) weighted by each image's class: (N, height, width)."""
    import torch

    return torch.einsum("nkhw,nk->nhw", features, linear.weight.detach()[classes])


def grad_cam(after: Sequence[nn.Module], features: Tensor, classes: Tensor) -> Tensor:
    """Feature maps (N, channels, height, width) weighted by the logit's mean gradients, cut to 0: (N, height, width).

    Args:
        after: the steps from the feature maps to the logits.
        features: of N images.
        classes: N positions of logits.
    """
    import torch

    features = features.detach().requires_grad_()
    logits = _run(after, features)  # (N, classes)
    (gradients,) = torch.autograd.grad(logits.gather(1, classes[:, None]).sum(), features)
    return torch.einsum("nkhw,nk->nhw", features.detach(), gradients.mean((2, 3))).clamp(min=0)


def _steps(module: nn.Module) -> Iterator[nn.Module]:
    """The steps of a network, its chains taken apart."""
    from torch import nn

    if isinstance(module, nn.Sequential):
        for each in module:
            yield from _steps(each)
    else:
        yield module


def _run(steps: Sequence[nn.Module], x: Tensor) -> Tensor:
    for step in steps:
        x = step(x)
    return x


def _last_map(steps: Sequence[nn.Module], image: Tensor) -> int:
    """The number of steps after which the last feature maps of more than one pixel are."""
    found, value = 0, image
    for index, step in enumerate(steps, start=1):
        value = step(value)
        if getattr(value, "ndim", 0) == 4 and value.shape[2] * value.shape[3] > 1:
            found = index
    if not found:
        raise UserError("the network has no feature maps larger than one pixel to show on the image")
    return found


def _pooled_linear(after: Sequence[nn.Module]) -> nn.Linear | None:
    """The linear layer, if the rest of a network is global average pooling and that layer alone."""
    from torch import nn

    doing = [each for each in after if not isinstance(each, nn.Flatten | nn.Dropout | nn.Identity)]
    if len(doing) != 2 or not isinstance(doing[0], nn.AdaptiveAvgPool2d) or not isinstance(doing[1], nn.Linear):
        return None
    return doing[1]
