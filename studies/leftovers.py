"""Temporary folders of a process that was killed: the next one removes them.

Each in the system's temporary folder holds a file that its process keeps locked; the operating system gives the lock
back when the process dies, however it dies. A folder without that file is not ours, and one of another user neither.
"""

from __future__ import annotations

import glob
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from studies.lock import taken

MARK: Final = "nas-lock"
YOUNG_S: Final = 60.0
"""Seconds in which a folder is left alone: its process may not have come to locking it."""


@contextmanager
def marked(folder: Path) -> Iterator[None]:
    """Mark a temporary folder as this process's for as long as it lives, if its disk lets us."""
    handle = None
    with suppress(OSError):
        handle = os.open(folder / MARK, os.O_RDWR | os.O_CREAT, 0o600)
        taken(handle)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def remove_left(folders: Iterable[Path]) -> None:
    """Remove those of the folders whose process marked them and is dead.

    Args:
        folders: may be anybody's.
    """
    for folder in folders:
        with suppress(OSError):  # somebody else removes it at this moment, or it is not ours to look into
            if not _is_old(folder) or (folder / MARK).is_symlink():
                continue
            handle = os.open(folder / MARK, os.O_RDWR)
            try:
                if taken(handle):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)


def remove_parts(folder: Path) -> None:
    """Remove what `part_of` named and a killed process left: folders that were to become this one.

    One is made in a moment: what is older than that is nobody's.
    """
    for part in folder.parent.glob(f".{glob.escape(folder.name)}.*"):
        with suppress(OSError):
            if part.name.removeprefix(f".{folder.name}.").isdecimal() and _is_old(part):
                shutil.rmtree(part, ignore_errors=True)


def part_of(folder: Path) -> Path:
    """Where a folder is made, to be moved to its place when it is complete; another one each time.

    Processes of two containers may have one number.
    """
    return folder.with_name(f".{folder.name}.{secrets.randbits(32)}")


def _is_old(folder: Path) -> bool:
    """Whether it is a folder of this user, and no process can be about to begin with it."""
    about = folder.lstat()
    ours = not hasattr(os, "getuid") or about.st_uid == os.getuid()
    return ours and stat.S_ISDIR(about.st_mode) and time.time() - about.st_mtime >= YOUNG_S
