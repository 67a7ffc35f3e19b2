"""Folders of images: which files belong to which class and part, and what is left out.

One subfolder is one class; where folders are named as parts of a data set usually are (`train`, `val`, `test` and their
variants), the classes are inside them. Links are followed. Hidden and system files, files that are no images and run
folders of `nas` are left out at every depth, and counted, so that a screen can say so.
"""

from __future__ import annotations

import json
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from searchspaces import UserError
from searchspaces.plural import number_of

SPLITS: Final = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
"""Parts of a data set, by the usual names of their folders in lower case."""

_SYSTEM: Final = {
    "thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "#recycle", "@recycle", "$recycle.bin",
    "lost+found", "__pycache__", "system volume information",
}  # fmt: skip
_SUFFIXES: Final = {
    ".apng", ".avif", ".avifs", ".bmp", ".bw", ".dib", ".gif", ".heic", ".heif", ".icb", ".ico", ".j2c", ".j2k",
    ".jfif", ".jp2", ".jpc", ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".mpo", ".pbm", ".pcx", ".pfm", ".pgm", ".png",
    ".pnm", ".ppm", ".psd", ".qoi", ".rgb", ".rgba", ".sgi", ".tga", ".tif", ".tiff", ".vda", ".vst", ".webp",
}  # fmt: skip
"""Files that are images by name. HEIC is, although Pillow cannot decode it: a photograph must not vanish silently."""
_BEGINNINGS: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"II*\x00", b"MM\x00*")
"""How image files without a known suffix begin: JPEG, PNG, GIF, TIFF; WebP and HEIC are in `_looks_like_image`."""


@dataclass(frozen=True)
class Part:
    """One part of a data set.

    Attributes:
        folder: its name, for messages.
        classes: files by class, in the order of class names.
    """

    folder: str
    classes: Mapping[str, tuple[Path, ...]]


@dataclass
class Found:
    """What is in a folder.

    Attributes:
        parts: by `train`, `val` and `test`; all is `train` where folders are no parts.
        skipped: number of files and folders that are left out, by kind.
        notes: what else is worth knowing, as sentences.
    """

    parts: dict[str, Part] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def all_notes(self) -> list[str]:
        """The notes, with one on what is skipped."""
        counted = ", ".join(f"{kind} ({number:,})" for kind, number in sorted(self.skipped.items()))
        return [*([f"skipped: {counted}"] if counted else []), *self.notes]


def find_images(name: str, path: Path, need_train: bool = True, skip_empty: bool = False) -> Found:
    """The image files of a folder, by part and class.

    Args:
        name: of the data, for messages.
        path: the folder.
        need_train: refuse folders named as other parts of a data set without a training part.
        skip_empty: leave out class folders without images, instead of refusing the first of them.

    Raises:
        UserError: its layout is not understood; the message says what was seen.
    """
    found = Found()
    loose, folders = _listed(path, found.skipped)
    splits = {each: SPLITS[each.name.lower()] for each in folders if each.name.lower() in SPLITS}
    kinds = set(splits.values())
    others = [each for each in folders if each not in splits]
    only_others = bool(splits) and "train" not in kinds and not others and not need_train
    if not only_others and ("train" not in kinds or (len(kinds) < 2 and not _is_split(next(iter(splits)), others))):
        if len(splits) == len(folders) and len(folders) > 1:
            seen = ", ".join(repr(readable(each.name)) for each in folders)
            raise UserError(f"data {name!r} has the folders {seen}, but none named 'train' or 'training'")
        _skip_loose(loose, found)
        found.parts["train"] = Part(readable(path.name), _classes(name, path, folders, found, skip_empty))
        if _has_splits_inside(folders):
            raise UserError(
                f"data {name!r}: each class has folders such as 'train' and 'test' inside; put the parts outside, "
                "as in train/CLASS and test/CLASS"
            )
        return found
    for kind in ("train", "val", "test"):
        named = [each for each in splits if splits[each] == kind]
        if len(named) > 1:
            raise UserError(f"data {name!r} has both {named[0].name!r} and {named[1].name!r}; one of them is enough")
        if named:
            _add_part(name, kind, named[0], found, skip_empty)
    for other in others:
        if _images(other, Counter(), set()):
            raise UserError(
                f"data {name!r} has the parts {', '.join(repr(each.name) for each in splits)} and next to them "
                f"{readable(other.name)!r}, which also has images; move it elsewhere"
            )
        found.skipped["folders next to the parts"] += 1
    _skip_loose(loose, found)
    return found


