"""Image classification data: read once, cropped square, and held as one uint8 array that all trials share.

`estimators.sources` reads `digits` (scikit-learn's bundled 8x8 digits), a folder with one subfolder per class, an
`.npz` of uint8 arrays, and `hub:NAME`, a data set of the Hugging Face hub (extra `hub`). Here its parts are checked,
images are held out, and copies of test and validation images are taken out of the training part.

Left out: detection and multi-label data, streaming, and data that do not fit into memory at the proxy's image size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from estimators.arrays import Labelled, squared
from estimators.image_files import MAX_PIXELS, read_images, recoloured
from estimators.image_folders import readable
from estimators.in_files import InFiles
from estimators.mirroring import mirroring, mirrors
from estimators.on_disk import chunks, joined
from estimators.sources import DEFAULT_IMAGE_SIZE, Reading, Source, read_source, source_of
from searchspaces import Task, UserError
from searchspaces.plural import number_of

__all__ = [
    "DEFAULT_IMAGE_SIZE",
    "ImageData",
    "has_validation_part",
    "load_data",
    "mirrors",
    "read_images",
    "recoloured",
    "stratified_split",
    "train_and_validation",
]

TEST_FRACTION: Final = 0.15
"""Share of the images held out as test images if the source has none."""

_LEFT_OUT: Final = "left out of"
_OF_THE_PART: Final = "of the validation part"
_TEST_SEED: Final = 20_231  # not the study's seed: no study may train on the test images of another


@dataclass(frozen=True, eq=False, slots=True)
class ImageData:
    """Square images with labels, and held-out test images.

    Made by `load_data` or `ImageData.of`, which check their input.

    Attributes:
        name: source of the images, as a person typed it.
        images: uint8 (images, height, width, channels), for training and validation; `OnDisk` where they lie decoded
            in the cache, `InFiles` where they stay in their files.
        labels: int64 (images,), in [0, classes).
        test_images, test_labels: the test images, which no search uses, and their labels.
        class_names: one name per class.
        test_part: `own` if the source has test images, else `held out 15 %, stratified`.
        mirror: whether mirroring an image keeps its class; see `mirroring`.
        fingerprint: sha256 over class names, labels and images: their pixels, or the content of their files.
        validation: indices of the images that are validation images, if the source has a validation part; by default
            they are chosen at random.
        mirror_reason: why images are mirrored or not.
        notes: what was left out, recognized or found odd, as sentences for a screen.
        reading: how image files were read.
        copies: for each image the index of the first copy of it; None if no two are copies, or if the source has a
            validation part.
    """

    name: str
    images: Any
    labels: NDArray[np.int64]
    test_images: Any
    test_labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    test_part: str
    mirror: bool
    fingerprint: str
    validation: NDArray[np.int64] | None = None
    mirror_reason: str = ""
    notes: tuple[str, ...] = ()
    reading: Reading = field(default_factory=Reading)
    copies: NDArray[np.int64] | None = None

    @classmethod
    def of(
        cls,
        name: str,
        images: NDArray[Any],
        labels: NDArray[Any],
        test_images: NDArray[Any] | None = None,
        test_labels: NDArray[Any] | None = None,
        class_names: Sequence[str] | None = None,
        image_size: int | None = None,
    ) -> ImageData:
        """Check arrays, crop the images square, and hold out test images if there are none.

        Args:
            name: of the data, for messages and manifests.
            images, test_images: uint8 (images, height, width) or (images, height, width, channels).
            labels, test_labels: whole numbers (images,), from 0.
            class_names: one per class; by default the number of the class.
            image_size: side in pixels; by default the shorter side of the images.

        Raises:
            UserError: the arrays do not fit together; the message says which and why.
        """
        arrays = {"train_images": images, "train_labels": labels}
        arrays |= {} if test_images is None else {"test_images": test_images}
        arrays |= {} if test_labels is None else {"test_labels": test_labels}
        return cls.from_source(source_of(name, arrays, class_names), image_size)

    @classmethod
    def from_source(cls, source: Source, image_size: int | None = None) -> ImageData:
        """Check the parts of a source, crop the images square, and hold out test images if there are none.

        Raises:
            UserError: the parts do not fit together or are too small; the message says which and why.
        """
        if image_size is not None and image_size < 1:
            raise UserError(f"image size must be at least 1 pixel, got {image_size}")
        name, notes, parts = source.name, list(source.notes), dict(source.parts)
        names = _checked_names(source)
        for part, each in parts.items():
            _check_range(name, f"{part}_labels", each.labels, len(names))
            if each.images.shape[3] != parts["train"].images.shape[3]:
                have = f"{parts['train'].images.shape[3]} channels, {part}_images {each.images.shape[3]}"
                raise UserError(f"data {name!r}: train_images have {have}")
        notes += _oddities(parts.values())
        train, validation = parts["train"], parts.get("val")
        if "test" in parts or validation is not None:
            # a validation part alone is the only part held out, and not for a search to see
            test, test_part = parts.get("test", validation), "own"
            validation = validation if "test" in parts else None
            assert test is not None
        else:
            rest, kept = stratified_split(train.labels, TEST_FRACTION, _TEST_SEED, least=1, leave=2)
            if not len(kept):
                raise UserError(
                    f"data {name!r}: too few images to hold any out for a test; at least 3 images of one class or a "
                    "test part are needed"
                )
            train, test = train[rest], train[kept]
            test_part = f"held out {TEST_FRACTION:.0%}, stratified".replace("%", " %")
        if validation is not None:
            validation, note = _apart(validation, test, "the validation part", "the test part")
            notes += note
        train, note = _apart(train, test, "the training part", "the test part")
        notes += note
        if validation is not None:
            train, note = _apart(train, validation, "the training part", "the validation part")
            notes += note
        if validation is not None and not len(validation.labels):
            validation = None
        _check_counts(name, train, names, 2 if validation is None else 1, notes)
        copies = train.copies() if validation is None else None
        if copies is not None:
            notes.append(_on_copies(name, train, copies))

        side = image_size or min(train.images.shape[1:3])
        images, labels, indices = squared(train.images, side), train.labels, None
        if validation is not None:
            indices = np.arange(len(labels), len(labels) + len(validation.labels))
            images = joined(images, squared(validation.images, side))
            labels = np.concatenate([labels, validation.labels])
            notes.append(f"validation images: the {len(indices):,} {_OF_THE_PART}")
        arrays = images, labels, squared(test.images, side), test.labels
        mirror, reason = mirroring(names) if source.class_names else (False, "the classes have no names")
        facts = [each.facts for each in (train, *([] if validation is None else [validation]), test)]
        if any(each is None for each in facts):
            fingerprint = _fingerprint(names, arrays if indices is None else (*arrays, indices))
        else:
            fingerprint = _fingerprint_of_files(names, arrays, facts, indices, source.reading.centre)
        return cls(
            name, *arrays, names, test_part, mirror, fingerprint, indices, reason, tuple(notes), source.reading, copies
        )  # fmt: skip

    def resized(self, image_size: int) -> ImageData:
        """The same images at another side, in pixels; the test images stay the same."""
        images, test_images = squared(self.images, image_size), squared(self.test_images, image_size)
        arrays: tuple[NDArray[Any], ...] = (images, self.labels, test_images, self.test_labels)
        arrays += () if self.validation is None else (self.validation,)
        fingerprint = _fingerprint(self.class_names, arrays)
        return replace(self, images=images, test_images=test_images, fingerprint=fingerprint)

    def is_recorded_as(self, fingerprint: object) -> bool:
        """Whether these are the images of a recorded fingerprint; that of files was once one of their pixels."""
        if fingerprint == self.fingerprint or isinstance(self.images, InFiles):
            return fingerprint == self.fingerprint
        arrays: tuple[Any, ...] = (self.images, self.labels, self.test_images, self.test_labels)
        return fingerprint == _fingerprint(
            self.class_names, arrays if self.validation is None else (*arrays, self.validation)
        )

    @property
    def task(self) -> Task:
        """The proxy task: image size, channels and classes."""
        return Task(self.images.shape[1], self.images.shape[3], len(self.class_names))

    def describe(self) -> dict[str, Any]:
        """Description as plain JSON values, without the folder, so that the data may be moved."""
        return {
            "name": self.name if self.name.startswith("hub:") else readable(Path(self.name).name),
            "task": str(self.task),
            "images": len(self.images),
            "test_images": len(self.test_images),
            "test_part": self.test_part,
            "mirror": self.mirror,
            "mirror_reason": self.mirror_reason,
            "notes": list(self.notes),
            **self.reading.describe(),
            **({"in_files": True} if isinstance(self.images, InFiles) else {}),
            "fingerprint": self.fingerprint,
        }


def has_validation_part(described: Mapping[str, Any]) -> bool:
    """Whether images, as `ImageData.describe` describes them, came with a validation part, which no seed chooses."""
    return any(str(note).endswith(_OF_THE_PART) for note in described.get("notes", ()))


def stratified_split(
    labels: NDArray[np.int64], fraction: float, seed: int, least: int = 0, leave: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A stratified split of the indices of images: `(rest, part)`, both ascending.

    Args:
        labels: (images,) from 0.
        fraction: share of each class in `part`, in [0, 1], rounded to the nearest image.
        seed: of the random choice.
        least: minimum number of images of each class in `part`, if the class has that many.
        leave: minimum number of images of each class in `rest`, which goes before `least`.
    """
    rng = np.random.default_rng(seed)
    part = np.zeros(len(labels), dtype=bool)
    for label in range(int(labels.max()) + 1):
        members = rng.permutation(np.flatnonzero(labels == label))
        count = max(least, int(len(members) * fraction + 0.5))
        part[members[: max(min(count, len(members) - leave), 0)]] = True
    return np.flatnonzero(~part), np.flatnonzero(part)


