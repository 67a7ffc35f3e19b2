"""Evaluation and prediction with trained networks: one, or several whose probabilities are averaged."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from estimators.views import probabilities
from nas.metrics import metrics
from searchspaces import UserError
from searchspaces.plural import number_of
from searchspaces.progress import doing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from estimators import ImageData
    from estimators.sources import Source
    from estimators.trained import Trained
    from nas.documents import Document


def evaluate(
    several: Sequence[Trained],
    data: str | None = None,
    which: str = "best",
    reading: Mapping[str, Any] | None = None,
    views: str = "one",
) -> Document:
    """How good a trained network is, or an ensemble of several, whose probabilities are averaged; see `metrics`.

    Args:
        several: the networks, at least one; all have the same classes, and each sees the images at its own size.
        data: images of the same classes, or of some of them, all of which are used; by default the test part of the
            training data.
        which: their weights, `best` or `last`.
        reading: how image files are read, as `load_data` takes it; what is not given is as it was for training.
        views: of each image, in `estimators.views.VIEWS`.

    Raises:
        UserError: there are no such images, they have classes that the networks were not trained on, or the networks
            do not belong together.
    """
    import numpy as np

    first = several[0]
    for number, other in enumerate(several[1:], 1):
        if other.folder.resolve() in (each.folder.resolve() for each in several[:number]):
            raise UserError(f"{other.folder} is given twice; an ensemble needs different networks")
        if other.class_names != first.class_names:
            raise UserError(f"{other.folder} has different classes from {first.folder}: they cannot be averaged")
        if data is None and other.facts["data"].get("source") != first.facts["data"].get("source"):
            raise UserError(f"{other.folder} was trained on different data from {first.folder}: add --data")
    parts = [evaluated_part(trained, data, reading or {}) for trained in several]
    source, part, notes, _, labels = parts[0]
    for trained, (_, other_part, _, _, other_labels) in zip(several[1:], parts[1:], strict=True):
        if part != other_part or labels.shape != other_labels.shape or (labels != other_labels).any():
            raise UserError(f"{trained.folder} has different test images from {first.folder}: they cannot be averaged")
    found = [probabilities(each, images, views, which) for each, (*_, images, _) in zip(several, parts, strict=True)]
    return {
        "folder": str(first.folder),
        "folders": [str(trained.folder) for trained in several],
        "weights": which,
        "views": views,
        "data": source,
        "part": part,
        "notes": notes,
        **metrics(np.mean(found, axis=0), labels, first.class_names),
    }


def evaluated_part(
    trained: Trained, data: str | None, reading: Mapping[str, Any]
) -> tuple[str, str, list[str], NDArray[np.uint8], NDArray[np.int64]]:
    """What a network is evaluated on: the data's name, which part of them, notes, the images and their labels.

    Args:
        trained: the network.
        data: other images than those that it was trained on.
        reading: how they are read, where that differs from how the training images were.

    Returns:
        The last two are uint8 (images, height, width, channels) and (images,).

    Raises:
        UserError: the images cannot be read, have a class that the network does not have, or are not those that it was
            trained on where no others are given.
    """
    from estimators.data import ImageData
    from estimators.image_sizes import stay_in_files
    from estimators.sources import Reading, read_source, reading_of, recorded_place

    held, size = trained.facts["data"], trained.task.image_size
    source = data or str(held.get("source", held["name"]))
    read, in_files = Reading(**{**reading_of(held), **reading}), stay_in_files(source, size)
    whole: ImageData | None
    if data is None:
        with recorded_place():
            found = read_source(source, size, read, in_files=in_files)
        whole = ImageData.from_source(found, size)
        if not whole.is_recorded_as(held["fingerprint"]):
            raise UserError(
                f"data {source!r} are not the images the network was trained on; to evaluate on others, add --data"
            )
    else:
        found = read_source(source, size, read, trained.class_names, in_files)
        whole = _whole(found, size)
    if whole is not None and whole.is_recorded_as(held["fingerprint"]):
        part, images, labels = "test", whole.test_images, whole.test_labels
    else:
        part, (images, labels) = "all", _everything(found, trained)
    return source, part, list(found.notes), _in_channels(images, trained.task.channels), labels


def _whole(source: Source, size: int) -> ImageData | None:
    """The images as a training would take them, to be recognized; None if they are too few to train on."""
    from estimators.data import ImageData

    try:
        return ImageData.from_source(source, size) if "train" in source.parts else None
    except UserError:
        return None


def _everything(source: Source, trained: Trained) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All images of a source, and their labels as positions among the network's classes.

    Raises:
        UserError: a class of theirs is none of the network's.
    """
    import numpy as np

    from estimators.arrays import squared
    from estimators.on_disk import joined

    size, channels = trained.task.image_size, trained.task.channels
    labels = np.concatenate([part.labels for part in source.parts.values()])
    found, inverse = np.unique(labels, return_inverse=True)
    positions = []
    for label in found.tolist():
        if source.class_names and not 0 <= label < len(source.class_names):
            raise UserError(f"data {source.name!r}: labels must lie in 0 to {len(source.class_names) - 1}, got {label}")
        name = source.class_names[label] if source.class_names else str(label)
        if name not in trained.class_names:
            raise UserError(
                f"data {source.name!r} has class {name!r}, which the network does not have; its classes are "
                f"{', '.join(map(repr, trained.class_names[:10]))}{', ...' if len(trained.class_names) > 10 else ''}"
            )
        positions.append(trained.class_names.index(name))
    images = reduce(joined, [_in_channels(squared(part.images, size), channels) for part in source.parts.values()])
    return images, np.array(positions)[inverse]