def _skip_loose(loose: list[Path], found: Found) -> None:
    if loose:
        found.skipped["images outside the class folders"] += len(loose)


def _add_part(name: str, kind: str, folder: Path, found: Found, skip_empty: bool) -> None:
    """Add the classes of a part; a part without class folders is left out, unless it is the training part."""
    loose, folders = _listed(folder, found.skipped)
    classes = _classes(name, folder, folders, found, skip_empty, may_be_empty=kind != "train")
    if kind != "train":
        classes = {each: files for each, files in classes.items() if files}
        if not classes:
            have = f"{number_of(len(loose), 'image')} but no class folders" if loose else "no images"
            found.notes.append(f"{folder.name!r} has {have} and is not used")
            return
    elif not classes and loose:
        raise UserError(
            f"data {name!r}: {folder.name!r} has {number_of(len(loose), 'image')} but no class folders; put the "
            "images of each class into a folder of its name"
        )
    _skip_loose(loose, found)
    found.parts[kind] = Part(folder.name, classes)


def _is_split(train: Path, others: Iterable[Path]) -> bool:
    """Whether a folder named `train` is the training part: a class of that name has images directly inside."""
    loose, folders = _listed(train, Counter())
    return not others or (not loose and len(folders) > 1)


def _has_splits_inside(folders: Iterable[Path]) -> bool:
    inside = []
    for folder in folders:
        with os.scandir(folder) as entries:  # by name first: a class has thousands of files, and these are few
            named = [entry for entry in entries if entry.name.lower() in SPLITS]
        inside.append({SPLITS[entry.name.lower()] for entry in named if entry.is_dir()})
    return len(inside) > 1 and all(len(each) > 1 for each in inside)


def _classes(
    name: str, path: Path, folders: Iterable[Path], found: Found, skip_empty: bool, may_be_empty: bool = False
) -> dict[str, tuple[Path, ...]]:
    """Files by class, in the order of class names."""
    classes: dict[str, tuple[Path, ...]] = {}
    for folder in folders:
        skipped: Counter[str] = Counter()
        files = _images(folder, skipped, set())
        found.skipped += skipped
        others = [kind for kind in skipped if kind != _HIDDEN]
        if not files and others and _DANGLING not in others:
            found.notes.append(
                f"{readable(folder.name)!r} has no images and is not a class; it has: {', '.join(others)}"
            )
            continue
        if not files and not may_be_empty and skip_empty:
            found.skipped["class folders without images"] += 1
            continue
        if not files and not may_be_empty:
            label = readable(folder.name)
            raise UserError(f"data {name!r}: class {label!r} has no image; --skip-bad skips such folders")
        label = readable(folder.name)
        if label in classes:
            raise UserError(
                f"data {name!r}: two folders in {readable(path.name)!r} are named {label!r}, in different bytes"
            )
        classes[label] = tuple(sorted(files))
    return dict(sorted(classes.items()))


def _images(folder: Path, skipped: Counter[str], seen: set[tuple[int, int]]) -> list[Path]:
    """All images in a folder and below; a folder that is reached again through a link is read once."""
    try:
        status = folder.stat()
    except OSError as error:
        raise UserError(f"cannot read the folder {str(folder)!r}: {error.strerror}") from error
    if (status.st_dev, status.st_ino) in seen:
        skipped["links to folders that were already read"] += 1
        return []
    seen.add((status.st_dev, status.st_ino))
    files, folders = _listed(folder, skipped)
    for each in folders:
        files += _images(each, skipped, seen)
    return files


def images_below(folder: Path) -> list[Path]:
    """All image files in a folder and below, in order; hidden and system files are left out.

    Raises:
        UserError: the folder has none, or cannot be read.
    """
    found = sorted(_images(folder, Counter(), set()))
    if not found:
        raise UserError(f"the folder {str(folder)!r} has no images")
    return found


