"""Ctrl-C while work is under way: the first press asks for an orderly end, the second stops at once.

SIGTERM and SIGHUP, which schedulers, containers and closed terminals send, ask for an orderly end too, and as they come
in numbers, no second one stops at once: SIGKILL does.

Python drops what a signal's handler raises within a weakref's callback or `__del__`. An `Interrupt` remembers it.

The first one is answered at once with what goes on until the end, on whatever screen `answered` was given: within the
signal's handler, so that a screen writes nothing that it might be writing already.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import Any, Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_ANSWER: Final[ContextVar[Callable[[str], None] | None]] = ContextVar("answer", default=None)
ENDS: Final = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that ask a process to end, besides Ctrl-C."""
CAME: Final[deque[int]] = deque(maxlen=1)
"""The last of `ENDS` that `first_interrupt` answered, for the exit code of the process."""


def _handlers() -> dict[int, Any]:
    """The handlers of all that ends a process, as far as a signal reaches this thread and a handler of Python's."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    found = {each: signal.getsignal(each) for each in (signal.SIGINT, *ENDS)}
    return {each: handler for each, handler in found.items() if handler not in (None, signal.SIG_IGN)}


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
    """Call `ask` on Ctrl-C, SIGTERM and SIGHUP; a second Ctrl-C goes to the handler that was there before.

    Signals reach the main thread only: elsewhere, and under a handler that is not Python's, nothing changes. Nor where
    the signal is ignored, as in the background of a shell.

    Args:
        ask: for the end; called again by each further SIGTERM and SIGHUP.
        meanwhile: what goes on until the end, such as `writing the results`.
    """
    before, asked = _handlers(), []

    def interrupt(signum: int, frame: FrameType | None) -> None:
        if signum == signal.SIGINT:
            signal.signal(signum, before[signum])
        else:
            CAME.append(signum)
        asked.append(signum)
        answer = _ANSWER.get()
        if answer is not None and len(asked) == 1:
            answer(meanwhile)
        ask()

    try:
        for each in before:
            signal.signal(each, interrupt)
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


class Interrupt:
    """A KeyboardInterrupt that is raised where it is asked for and, should that one get lost, at the next check."""

    def __init__(self) -> None:
        self._asked, self._before = False, _interruption()

    def ask(self) -> None:
        """Raise it; not while one is on its way already, so that the work can end in order."""
        self._asked = True
        self.check()

    def check(self) -> None:
        """Raise it if it was asked for."""
        if self._asked and _interruption() is self._before:
            raise KeyboardInterrupt

    def before(self, call: Callable[P, T]) -> Callable[P, T]:
        """The same call, with a check before it."""

        def checked(*args: P.args, **kwargs: P.kwargs) -> T:
            self.check()
            return call(*args, **kwargs)

        return checked


def _interruption() -> BaseException | None:
    """The KeyboardInterrupt because of which what runs here runs, such as in `finally`; None if there is none."""
    error = sys.exception()
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error
