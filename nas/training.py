"""Training in full, evaluation and prediction: from a network's name and images to documents."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

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
    what: str, data: str | None = None, image_size: int | None = None, space: SearchSpace | None = None
) -> TrainingJob:
    """The network and the images that a person names.

    Args:
        what: a run folder, which stands for its best network; a classic's name; a network's text form or its file.
        data: images, as `load_data` takes them; by default those of the run.
        image_size: height and width in pixels; by default those of the data, or of a scaled network.
        space: of the network, if it is a person's own.

    Raises:
        UserError: there is no such network or data, or the network cannot be trained.
    """
    from estimators import load_data

    folder = Path(what)
    found: Document | None
    if Manifest.is_in(folder):
        network, found, own = _of_run(folder, space)
    else:
        network, found, own = named(what, space), _of_file(what), None
    if not isinstance(network, Buildable):
        raise UserError(f"{what} is a torch module; only networks made of the layers of searchspaces can be trained")
    source = data or own
    if source is None:
        raise UserError(f"--data is needed: {_title(what)} is not a run folder with images of its own")
    if image_size is None and network.task is not None and network.scale != Scale():
        image_size = network.task.image_size
    return TrainingJob(network, load_data(source, image_size), found, _title(what))


def _of_run(folder: Path, space: SearchSpace | None) -> tuple[Buildable, Document, str | None]:
    """The best network of a run, how it was found, and the data of the run."""
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
    return best.architecture, found, source if isinstance(source, str) else None


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


def evaluate(trained: Trained, data: str | None = None, which: str = "best") -> Document:
    """The top-1 accuracy of a trained network, for each class too, and its most frequent confusions.

    Args:
        trained: the network.
        data: images of the same classes, all of which are used; by default the test part of the training data.
        which: its weights, `best` or `last`.

    Raises:
        UserError: there are no such images, or they have other classes.
    """
    import numpy as np

    from estimators import load_data
    from estimators.data import recoloured

    source = data or str(trained.facts["data"].get("source", trained.facts["data"]["name"]))
    loaded = load_data(source, trained.task.image_size)
    if set(loaded.class_names) != set(trained.class_names):
        strange = sorted(set(loaded.class_names) ^ set(trained.class_names))[0]
        raise UserError(f"data {source!r} has other classes than the network was trained on, such as {strange!r}")
    same = loaded.fingerprint == trained.facts["data"]["fingerprint"]
    if data is None and not same:
        raise UserError(f"data {source!r} are not the images that the network was trained on; give others with --data")
    if same:
        images, labels = loaded.test_images, loaded.test_labels
    else:
        images = np.concatenate([loaded.images, loaded.test_images])
        labels = np.concatenate([loaded.labels, loaded.test_labels])
    position = np.array([trained.class_names.index(name) for name in loaded.class_names])
    return {
        "folder": str(trained.folder),
        "weights": which,
        "data": source,
        "part": "test" if same else "all",
        **_judged(trained, recoloured(images, trained.task.channels), position[labels], which),
    }


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


def predict(trained: Trained, images: Sequence[str], top: int = 5, which: str = "best") -> Document:
    """Classify image files with a trained network.

    Args:
        trained: the network.
        images: files.
        top: number of classes for each image, the most probable first.
        which: its weights, `best` or `last`.

    Raises:
        UserError: a file cannot be read as an image, or `top` is less than 1.
    """
    import numpy as np

    from estimators.data import read_images

    if top < 1:
        raise UserError(f"--top must be at least 1, got {top}")
    logits = trained.logits(read_images(images, trained.task.image_size, trained.task.channels), which)
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    best = np.argsort(-shares, axis=1, kind="stable")[:, :top]
    return {
        "folder": str(trained.folder),
        "weights": which,
        "images": [
            {
                "file": str(file),
                "classes": [{"class": trained.class_names[i], "probability": float(row[i])} for i in order],
            }
            for file, row, order in zip(images, shares, best, strict=True)
        ],
    }
