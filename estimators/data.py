"""Image classification data: read once, cropped square, and held as one uint8 array that all trials share.

Sources: `digits` (scikit-learn's bundled 8x8 digits), a folder with one subfolder per class, an `.npz` of uint8 arrays,
and `hub:NAME`, a data set of the Hugging Face hub (extra `hub`).

Nothing read here can run code: arrays are read without pickle, images by Pillow, and hub data sets by `datasets` 4 or
newer, which does not run loading scripts.

Left out: detection and multi-label data, streaming, and data that do not fit into memory at the proxy's image size.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import os
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from searchspaces import Task, UserError

if TYPE_CHECKING:
    from PIL import Image

DEFAULT_IMAGE_SIZE: Final = 32
"""Default side in pixels of images decoded from files (a folder, the hub)."""

TEST_FRACTION: Final = 0.15
"""Share of the images held out as test images if the source has none."""

_TEST_SEED: Final = 20_231  # not the study's seed: no study may train on the test images of another
_JUNK: Final = {"thumbs.db", "desktop.ini"}
_NUMBER_WORDS: Final = {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"}
_KEYS: Final = ("train_images", "train_labels", "test_images", "test_labels", "class_names")


@dataclass(frozen=True, eq=False, slots=True)
class ImageData:
    """Square images with labels, and held-out test images.

    Made by `load_data` or `ImageData.of`, which check their input.

    Attributes:
        name: source of the images, as a person typed it.
        images: uint8 (images, height, width, channels), for training and validation.
        labels: int64 (images,), in [0, classes).
        test_images, test_labels: the test images, which no search uses, and their labels.
        class_names: one name per class.
        test_part: `own` if the source has test images, else `held out 15 %, stratified`.
        mirror: whether mirroring an image keeps its class; see `mirrors`.
        fingerprint: sha256 over all arrays and class names.
    """

    name: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    test_part: str
    mirror: bool
    fingerprint: str

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
        if image_size is not None and image_size < 1:
            raise UserError(f"image size must be at least 1 pixel, got {image_size}")
        images = _checked_images(name, "train_images", images)
        labels = _checked_labels(name, "train_labels", labels, len(images))
        known = tuple(str(each) for each in class_names) if class_names is not None else None
        classes = len(known) if known is not None else int(labels.max()) + 1
        if len(set(known or ())) != len(known or ()):
            raise UserError(f"data {name!r}: class names repeat")
        if classes < 2:
            raise UserError(f"data {name!r}: at least 2 classes are needed, there is 1")
        if classes > len(labels):
            raise UserError(f"data {name!r}: {classes} classes, but only {len(labels)} images")
        _check_range(name, "train_labels", labels, classes)
        if (test_images is None) != (test_labels is None):
            missing = "test_labels" if test_labels is None else "test_images"
            raise UserError(f"data {name!r}: a test part needs both images and labels; {missing} is missing")
        if test_images is None or test_labels is None:
            rest, kept = stratified_split(labels, TEST_FRACTION, _TEST_SEED)
            images, test_images, labels, test_labels = images[rest], images[kept], labels[rest], labels[kept]
            test_part = f"held out {TEST_FRACTION:.0%}, stratified".replace("%", " %")
        else:
            test_images = _checked_images(name, "test_images", test_images)
            test_labels = _checked_labels(name, "test_labels", test_labels, len(test_images))
            _check_range(name, "test_labels", test_labels, classes)
            if test_images.shape[3] != images.shape[3]:
                raise UserError(
                    f"data {name!r}: train_images have {images.shape[3]} channels, test_images {test_images.shape[3]}"
                )
            test_part = "own"
        names = known or tuple(str(number) for number in range(classes))
        counts = np.bincount(labels, minlength=classes)
        if counts.min() < 2:
            few = int(counts.argmin())
            raise UserError(
                f"data {name!r}: class {names[few]!r} has {counts[few]} images in its training part;"
                " at least 2 are needed, one to train and one to validate on"
            )
        side = image_size or min(images.shape[1:3])
        mirror = known is not None and mirrors(known)
        squared = _squared(images, side), labels, _squared(test_images, side), test_labels
        return cls(name, *squared, names, test_part, mirror, _fingerprint(names, squared))

    def resized(self, image_size: int) -> ImageData:
        """The same images at another side, in pixels; the test images stay the same."""
        images, test_images = _squared(self.images, image_size), _squared(self.test_images, image_size)
        fingerprint = _fingerprint(self.class_names, (images, self.labels, test_images, self.test_labels))
        return replace(self, images=images, test_images=test_images, fingerprint=fingerprint)

    @property
    def task(self) -> Task:
        """The proxy task: image size, channels and classes."""
        return Task(self.images.shape[1], self.images.shape[3], len(self.class_names))

    def describe(self) -> dict[str, Any]:
        """Description as plain JSON values, without the folder, so that the data may be moved."""
        return {
            "name": self.name if self.name.startswith("hub:") else Path(self.name).name,
            "task": str(self.task),
            "images": len(self.images),
            "test_images": len(self.test_images),
            "test_part": self.test_part,
            "fingerprint": self.fingerprint,
        }


def mirrors(class_names: Iterable[str]) -> bool:
    """Whether mirroring an image left to right keeps its class, judged by the class names.

    It does not if the classes are characters, numbers or sides. By default, images of classes without names are not
    mirrored.

    >>> mirrors(["cat", "dog"]), mirrors(["0", "1"]), mirrors(["a", "b"]), mirrors(["turn left", "turn right"])
    (True, False, False, False)
    """
    names = [name.strip().lower() for name in class_names]
    characters = all(len(name) < 2 or name.isdigit() or name in _NUMBER_WORDS for name in names)
    sides = any({"left", "right"} & set(name.replace("_", " ").replace("-", " ").split()) for name in names)
    return not characters and not sides


def stratified_split(
    labels: NDArray[np.int64], fraction: float, seed: int, least: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A stratified split of the indices of images: `(rest, part)`, both ascending.

    Args:
        labels: (images,) from 0.
        fraction: share of each class in `part`, in [0, 1], rounded to the nearest image.
        seed: of the random choice.
        least: minimum number of images of each class in `part`, if the class has that many.
    """
    rng = np.random.default_rng(seed)
    part = np.zeros(len(labels), dtype=bool)
    for label in range(int(labels.max()) + 1):
        members = rng.permutation(np.flatnonzero(labels == label))
        part[members[: max(least, int(len(members) * fraction + 0.5))]] = True
    return np.flatnonzero(~part), np.flatnonzero(part)