def train_and_validation(
    data: ImageData, fraction: float, val_fraction: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices into `data.images` of the training and the validation images, both ascending.

    Copies of an image are all training or all validation images: the random choice is one of distinct images.

    Args:
        data: images, perhaps with a validation part of their own.
        fraction: share of the images used, stratified.
        val_fraction: share of them that are validation images, stratified, if the data have no validation part.
        seed: of the random choice.
    """
    if data.validation is None:
        labels, image = data.labels, np.arange(len(data.labels))
        if data.copies is not None:
            _, first, image = np.unique(data.copies, return_index=True, return_inverse=True)
            labels = labels[first]
        _, used = stratified_split(labels, fraction, seed, least=2)
        train, val = stratified_split(labels[used], val_fraction, seed, least=1, leave=0 if data.copies is None else 1)
        train, val = (np.flatnonzero(np.isin(image, used[part])) for part in (train, val))
        return train, val
    rest = np.setdiff1d(np.arange(len(data.labels)), data.validation)
    train, val = (
        part[stratified_split(data.labels[part], fraction, seed, least=1)[1]] for part in (rest, data.validation)
    )
    return train, val


def load_data(
    spec: str,
    image_size: int | None = None,
    *,
    skip_bad: bool = False,
    max_pixels: int = MAX_PIXELS,
    cache: str | None = None,
    centre: float = 1.0,
    in_files: bool = False,
) -> ImageData:
    """Read images from the source that a person names.

    Args:
        spec: `digits`; a folder with one subfolder per class (or such folders under `train`, `val` and `test`, in their
            usual names); a file `.npz` with uint8 `train_images` (N, H, W[, C]), `train_labels` (N,) and perhaps
            `test_images`, `test_labels`, `val_images`, `val_labels`, `class_names`; or `hub:NAME[:CONFIG]`, a set of
            the Hugging Face hub or a local folder that `datasets` reads.
        image_size: side of the images in pixels, by resizing the shorter side and a centre crop. By default digits and
            arrays keep their size, and files are decoded at 32 pixels.
        skip_bad: leave out files that cannot be read as images; they are counted in the notes.
        max_pixels: pixels of the largest image that is decoded.
        cache: a folder in which the decoded images of a folder are kept, or `none`; by default the user's cache folder.
        centre: share of the shorter side that the centre square of an image file has, in (0, 1].
        in_files: whether image files are decoded whenever they are wanted, instead of once into memory; trainings then
            take their crops from files at full resolution. See `InFiles`.

    Raises:
        UserError: there is no such data, or they cannot be used; the message has the file, array or class.
    """
    reading = Reading(skip_bad, max_pixels, cache, centre)
    return ImageData.from_source(read_source(spec, image_size, reading, in_files=in_files), image_size)


def _checked_names(source: Source) -> tuple[str, ...]:
    """Class names, or the numbers of the classes where they have no names."""
    name, labels, names = source.name, source.parts["train"].labels, source.class_names
    classes = len(names) if names is not None else int(labels.max()) + 1
    if len(set(names or ())) != len(names or ()):
        raise UserError(f"data {name!r}: class names repeat")
    if classes < 2:
        raise UserError(f"data {name!r}: at least 2 classes are needed, there is 1")
    if classes > len(labels):
        raise UserError(f"data {name!r}: {classes} classes, but only {len(labels)} images")
    return names or tuple(str(number) for number in range(classes))


def _check_range(name: str, key: str, labels: NDArray[np.int64], classes: int) -> None:
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise UserError(f"data {name!r}: {key} must lie in 0 to {classes - 1}, got {low if low < 0 else high}")


def _check_counts(name: str, train: Labelled, names: Sequence[str], least: int, notes: Sequence[str]) -> None:
    counts = np.bincount(train.labels, minlength=len(names))
    if counts.min() < least:
        few, few_images = int(counts.argmin()), int(counts.min())
        why = "at least 2 are needed, one to train and one to validate on" if least > 1 else "at least 1 is needed"
        also = "; ".join(["", *(note for note in notes if note.startswith(_LEFT_OUT))])
        raise UserError(
            f"data {name!r}: class {names[few]!r} has {number_of(few_images, 'image')} in its training part; "
            f"{why}{also}"
        )


def _oddities(parts: Iterable[Labelled]) -> list[str]:
    """What is odd about the pixels, and may be a fault of the files."""
    several = list(parts)
    extremes = {value for each in several for value in _extremes(each)}
    if len(extremes) == 1:
        return [f"all pixels of all images have the same value, {extremes.pop()}"]
    flat = all(not key for each in several for key in each.keys)
    return ["every image is of a single colour"] if flat else []


def _extremes(part: Labelled) -> tuple[int, int]:
    """The lowest and the highest value of all pixels."""
    if part.facts is not None:
        return int(part.facts["low"].min()), int(part.facts["high"].max())
    return min(int(some.min()) for some in chunks(part.images)), max(int(some.max()) for some in chunks(part.images))


def _apart(part: Labelled, other: Labelled, named: str, other_named: str) -> tuple[Labelled, list[str]]:
    """A part without copies of images in another part, and a note on them."""
    rest = part.without(set(other.keys))
    copies = len(part.labels) - len(rest.labels)
    told = f"{_LEFT_OUT} {named}: {copies:,} images that are also in {other_named}"
    return rest, [told] if copies else []


def _on_copies(name: str, train: Labelled, copies: NDArray[np.int64]) -> str:
    """A note on images that are copies of others in the training part."""
    distinct = np.unique(copies)
    if np.bincount(train.labels[distinct]).max() < 2:
        raise UserError(
            f"data {name!r}: all images of each class are copies of one; at least 2 different ones are needed, one to "
            "train and one to validate on"
        )
    again = f"{len(copies) - len(distinct):,} of {len(copies):,}"
    return f"{again} images are copies of others; no copy of a validation image is used for training"


def _fingerprint(names: tuple[str, ...], arrays: Iterable[Any]) -> str:
    """sha256 of class names and arrays; the arrays become read-only."""
    digest = hashlib.sha256(repr(names).encode())
    for array in arrays:
        array.setflags(write=False)
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        for some in (array,) if isinstance(array, np.ndarray) else chunks(array):
            digest.update(np.ascontiguousarray(some).data)
    return digest.hexdigest()


def _fingerprint_of_files(
    names: tuple[str, ...],
    arrays: Sequence[Any],
    facts: Iterable[NDArray[Any] | None],
    indices: NDArray[Any] | None,
    centre: float,
) -> str:
    """sha256 of class names, labels, shapes, crop and the hashes of the files; the arrays become read-only."""
    digest = hashlib.sha256(repr(names if centre == 1 else (names, centre)).encode())
    for array in arrays:
        array.setflags(write=False)
        digest.update(f"{array.dtype.str}{array.shape}".encode())
    for labels in (arrays[1], arrays[3], np.empty(0) if indices is None else indices):
        digest.update(np.ascontiguousarray(labels).data)
    for each in facts:
        assert each is not None
        digest.update(np.ascontiguousarray(each["key"]).data)
    return digest.hexdigest()
