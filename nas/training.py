"""Training in full, evaluation and prediction: from a network's name and images to documents."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nas.networks import TRAINED, named
from searchspaces import Buildable, Scale, UserError
from searchspaces.files import read_json
from studies.interrupts import first_interrupt
from studies.manifest import Manifest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from estimators import ImageData
    from estimators.recipe import Recipe
    from estimators.sources import Source
    from estimators.trained import Trained
    from estimators.training import Moment
    from nas.documents import Document
    from searchspaces import SearchSpace

CONFUSIONS: Final = 20
"""The most frequent confusions of two classes that an evaluation lists."""


@dataclass(frozen=True)
class TrainingJob:
    """A network and the images to train it on.

    Attributes:
        network: a classic, an architecture or a scaled one.
        data: the images, in the size that they are trained at.
        found: how the network was found, if a search found it.
        title: the network's name.
    """

    network: Buildable
    data: ImageData
    found: Document | None
    title: str


def training_job(
    what: str,
    data: str | None = None,
    image_size: int | None = None,
    space: SearchSpace | None = None,
    reading: Mapping[str, Any] | None = None,
) -> TrainingJob:
    """The network and the images that a person names.

    Args:
        what: a run folder, which stands for its best network; a classic's name; a network's text form or its file.
        data: images, as `load_data` takes them; by default those of the run.
        image_size: height and width in pixels; by default those of the data, or of a scaled network.
        space: of the network, if it is a person's own.
        reading: how image files are read, as `load_data` takes it; what is not given is as it was for the run's images.

    Raises:
        UserError: there is no such network or data, or the network cannot be trained.
    """
    from estimators import load_data

    folder = Path(what)
    found: Document | None
    read_as: Document = {}
    if Manifest.is_in(folder):
        network, found, own, read_as = _of_run(folder, space)
    else:
        network, found, own = named(what, space), _of_file(what), None
    if not isinstance(network, Buildable):
        raise UserError(f"{what} is a torch module; only networks made of the layers of searchspaces can be trained")
    source = data or own
    if source is None:
        raise UserError(f"--data is needed: {_title(what)} is not a run folder with images of its own")
    if image_size is None and network.task is not None and network.scale != Scale():
        image_size = network.task.image_size
    return TrainingJob(network, load_data(source, image_size, **{**read_as, **(reading or {})}), found, _title(what))


def _of_run(folder: Path, space: SearchSpace | None) -> tuple[Buildable, Document, str | None, Document]:
    """The best network of a run, how it was found, the data of the run, and how their files are read."""
    from nas.api import open_study

    study = open_study(folder, space=space)
    best, manifest = study.best, study.manifest
    found = {
        "run": str(folder),
        "trial": best.number,
        "proxy_accuracy": best.accuracy,
        "trials": len(study.trials),
        "space": manifest.space["name"],
        "task": manifest.task,
        "budget": manifest.budget,
        "strategy": manifest.strategy["name"],
        "estimator": dict(manifest.estimator["resolved"]),
        "seed": manifest.seed,
        "created": manifest.created,
        "versions": dict(manifest.versions),
    }
    source = manifest.data
    return (
        best.architecture,
        found,
        source if isinstance(source, str) else None,
        reading_of(manifest.estimator["given"]),
    )


def _of_file(what: str) -> Document | None:
    """What the file of a network says besides the network: its trial, or its base and size."""
    if not what.endswith(".json"):
        return None
    form = read_json(Path(what), "the network")
    known = {"space", "choices", "scale", "task", "classic"}
    return {"file": what, **{name: value for name, value in form.items() if name not in known and value is not None}}


def _title(what: str) -> str:
    return "network" if what.lstrip().startswith("{") else what.rstrip("/")


def trained_folder(title: str, data: str) -> Path:
    """The default folder of a trained network.

    >>> str(trained_folder("runs/first", "digits")), str(trained_folder("resnet18", "pets.npz"))
    ('runs/first-trained', 'runs/resnet18-pets')
    """
    path = Path(title)
    if Manifest.is_in(path) or path.parent != Path("."):
        return path.with_name(f"{path.stem}-trained")
    return Path("runs") / f"{path.stem}-{Path(data.removeprefix('hub:')).stem}"


def recipe_for(job: TrainingJob, folder: Path, name: str, settings: Document) -> Recipe:
    """The recipe of a training: that of its folder, if it was begun there and nobody asks for another.

    Raises:
        UserError: the recipe or a setting is unknown, or a value is out of range.
    """
    from estimators.recipe import Recipe, make_recipe
    from estimators.trained import read_facts

    begun = read_facts(folder)
    if begun is not None and name == "auto" and not settings:
        return Recipe(**begun["recipe"])
    return make_recipe(name, len(job.data.labels), job.data.task.image_size, **settings)


def plan_document(job: TrainingJob, recipe: Recipe, folder: Path, seed: int) -> Document:
    """What is about to be trained, and how."""
    from estimators.augmentation import batches_in
    from estimators.training import split

    cost = job.network.cost(job.data.task)
    train = len(split(job.data, recipe)[0])
    return {
        "network": job.title,
        "words": job.network.words(),
        "task": str(job.data.task),
        "macs": cost.macs,
        "params": cost.params,
        "data": job.data.describe(),
        "recipe": recipe.describe(),
        "train_images": train,
        "epoch_steps": batches_in(train, recipe.batch, fill=True),
        "seed": seed,
        "folder": str(folder),
    }


@contextmanager
def interruptible(on_moment: Callable[[Moment], None]) -> Iterator[Callable[[Moment], None]]:
    """Let Ctrl-C end a training between two steps, where nothing is lost; a second one ends it at once.

    Gives what is to be called after each step.
    """
    asked = threading.Event()

    def after_step(moment: Moment) -> None:
        on_moment(moment)
        if asked.is_set():
            raise KeyboardInterrupt

    with first_interrupt(asked.set):
        yield after_step


def training_document(trained: Trained) -> Document:
    """The results of a training."""
    held = trained.facts
    return {
        "folder": str(trained.folder),
        "task": held["task"],
        "macs": held["cost"]["macs"],
        "params": held["cost"]["params"],
        "data": held["data"],
        "recipe": held["recipe"],
        "seed": held["seed"],
        "curve": held["curve"],
        "best_epoch": held["best_epoch"],
        "val_accuracy": held["val_accuracy"],
        "test_accuracy": held["test_accuracy"],
        "test_standard_error": standard_error(held["test_accuracy"], held["data"]["test_images"]),
        "seconds": held["seconds"],
        "found": held["found"],
        "files": {name: str(trained.folder / file) for name, file in FILES.items()},
    }


FILES: Final = {
    "network": TRAINED,
    "training": "training.json",
    "weights": "best.safetensors",
    "last weights": "last.safetensors",
}
"""The files in the folder of a trained network, by purpose."""


def standard_error(accuracy: float, images: int) -> float:
    """The standard error of an accuracy in [0, 1], as of a binomial proportion.

    >>> standard_error(0.9, 900)
    0.01
    """
    return round(math.sqrt(accuracy * (1 - accuracy) / images), 12)


def evaluate(
    trained: Trained, data: str | None = None, which: str = "best", reading: Mapping[str, Any] | None = None
) -> Document:
    """The top-1 accuracy of a trained network, for each class too, and its most frequent confusions.

    Args:
        trained: the network.
        data: images of the same classes, or of some of them, all of which are used; by default the test part of the
            training data.
        which: its weights, `best` or `last`.
        reading: how image files are read, as `load_data` takes it; what is not given is as it was for training.

    Raises:
        UserError: there are no such images, or they have classes that the network was not trained on.
    """
    from estimators.data import ImageData, recoloured
    from estimators.sources import Reading, read_source

    held, size = trained.facts["data"], trained.task.image_size
    source = data or str(held.get("source", held["name"]))
    read = Reading(**{**reading_of(held), **(reading or {})})
    whole: ImageData | None
    if data is None:
        found = read_source(source, size, read)
        whole = ImageData.from_source(found, size)
        if whole.fingerprint != held["fingerprint"]:
            raise UserError(
                f"data {source!r} are not the images that the network was trained on; give others with --data"
            )
    else:
        found = read_source(source, size, read, trained.class_names)
        whole = _whole(found, size)
    if whole is not None and whole.fingerprint == held["fingerprint"]:
        images, labels = whole.test_images, whole.test_labels
        part = "test"
    else:
        images, labels = _everything(found, trained)
        part = "all"
    return {
        "folder": str(trained.folder),
        "weights": which,
        "data": source,
        "part": part,
        "notes": found.notes,
        **_judged(trained, recoloured(images, trained.task.channels), labels, which),
    }


def _whole(source: Source, size: int) -> ImageData | None:
    """The images as a training would take them, to be recognised; None if they are too few to train on."""
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
    from estimators.data import recoloured

    size, channels = trained.task.image_size, trained.task.channels
    labels = np.concatenate([part.labels for part in source.parts.values()])
    names = source.class_names or [str(number) for number in range(int(labels.max()) + 1)]
    if labels.min() < 0 or labels.max() >= len(names):
        raise UserError(f"data {source.name!r}: labels must lie in 0 to {len(names) - 1}")
    positions = np.full(len(names), -1)
    for label in np.unique(labels):
        if names[label] not in trained.class_names:
            raise UserError(
                f"data {source.name!r} has class {names[label]!r}, which the network does not have; its classes are "
                f"{', '.join(map(repr, trained.class_names[:10]))}{', ...' if len(trained.class_names) > 10 else ''}"
            )
        positions[label] = trained.class_names.index(names[label])
    images = np.concatenate([recoloured(squared(part.images, size), channels) for part in source.parts.values()])
    return images, positions[labels]


def _judged(trained: Trained, images: NDArray[np.uint8], labels: NDArray[np.int64], which: str) -> Document:
    import numpy as np

    predicted = trained.logits(images, which).argmax(1)
    names, classes = trained.class_names, trained.task.classes
    counted = np.zeros((classes, classes), dtype=np.int64)  # (true class, predicted class)
    np.add.at(counted, (labels, predicted), 1)
    right, of = counted.diagonal(), counted.sum(1)
    wrong = counted - np.diag(right)
    most = [divmod(int(each), classes) for each in np.argsort(-wrong, axis=None, kind="stable")]
    accuracy = float(right.sum() / of.sum())
    return {
        "images": int(of.sum()),
        "accuracy": accuracy,
        "standard_error": standard_error(accuracy, int(of.sum())),
        "classes": [
            {"class": names[i], "images": int(of[i]), "accuracy": float(right[i] / of[i]) if of[i] else None}
            for i in range(classes)
        ],
        "confusions": [
            {"class": names[i], "taken_for": names[j], "images": int(wrong[i, j]), "share": float(wrong[i, j] / of[i])}
            for i, j in most[:CONFUSIONS]
            if wrong[i, j]
        ],
    }


def predict(
    trained: Trained,
    images: Sequence[str],
    top: int = 5,
    which: str = "best",
    reading: Mapping[str, Any] | None = None,
) -> Document:
    """Classify image files with a trained network.

    Args:
        trained: the network.
        images: files.
        top: number of classes for each image, the most probable first.
        which: its weights, `best` or `last`.
        reading: how image files are read, as `load_data` takes it.

    Raises:
        UserError: a file cannot be read as an image and bad files are not skipped, or `top` is less than 1.
    """
    import numpy as np

    from estimators.image_files import read_images
    from estimators.image_folders import readable
    from estimators.sources import Reading

    if top < 1:
        raise UserError(f"--top must be at least 1, got {top}")
    read = Reading(**(reading or {}))
    bad: list[UserError] = []
    pixels, files = read_images(
        images, trained.task.image_size, trained.task.channels, read.max_pixels, bad if read.skip_bad else None
    )
    if not len(files):
        raise UserError(f"none of the {len(images)} files can be read as an image: {bad[0]}")
    logits = trained.logits(pixels, which)
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    best = np.argsort(-shares, axis=1, kind="stable")[:, :top]
    return {
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


def reading_of(held: Mapping[str, Any]) -> Document:
    """How image files are read, of all that is said of them, as `load_data` takes it."""
    from estimators.catalog import READING

    return {name: held[name] for name in READING if name in held}
