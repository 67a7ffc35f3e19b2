"""What a long call is doing, in words, for whoever watches it, such as a line on a terminal.

The watcher is in a context variable, so that signatures between a command and the loop that decodes its images need not
carry it. Nothing that is computed depends on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, TypeVar

T = TypeVar("T")

OFTEN_S: Final = 0.1
"""Seconds between two words on the same loop, at least."""

_WATCHER: Final[ContextVar[Callable[[str], None] | None]] = ContextVar("watcher", default=None)


@contextmanager
def watched(watcher: Callable[[str], None]) -> Iterator[None]:
    """Tell the watcher what is done within the block, in this thread."""
    token = _WATCHER.set(watcher)
    try:
        yield
    finally:
        _WATCHER.reset(token)


def doing(words: str) -> None:
    """Tell the watcher, if there is one, what is done from now on."""
    watcher = _WATCHER.get()
    if watcher is not None:
        watcher(words)


def counted(verb: str, things: Iterable[T], total: int, noun: str) -> Iterator[T]:
    """The things as they come, of which so many in all are told, as in `decoding 3,400 of 20,000 images`.

    >>> with watched(print):
    ...     list(counted("decoding", "abc", 2000, "images"))
    decoding 0 of 2,000 images
    ['a', 'b', 'c']
    """
    doing(f"{verb} 0 of {total:,} {noun}")
    told = time.monotonic()
    for number, each in enumerate(things, start=1):
        yield each
        if time.monotonic() - told > OFTEN_S:
            doing(f"{verb} {number:,} of {total:,} {noun}")
            told = time.monotonic()