_HIDDEN: Final = "hidden or system files and folders"
_DANGLING: Final = "broken links"


def _listed(path: Path, skipped: Counter[str]) -> tuple[list[Path], list[Path]]:
    """The images and the folders directly in a folder, each in the order of names, without what is skipped."""
    images, folders = [], []
    try:
        entries = sorted(os.scandir(path), key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"cannot read the folder {str(path)!r}: {error.strerror}") from error
    for entry in entries:
        if entry.name.startswith(".") or entry.name.lower() in _SYSTEM:
            skipped[_HIDDEN] += 1
            continue
        each = path / entry.name
        suffix = os.path.splitext(entry.name)[1].lower()
        try:  # what the listing says of an entry, without asking for each file: only links are followed
            is_folder, is_file = entry.is_dir(), entry.is_file()
        except OSError:
            is_folder = is_file = False
        if is_folder:
            if _is_ours(each):
                skipped["run folders of nas"] += 1
            else:
                folders.append(each)
        elif not is_file:
            skipped[_DANGLING if entry.is_symlink() and not each.exists() else "special files"] += 1
        elif named_as_image(each) or _looks_like_image(each):
            images.append(each)
        else:
            skipped[readable(suffix) or "files without a suffix"] += 1
    return images, folders


def named_as_image(path: Path) -> bool:
    """Whether a file's name ends as those of images do."""
    return path.suffix.lower() in _SUFFIXES


def _looks_like_image(file: Path) -> bool:
    """Whether a file without a known suffix begins as images do."""
    try:
        with file.open("rb") as stream:
            start = stream.read(16)
    except OSError as error:
        raise UserError(f"{str(file)!r} cannot be read: {error.strerror}") from error
    in_a_box = start[4:8] == b"ftyp" and start[8:12] in (b"heic", b"heix", b"mif1", b"avif")
    return start.startswith(_BEGINNINGS) or (start[:4] == b"RIFF" and start[8:12] == b"WEBP") or in_a_box


def _is_ours(folder: Path) -> bool:
    """Whether `nas` wrote the folder: a study, a trained network or an export."""
    if (folder / "training.json").is_file() and (folder / "network.json").is_file():
        return True
    if (folder / "model_card.md").is_file() and any((folder / f"model.{each}").is_file() for each in ("onnx", "py")):
        return True
    manifest = folder / "study.json"
    if not manifest.is_file():
        return False
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # a file of that name which is no manifest
        return False
    return isinstance(content, dict) and {"strategy", "estimator", "format"} <= content.keys()


def readable(name: str | bytes) -> str:
    """A name as text that can be shown, written and compared anywhere.

    Bytes that are no UTF-8 are read as Latin-1, composed and decomposed accents become the same (NFC), and control
    characters become replacement characters.

    >>> readable(b"caf\\xe9") == readable("cafe\\u0301") == "caf\\u00e9"
    True
    """
    content = name if isinstance(name, bytes) else _encoded(name)
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    text = unicodedata.normalize("NFC", text)
    return "".join("\ufffd" if unicodedata.category(each) == "Cc" else each for each in text)


def _encoded(name: str) -> bytes:
    """The bytes of a name, those too that Python keeps of a file's name where they are no UTF-8."""
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return name.encode("utf-8", "replace")


PORTABLE_NAMES: Final = (readable, _encoded)
"""The functions that make names readable, which an exported `model.py` contains."""
PORTABLE: Final = (images_below, _images, _listed, named_as_image, _looks_like_image, _is_ours, *PORTABLE_NAMES)
"""The functions that list a folder, which an exported `predict.py` contains, with these constants."""
PORTABLE_CONSTANTS: Final = {
    "_SYSTEM": tuple(sorted(_SYSTEM)),
    "_SUFFIXES": tuple(sorted(_SUFFIXES)),
    "_BEGINNINGS": _BEGINNINGS,
    "_HIDDEN": _HIDDEN,
    "_DANGLING": _DANGLING,
}
