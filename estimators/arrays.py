"""Arrays of images and labels: their shapes and types checked, cropped square, and hashed to find copies."""

from __future__ import annotations

import hashlib
from collections.abc import Set
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estimators.image_facts import keys_of
from estimators.on_disk import chunks
from searchspaces import UserError


@dataclass(frozen=True, eq=False, slots=True)
class Labelled:
    """Images with their labels.

    Attributes:
        images: uint8 (images, height, width, channels), an array, `OnDisk` or `InFiles`.
        labels: int64 (images,).
        keys: a hash of each image, equal for copies only; empty for an image of a single colour, which says nothing
            about where it comes from.
        facts: (images,) of their files, if they come from files; see `estimators.image_facts`.
    """

    images: Any
    labels: NDArray[np.int64]
    keys: tuple[bytes, ...]
    facts: NDArray[Any] | None = None

    def __getitem__(self, chosen: NDArray[Any]) -> Labelled:
        """The images at these indices."""
        images = self.images[chosen] if isinstance(self.images, np.ndarray) else self.images.at(chosen)
        facts = None if self.facts is None else self.facts[chosen]
        return Labelled(images, self.labels[chosen], tuple(self.keys[index] for index in chosen), facts)

    def without(self, keys: Set[bytes]) -> Labelled:
        """The images that are no copies of others."""
        kept = [index for index, key in enumerate(self.keys) if not key or key not in keys]
        return self if len(kept) == len(self.keys) else self[np.array(kept, dtype=np.int64)]

    def copies(self) -> NDArray[np.int64] | None:
        """For each image the index of the first copy of it, which may be itself; None if no two images are copies."""
        first: dict[bytes, int] = {}
        found = [first.setdefault(key, index) if key else index for index, key in enumerate(self.keys)]
        copies = np.array(found, dtype=np.int64)
        return None if np.array_equal(copies, np.arange(len(copies))) else copies


def labelled(
    name: str, part: str, images: NDArray[Any], labels: NDArray[Any], facts: NDArray[Any] | None = None
) -> tuple[Labelled, list[str]]:
    """Check arrays; what was recognized and changed is in the notes.

    Args:
        name: of the data, for messages.
        part: `train`, `val` or `test`.
        images: uint8 (images, height, width[, channels]), or with the channels before height and width.
        labels: whole numbers (images,) or (images, 1).
        facts: of the files that the images come from.

    Raises:
        UserError: the arrays are not such; the message has their name and shape.
    """
    notes = []
    if images.dtype != np.uint8:
        raise UserError(f"data {name!r}: {part}_images must be uint8 (0 to 255), got {images.dtype}")
    if images.ndim not in (3, 4) or 0 in images.shape:
        raise UserError(f"data {name!r}: {part}_images must be (images, height, width[, channels]), got {images.shape}")
    if images.ndim == 3:
        images = images[..., None]
    elif _channels_first(images.shape):
        notes.append(f"{part}_images {images.shape} are read as (images, channels, height, width)")
        images = images.transpose(0, 2, 3, 1)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise UserError(
            f"data {name!r}: {part}_labels must be whole numbers (images,), got {labels.dtype} {labels.shape}"
        )
    if len(labels) != len(images):
        raise UserError(f"data {name!r}: {part}_labels holds {len(labels)} labels for {len(images)} images")
    if facts is not None:
        return Labelled(images, labels.astype(np.int64), keys_of(facts), facts), notes
    blank = np.concatenate([_blank(some) for some in chunks(images)])
    keys = (hashlib.blake2b(each.tobytes(), digest_size=16).digest() for each in images)
    known = tuple(b"" if empty else key for key, empty in zip(keys, blank, strict=True))
    return Labelled(images, labels.astype(np.int64), known), notes


def _blank(images: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which images are of a single colour."""
    blank: NDArray[np.bool_] = (images[:, ::8, ::8] == images[:, :1, :1]).all((1, 2, 3))  # tells most apart
    blank[blank] = (images[blank] == images[blank][:, :1, :1]).all((1, 2, 3))
    return blank


def _channels_first(shape: tuple[int, ...]) -> bool:
    """Whether (images, a, b, c) are (images, channels, height, width).

    >>> _channels_first((60, 3, 28, 28)), _channels_first((60, 28, 28, 3)), _channels_first((60, 13, 64, 64))
    (True, False, True)
    """
    _, first, second, last = shape
    if first in (1, 3) and last > 4:
        return second > 4
    return first < second == last


def squared(images: Any, side: int) -> Any:
    """Centre crop to a square, then resize (bilinear, antialiased) to (images, side, side, channels).

    Images that lie elsewhere stay there if they have that size, and else come into memory.
    """
    count, height, width, channels = images.shape
    short = min(height, width)
    if not isinstance(images, np.ndarray):
        if short == side:
            return images
        return np.concatenate([squared(some, side) for some in chunks(images)])
    top, left = (height - short) // 2, (width - short) // 2
    images = images[:, top : top + short, left : left + short]
    if short == side or count == 0:
        return np.ascontiguousarray(images if short == side else np.empty((0, side, side, channels), np.uint8))
    from PIL import Image

    resized = np.empty((count, side, side, channels), dtype=np.uint8)
    for index in range(count):
        for channel in range(channels):  # Pillow knows only some numbers of channels, but any single one
            plane = Image.fromarray(np.ascontiguousarray(images[index, :, :, channel]))
            resized[index, :, :, channel] = np.asarray(plane.resize((side, side), Image.Resampling.BILINEAR))
    return resized
