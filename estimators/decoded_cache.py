"""Decoded images, kept in a folder, so that the second start does not decode them again.

An entry is named by a hash of the names, sizes and times of the image files and of how they are decoded. It is two
plain arrays (`.npy`), memory-mapped when read, and a JSON file, which is written last: without it there is no entry.
Nothing in it can run code; what is damaged is ignored and decoded again.

The folder is the one that `--cache` gives, else `NAS_CACHE`, else `nas` in the user's cache folder. It holds at most
`LIMIT_BYTES`; what was not used for longest goes first. Left out: arrays and hub sets, which their files or their
library keep decoded.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from estimators.on_disk import OnDisk, limit_bytes
from searchspaces import UserError
from searchspaces.files import write_whole

LIMIT_BYTES: Final = 20 * 10**9
"""Images that memory should not hold come on top, and stay until `nas cache` is told to remove them."""
SLOW_S: Final = 1.0
"""Seconds of decoding from which on its result is kept."""
NONE: Final = "none"
VERSION: Final = 1
"""Raised when the same files are decoded to other pixels."""
_IMAGES, _KEYS, _FACTS, _PART = ".images.npy", ".keys.npy", ".json", ".part.npy"


@dataclass(frozen=True, eq=False)
class Decoded:
    """Images as they were decoded from files.

    Attributes:
        images: uint8 (images, size, size, 3), or such on disk.
        keys: uint8 (images, 16), a hash of each file.
        grey: whether all are grey.
        bad: names of files that cannot be read, by their positions.
    """

    images: NDArray[np.uint8] | OnDisk
    keys: NDArray[np.uint8]
    grey: bool
    bad: Mapping[int, str]


def cache_folder(given: str | None = None) -> Path | None:
    """The folder of the cache; None where nothing is kept.

    Args:
        given: a folder, or `none`; by default `NAS_CACHE`, else the user's cache folder.
    """
    chosen = given or os.environ.get("NAS_CACHE")
    if chosen == NONE:
        return None
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "nas" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "nas"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nas"


def entry_name(root: Path, files: Sequence[Path], settings: Sequence[Any]) -> str:
    """The name of the entry for these files, decoded in this way.

    Raises:
        OSError: a file has gone.
    """
    import PIL

    digest = hashlib.sha256(json.dumps([VERSION, PIL.__version__, *settings]).encode())
    for file in files:
        found = file.stat()
        digest.update(os.fsencode(file.relative_to(root)))
        digest.update(f"\0{found.st_size}\0{found.st_mtime_ns}\0".encode())
    return digest.hexdigest()[:32]


def read(folder: Path, name: str, files: int) -> Decoded | None:
    """An entry, memory-mapped; None if there is none, or it is damaged."""
    place = folder / f"{name}{_IMAGES}"
    try:
        facts = json.loads((folder / f"{name}{_FACTS}").read_text())
        images = np.asarray(np.load(place, mmap_mode="r", allow_pickle=False))
        keys = np.load(folder / f"{name}{_KEYS}", allow_pickle=False)
        bad = {int(position): str(file) for position, file in facts["bad"].items()}
        os.utime(folder / f"{name}{_FACTS}")  # it was used now
    except Exception:  # a damaged file makes json and NumPy raise anything; the images are decoded again
        return None
    whole = images.ndim == 4 and images.dtype == keys.dtype == np.uint8 and keys.shape[1:] == (16,)
    if not whole or len(keys) > len(images) or len(keys) + len(bad) != files:
        return None
    here = OnDisk([str(place)], np.arange(len(keys))) if images.nbytes > limit_bytes() else images[: len(keys)]
    return Decoded(here, keys, facts["grey"] is True, bad)


def on_disk(folder: Path | None, name: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """A new array in the cache for images that memory should not hold; `finished` makes an entry of it.

    Raises:
        UserError: there is no cache, or its disk has no room.
    """
    gib = np.prod(shape, dtype=np.float64) / 2**30
    needs = (
        f"the images take {gib:.1f} GiB decoded, more than the {limit_bytes() / 2**30:.1f} GiB that memory should hold"
    )
    if folder is None:
        raise UserError(f"{needs}: let them stay in a cache on disk, with --cache FOLDER, or decode fewer pixels")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if gib * 2**30 > shutil.disk_usage(folder).free:
            raise UserError(f"{needs}, and the cache {str(folder)!r} has no room for them: give another with --cache")
        array: NDArray[np.uint8] = np.lib.format.open_memmap(
            folder / f"{name}{_PART}", mode="w+", dtype=np.uint8, shape=shape
        )
        return array
    except OSError as error:
        raise UserError(f"{needs}, and cannot be written to the cache: {error}") from error


def drop(folder: Path | None, name: str) -> None:
    """Remove an array from `on_disk` that was not filled."""
    if folder is not None:
        (folder / f"{name}{_PART}").unlink(missing_ok=True)


def finished(
    folder: Path,
    name: str,
    images: Any,
    keys: NDArray[np.uint8],
    grey: bool,
    bad: Mapping[int, str],
    about: Mapping[str, Any],
) -> Decoded:
    """The entry of an array from `on_disk`, whose first rows were filled."""
    images.flush()
    place = folder / f"{name}{_IMAGES}"
    (folder / f"{name}{_PART}").replace(place)
    np.save(folder / f"{name}{_KEYS}", keys, allow_pickle=False)
    facts = {**about, "bytes": images.nbytes, "stays": True, "grey": grey, "bad": dict(bad)}
    write_whole(folder / f"{name}{_FACTS}", json.dumps(facts))
    return Decoded(OnDisk([str(place)], np.arange(len(keys))), keys, grey, bad)


def keep(folder: Path, name: str, decoded: Decoded, about: Mapping[str, Any]) -> None:
    """Keep images, if there is room for them. A cache that cannot be written is no reason to stop.

    Args:
        folder: of the cache.
        name: of the entry.
        decoded: what is kept.
        about: plain JSON values for `nas cache` to show.
    """
    assert not isinstance(decoded.images, OnDisk)
    size = decoded.images.nbytes + decoded.keys.nbytes
    part = folder / f"{name}.{secrets.token_hex(4)}.part"
    try:
        part.mkdir(parents=True)
        if size > LIMIT_BYTES or size > shutil.disk_usage(folder).free / 2:
            return
        _make_room(folder, size)
        np.save(part / _IMAGES, decoded.images, allow_pickle=False)
        np.save(part / _KEYS, decoded.keys, allow_pickle=False)
        facts = {**about, "bytes": size, "grey": decoded.grey, "bad": dict(decoded.bad)}
        (part / _FACTS).write_text(json.dumps(facts))
        for kind in (_IMAGES, _KEYS, _FACTS):
            (part / kind).replace(folder / f"{name}{kind}")
    except OSError:  # a full or read-only disk
        return
    finally:
        shutil.rmtree(part, ignore_errors=True)


def entries(folder: Path) -> list[dict[str, Any]]:
    """What is kept, the last used first: the facts of each entry, its `name`, and `used` in seconds since 1970."""
    found = []
    for file in folder.glob(f"*{_FACTS}"):
        try:
            facts = json.loads(file.read_text())
            found.append({**facts, "name": file.name.removesuffix(_FACTS), "used": file.stat().st_mtime})
        except (OSError, ValueError, TypeError):  # damaged, or removed by another process meanwhile
            found.append({"name": file.name.removesuffix(_FACTS), "used": 0.0})
    return sorted(found, key=lambda each: -each["used"])


def remove(folder: Path, names: Iterable[str]) -> None:
    """Remove entries; a process that has one mapped keeps its pages."""
    for name in names:
        for kind in (_FACTS, _IMAGES, _KEYS):
            (folder / f"{name}{kind}").unlink(missing_ok=True)


def _make_room(folder: Path, size: int) -> None:
    """Remove what was not used for longest, until there is room for so many bytes.

    What stays on disk since memory has no room for it may be in use by many processes, and is not removed.
    """
    kept = [each for each in entries(folder) if not each.get("stays")]
    while kept and sum(int(each.get("bytes", 0)) for each in kept) + size > LIMIT_BYTES:
        remove(folder, [kept.pop()["name"]])
