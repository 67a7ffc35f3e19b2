"""Where images come from: `digits`, a folder, an `.npz` file or a data set of the hub, read into parts with labels.

Nothing read here can run code: arrays are read without pickle, images by Pillow, and hub data sets by `datasets` 4 or
newer, which does not run loading scripts.
"""

from __future__ import annotations

import gzip
import importlib.util
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from estimators.arrays import Labelled, labelled
from estimators.contents import Contents, Files, Rows
from estimators.decoded_cache import SLOW_S, Decoded, cache_folder, drop, finished, keep, on_disk, read
from estimators.hub import hub_columns, hub_splits
from estimators.image_facts import FACTS, facts_of
from estimators.image_files import MAX_PIXELS, decoded_bytes, first_line, hash_of, notes_on_ranges, pillow_settings
from estimators.image_folders import find_images, readable
from estimators.in_files import InFiles
from estimators.on_disk import OnDisk, limit_bytes
from searchspaces import UserError
from searchspaces.plural import number_of
from searchspaces.progress import counted, doing

DEFAULT_IMAGE_SIZE: Final = 32
"""Default side in pixels of images decoded from files (a folder, the hub)."""


class NothingThereError(UserError):
    """There is nothing at the place that images should be at."""


@contextmanager
def recorded_place() -> Iterator[None]:
    """Of images that are not where a file says, an error says how to give the place where they are now."""
    try:
        yield
    except NothingThereError as error:
        raise NothingThereError(f"{error}; if the images have moved, add --data DATA") from error


PARTS: Final = ("train", "val", "test")
_NAMED: Final = 3
"""Files that cannot be read which a note names."""


@dataclass(frozen=True)
class Reading:
    """How image files are read.

    Attributes:
        skip_bad: leave out files that cannot be read as images, instead of refusing the data.
        max_pixels: pixels of the largest image that is decoded.
        cache: the folder in which decoded images are kept, or `none`; see `decoded_cache`.
        centre: share of the shorter side that the centre square of an image has, in (0, 1].
    """

    skip_bad: bool = False
    max_pixels: int = MAX_PIXELS
    cache: str | None = None
    centre: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.max_pixels, bool) or not isinstance(self.max_pixels, int) or self.max_pixels < 1:
            raise UserError(f"max-pixels must be a whole number of at least 1, got {self.max_pixels!r}")
        if isinstance(self.centre, bool) or not isinstance(self.centre, int | float) or not 0 < self.centre <= 1:
            raise UserError(f"centre-crop must be above 0 and at most 1, got {self.centre!r}")
        if not isinstance(self.skip_bad, bool):
            raise UserError(f"skip-bad must be true or false, got {self.skip_bad!r}")

    def describe(self) -> dict[str, Any]:
        """The settings that are not the defaults and that the images depend on, as plain JSON values."""
        told = {"skip_bad": self.skip_bad, "max_pixels": self.max_pixels, "centre": self.centre}
        return {name: value for name, value in told.items() if value != getattr(Reading(), name)}


READING: Final = tuple(each.name for each in fields(Reading))
"""How image files are read: given among an estimator's settings, so that a run folder keeps them."""


def reading_of(held: Mapping[str, Any]) -> dict[str, Any]:
    """How image files are read, of all that is said of them, as `load_data` takes it."""
    return {name: held[name] for name in READING if name in held}


@dataclass
class Source:
    """Images as they were read, before any are held out.

    Attributes:
        name: as a person typed it.
        parts: by `train`, `val` and `test`, as far as the source has them.
        class_names: None if the classes have no names.
        notes: what was left out or recognized, as sentences for a screen.
        reading: how files were read.
    """

    name: str
    parts: dict[str, Labelled]
    class_names: tuple[str, ...] | None = None
    notes: list[str] = field(default_factory=list)
    reading: Reading = field(default_factory=Reading)


