"""Decoded images, kept in a folder, so that the second start does not decode them again.

An entry is named by a hash of the names, sizes and times of the image files and of how they are decoded. It is two
plain arrays (`.npy`), the images, memory-mapped when read, and the facts of each of them, and a JSON file, which is
written last: without it there is no entry. Of images that stay in their files there are the facts alone. Nothing in it
can run code; what is damaged is ignored and decoded again.

The folder is the one that `--cache` gives, else `NAS_CACHE`, else `nas` in the user's cache folder. It holds at most
`LIMIT_BYTES`; what was not used for longest goes first. Left out: arrays, which their files keep decoded.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from estimators.image_facts import FACTS
from estimators.on_disk import OnDisk, limit_bytes
from searchspaces import UserError
from searchspaces.files import write_whole

LIMIT_BYTES: Final = 20 * 10**9
"""Images that memory should not hold come on top, and stay until `nas cache` is told to remove them."""
SLOW_S: Final = 1.0
"""Seconds of decoding from which on its result is kept."""
DAY_S: Final = 86_400
"""Seconds after which an array that nobody wrote to is one of a process that was killed."""
NONE: Final = "none"
_IMAGES, _FACTS, _ENTRY, _PART = ".images.npy", ".facts.npy", ".json", ".part.npy"


@dataclass(frozen=True, eq=False)
class Decoded:
    """Images as they were decoded from files.

    Attributes:
        images: uint8 (images, size, size, 3), or such on disk; None where they stay in their files.
        facts: (images,), of type `FACTS`.
        bad: names of files that cannot be read, by their positions.
    """

    images: NDArray[np.uint8] | OnDisk | None
    facts: NDArray[Any]
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


def read(folder: Path, name: str, files: int, with_images: bool = True) -> Decoded | None:
    """An entry, whose images stay on disk; None if there is none, or it is damaged.

    Args:
        folder: of the cache.
        name: of the entry.
        files: number of the files that it is made of.
        with_images: whether it has the images too.
    """
    place = folder / f"{name}{_IMAGES}"
    try:
        told = json.loads((folder / f"{name}{_ENTRY}").read_text())
        facts = np.load(folder / f"{name}{_FACTS}", allow_pickle=False)
        bad = {int(position): str(file) for position, file in told["bad"].items()}
        images = OnDisk([str(place)]) if with_images else None
        os.utime(folder / f"{name}{_ENTRY}")  # it was used now
    except Exception:  # a damaged file makes json and NumPy raise anything; the images are decoded again
        return None
    if facts.dtype != FACTS or facts.ndim != 1 or len(facts) + len(bad) != files:
        return None
    if images is not None:
        if len(images.shape) != 4 or images.stored != np.uint8 or len(facts) > len(images):
            return None
        images = images.at(np.arange(len(facts)))
    return Decoded(images, facts, bad)


def on_disk(folder: Path | None, name: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """A new array in the cache for images that memory should not hold; `finished` makes an entry of it.

    Each has a file of its own, as two processes may decode the same images; the last one to finish has the entry.

    Raises:
        UserError: there is no cache, or its disk has no room.
    """
    gib = np.prod(shape, dtype=np.float64) / 2**30
    needs = (
        f"the images take {gib:.1f} GiB decoded, more than the {limit_bytes() / 2**30:.1f} GiB that memory should hold"
    )
    if folder is None:
        raise UserError(f"{needs}: keep them in a cache on disk with --cache FOLDER, or decode fewer pixels")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f"{name}.*{_PART}"):
            with contextlib.suppress(FileNotFoundError):  # another process has finished it
                if time.time() - left.stat().st_mtime > DAY_S:
                    left.unlink()
        if gib * 2**30 > shutil.disk_usage(folder).free:
            raise UserError(f"{needs}, and the cache {str(folder)!r} has no room for them: choose another with --cache")
        array: NDArray[np.uint8] = np.lib.format.open_memmap(
            folder / f"{name}.{secrets.token_hex(4)}{_PART}", mode="w+", dtype=np.uint8, shape=shape
        )
        return array
    except OSError as error:
        raise UserError(f"{needs}, and cannot be written to the cache: {error}") from error


def drop(images: Any) -> None:
    """Remove an array from `on_disk` that was not filled."""
    Path(images.filename).unlink(missing_ok=True)


def finished(
    folder: Path, name: str, images: Any, facts: NDArray[Any], bad: Mapping[int, str], about: Mapping[str, Any]
) -> Decoded:
    """The entry of an array from `on_disk`, whose first rows were filled."""
    images.flush()
    place = folder / f"{name}{_IMAGES}"
    Path(images.filename).replace(place)
    np.save(folder / f"{name}{_FACTS}", facts, allow_pickle=False)
    told = {**about, "bytes": images.nbytes, "stays": True, "bad": dict(bad)}
    write_whole(folder / f"{name}{_ENTRY}", json.dumps(told))
    return Decoded(OnDisk([str(place)]).at(np.arange(len(facts))), facts, bad)


def keep(folder: Path, name: str, decoded: Decoded, about: Mapping[str, Any]) -> None:
    """Keep an entry, if there is room for it. A cache that cannot be written is no reason to stop.

    Args:
        folder: of the cache.
        name: of the entry.
        decoded: what is kept.
        about: plain JSON values for `nas cache` to show.
    """
    assert not isinstance(decoded.images, OnDisk)
    size = decoded.facts.nbytes + (0 if decoded.images is None else decoded.images.nbytes)
    part = folder / f"{name}.{secrets.token_hex(4)}.part"
    try:
        part.mkdir(parents=True)
        if size > LIMIT_BYTES or size > shutil.disk_usage(folder).free / 2:
            return
        _make_room(folder, size)
        if decoded.images is not None:
            np.save(part / _IMAGES, decoded.images, allow_pickle=False)
        np.save(part / _FACTS, decoded.facts, allow_pickle=False)
        (part / _ENTRY).write_text(json.dumps({**about, "bytes": size, "bad": dict(decoded.bad)}))
        for kind in (_IMAGES, _FACTS, _ENTRY):
            if (part / kind).exists():
                (part / kind).replace(folder / f"{name}{kind}")
    except OSError:  # a full or read-only disk
        return
    finally:
        shutil.rmtree(part, ignore_errors=True)


def entries(folder: Path) -> list[dict[str, Any]]:
    """What is kept, the last used first: the facts of each entry, its `name`, and `used` in seconds since 1970."""
    found = []
    for file in folder.glob(f"*{_ENTRY}"):
        try:
            told = json.loads(file.read_text())
            found.append({**told, "name": file.name.removesuffix(_ENTRY), "used": file.stat().st_mtime})
        except (OSError, ValueError, TypeError):  # damaged, or removed by another process meanwhile
            found.append({"name": file.name.removesuffix(_ENTRY), "used": 0.0})
    return sorted(found, key=lambda each: -each["used"])


def remove(folder: Path, names: Iterable[str]) -> None:
    """Remove entries; a process that has one mapped keeps its pages."""
    for name in names:
        for kind in (_ENTRY, _IMAGES, _FACTS, ".keys.npy"):  # the last of earlier versions
            (folder / f"{name}{kind}").unlink(missing_ok=True)


def remove_parts(folder: Path) -> None:
    """Remove arrays that were not filled: of processes that were killed, and of those that are at it."""
    for left in folder.glob(f"*{_PART}"):
        left.unlink(missing_ok=True)


def _make_room(folder: Path, size: int) -> None:
    """Remove what was not used for longest, until there is room for so many bytes.

    What stays on disk since memory has no room for it may be in use by many processes, and is not removed.
    """
    kept = [each for each in entries(folder) if not each.get("stays")]
    while kept and sum(int(each.get("bytes", 0)) for each in kept) + size > LIMIT_BYTES:
        remove(folder, [kept.pop()["name"]])
