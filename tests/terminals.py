"""The command line as a process of its own on a terminal, as a person has it, and what it shows there."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import struct
import sys
import time
from collections.abc import Callable, Sequence
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

LIMIT_S = 240.0
"""Far off: the machine may be busy."""


def on_terminal(
    words: Sequence[object],
    at: Path,
    interrupt: Callable[[str], bool] = lambda _: False,
    columns: int = 100,
    program: Sequence[str] = ("-m", "nas"),
) -> tuple[int, str]:
    """Run `nas` on a terminal; its exit code, and all text that it showed, without colours and movements of the cursor.

    Args:
        words: of the command.
        at: the working directory.
        interrupt: whether Ctrl-C is to be pressed now, judged by the text so far.
        columns: of the terminal.
        program: what Python runs with the words.
    """
    child, terminal = pty.fork()
    if child == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs, such as pytest may be, ignore it
        ioctl(0, TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        os.chdir(at)
        os.environ.pop("COLUMNS", None)  # which would count in place of the terminal's own
        os.environ |= {"TERM": "xterm-256color", "PYTHONPATH": str(Path(__file__).parents[1])}
        os.execv(sys.executable, [sys.executable, "-W", "ignore", *program, *map(str, words)])
    raw, began = b"", time.monotonic()
    while time.monotonic() - began < LIMIT_S:
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            part = os.read(terminal, 65536)
        except OSError:  # the process has closed it
            part = b""
        if not part:
            break
        raw += part
        if interrupt(shown(raw)):
            os.write(terminal, b"\x03")
    else:
        os.kill(child, signal.SIGKILL)
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), shown(raw)


def when(*patterns: str) -> Callable[[str], bool]:
    """Press Ctrl-C once when what is on the screen matches the first pattern, once more by the second, and so on.

    A number that counts up is a range in a pattern: a screen that is drawn some times a second leaves numbers out.
    """
    to_come = list(patterns)

    def interrupt(so_far: str) -> bool:
        if not to_come or not re.search(to_come[0], so_far):
            return False
        to_come.pop(0)
        return True

    return interrupt


def shown(raw: bytes) -> str:
    """The text of what was written to a terminal."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", raw.decode(errors="replace")).replace("\r", "\n")
