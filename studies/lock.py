"""One process at a time in a run folder; the operating system gives the lock back when its holder dies."""

from __future__ import annotations

import errno
import os
import re
import socket
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
        UserError: another process holds it, and the message has its id; or the file system has no locks.
    """
    try:
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}") from error
    try:
        until = time.monotonic() + DYING_S
        while not (held := _taken_in(folder, handle)) and time.monotonic() < until:
            time.sleep(0.05)
        if not held:
            raise UserError(f"{folder} is in use by another run{_holder(handle)}; wait for it or stop it, then resume")
        _sign(handle)
        yield
    finally:
        os.close(handle)  # gives the lock back; the file stays, since removing it would race with the next holder


def in_use(folder: Path) -> bool:
    """Whether a process is known to hold the folder's lock; False where there is none, or it cannot be tried."""
    try:
        handle = os.open(folder / LOCK, os.O_RDWR)
        try:
            return not taken(handle, shared=True)
        finally:
            os.close(handle)
    except OSError:
        return False


def taken(handle: int, shared: bool = False) -> bool:
    """Try to take the lock of an open file.

    Args:
        handle: of the file.
        shared: with others that only look whether somebody works; of Windows, whose locks are exclusive, alone.

    Raises:
        OSError: the file system has no locks.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # the first byte, which holds nothing
        else:
            import fcntl

            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        return False
    return True


def _taken_in(folder: Path, handle: int) -> bool:
    try:
        return taken(handle)
    except OSError as error:  # such as ENOSYS of Lustre, and ENOLCK of NFS without its lock service
        raise UserError(
            f"the file system of {folder} has no file locks ({error.strerror}), which keep two runs from colliding; "
            "choose a folder on a local disk or, for a search, a PostgreSQL ledger"
        ) from error


def _sign(handle: int) -> None:
    """Leave host and process id, for the message that another process gives; not worth failing for on a full disk."""
    try:
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, f" {socket.gethostname()}:{os.getpid()}\n".encode())
    except OSError:
        return


def _holder(handle: int) -> str:
    """Who signed, in words; nothing where nobody can read that."""
    signed = os.pread(handle, 300, 1).decode(errors="replace") if sys.platform != "win32" else ""
    found = re.match(r"([\w.-]+):(\d+)\n", signed)
    if found is None:
        return ""
    host, process = found.groups()
    return f" (process {process})" if host == socket.gethostname() else f" (process {process} on {host})"
