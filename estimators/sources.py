"""Where images come from: `digits`, a folder, an `.npz` file or a data set of the hub, read into parts with labels.

Nothing read here can run code: arrays are read without pickle, images by Pillow, and hub data sets by `datasets` 4 or
newer, which does not run loading scripts.
"""

from __future__ import annotations

import gzip
import importlib.util
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from estimators.arrays import Labelled, labelled
from estimators.decoded_cache import SLOW_S, Decoded, cache_folder, drop, entry_name, finished, keep, on_disk, read
from estimators.image_files import MAX_PIXELS, decoded_bytes, decoded_file, first_line, pillow_settings
from estimators.image_folders import find_images, readable
from estimators.on_disk import OnDisk, limit_bytes
from searchspaces import UserError

DEFAULT_IMAGE_SIZE: Final = 32
"""Default side in pixels of images decoded from files (a folder, the hub)."""

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
    """

    skip_bad: bool = False
    max_pixels: int = MAX_PIXELS
    cache: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.max_pixels, bool) or not isinstance(self.max_pixels, int) or self.max_pixels < 1:
            raise UserError(f"max-pixels must be a whole number of at least 1, got {self.max_pixels!r}")
        if not isinstance(self.skip_bad, bool):
            raise UserError(f"skip-bad must be true or false, got {self.skip_bad!r}")

    def describe(self) -> dict[str, Any]:
        """The settings that are not the defaults and that the images depend on, as plain JSON values."""
        told = {"skip_bad": self.skip_bad, "max_pixels": self.max_pixels}
        return {name: value for name, value in told.items() if value != getattr(Reading(), name)}


@dataclass
class Source:
    """Images as they were read, before any are held out.

    Attributes:
        name: as a person typed it.
        parts: by `train`, `val` and `test`, as far as the source has them.
        class_names: None if the classes have no names.
        notes: what was left out or recognised, as sentences for a screen.
        reading: how files were read.
    """

    name: str
    parts: dict[str, Labelled]
    class_names: tuple[str, ...] | None = None
    notes: list[str] = field(default_factory=list)
    reading: Reading = field(default_factory=Reading)


def read_source(
    spec: str, image_size: int | None = None, reading: Reading | None = None, known: Sequence[str] | None = None
) -> Source:
    """Read images from the source that a person names; arguments and errors as of `load_data`.

    Args:
        spec: the source.
        image_size: side that files are decoded at; arrays keep their size.
        reading: how files are read.
        known: class names that a folder must keep to, where it may have fewer of them; by default it has its own.
    """
    if image_size is not None and (not isinstance(image_size, int) or image_size < 1):
        raise UserError(f"image size must be at least 1 pixel, in whole numbers, got {image_size!r}")
    reading = reading or Reading()
    if spec == "digits":
        return _digits()
    if spec.startswith("hub:"):
        return _hub(spec, image_size or DEFAULT_IMAGE_SIZE, reading)
    if readable(spec) != spec and "\\udc" in ascii(spec):
        raise UserError(
            f"data {spec!r}: the path has bytes that are not UTF-8 and cannot be recorded; rename the folder"
        )
    path = Path(spec).expanduser()
    if path.is_dir():
        return _folder(spec, path, image_size or DEFAULT_IMAGE_SIZE, reading, known)
    if path.is_file() and path.suffix == ".npz":
        return _npz(spec, path)
    if path.exists():
        raise UserError(f"data {spec!r} is neither a folder with one subfolder per class nor an .npz file")
    raise UserError(
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
    except Exception as error:  # a damaged archive makes zipfile, zlib, ast and NumPy raise anything
        raise UserError(f"data {name!r} cannot be read as an .npz of plain arrays: {first_line(error)}") from error
    for key in ("train_images", "train_labels"):
        if key not in arrays:
            raise UserError(f"data {name!r} has no array {key!r}; it has: {', '.join(sorted(found)) or 'none'}")
    names = arrays.pop("class_names", None)
    if names is not None and (names.ndim != 1 or names.dtype.kind not in "US"):
        raise UserError(f"data {name!r}: class_names must be a list of strings, got {names.dtype} {names.shape}")
    return source_of(name, arrays, None if names is None else [readable(each) for each in names.tolist()])


def _folder(name: str, path: Path, image_size: int, reading: Reading, known: Sequence[str] | None) -> Source:
    found = find_images(name, path, need_train=known is None)
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
    bad: list[str] = []
    decoded = {
        kind: _decoded_part(path, [file for each in part.classes.values() for file in each], image_size, reading)
        for kind, part in found.parts.items()
    }
    grey = all(each.grey for each in decoded.values())
    for kind, each in decoded.items():
        classed = found.parts[kind].classes
        labels = np.repeat([classes.index(label) for label in classed], [len(files) for files in classed.values()])
        labels = np.delete(labels, list(each.bad))
        if len(labels):
            images: Any = each.images
            if grey:
                images = images.grey() if isinstance(images, OnDisk) else images[..., :1]
            source.parts[kind], _ = labelled(name, kind, images, labels, [key.tobytes() for key in each.keys])
        bad += each.bad.values()
    if bad:
        more = f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        named = ", ".join(map(repr, bad[:_NAMED]))
        source.notes.append(f"skipped: {len(bad):,} files that cannot be read as images: {named}{more}")
    source.notes = found.all_notes() + source.notes
    if "train" not in source.parts and (known is None or not source.parts):
        raise UserError(f"data {name!r} has no image that can be read" + (f", such as {bad[0]!r}" if bad else ""))
    return source


def _decoded_part(root: Path, files: Sequence[Path], image_size: int, reading: Reading) -> Decoded:
    """The images of files below a folder: from the cache, or decoded by as many threads as there are cores, and kept.

    Those that memory should not hold are decoded into the cache and stay there; see `OnDisk`.

    Raises:
        UserError: a file cannot be read as an image and bad files are not skipped, or there is no room for the images.
    """
    size = len(files) * image_size**2 * 3
    folder, entry = cache_folder(reading.cache), ""
    if folder is not None:
        try:
            entry = entry_name(root, files, [image_size, reading.max_pixels])
        except OSError as error:
            raise UserError(f"cannot read {error.filename!r}: {error.strerror}") from error
        kept = read(folder, entry, len(files))
        if kept is not None and (reading.skip_bad or not kept.bad):
            return kept

    def decode(file: Path) -> tuple[NDArray[np.uint8], bool, bytes] | UserError:
        try:
            return decoded_file(file, image_size, reading.max_pixels)
        except UserError as error:
            if not reading.skip_bad:
                raise UserError(f"{error}; --skip-bad leaves such files out") from error
            return error

    start, shape = time.perf_counter(), (len(files), image_size, image_size, 3)
    large = size > limit_bytes()
    images = on_disk(folder, entry, shape) if large else np.empty(shape, dtype=np.uint8)
    keys: list[bytes] = []
    bad: dict[int, str] = {}
    all_grey = True
    try:
        with pillow_settings(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for position, result in enumerate(pool.map(decode, files)):
                if isinstance(result, UserError):
                    bad[position] = readable(str(files[position].relative_to(root)))
                    continue
                images[len(keys)], grey, key = result
                keys.append(key)
                all_grey &= grey
    except BaseException:
        if large:
            drop(folder, entry)
        raise
    hashes = np.frombuffer(b"".join(keys), np.uint8).reshape(-1, 16)
    about = {"data": str(root.resolve()), "images": len(keys), "image_size": image_size}
    if large:
        assert folder is not None
        return finished(folder, entry, images, hashes, all_grey, bad, about)
    made = Decoded(images[: len(keys)], hashes, all_grey, bad)
    if folder is not None and time.perf_counter() - start > SLOW_S:
        keep(folder, entry, made, about)
    return made


def hub_splits(spec: str) -> Any:
    """The splits of a data set of the hub, as `datasets` gives them; not one image is decoded.

    Raises:
        UserError: the library is missing or too old, there is no such data set, or it has no training split.
    """
    try:
        import datasets
    except ImportError as error:
        raise UserError(
            f"data {spec!r} needs the Hugging Face library; install it with: pip install 'nas-toolkit[hub]'"
        ) from error
    if int(datasets.__version__.split(".")[0]) < 4:
        raise UserError(f"data {spec!r} needs datasets 4 or newer (older ones run scripts), got {datasets.__version__}")
    name, _, config = spec.removeprefix("hub:").partition(":")
    try:
        splits = datasets.load_dataset(name, config or None)
    except Exception as error:  # the library raises many types: no such data set, no network, a bad file
        raise UserError(f"data {spec!r} could not be loaded from the hub: {first_line(error)}") from error
    if "train" not in splits:
        raise UserError(f"data {spec!r} has no split 'train'; it has: {', '.join(splits)}")
    return splits


def _hub(spec: str, image_size: int, reading: Reading) -> Source:
    splits = hub_splits(spec)
    import datasets  # which is there, and new enough

    train = splits["train"]
    image_column, label_column = hub_columns(spec, train.features)
    source = Source(spec, {}, None, [], reading)
    chosen = {"train": train}
    for part, names in (("val", ("validation", "valid", "val")), ("test", ("test",))):
        split = next((splits[each] for each in names if each in splits), None)
        if split is None:
            continue
        if label_column not in split.features or -1 in split.unique(label_column):
            source.notes.append(f"the split {part!r} has no labels and is not used")
        else:
            chosen[part] = split
    if "test" not in chosen and "val" in chosen:  # the only part held out is not for a search to see
        chosen["test"] = chosen.pop("val")

    feature = train.features[label_column]
    if isinstance(feature, datasets.ClassLabel):
        source.class_names = tuple(readable(str(each)) for each in feature.names)
        number = {value: value for value in range(-1, len(feature.names))}
    else:
        values = sorted(train.unique(label_column))
        source.class_names = tuple(readable(str(value)) for value in values)
        number = {value: index for index, value in enumerate(values)}
    decoded = {
        part: _decoded_split(source, split.cast_column(image_column, datasets.Image(decode=False)), part, image_size,
                             lambda row: (row[image_column], number[row[label_column]]))
        for part, split in chosen.items()
    }  # fmt: skip
    grey = all(each[2] for each in decoded.values())
    for part, (images, labels, _) in decoded.items():
        source.parts[part], _ = labelled(spec, part, images[..., :1] if grey else images, labels)
    return source


def _decoded_split(
    source: Source, split: Any, part: str, image_size: int, take: Callable[[Any], tuple[Any, int]]
) -> tuple[NDArray[np.uint8], NDArray[np.int64], bool]:
    """Images and labels of a split of the hub, and whether all images are grey."""
    images = np.empty((len(split), image_size, image_size, 3), dtype=np.uint8)
    labels: list[int] = []
    all_grey, bad = True, 0
    with pillow_settings():
        for index, row in enumerate(split):
            try:
                file, label = take(row)
                content = file["bytes"] if file["bytes"] is not None else Path(file["path"]).read_bytes()
                where = f"data {source.name!r}: image {index} of {part!r}"
                images[len(labels)], grey = decoded_bytes(content, where, image_size, source.reading.max_pixels)
            except KeyError as error:
                raise UserError(
                    f"data {source.name!r}: label {error} of {part!r} is not in the training part"
                ) from error
            except (OSError, TypeError, UserError) as error:
                if not source.reading.skip_bad:
                    raise UserError(
                        f"data {source.name!r} has an image that cannot be decoded, number {index} of {part!r}: "
                        f"{first_line(error)}; --skip-bad leaves such images out"
                    ) from error
                bad += 1
                continue
            labels.append(label)
            all_grey &= grey
    if bad:
        source.notes.append(f"skipped: {bad:,} images of {part!r} that cannot be decoded")
    if not labels:
        raise UserError(f"data {source.name!r}: {part!r} has no image that can be decoded")
    return images[: len(labels)], np.array(labels, dtype=np.int64), all_grey


def hub_columns(spec: str, features: Any) -> tuple[str, str]:
    """Names of the image and the label column: by type, then by the usual names.

    Raises:
        UserError: there are none.
    """
    import datasets

    images = [key for key, feature in features.items() if isinstance(feature, datasets.Image)]
    labels = [key for key, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    labels += [key for key in ("label", "labels") if key in features and key not in labels]
    if not images or not labels:
        raise UserError(f"data {spec!r} is not an image classification set: its columns are {', '.join(features)}")
    return images[0], "label" if "label" in labels else labels[0]
