"""The size that images have in their files, which is what networks for them are counted on unless told otherwise.

Only the headers of a sample of the files are read. A proxy may be trained on smaller images, to be cheap; what is
counted and trained in full is for the images as they are.
"""

from __future__ import annotations

import io
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from estimators.hub import hub_columns, hub_splits
from estimators.image_files import formats, pillow_settings
from estimators.image_folders import find_images
from estimators.in_files import LARGE

USUAL: Final = (32, 64, 96, 128, 160, 192, 224)
"""Sizes in pixels that networks are usually built for; each is halved five times without a rest."""
SAMPLED: Final = 200
"""Training images whose headers are read, evenly spaced among all."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FileSizes:
    """The sizes of image files.

    Attributes:
        shorter: median of the shorter sides, in pixels.
        files: number of files that were looked at.
    """

    shorter: int
    files: int

    @property
    def usual(self) -> int:
        """The largest usual size that the median is not below; the smallest one if it is below all.

        >>> FileSizes(203, 40).usual, FileSizes(3000, 40).usual, FileSizes(28, 40).usual
        (192, 224, 32)
        """
        return max((size for size in USUAL if size <= self.shorter), default=USUAL[0])

    def words(self) -> str:
        """What the size follows from, for a screen.

        >>> FileSizes(203, 40).words()
        'the shorter side of 40 image files has a median of 203 px'
        """
        return f"the shorter side of {self.files:,} image files has a median of {self.shorter:,} px"


def are_files(spec: str) -> bool:
    """Whether the images of a source are files: those of a folder or of the hub; arrays and `digits` are not."""
    return spec.startswith("hub:") or (spec != "digits" and Path(spec).expanduser().is_dir())


def stay_in_files(spec: str, image_size: int | None) -> bool:
    """Whether a training takes its crops from image files at full resolution: from a side of `LARGE` on."""
    return image_size is not None and image_size >= LARGE and are_files(spec)


def file_sizes(spec: str) -> FileSizes | None:
    """The sizes of the image files of a source; None for `digits` and arrays, whose images have one size.

    Args:
        spec: of images, as `load_data` takes it.

    Raises:
        UserError: the source is not understood.
    """
    if not are_files(spec):
        return None
    files = _in_hub(spec) if spec.startswith("hub:") else _in_folder(spec)
    with pillow_settings():
        sides = list(_shorter_sides(files))
    return FileSizes(int(statistics.median(sides)), len(sides)) if sides else None


def _in_folder(spec: str) -> list[str | io.BytesIO]:
    classes = find_images(spec, Path(spec).expanduser(), skip_empty=True).parts["train"].classes
    return [str(file) for file in _sample([file for files in classes.values() for file in files])]


def _in_hub(spec: str) -> list[str | io.BytesIO]:
    train = hub_splits(spec)["train"]
    import datasets  # which is there, and new enough

    column, _ = hub_columns(spec, train.features)
    rows = train.cast_column(column, datasets.Image(decode=False))
    files = [rows[index][column] for index in _sample(range(len(rows)))]
    there = [file for file in files if file is not None]
    return [file["path"] if file["bytes"] is None else io.BytesIO(file["bytes"]) for file in there]


def _shorter_sides(files: Sequence[str | io.BytesIO]) -> Iterator[int]:
    """In pixels, of each file; one that cannot be read is left to `load_data`, which refuses or skips it."""
    from PIL import Image

    for file in files:
        try:
            with Image.open(file, formats=formats()) as image:
                yield min(image.size)
        except Exception:  # damaged headers make Pillow's parsers raise anything
            continue


def _sample(all_of_them: Sequence[T]) -> list[T]:
    """At most `SAMPLED`, evenly spaced.

    >>> _sample("abc"), _sample(range(1000))[:3], len(_sample(range(1000)))
    (['a', 'b', 'c'], [0, 5, 10], 200)
    """
    count = len(all_of_them)
    taken = min(count, SAMPLED)
    return [all_of_them[place * count // taken] for place in range(taken)]
