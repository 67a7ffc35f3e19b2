"""Temporary folders of a process that was killed: the next one removes them.

Each holds a file that its process keeps locked; the operating system gives the lock back when the process dies, however
it dies. A folder without that file is not ours, and one of another user neither.
"""

from __future__ import annotations

import os
import shutil
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
            about = folder.lstat()
            if time.time() - about.st_mtime < YOUNG_S or (hasattr(os, "getuid") and about.st_uid != os.getuid()):
                continue
            if folder.is_symlink() or (folder / MARK).is_symlink():
                continue
            handle = os.open(folder / MARK, os.O_RDWR)
            try:
                if taken(handle):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)
