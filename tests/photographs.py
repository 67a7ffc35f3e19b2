"""Folders of small photographs, such as people have, and files of every mode and orientation."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CLASSES = ("cat", "dog")
SIDE = 24


def pixels(seed: int, colour: int = 0, side: int = SIDE) -> np.ndarray[Any, Any]:
    """Noise in which one of the three channels is bright: uint8 (side, side, 3)."""
    made = np.random.default_rng(seed).integers(0, 60, (side, side, 3))
    made[..., colour % 3] += 150
    return made.astype(np.uint8)


def photograph(path: Path, seed: int, colour: int = 0, **saved: Any) -> Path:
    """One image file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(seed, colour)).save(path, **saved)
    return path


def photographs(at: Path, classes: Iterable[str] = CLASSES, each: int = 6, seed: int = 0) -> Path:
    """A folder with one subfolder for each class; no two images are the same unless the seed is."""
    for label, name in enumerate(classes):
        for number in range(each):
            photograph(at / name / f"{number}.png", 1000 * seed + 100 * label + number, label)
    return at


def in_mode(mode: str, rgb: np.ndarray[Any, Any]) -> Image.Image:
    """The same picture as an image of another mode; numbers of 16 and 32 bits and floats are scaled to their range."""
    grey = np.asarray(Image.fromarray(rgb).convert("L"))
    if mode == "I;16":
        return Image.fromarray(grey.astype(np.uint16) * 257)
    if mode == "I":
        return Image.fromarray(grey.astype(np.int32) * 257)
    if mode == "F":
        return Image.fromarray(grey.astype(np.float32) / 255)
    if mode == "P;clear":
        image = Image.fromarray(rgb).convert("P", palette=Image.Palette.ADAPTIVE, colors=8)
        image.info["transparency"] = 3  # one of the colours
        return image
    if mode in ("RGBA", "LA"):
        clear = Image.fromarray(np.where(grey > 100, 255, 0).astype(np.uint8))
        image = Image.fromarray(rgb).convert(mode)
        image.putalpha(clear)
        return image
    return Image.fromarray(rgb).convert(mode)


MODES = {
    "1": "png", "L": "png", "LA": "png", "P": "gif", "P;clear": "png", "RGB": "jpg", "RGBA": "webp", "CMYK": "jpg",
    "I;16": "png", "I": "tif", "F": "tif",
}  # fmt: skip
"""Eleven modes of Pillow, and a format that keeps each."""


def of_every_mode(at: Path, count: int, side: int = 40) -> list[Path]:
    """Files of eleven modes, each in nine orientations: none, and those of EXIF; up to twice as wide as high."""
    at.mkdir(parents=True, exist_ok=True)
    files = []
    for number in range(count):
        mode = list(MODES)[number % len(MODES)]
        orientation = number // len(MODES) % 9
        exif = Image.Exif()
        exif[0x0112] = orientation
        image = in_mode(mode, pixels(number, number, side)[: side - 3 * (number % 7)])  # oblong: a turn shows
        file = at / f"{number:04d}-{mode.replace(';', '-')}-{orientation}.{MODES[mode]}"
        options: dict[str, Any] = {"exif": exif} if orientation and MODES[mode] != "gif" else {}
        image.save(file, **options)
        files.append(file)
    return files