def load_data(spec: str, image_size: int | None = None) -> ImageData:
    """Read images from the source that a person names.

    Args:
        spec: `digits`; a folder with one subfolder per class (or such folders under `train` and `test`); a file
            `.npz` with uint8 `train_images` (N, H, W[, C]), `train_labels` (N,) and perhaps `test_images`,
            `test_labels`, `class_names`; or `hub:NAME[:CONFIG]`, a set of the Hugging Face hub or a local folder
            that `datasets` reads.
        image_size: side of the images in pixels, by resizing the shorter side and a centre crop. By default digits and
            arrays keep their size, and files are decoded at 32 pixels.

    Raises:
        UserError: there is no such data, or they cannot be used; the message has the file, array or class.
    """
    if spec == "digits":
        return _digits(image_size)
    if spec.startswith("hub:"):
        return _hub(spec, image_size or DEFAULT_IMAGE_SIZE)
    path = Path(spec).expanduser()
    if path.is_dir():
        return _folder(spec, path, image_size or DEFAULT_IMAGE_SIZE)
    if path.is_file() and path.suffix == ".npz":
        return _npz(spec, path, image_size)
    if path.exists():
        raise UserError(f"data {spec!r} is neither a folder with one subfolder per class nor an .npz file")
    raise UserError(
        f"no data at {spec!r}; give 'digits', a folder with one subfolder per class, an .npz file, or hub:NAME"
    )


