"""Image files by their number: those of a folder, or the rows of a data set of the hub, which lie in Arrow files."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from searchspaces import UserError

VERSION: Final = 5
"""Raised when the same files are decoded to other pixels, or other facts of them are remembered."""


class Contents(Protocol):
    """Image files that are read one by one, in any process that sees them."""

    def __len__(self) -> int:
        """The number of files."""
        ...

    def read(self, row: int) -> bytes:
        """The content of a file.

        Raises:
            UserError: it cannot be read; the message has its name.
        """
        ...

    def named(self, row: int) -> str:
        """What a message calls a file."""
        ...

    def relative(self, row: int) -> str:
        """What a note calls a file."""
        ...

    def entry(self, *settings: Any) -> str:
        """A name for what is made of these files with these settings; it changes when a file does.

        Raises:
            UserError: a file has gone.
        """
        ...


class Files:
    """The files of a folder.

    Args:
        root: the folder.
        files: below it.
    """

    def __init__(self, root: Path, files: Sequence[Path]) -> None:
        self._root = str(root)
        # one array of bytes, since a million Python strings take 100 MB in each process
        self._paths = np.array([os.fsencode(file) for file in files], dtype=np.bytes_)

    def __len__(self) -> int:
        return len(self._paths)

    def read(self, row: int) -> bytes:
        """See `Contents`."""
        try:
            with open(self._paths[row], "rb") as stream:
                return stream.read()
        except OSError as error:
            raise UserError(f"{self.named(row)} cannot be read: {error.strerror or error}") from error

    def named(self, row: int) -> str:
        """See `Contents`."""
        return repr(os.fsdecode(self._paths[row]))

    def relative(self, row: int) -> str:
        """The name of a file below the folder."""
        return os.path.relpath(os.fsdecode(self._paths[row]), self._root)

    def entry(self, *settings: Any) -> str:
        """See `Contents`: by names below the folder, sizes and times."""
        digest, start = _digest(settings), len(os.fsencode(self._root))
        for path in self._paths:
            try:
                found = os.stat(path)
            except OSError as error:
                raise UserError(f"cannot read {os.fsdecode(path)!r}: {error.strerror}") from error
            digest.update(path[start:] + f"\0{found.st_size}\0{found.st_mtime_ns}\0".encode())
        return digest.hexdigest()[:32]


class Rows:
    """The images of a split of the hub.

    Args:
        split: of `datasets`, with an image column that is not decoded.
        column: its name.
        where: data set and split, for messages.
    """

    def __init__(self, split: Any, column: str, where: str) -> None:
        self._split, self._column, self._where = split, column, where

    def __len__(self) -> int:
        return len(self._split)

    def read(self, row: int) -> bytes:
        """See `Contents`."""
        file = self._split[int(row)][self._column]
        if file is None:
            raise UserError(f"{self.named(row)} is missing")
        try:
            if file["bytes"] is not None:
                content: bytes = file["bytes"]
                return content
            return Path(file["path"]).read_bytes()
        except (TypeError, OSError) as error:  # neither content nor a path; a file that has gone
            raise UserError(f"{self.named(row)} cannot be read: {error}") from error

    def named(self, row: int) -> str:
        """See `Contents`."""
        return f"image {row} of {self._where}"

    def relative(self, row: int) -> str:
        """The number of a row."""
        return f"image {row}"

    def entry(self, *settings: Any) -> str:
        """See `Contents`: by the library's fingerprint of the split."""
        digest = _digest(settings)
        digest.update(f"{self._split._fingerprint}\0{len(self)}".encode())
        return digest.hexdigest()[:32]


def _digest(settings: Sequence[Any]) -> hashlib._Hash:
    import PIL

    return hashlib.sha256(json.dumps([VERSION, PIL.__version__, *settings]).encode())
