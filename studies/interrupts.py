"""Ctrl-C while work is under way: the first press asks for an orderly end, the second stops at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def first_interrupt(ask: Callable[[], None]) -> Iterator[None]:
    """Call `ask` on the first Ctrl-C; the second goes to the handler that was there before.

    Signals reach the main thread only: elsewhere, and under a handler that is not Python's, nothing changes.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        signal.signal(signal.SIGINT, before)
        ask()

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
