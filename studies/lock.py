"""One process at a time in a run folder; the operating system gives the lock back when its holder dies."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from searchspaces import UserError
from studies.folder import LOCK

DYING_S: Final = 1.0
"""Seconds within which the processes of a run that was killed end."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, or refuse.

    It waits for `DYING_S` at most: processes that load images hold the lock of a run that was killed, until they end.

    Raises:
        UserError: another process holds it; the message has its id.
    """
    try:
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}") from error
    try:
        until = time.monotonic() + DYING_S
        while not (held := taken(handle)) and time.monotonic() < until:
            time.sleep(0.05)
        if not held:
            holder = os.pread(handle, 20, 1).decode(errors="replace").strip() if sys.platform != "win32" else ""
            who = f" (process {holder})" if holder.isdigit() else ""
            raise UserError(f"{folder} is in use by another run{who}; wait for it or stop it, then resume")
        _sign(handle)
        yield
    finally:
        os.close(handle)  # gives the lock back; the file stays, since removing it would race with the next holder


def in_use(folder: Path) -> bool:
    """Whether a process holds the folder's lock; False where there is none, or it cannot be opened."""
    try:
        handle = os.open(folder / LOCK, os.O_RDWR)
    except OSError:
        return False
    try:
        return not taken(handle)
    finally:
        os.close(handle)


def taken(handle: int) -> bool:
    """Try to take the lock of an open file."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # the first byte, which holds nothing
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _sign(handle: int) -> None:
    """Leave the process id, for the message that another process gives; not worth failing for on a full disk."""
    try:
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, f" {os.getpid():<19}".encode())
    except OSError:
        return