def _in_channels(images: Any, channels: int) -> Any:
    """Images in a number of channels; those that stay in their files are converted as they are read."""
    from estimators.data import recoloured
    from estimators.in_files import InFiles

    return images.in_channels(channels) if isinstance(images, InFiles) else recoloured(images[:], channels)


def predict(
    trained: Trained,
    images: Sequence[str],
    top: int = 5,
    which: str = "best",
    reading: Mapping[str, Any] | None = None,
    views: str = "one",
    explain: Path | None = None,
) -> Document:
    """Classify image files with a trained network.

    Args:
        trained: the network.
        images: files, and folders, of which all images are taken, those in folders below too.
        top: number of classes for each image, the most probable first.
        which: its weights, `best` or `last`.
        reading: how image files are read, as `load_data` takes it; what is not given is as it was for training.
        views: of each image, in `estimators.views.VIEWS`.
        explain: where the maps of the predicted classes are written, as `nas.explaining.explain` takes it.

    Raises:
        UserError: a file cannot be read as an image and bad files are not skipped, a folder has none, `top` is less
            than 1, the predictions of several views are to be explained, or maps would be written beside the images.
    """
    import numpy as np

    from estimators.image_files import read_images
    from estimators.image_folders import images_below, readable
    from estimators.sources import Reading, reading_of

    if top < 1:
        raise UserError(f"--top must be at least 1, got {top}")
    if explain is not None and views != "one":
        raise UserError(f"--explain shows one view of each image; leave out --views {views}")
    if explain is not None:
        from nas.explaining import check_out

        check_out(explain)
    read = Reading(**{**reading_of(trained.facts["data"]), "skip_bad": False, **(reading or {})})
    bad: list[UserError] = []
    wanted = [file for each in images for file in (images_below(Path(each)) if Path(each).is_dir() else [each])]
    if explain is not None:
        homes = {each for file in map(Path, wanted) for each in (file.parent.resolve(), file.resolve().parent)}  # links
        if explain.resolve() in homes:
            raise UserError(f"--explain {str(explain)!r}: that folder holds the images, which maps would overwrite")
    doing(f"decoding {number_of(len(wanted), 'image')}")
    pixels, files = read_images(
        wanted,
        trained.task.image_size,
        trained.task.channels,
        read.max_pixels,
        bad if read.skip_bad else None,
        read.centre,
    )
    if not len(files):
        raise UserError(f"none of the {len(wanted)} files can be read as an image: {bad[0]}")
    shares = probabilities(trained, pixels, views, which)
    best = np.argsort(-shares, axis=1, kind="stable")[:, :top]
    document: Document = {
        "folder": str(trained.folder),
        "weights": which,
        "images": [
            {
                "file": readable(str(file)),
                "classes": [{"class": trained.class_names[i], "probability": float(row[i])} for i in order],
            }
            for file, row, order in zip(files, shares, best, strict=True)
        ],
        "skipped": [str(each) for each in bad],
    }
    if explain is not None:
        from nas.explaining import explain as explained

        document["explanation"] = explained(trained, pixels, document, explain)
    return document


def prediction_table(document: Document) -> str:
    """The most probable class of each image of `predict`, as CSV: file, class, probability."""
    text = io.StringIO()
    written = csv.writer(text, lineterminator="\n")
    written.writerow(["file", "class", "probability"])
    for one in document["images"]:
        first = one["classes"][0]
        written.writerow([one["file"], first["class"], f"{first['probability']:.6f}"])
    return text.getvalue()
