"""Reading and writing files, with an error that a person can act on."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import stat
from pathlib import Path
from typing import Any, BinaryIO, Final

from searchspaces.errors import UserError

NOT_UTF8: Final = re.compile(r"[\ud800-\udfff]")
"""What stands in a text for bytes that are not UTF-8, such as those of a file's name; it cannot be written down."""


def write_whole(path: Path, content: str | bytes, what: str = "") -> None:
    """Write a file so that it is there whole or, whenever the process dies, as it was before.

    A process that dies leaves `NAME.*.part` beside it at most. A link stays one: what it leads to is written. A pipe, a
    device and what this process prints into are written as they stand.

    Args:
        path: of the file, in a folder that exists.
        content: text is written as UTF-8.
        what: what the file is to a person, such as `the checkpoint`; for the message.

    Raises:
        UserError: it cannot be written; the message has the path and the reason.
    """
    if not path.name:
        raise UserError(f"cannot write {what or 'to'} {path}: it is a folder")
    written = content.encode() if isinstance(content, str) else content
    try:
        if (stream := _stream(path)) is None:
            _replace(Path(os.path.realpath(path)), written)
        else:
            with stream:
                stream.write(written)
    except OSError as error:
        raise UserError(f"cannot write {what or 'to'} {path}: {error.strerror or error}") from error


def _stream(path: Path) -> BinaryIO | None:
    """A pipe, a device or this process's output, opened, as it cannot be replaced; None of other paths."""
    try:
        found = path.stat()
    except OSError:
        return None  # there is nothing yet, or writing fails by the same error
    for number in (1, 2):
        if _is_open_as(number, found):  # `/dev/stdout`, whatever it leads to
            return os.fdopen(os.dup(number), "wb")
    return None if stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode) else path.open("wb")


def _is_open_as(number: int, found: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.fstat(number), found)
    except OSError:  # it was closed
        return False


def _replace(path: Path, content: bytes) -> None:
    """Write a file beside its place, and move it there."""
    part = _part(path)
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        _remove(part)
        raise


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")  # processes on two machines may have one number


def check_place(path: Path, what: str = "") -> None:
    """Refuse a file that `write_whole` could not write, before what it is to hold is computed; arguments as of that.

    Raises:
        UserError: it cannot be written; the message has the path and the reason.
    """
    reason = os.strerror(errno.EISDIR) if path.is_dir() else ""
    if not reason and (path.is_file() or not path.exists()):
        part = _part(Path(os.path.realpath(path)))
        try:
            part.touch()
        except OSError as error:
            reason = error.strerror or str(error)
        else:
            _remove(part)
    if reason:
        raise UserError(f"cannot write {what or 'to'} {path}: {reason}")


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
        raise UserError(f"cannot create the folder {path}: {error.strerror or error}") from error


def check_folder(path: Path) -> None:
    """Refuse a folder that `make_folder` could not make, before what is written into it is computed.

    Raises:
        UserError: it is no folder, or one above it is none or cannot be written.
    """
    above = next(each for each in (path.absolute(), *path.absolute().parents) if os.path.lexists(each))
    if not above.is_dir():
        raise UserError(f"cannot create the folder {path}: {above} is not a folder")
    if not os.access(above, os.W_OK | os.X_OK):
        raise UserError(f"cannot create the folder {path}: {above} cannot be written")


def read_bytes(path: Path, what: str = "") -> bytes:
    """The bytes of a file.

    Args:
        path: of the file.
        what: what it is to a person, such as `the latency table`; for the message.

    Raises:
        UserError: it cannot be read; the message has the path and the reason.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {_named(path, what)}: {error.strerror or error}") from error


def read_text(path: Path, what: str = "") -> str:
    """The text of a file; arguments as of `read_bytes`.

    Raises:
        UserError: it cannot be read, or is not UTF-8; the message has the path and the reason.
    """
    return _decoded(read_bytes(path, what), _named(path, what))


def read_json(path: Path, what: str = "") -> Any:
    """The JSON value in a file; arguments as of `read_bytes`.

    Raises:
        UserError: it cannot be read, or holds no JSON; the message has the path and the reason.
    """
    return parse_json(read_bytes(path, what), _named(path, what))


def parse_json(content: bytes, named: str, form: str = "") -> Any:
    """The JSON value of a file's bytes.

    Args:
        content: the bytes.
        named: what they are to a person, such as `the table scores.json`; for the message.
        form: what a file that people write must hold, such as `one object of entries`; for the message. A name that
            stands twice in an object is then refused, where JSON would silently take the last.

    Raises:
        UserError: they are not UTF-8, or no JSON, or an object has a name twice.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in pairs:
            if name in found:
                raise UserError(f"cannot read {named}: it has the key {name!r} twice, and only one can be meant")
            found[name] = value
        return found

    text = _decoded(content, named)
    try:
        return json.loads(text, object_pairs_hook=once if form else None)
    except (ValueError, RecursionError) as error:
        wanted = f"; it must hold {form}" if form else ""
        raise UserError(f"cannot read {named}: it is not JSON ({error}){wanted}") from error


def _decoded(content: bytes, named: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"cannot read {named}: it is not UTF-8 text") from error


def _named(path: Path, what: str) -> str:
    return f"{what} {path}".strip()