def read_source(
    spec: str,
    image_size: int | None = None,
    reading: Reading | None = None,
    known: Sequence[str] | None = None,
    in_files: bool = False,
) -> Source:
    """Read images from the source that a person names; arguments and errors as of `load_data`.

    Args:
        spec: the source.
        image_size: side that files are decoded at; arrays keep their size.
        reading: how files are read.
        known: class names that a folder must keep to, where it may have fewer of them; by default it has its own.
        in_files: whether images stay in their files; see `InFiles`.
    """
    if image_size is not None and (not isinstance(image_size, int) or image_size < 1):
        raise UserError(f"image size must be at least 1 pixel, in whole numbers, got {image_size!r}")
    reading = reading or Reading()
    path = Path(spec).expanduser()
    doing(f"reading {spec}")
    if reading.centre != 1 and (spec == "digits" or path.suffix == ".npz"):
        raise UserError(f"--centre-crop is for image files, and data {spec!r} are arrays")
    if spec == "digits":
        return _digits()
    if spec.startswith("hub:"):
        return _hub(spec, image_size or DEFAULT_IMAGE_SIZE, reading, in_files)
    if readable(spec) != spec and "\\udc" in ascii(spec):
        raise UserError(
            f"data {spec!r}: the path has bytes that are not UTF-8 and cannot be recorded; rename the folder"
        )
    if path.is_dir():
        return _folder(spec, path, image_size or DEFAULT_IMAGE_SIZE, reading, known, in_files)
    if path.is_file() and path.suffix == ".npz":
        return _npz(spec, path)
    if path.exists():
        raise UserError(f"data {spec!r} is neither a folder with one subfolder per class nor an .npz file")
    raise NothingThereError(
        f"no data at {spec!r}; give 'digits', a folder with one subfolder per class, an .npz file, or hub:NAME"
    )


def source_of(name: str, arrays: dict[str, NDArray[Any]], class_names: Iterable[Any] | None) -> Source:
    """A source from arrays by name, such as `train_images` and `train_labels`.

    Raises:
        UserError: an array is missing or not as it must be; the message has its name.
    """
    source = Source(name, {}, None if class_names is None else tuple(readable(str(each)) for each in class_names))
    for part in PARTS:
        images, labels = arrays.get(f"{part}_images"), arrays.get(f"{part}_labels")
        if images is None and labels is None:
            continue
        if images is None or labels is None:
            missing = f"{part}_labels" if labels is None else f"{part}_images"
            raise UserError(f"data {name!r}: a {part} part needs both images and labels; {missing} is missing")
        source.parts[part], notes = labelled(name, part, images, labels)
        source.notes += notes
    return source