def _digits(image_size: int | None) -> ImageData:
    found = importlib.util.find_spec("sklearn")
    assert found is not None
    assert found.submodule_search_locations is not None
    # read as scikit-learn's load_digits does, but without importing scikit-learn, which takes a second
    file = Path(found.submodule_search_locations[0], "datasets", "data", "digits.csv.gz")
    with gzip.open(file, "rt", encoding="ascii") as stream:
        table = np.loadtxt(stream, delimiter=",")  # (1797, 65): 64 pixels in 0..16, and the class
    images = np.rint(table[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    labels = table[:, -1].astype(np.int64)
    return ImageData.of("digits", images, labels, class_names=list("0123456789"), image_size=image_size)


def _npz(name: str, path: Path, image_size: int | None) -> ImageData:
    try:
        with path.open("rb") as stream:
            file = np.load(stream, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError("it is a single array")
            found = file.files
            arrays = {key: file[key] for key in _KEYS if key in found}
    except (OSError, ValueError, EOFError, KeyError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"data {name!r} cannot be read as an .npz of plain arrays: {_first_line(error)}") from error
    for key in _KEYS[:2]:
        if key not in arrays:
            raise UserError(f"data {name!r} has no array {key!r}; it has: {', '.join(sorted(found)) or 'none'}")
    names = arrays.pop("class_names", None)
    if names is not None and (names.ndim != 1 or names.dtype.kind not in "US"):
        raise UserError(f"data {name!r}: class_names must be a list of strings, got {names.dtype} {names.shape}")
    return ImageData.of(
        name,
        arrays["train_images"],
        arrays["train_labels"],
        arrays.get("test_images"),
        arrays.get("test_labels"),
        None if names is None else [str(each) for each in names.astype(str)],
        image_size,
    )


def _folder(name: str, path: Path, image_size: int) -> ImageData:
    parts = {folder.name.lower(): folder for folder in _subfolders(path)}
    if "train" in parts and parts.keys() <= {"train", "test", "val", "validation"}:
        held = [parts[key] for key in ("test", "val", "validation") if key in parts]
        if len(held) > 1:
            raise UserError(f"data {name!r} has both {held[0].name!r} and {held[1].name!r}; one test part is enough")
        train, test = parts["train"], held[0] if held else None
    else:
        train, test = path, None
    classes = [folder.name for folder in _subfolders(train)]
    if len(classes) < 2:
        raise UserError(f"data {name!r}: at least 2 subfolders, one per class, are needed; there are {len(classes)}")
    images, labels, grey = _decoded_folder(name, train, classes, image_size)
    if test is None:
        return ImageData.of(name, images[..., :1] if grey else images, labels, class_names=classes)
    strange = {folder.name for folder in _subfolders(test)} - set(classes)
    if strange:
        raise UserError(f"data {name!r}: {test.name!r} has class {min(strange)!r}, which {train.name!r} does not have")
    test_images, test_labels, test_grey = _decoded_folder(name, test, classes, image_size)
    if grey and test_grey:
        images, test_images = images[..., :1], test_images[..., :1]
    return ImageData.of(name, images, labels, test_images, test_labels, classes)


def _subfolders(path: Path) -> list[Path]:
    try:
        return sorted(each for each in path.iterdir() if each.is_dir() and not each.name.startswith("."))
    except OSError as error:
        raise UserError(f"cannot read the folder {str(path)!r}: {error.strerror}") from error


def read_images(files: Sequence[str | Path], image_size: int, channels: int) -> NDArray[np.uint8]:
    """Image files as uint8 (files, size, size, channels): upright, centre-cropped, in grey or colour as required.

    Raises:
        UserError: a file cannot be read as an image; the message has its name.
    """
    decoded = (_decoded_file(Path(file), image_size) for file in files)
    return recoloured(_stacked(decoded, len(files), image_size)[0], channels)


def recoloured(images: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Convert images (..., channels) from grey to three channels, or from three to grey.

    Raises:
        UserError: the numbers of channels are others.

    >>> recoloured(np.array([[[10, 20, 30]]], dtype=np.uint8), 1)  # 0.299, 0.587 and 0.114 of them
    array([[[18]]], dtype=uint8)
    """
    have = images.shape[-1]
    if have == channels:
        return images
    if have == 1 and channels == 3:
        return np.repeat(images, 3, axis=-1)
    if have == 3 and channels == 1:
        grey: NDArray[np.float64] = images @ np.array([0.299, 0.587, 0.114])  # ITU-R 601-2, as Pillow has it
        return (grey + 0.5).astype(np.uint8)[..., None]
    raise UserError(f"images with {have} channels cannot be converted to {channels} channels")


def _decoded_file(file: Path, image_size: int) -> tuple[NDArray[np.uint8], bool]:
    """One file as `_decoded` gives it."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            image.draft(None, (2 * image_size, 2 * image_size))  # JPEG: decode no more pixels than needed
            return _decoded(image, image_size)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise UserError(f"{str(file)!r} cannot be read as an image: {_first_line(error)}") from error


def _decoded_folder(
    name: str, path: Path, classes: Sequence[str], image_size: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64], bool]:
    files: list[Path] = []
    labels: list[int] = []
    for label, each in enumerate(classes):
        found = sorted(
            file
            for file in (path / each).rglob("*")
            if file.is_file() and not file.name.startswith(".") and file.name.lower() not in _JUNK
        )
        if not found and (path / each).is_dir():
            raise UserError(f"data {name!r}: class {each!r} has no image")
        files += found
        labels += [label] * len(found)

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        decoded = pool.map(lambda file: _decoded_file(file, image_size), files)
        images, greys = _stacked(decoded, len(files), image_size)
    return images, np.array(labels, dtype=np.int64), greys


def _stacked(
    decoded: Iterable[tuple[NDArray[np.uint8], bool]], count: int, image_size: int
) -> tuple[NDArray[np.uint8], bool]:
    """One array (count, size, size, 3) of decoded images, and whether all of them are grey."""
    images = np.empty((count, image_size, image_size, 3), dtype=np.uint8)
    all_grey = True
    for index, (pixels, grey) in enumerate(decoded):
        images[index] = pixels
        all_grey &= grey
    return images, all_grey


def _decoded(image: Image.Image, image_size: int) -> tuple[NDArray[np.uint8], bool]:
    """One image as uint8 (size, size, 3), upright, transparency on white, and whether it is grey."""
    from PIL import Image, ImageOps

    upright = ImageOps.exif_transpose(image)
    grey = upright.mode in {"1", "L", "LA", "I;16", "I", "F"}
    if upright.mode.startswith("I;16") or upright.mode == "I":  # 16 bits: Pillow would clip at 255 instead of scaling
        upright = Image.fromarray((np.asarray(upright).clip(0, 65535) >> 8).astype(np.uint8))
    if "A" in upright.mode or "transparency" in upright.info:
        rgba = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    square = ImageOps.fit(upright.convert("RGB"), (image_size, image_size), Image.Resampling.BILINEAR)
    return np.asarray(square), grey


def _hub(spec: str, image_size: int) -> ImageData:
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
        raise UserError(f"data {spec!r} could not be loaded from the hub: {_first_line(error)}") from error
    if "train" not in splits:
        raise UserError(f"data {spec!r} has no split 'train'; it has: {', '.join(splits)}")
    train = splits["train"]
    image_column, label_column = _columns(spec, train.features)
    held = next((splits[key] for key in ("test", "validation", "valid") if key in splits), None)
    if held is not None and (label_column not in held.features or -1 in held.unique(label_column)):
        held = None  # test images without labels are useless

    feature = train.features[label_column]
    if isinstance(feature, datasets.ClassLabel):
        names = tuple(str(each) for each in feature.names)
        number = {value: value for value in range(-1, len(names))}
    else:
        values = sorted(train.unique(label_column))
        names = tuple(str(value) for value in values)
        number = {value: index for index, value in enumerate(values)}

    def arrays(split: Any) -> tuple[NDArray[np.uint8], NDArray[np.int64], bool]:
        decoded = (_decoded(row[image_column], image_size) for row in split)
        try:
            images, grey = _stacked(decoded, len(split), image_size)
            labels = np.array([number[value] for value in split[label_column]], dtype=np.int64)
        except (OSError, ValueError, SyntaxError, AttributeError) as error:
            raise UserError(f"data {spec!r} has an image that cannot be decoded: {_first_line(error)}") from error
        except KeyError as error:
            raise UserError(f"data {spec!r}: label {error} of the test part is not in the training part") from error
        return images, labels, grey

    images, labels, grey = arrays(train)
    if held is None:
        return ImageData.of(spec, images[..., :1] if grey else images, labels, class_names=names)
    test_images, test_labels, test_grey = arrays(held)
    if grey and test_grey:
        images, test_images = images[..., :1], test_images[..., :1]
    return ImageData.of(spec, images, labels, test_images, test_labels, names)


def _columns(spec: str, features: Any) -> tuple[str, str]:
    """Names of the image and the label column: by type, then by the usual names."""
    import datasets

    images = [key for key, feature in features.items() if isinstance(feature, datasets.Image)]
    labels = [key for key, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    labels += [key for key in ("label", "labels") if key in features and key not in labels]
    if not images or not labels:
        raise UserError(f"data {spec!r} is not an image classification set: its columns are {', '.join(features)}")
    return images[0], "label" if "label" in labels else labels[0]


def _fingerprint(names: tuple[str, ...], arrays: Iterable[NDArray[Any]]) -> str:
    """sha256 of class names and arrays; the arrays become read-only."""
    digest = hashlib.sha256(repr(names).encode())
    for array in arrays:
        array.setflags(write=False)
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _checked_images(name: str, key: str, images: NDArray[Any]) -> NDArray[np.uint8]:
    if images.dtype != np.uint8:
        raise UserError(f"data {name!r}: {key} must be uint8 (0 to 255), got {images.dtype}")
    if images.ndim not in (3, 4) or 0 in images.shape:
        raise UserError(f"data {name!r}: {key} must be (images, height, width[, channels]), got {images.shape}")
    return images if images.ndim == 4 else images[..., None]


def _checked_labels(name: str, key: str, labels: NDArray[Any], images: int) -> NDArray[np.int64]:
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise UserError(f"data {name!r}: {key} must be whole numbers (images,), got {labels.dtype} {labels.shape}")
    if len(labels) != images:
        raise UserError(f"data {name!r}: {key} holds {len(labels)} labels for {images} images")
    return labels.astype(np.int64)


def _check_range(name: str, key: str, labels: NDArray[np.int64], classes: int) -> None:
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise UserError(f"data {name!r}: {key} must lie in 0 to {classes - 1}, got {low if low < 0 else high}")


def _squared(images: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Centre crop to a square, then resize (bilinear, antialiased) to (images, side, side, channels)."""
    count, height, width, channels = images.shape
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    images = images[:, top : top + short, left : left + short]
    if short == side or count == 0:
        return np.ascontiguousarray(images if short == side else np.empty((0, side, side, channels), np.uint8))
    from PIL import Image

    resized = np.empty((count, side, side, channels), dtype=np.uint8)
    for index in range(count):
        for channel in range(channels):  # Pillow knows only some numbers of channels, but any single one
            plane = Image.fromarray(np.ascontiguousarray(images[index, :, :, channel]))
            resized[index, :, :, channel] = np.asarray(plane.resize((side, side), Image.Resampling.BILINEAR))
    return resized


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
