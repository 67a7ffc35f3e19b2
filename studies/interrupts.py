"""Ctrl-C while work is under way: the first press asks for an orderly end, the second stops at once.

The first one is answered at once with what goes on until the end, on whatever screen `answered` was given: within the
signal's handler, so that a screen writes nothing that it might be writing already.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, NoReturn

_ANSWER: Final[ContextVar[Callable[[str], None] | None]] = ContextVar("answer", default=None)


@contextmanager
def answered(answer: Callable[[str], None]) -> Iterator[None]:
    """Answer the first Ctrl-C within the block by a call with what goes on until the end."""
    token = _ANSWER.set(answer)
    try:
        yield
    finally:
        _ANSWER.reset(token)


@contextmanager
def first_interrupt(ask: Callable[[], object], meanwhile: str) -> Iterator[None]:
    """Call `ask` on the first Ctrl-C; the second goes to the handler that was there before.

    Signals reach the main thread only: elsewhere, and under a handler that is not Python's, nothing changes. Nor where
    the signal is ignored, as in the background of a shell.

    Args:
        ask: for the end.
        meanwhile: what goes on until the end, such as `writing the results`.
    """
    before = signal.getsignal(signal.SIGINT)
    if before in (None, signal.SIG_IGN) or threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        signal.signal(signal.SIGINT, before)
        answer = _ANSWER.get()
        if answer is not None:
            answer(meanwhile)
        ask()

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def raise_interrupt() -> NoReturn:
    """What Python does on Ctrl-C."""
    raise KeyboardInterrupt
