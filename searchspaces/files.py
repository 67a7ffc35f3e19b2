"""Reading and writing files, with an error that a person can act on."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

from searchspaces.errors import UserError


def write_whole(path: Path, content: str | bytes, what: str = "") -> None:
    """Write a file so that it is there whole or, whenever the process dies, as it was before.

    A process that dies leaves `NAME.*.part` beside it at most.

    Args:
        path: of the file, in a folder that exists.
        content: text is written as UTF-8.
        what: what the file is to a person, such as `the checkpoint`; for the message.

    Raises:
        UserError: it cannot be written; the message has the path and the reason.
    """
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")  # processes on two machines may have one number
    try:
        with part.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        _remove(part)
        raise UserError(f"cannot write {what or 'to'} {path}: {error.strerror or error}") from error
    except BaseException:
        _remove(part)
        raise


def _remove(part: Path) -> None:
    try:
        part.unlink(missing_ok=True)
    except OSError:
        return  # a full or vanished disk has been reported by what failed before


def make_folder(path: Path) -> None:
    """Make a folder and those above it, where they are not there.

    Raises:
        UserError: it cannot be made; the message has the path and the reason.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {path}: {error.strerror or error}") from error


def read_text(path: Path, what: str = "") -> str:
    """The text of a file.

    Args:
        path: of the file.
        what: what it is to a person, such as `the latency table`; for the message.

    Raises:
        UserError: it cannot be read, or is not UTF-8; the message has the path and the reason.
    """
    named = f"{what} {path}".strip()
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot read {named}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"cannot read {named}: it is not a text in UTF-8") from error


def read_json(path: Path, what: str = "") -> Any:
    """The JSON value in a file; arguments as of `read_text`.

    Raises:
        UserError: it cannot be read, or holds no JSON; the message has the path and the reason.
    """
    text = read_text(path, what)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"cannot read {f'{what} {path}'.strip()}: it is not JSON ({error})") from error
