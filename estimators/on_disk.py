"""Images that stay in a file: an array that is larger than memory should hold, read a few rows at a time.

It stands where an array of images stands, for what is done to those: their shape, and rows by index. Sent to another
process it opens the file there, which must therefore be one that both see, unless the images fit into memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from estimators.machine import memory_bytes

LIMIT: Final = "NAS_MEMORY_LIMIT"
"""The environment's number of bytes above which images stay on disk; by default half of this machine's memory."""
ROWS: Final = 256
"""Rows that are read at a time where all are wanted."""


def limit_bytes() -> int:
    """Bytes of decoded images that memory should hold."""
    given = os.environ.get(LIMIT, "")
    return int(given) if given.isdecimal() else memory_bytes() // 2


class OnDisk:
    """Rows of uint8 arrays (rows, side, side, channels) in `.npy` files, one after the other.

    Args:
        paths: of the files, whose images are of one size.
        rows: which rows of all, in which order; None for all.
        channels: of the files', the first so many.
    """

    dtype: Final = np.dtype(np.uint8)
    ndim: Final = 4

    def __init__(
        self, paths: Sequence[str], rows: NDArray[np.int64] | None = None, channels: int | None = None
    ) -> None:
        self._paths, self._channels = tuple(paths), channels
        self._arrays = [np.load(path, mmap_mode="r", allow_pickle=False)[..., :channels] for path in paths]
        self._starts = np.cumsum([0, *(len(each) for each in self._arrays)])
        self._rows = np.arange(self._starts[-1]) if rows is None else rows
        self.shape = (len(self._rows), *self._arrays[0].shape[1:])
        self.stored = self._arrays[0].dtype

    def __reduce__(self) -> tuple[Any, ...]:
        """To another process they go by their files, or as an array where memory holds them: it may have no files."""
        if len(self._rows) * int(np.prod(self.shape[1:])) <= limit_bytes():
            return np.asarray, (self[:],)
        return OnDisk, (self._paths, self._rows, self._channels)

    def __len__(self) -> int:
        return len(self._rows)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)

    def __getitem__(self, chosen: Any) -> NDArray[np.uint8]:
        """The rows at an index, a slice or an array of indices, in memory; further indices are of their pixels."""
        first, *more = chosen if isinstance(chosen, tuple) else (chosen,)
        rows = np.atleast_1d(self._rows[first])
        found = np.empty((len(rows), *self.shape[1:]), np.uint8)
        which = np.searchsorted(self._starts, rows, side="right") - 1
        for file in np.unique(which):
            here = which == file
            found[here] = self._arrays[file][rows[here] - self._starts[file]]
        one: NDArray[np.uint8] = found if np.ndim(self._rows[first]) else found[0]
        return one[(slice(None), *more)] if more else one

    def at(self, rows: NDArray[np.int64]) -> OnDisk:
        """Some of the rows, which stay where they are."""
        return OnDisk(self._paths, self._rows[rows], self._channels)

    def and_then(self, other: OnDisk) -> OnDisk:
        """These rows and then those of another one."""
        rows = np.concatenate([self._rows, other._rows + self._starts[-1]])
        return OnDisk((*self._paths, *other._paths), rows, self._channels)

    def grey(self) -> OnDisk:
        """The same in one channel."""
        return OnDisk(self._paths, self._rows, 1)

    def setflags(self, write: bool) -> None:
        """As of an array; the files are never written to."""
        assert not write


def joined(one: Any, other: Any) -> Any:
    """The rows of two arrays, or of two that lie elsewhere in the same way."""
    if type(one) is type(other) and not isinstance(one, np.ndarray):
        return one.and_then(other)
    return np.concatenate([one, other])


def chunks(images: Any) -> Iterator[NDArray[np.uint8]]:
    """All rows of an array, or of images elsewhere, some at a time."""
    for start in range(0, len(images), ROWS):
        yield images[start : start + ROWS]
