"""The command line as a process: `main`, and the way from an error to one line and an exit code.

A person's mistake is one line on stderr and exit code 2; Ctrl-C exits 130 and says how to resume, SIGTERM and SIGHUP
the same with 143 and 129; anything else is our own mistake and keeps its traceback. What a command needs is imported
when it runs: `nas --help` loads neither NumPy nor torch, Ray or Optuna.
"""

from __future__ import annotations

import atexit
import errno
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, NoReturn

from nas.commands.app import COMMANDS, make_app, nearest_name, usage_mistake
from nas.commands.console import INTERRUPTED, say

MISTAKE: Final = 2


def main(arguments: Sequence[str] | None = None, commands: Mapping[str, Callable[..., Any]] = COMMANDS) -> NoReturn:
    """Run the command line and exit: 0 when done, 2 on a person's mistake, 130 on Ctrl-C, 143 on SIGTERM."""
    with _ends_as_interrupts() as came:
        code = _run(arguments, commands)
        if code == INTERRUPTED and (came or _answered()):
            code = 128 + [*came, *_answered()][0]  # as shells have it
    atexit.register(gc.freeze)  # to collect what torch and Optuna hold takes two seconds of a process that ends anyway
    sys.exit(code)


@contextmanager
def _ends_as_interrupts() -> Iterator[list[int]]:
    """Make of the first SIGTERM or SIGHUP what Python makes of Ctrl-C, and of later ones nothing.

    Gives those that came, but for those that `studies.interrupts` answered. Nothing changes where they are ignored, as
    under nohup.
    """
    came: list[int] = []

    def interrupt(signum: int, frame: FrameType | None) -> None:
        came.append(signum)
        if len(came) == 1 and not _answered():
            raise KeyboardInterrupt

    ours = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        ours = []
    ours = [each for each in ours if signal.getsignal(each) == signal.SIG_DFL]
    for each in ours:
        signal.signal(each, interrupt)
    try:
        yield came
    finally:
        for each in ours:
            signal.signal(each, signal.SIG_DFL)


def _answered() -> Sequence[int]:
    """The SIGTERM or SIGHUP that an orderly end was the answer to."""
    interrupts = sys.modules.get("studies.interrupts")  # where it is not loaded, it answered nothing
    return tuple(interrupts.CAME) if interrupts else ()


def _run(arguments: Sequence[str] | None, commands: Mapping[str, Callable[..., Any]]) -> int:
    """Run the command line; its exit code."""
    typed = list(sys.argv[1:] if arguments is None else arguments)
    given = typed
    if "--ray" in given:
        from nas.placement import with_address

        given = with_address(given)
    try:
        if given and not given[0].startswith("-") and given[0] not in commands:
            code = _refuse(f"unknown command {given[0]!r}{nearest_name(given[0], commands)}")
        else:
            named = bool(given) and given[0] in commands  # to make the others takes 25 ms
            app = make_app({given[0]: commands[given[0]]} if named else commands)
            code = app(args=given or ["--help"], prog_name="nas", standalone_mode=False, obj=typed) or 0
    except KeyboardInterrupt:
        say("interrupted")
        code = INTERRUPTED
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as failure:
        mistake = _mistake(failure)
        if mistake is None:
            raise
        code = _refuse(mistake)
    return int(code)


def _mistake(failure: Exception) -> str | None:
    """The message, if the failure is a person's mistake; None if it is ours."""
    if (usage := usage_mistake(failure)) is not None:
        return usage
    if isinstance(failure, OSError):
        return f"{failure.filename or 'output'}: {failure.strerror}" if failure.errno in _FOLDER_TROUBLE else None
    from searchspaces import NothingFitsError, UserError

    if isinstance(failure, NothingFitsError) and failure.most_macs is not None:
        from searchspaces.catalog import RANGES
        from searchspaces.cost import human

        small = [f"{name} (from {human(low)})" for name, (low, _) in RANGES.items() if low <= failure.most_macs]
        if failure.most_macs < 10_000:
            return f"{failure}; did you mean {failure.most_macs}M?"
        more = f"; at 224 px these spaces have smaller networks: {', '.join(small)}" if small else ""
        return f"{failure}{more}"
    return str(failure) if isinstance(failure, UserError) else None


_FOLDER_TROUBLE: Final = {
    errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EPERM, errno.EDQUOT, errno.ENAMETOOLONG,
}  # fmt: skip


def _refuse(message: str) -> int:
    say(message)
    return MISTAKE
