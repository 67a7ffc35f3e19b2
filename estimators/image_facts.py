"""What is remembered of each image file, so that it is not decoded again to be compared, checked or normalized."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

FACTS: Final = np.dtype(
    [("key", "u1", 16), ("grey", "?"), ("low", "u1", 3), ("high", "u1", 3), ("sum", "i8", 3), ("squares", "i8", 3)]
)
"""Of one image: a hash of its file, whether the file is grey, and of the decoded pixels of each channel the lowest and
the highest value, their sum and the sum of their squares."""


def facts_of(pixels: NDArray[np.uint8], key: bytes, grey: bool) -> NDArray[Any]:
    """The facts (1,) of an image.

    Args:
        pixels: uint8 (height, width, 3).
        key: hash of the file, 16 bytes.
        grey: whether the file is grey.
    """
    from PIL import Image

    counts = np.array(Image.fromarray(pixels).histogram()).reshape(3, 256)  # a third of the time of NumPy's
    levels = np.arange(256)
    facts = np.zeros(1, FACTS)
    facts["key"], facts["grey"] = np.frombuffer(key, np.uint8), grey
    facts["low"], facts["high"] = (counts > 0).argmax(1), 255 - (counts[:, ::-1] > 0).argmax(1)
    facts["sum"], facts["squares"] = counts @ levels, counts @ levels**2
    return facts


def keys_of(facts: NDArray[Any]) -> tuple[bytes, ...]:
    """A hash of each file; empty for an image of a single colour, which says nothing about where it comes from."""
    blank = (facts["low"] == facts["high"]).all(1)
    return tuple(b"" if empty else key.tobytes() for key, empty in zip(facts["key"], blank, strict=True))


def statistics_of(facts: NDArray[Any], pixels: int, channels: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation (at least 1) of each channel over all images; exact.

    Args:
        facts: of the images that count.
        pixels: of each image.
        channels: 3, or 1 where all images are grey.
    """
    count = pixels * len(facts)
    total, squares = (facts[name].sum(0)[:channels] for name in ("sum", "squares"))
    mean = total / count
    return mean, np.sqrt(np.maximum(squares / count - mean**2, 1.0))