def _digits() -> Source:
    found = importlib.util.find_spec("sklearn")
    assert found is not None
    assert found.submodule_search_locations is not None
    # read as scikit-learn's load_digits does, but without importing scikit-learn, which takes a second
    file = Path(found.submodule_search_locations[0], "datasets", "data", "digits.csv.gz")
    with gzip.open(file, "rt", encoding="ascii") as stream:
        table = np.loadtxt(stream, delimiter=",")  # (1797, 65): 64 pixels in 0..16, and the class
    images = np.rint(table[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    labels = table[:, -1].astype(np.int64)
    return source_of("digits", {"train_images": images, "train_labels": labels}, "0123456789")


def _npz(name: str, path: Path) -> Source:
    keys = {f"{part}_{kind}" for part in PARTS for kind in ("images", "labels")} | {"class_names"}
    try:
        with path.open("rb") as stream:
            file = np.load(stream, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError("it is a single array")
            found = file.files
            arrays = {key: file[key] for key in sorted(keys.intersection(found))}
        for key, value in arrays.items():
            if not isinstance(value, np.ndarray):  # NumPy gives the bytes of a member without its signature
                raise ValueError(f"{key} is not an array")
    except Exception as error:  # a damaged archive makes zipfile, zlib, ast and NumPy raise anything
        raise UserError(f"data {name!r} cannot be read as an .npz of plain arrays: {first_line(error)}") from error
    for key in ("train_images", "train_labels"):
        if key not in arrays:
            raise UserError(f"data {name!r} has no array {key!r}; it has: {', '.join(sorted(found)) or 'none'}")
    names = arrays.pop("class_names", None)
    if names is not None and (names.ndim != 1 or names.dtype.kind not in "US"):
        raise UserError(f"data {name!r}: class_names must be a list of strings, got {names.dtype} {names.shape}")
    return source_of(name, arrays, None if names is None else [readable(each) for each in names.tolist()])


def _folder(
    name: str, path: Path, image_size: int, reading: Reading, known: Sequence[str] | None, in_files: bool
) -> Source:
    found = find_images(name, path, need_train=known is None, skip_empty=reading.skip_bad)
    classes = tuple(found.parts["train"].classes) if known is None else tuple(known)
    if len(classes) < 2:
        seen = "; ".join([*map(repr, classes), *found.all_notes()]) or "nothing"
        raise UserError(
            f"data {name!r}: at least 2 subfolders, one per class, are needed; there are {len(classes)}; seen: {seen}"
        )
    for part in found.parts.values():
        for strange in (each for each in part.classes if each not in classes):
            whose = f"{found.parts['train'].folder!r} does not have" if known is None else "the network does not have"
            raise UserError(f"data {name!r}: {part.folder!r} has class {strange!r}, which {whose}")
    source = Source(name, {}, classes, [], reading)
    contents: dict[str, Contents] = {}
    labels = {}
    for kind, part in found.parts.items():
        contents[kind] = Files(path, [file for each in part.classes.values() for file in each])
        labels[kind] = np.repeat([classes.index(each) for each in part.classes], [*map(len, part.classes.values())])
    bad = _add_parts(source, contents, labels, image_size, in_files)
    everything = [file for part in found.parts.values() for files in part.classes.values() for file in files]
    source.notes = found.all_notes() + source.notes + notes_on_ranges(everything, reading.max_pixels)
    if "train" not in source.parts and (known is None or not source.parts):
        seen = "; ".join(found.all_notes())
        why = f", such as {bad[0]!r}" if bad else f" in a folder of its class; seen: {seen or 'nothing'}"
        raise UserError(f"data {name!r} has no image that can be read{why}")
    return source


def _add_parts(
    source: Source,
    files: Mapping[str, Contents],
    labels: Mapping[str, NDArray[np.int64]],
    image_size: int,
    in_files: bool,
) -> list[str]:
    """Decode the files of each part into a source; the names of those that cannot be read."""
    decoded = {kind: _decoded(source, each, image_size, in_files) for kind, each in files.items()}
    channels = 1 if all(each.facts["grey"].all() for each in decoded.values()) else 3
    bad: list[str] = []
    for kind, each in decoded.items():
        bad += each.bad.values()
        good = np.delete(np.arange(len(files[kind])), list(each.bad))
        if not len(good):
            continue
        images: Any = each.images
        if images is None:
            facts = np.zeros(len(files[kind]), FACTS)
            facts[good] = each.facts
            images = InFiles(
                [files[kind]], image_size, channels, source.reading.max_pixels, facts, good, source.reading.centre
            )
        elif channels == 1:
            images = images.grey() if isinstance(images, OnDisk) else images[..., :1]
        source.parts[kind], _ = labelled(source.name, kind, images, labels[kind][good], each.facts)
    if bad:
        more = f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        named = ", ".join(map(repr, bad[:_NAMED]))
        source.notes.append(f"skipped: {number_of(len(bad), 'file')} that cannot be read as images: {named}{more}")
    return bad


def _decoded(source: Source, files: Contents, image_size: int, in_files: bool) -> Decoded:
    """The images of files: from the cache, or decoded by as many threads as there are cores, and kept.

    Those that memory should not hold are decoded into the cache and stay there; see `OnDisk`. Of those that stay in
    their files only the facts are kept.

    Raises:
        UserError: a file cannot be read as an image and bad files are not skipped, or there is no room for the images.
    """
    reading, shape = source.reading, (len(files), image_size, image_size, 3)
    folder, entry = cache_folder(reading.cache), ""
    if folder is not None:
        entry = files.entry(image_size, reading.max_pixels, reading.centre, *(["facts"] if in_files else []))
        kept = read(folder, entry, len(files), not in_files)
        if kept is not None and (reading.skip_bad or not kept.bad):
            return kept

    start, large = time.perf_counter(), not in_files and int(np.prod(shape)) > limit_bytes()
    images: NDArray[np.uint8] | None = None
    if not in_files:
        images = on_disk(folder, entry, shape) if large else np.empty(shape, dtype=np.uint8)
    try:
        facts, bad = _decode_all(files, image_size, reading, images)
    except BaseException:
        if large:
            drop(images)
        raise
    about = {"data": source.name, "images": len(facts), "image_size": image_size}
    if large:
        assert folder is not None
        return finished(folder, entry, images, facts, bad, about)
    made = Decoded(None if images is None else images[: len(facts)], facts, bad)
    if folder is not None and time.perf_counter() - start > SLOW_S:
        keep(folder, entry, made, about)
    return made


def _decode_all(
    files: Contents, image_size: int, reading: Reading, images: NDArray[np.uint8] | None
) -> tuple[NDArray[Any], dict[int, str]]:
    """Decode files into the first rows of an array, if there is one; their facts, and the names of those that are bad.

    Raises:
        UserError: a file cannot be read as an image, and bad files are not skipped.
    """

    def decode(row: int) -> tuple[NDArray[np.uint8], NDArray[Any]] | UserError:
        try:
            content = files.read(row)
            pixels, grey = decoded_bytes(content, files.named(row), image_size, reading.max_pixels, reading.centre)
        except UserError as error:
            if not reading.skip_bad:
                raise UserError(f"{error}; --skip-bad skips such files") from error
            return error
        return pixels, facts_of(pixels, hash_of(content), grey)

    facts: list[NDArray[Any]] = []
    bad: dict[int, str] = {}
    with pillow_settings(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        try:
            results = counted("decoding", pool.map(decode, range(len(files))), len(files), "images")
            for row, result in enumerate(results):
                if isinstance(result, UserError):
                    bad[row] = readable(files.relative(row))
                    continue
                if images is not None:
                    images[len(facts)] = result[0]
                facts.append(result[1])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # an interrupt waits for no other images
            raise
    return np.concatenate(facts) if facts else np.zeros(0, FACTS), bad


def _hub(spec: str, image_size: int, reading: Reading, in_files: bool) -> Source:
    splits = hub_splits(spec)
    import datasets  # which is there, and new enough

    train = splits["train"]
    image_column, label_column = hub_columns(spec, train.features)
    feature = train.features[label_column]
    if not isinstance(feature, datasets.ClassLabel | datasets.Value):
        raise UserError(f"data {spec!r}: column {label_column!r} does not hold one label per image")
    values = set(train.unique(label_column))
    hidden = {None, -1} if isinstance(feature, datasets.ClassLabel) else {None, *({-1} - values)}
    if not hidden.isdisjoint(values):
        raise UserError(f"data {spec!r}: some images of 'train' have no label in column {label_column!r}")
    source = Source(spec, {}, None, [], reading)
    chosen = {"train": train}
    for part, names in (("val", ("validation", "valid", "val")), ("test", ("test",))):
        split = next((splits[each] for each in names if each in splits), None)
        if split is None:
            continue
        if label_column not in split.features or not hidden.isdisjoint(split.unique(label_column)):
            source.notes.append(f"the split {part!r} has no labels and is not used")
        else:
            chosen[part] = split
    if "test" not in chosen and "val" in chosen:  # the only part held out is not for a search to see
        chosen["test"] = chosen.pop("val")

    if isinstance(feature, datasets.ClassLabel):
        source.class_names = tuple(readable(str(each)) for each in feature.names)
        number = {value: value for value in range(len(feature.names))}
    else:
        source.class_names = tuple(readable(str(value)) for value in sorted(values))
        number = {value: index for index, value in enumerate(sorted(values))}
    files: dict[str, Contents] = {}
    labels = {}
    for part, split in chosen.items():
        rows = split.cast_column(image_column, datasets.Image(decode=False))
        files[part] = Rows(rows, image_column, f"{part!r} in data {spec!r}")
        try:
            labels[part] = np.array([number[value] for value in split[label_column]], dtype=np.int64)
        except KeyError as error:
            raise UserError(f"data {spec!r}: label {error} of {part!r} is not in the training part") from error
    bad = _add_parts(source, files, labels, image_size, in_files)
    for part in chosen:
        if part not in source.parts:
            raise UserError(f"data {spec!r}: {part!r} has no image that can be read, such as {bad[0]!r}")
    return source
