"""Images that stay in their files: decoded whenever they are wanted, so that a set of any size needs no memory.

It stands where an array of images stands. A training takes random resized crops of the whole image at its full
resolution (Szegedy et al. 2015, arXiv:1409.4842, sec. 6; He et al. 2016, arXiv:1512.03385, sec. 3.4), with the draws of
torchvision's `RandomResizedCrop`, which its reference trainings use; rows by index are the centre squares of
`estimators.image_files`. Processes of torch's `DataLoader` decode some batches ahead.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from estimators.contents import Contents
from estimators.image_facts import statistics_of
from estimators.image_files import decoded_bytes, in_rgb, pillow_settings, read_as_image, recoloured, upright_size
from estimators.machine import cores
from searchspaces import UserError

if TYPE_CHECKING:
    from torch import Tensor

LARGE: Final = 96
"""Pixels of a side from which crops are resized, and taken from files where there are files."""
RATIO: Final = 4 / 3
"""Of the sides of a crop, at most."""
DRAWS: Final = 10
"""Crops that are drawn until one lies inside of the image."""
AHEAD: Final = 2
"""Batches that each loader process decodes ahead."""
PROCESSES: Final = 16
ROWS: Final = 256
"""Rows that are read at a time where many are wanted."""


class InFiles:
    """Rows of uint8 images (rows, side, side, channels) that are decoded when they are read.

    Args:
        contents: the files, one after the other.
        side: height and width in pixels.
        channels: 3, or 1.
        max_pixels: pixels of the largest image that is decoded.
        facts: of all files; see `estimators.image_facts`.
        rows: which of the files, in which order; None for all.
        centre: share of the shorter side that a centre square has.
    """

    dtype: Final = np.dtype(np.uint8)
    ndim: Final = 4

    def __init__(
        self,
        contents: Sequence[Contents],
        side: int,
        channels: int,
        max_pixels: int,
        facts: NDArray[Any],
        rows: NDArray[np.int64] | None = None,
        centre: float = 1.0,
    ) -> None:
        self._contents, self._side, self._channels, self._max_pixels = tuple(contents), side, channels, max_pixels
        self._facts, self._centre = facts, centre
        self._starts = np.cumsum([0, *(len(each) for each in contents)])
        self._rows = np.arange(self._starts[-1]) if rows is None else rows
        self.shape = (len(self._rows), side, side, channels)

    def __len__(self) -> int:
        return len(self._rows)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)

    def __getitem__(self, chosen: Any) -> NDArray[np.uint8]:
        """The rows at an index, a slice or an array of indices, in memory.

        Raises:
            UserError: a file cannot be read any more.
        """
        rows = np.atleast_1d(self._rows[chosen])
        found = np.empty((len(rows), *self.shape[1:]), np.uint8)
        with pillow_settings(), ThreadPoolExecutor(min(8, cores())) as pool:
            for place, pixels in enumerate(pool.map(self._square, rows)):
                found[place] = pixels
        one: NDArray[np.uint8] = found if np.ndim(self._rows[chosen]) else found[0]
        return one

    def at(self, rows: NDArray[np.int64]) -> InFiles:
        """Some of the rows."""
        return self._with(self._rows[rows])

    def and_then(self, other: InFiles) -> InFiles:
        """These rows and then those of another one."""
        rows = np.concatenate([self._rows, other._rows + self._starts[-1]])
        facts = np.concatenate([self._facts, other._facts])
        both = (*self._contents, *other._contents)
        return InFiles(both, self._side, self._channels, self._max_pixels, facts, rows, self._centre)

    def in_channels(self, channels: int) -> InFiles:
        """The same in another number of channels."""
        return InFiles(self._contents, self._side, channels, self._max_pixels, self._facts, self._rows, self._centre)

    def setflags(self, write: bool) -> None:
        """As of an array; files are never written to."""
        assert not write

    def statistics(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation of each channel over the centre squares of some rows; see `statistics_of`."""
        return statistics_of(self._facts[self._rows[rows]], self._side**2, self._channels)

    def parts(self, rows: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
        """Rows some at a time, with their images; the next ones are decoded meanwhile."""
        parts = [rows[start : start + ROWS] for start in range(0, len(rows), ROWS)]
        with ThreadPoolExecutor(1) as pool:
            coming = [pool.submit(self.__getitem__, part) for part in parts[:1]]
            for part, following in zip(parts, [*parts[1:], None], strict=True):
                pixels = coming.pop().result()
                if following is not None:
                    coming.append(pool.submit(self.__getitem__, following))
                yield part, pixels

    def crop(self, row: int, smallest: float, seed: Sequence[int]) -> NDArray[np.uint8]:
        """A random resized crop (side, side, channels) of a row, at the file's resolution.

        Args:
            row: of the image.
            smallest: share of the image's area that the crop has at least; 0 gives the centre square.
            seed: of the draws. Call it in `pillow_settings`.

        Raises:
            UserError: the file cannot be read any more.
        """
        file = self._rows[row]
        if not smallest:
            return self._square(file)
        contents, number = self._place(file)
        content, name = contents.read(number), contents.named(number)
        rng = np.random.default_rng(seed)
        pixels = read_as_image(name, content, partial(_cropped, content, self._side, self._max_pixels, smallest, rng))
        return recoloured(pixels, self._channels)

    def _square(self, file: int) -> NDArray[np.uint8]:
        contents, number = self._place(file)
        pixels, _ = decoded_bytes(
            contents.read(number), contents.named(number), self._side, self._max_pixels, self._centre
        )
        return recoloured(pixels, self._channels)

    def _place(self, file: int) -> tuple[Contents, int]:
        which = int(np.searchsorted(self._starts, file, side="right")) - 1
        return self._contents[which], int(file - self._starts[which])

    def _with(self, rows: NDArray[np.int64]) -> InFiles:
        return InFiles(self._contents, self._side, self._channels, self._max_pixels, self._facts, rows, self._centre)


def _cropped(
    content: bytes, side: int, max_pixels: int, smallest: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """A random crop of an image file, resized (bilinear, antialiased) to uint8 (side, side, 3)."""
    from PIL import Image

    width, height = upright_size(io.BytesIO(content))
    left, top, wide, high = frame(width, height, smallest, rng)
    # of a JPEG so many pixels that the crop has twice the side, as `decoded` has, but no more than may be decoded: it
    # has up to twice the shorter side that is asked for
    short, long = sorted((width, height))
    most = max(2 * side, math.isqrt(max_pixels * short // long) // 2)
    whole, _ = in_rgb(io.BytesIO(content), min(math.ceil(2 * side * short / min(wide, high)), most), max_pixels)
    across, down = whole.width / width, whole.height / height
    box = (left * across, top * down, (left + wide) * across, (top + high) * down)
    return np.asarray(whole.resize((side, side), Image.Resampling.BILINEAR, box))


def frame(width: int, height: int, smallest: float, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Left, top, width and height of a random crop: torchvision's `RandomResizedCrop`, with its fallback.

    An area uniform in [smallest, 1] of the image and a ratio of sides log-uniform in 3/4 to 4/3, drawn anew up to ten
    times until it lies inside of the image; then the centre, at the nearest ratio that is allowed.
    """
    for _ in range(DRAWS):
        area, ratio = width * height * rng.uniform(smallest, 1), math.exp(rng.uniform(-1, 1) * math.log(RATIO))
        wide, high = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < wide <= width and 0 < high <= height:
            return int(rng.integers(0, width - wide + 1)), int(rng.integers(0, height - high + 1)), wide, high
    wide, high = min(width, round(height * RATIO)), min(height, round(width * RATIO))
    return (width - wide) // 2, (height - high) // 2, wide, high


class _Crops:
    """What loader processes do: a batch of crops, or the error that one of its files makes."""

    def __init__(self, images: InFiles, smallest: float) -> None:
        self._images, self._smallest = images, smallest

    def __getitem__(self, wanted: tuple[NDArray[np.int64], int, NDArray[np.int64]]) -> Tensor | UserError:
        import torch

        rows, seed, places = wanted
        try:
            crops = [
                self._images.crop(row, self._smallest, (seed, int(place)))
                for row, place in zip(rows, places, strict=True)
            ]
        except UserError as error:
            return error
        return torch.from_numpy(np.stack(crops))


def crops_ahead(
    images: InFiles,
    smallest: float,
    plan: Iterator[tuple[NDArray[np.int64], int, NDArray[np.int64]]],
    processes: int,
    pinned: bool,
) -> Iterator[Any]:
    """Batches of crops, decoded ahead by processes: uint8 (rows, side, side, channels), in the order of the plan.

    Args:
        images: to take crops of.
        smallest: share of the area that a crop has at least; 0 gives centre squares.
        plan: of each batch its rows, the seed of the epoch, and the places of the rows in the epoch.
        processes: that decode.
        pinned: whether batches lie in memory that a GPU copies from.
    """
    import torch
    from torch.utils.data import DataLoader

    loader: Any = DataLoader(
        _Crops(images, smallest),  # type: ignore[arg-type]  # which has no length, as the plan has none
        batch_size=None,
        sampler=plan,
        num_workers=processes,
        prefetch_factor=AHEAD,
        pin_memory=pinned,
        worker_init_fn=_begin_process,
        generator=torch.Generator(),  # else it draws from the global one
    )
    return iter(loader)


def _begin_process(number: int) -> None:
    """Leave Ctrl-C, SIGTERM and SIGHUP to the training, and end with it, killed or not; decode in silence."""
    import ctypes
    import signal
    import sys

    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if sys.platform == "linux":  # else a process notices after seconds, and holds the lock of the folder meanwhile
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _SETTINGS.append(pillow_settings())
    _SETTINGS[0].__enter__()


_PR_SET_PDEATHSIG: Final = 1
_SETTINGS: Final[list[Any]] = []
"""Of a loader process, for as long as it lives."""
