"""Training in full: from a network's name and images to documents."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from estimators.estimator import binomial_error
from nas.references import TRAINED, chosen, in_run, named
from nas.wording import given_and_seen
from searchspaces import Buildable, RecipeSpace, Scale, Task, UserError
from searchspaces.files import read_json
from searchspaces.layers import Dropout, leaves
from searchspaces.text_forms import seen_task
from studies.interrupts import first_interrupt
from studies.manifest import Manifest

if TYPE_CHECKING:
    from estimators import ImageData
    from estimators.recipe import Recipe
    from estimators.starting_weights import StartingWeights
    from estimators.teacher import Teacher
    from estimators.trained import Trained
    from estimators.training import Moment
    from nas.documents import Document
    from searchspaces import SearchSpace
    from studies import Trial


@dataclass(frozen=True)
class TrainingJob:
    """A network and the images to train it on.

    Attributes:
        network: a classic, an architecture or a scaled one.
        data: the images, in the size that they are trained at.
        found: how the network was found, if a search found it.
        title: the network's name.
        counted: the task that a search counted its costs on.
        size_from: what the image size follows from, in words, if nobody gave it.
        source: where the images are, as `load_data` takes it.
        reading: how image files are read, as `load_data` takes it.
        tuned: the recipe's name and settings, if a study tuned them.
    """

    network: Buildable
    data: ImageData
    found: Document | None
    title: str
    counted: Task | None = None
    size_from: str | None = None
    source: str = ""
    reading: Mapping[str, Any] = field(default_factory=dict)
    tuned: tuple[str, Document] | None = None


def training_job(
    what: str,
    data: str | None = None,
    image_size: int | None = None,
    space: SearchSpace | None = None,
    reading: Mapping[str, Any] | None = None,
    out: Path | None = None,
) -> TrainingJob:
    """The network and the images that a person names.

    Args:
        what: a run folder, which stands for its best network, or a trial of it, as in `runs/first:7`; a classic's name;
            a network's text form or its file.
        data: images, as `load_data` takes them; by default those of the run.
        image_size: height and width in pixels; by default those that the training began with, that the run counted
            costs at, of a scaled network, or of the data, at most 224 for image files.
        space: of the network, if it is user-defined.
        reading: how image files are read, as `load_data` takes it; what is not given is as it was for the run's images.
        out: the folder of the training; by default made from the two names.

    Raises:
        UserError: there is no such network or data, or the network cannot be trained.
    """
    from estimators import load_data
    from estimators.image_sizes import stay_in_files
    from estimators.sources import recorded_place
    from estimators.trained import read_facts

    found: Document | None
    read_as: Document = {}
    counted: Task | None = None
    proxy = tuned = None
    if (there := in_run(what)) is not None:
        network, found, own, read_as = _of_run(*there, space)
        network, tuned = _tuned(network, found)
        counted, proxy = Task.parse(found["task"]), found["estimator"].get("image_size")
    else:
        network, found, own = named(what, space), _of_file(what), None
    if not isinstance(network, Buildable):
        raise UserError(f"{what} is a torch module; only networks made of the layers of searchspaces can be trained")
    source = data or own
    if source is None:
        raise UserError(f"--data is needed: {_title(what)} is not a run folder with its own images")
    size_from = None
    if image_size is None:
        of_images = counted is not None and (source != "digits" or proxy == counted.image_size)  # digits have 8 pixels
        begun = out or trained_folder(_title(what), source)
        image_size, size_from = _image_size(network, source, counted if of_images else None, begun)
    facts = read_facts(out or trained_folder(_title(what), source))  # what has begun goes on as it did
    in_files = stay_in_files(source, image_size) if facts is None else facts["data"].get("in_files") is True
    read_as = {**read_as, **(reading or {})}
    with nullcontext() if data else recorded_place():
        images = load_data(source, image_size, **read_as, in_files=in_files)
    return TrainingJob(network, images, found, _title(what), counted, size_from, source, read_as, tuned)


def _image_size(network: Buildable, source: str, of_run: Task | None, folder: Path) -> tuple[int | None, str | None]:
    """The image size where nobody gave it, and what it follows from; None leaves it to the data."""
    from estimators.image_sizes import file_sizes
    from estimators.trained import read_facts

    begun = read_facts(folder)
    if begun is not None:
        return Task.parse(begun["task"]).image_size, f"the training in {folder} started with it"
    if network.task is not None and network.scale != Scale():
        return network.task.image_size, "that of the scaled network"
    if of_run is not None:
        return of_run.image_size, "the size at which the run counted costs"
    files = file_sizes(source)
    return (None, None) if files is None else (files.usual, files.words())


def _of_run(
    folder: Path, number: int | None, space: SearchSpace | None
) -> tuple[Buildable, Document, str | None, Document]:
    """A network of a run, how it was found, the data of the run, and how their files are read."""
    from estimators.sources import reading_of
    from nas.api import open_study

    study = open_study(folder, space=space)
    trial, manifest = chosen(study, number), study.manifest
    found = {
        "run": str(folder),
        "trial": trial.number,
        **estimated(trial),
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
        trial.architecture,
        found,
        source if isinstance(source, str) else None,
        reading_of(manifest.estimator["given"]),
    )


def estimated(trial: Trial) -> Document:
    """What the search estimated: an accuracy, or a number that only ranks, beside the accuracy that was then measured.

    >>> from searchspaces import Cost
    >>> from studies import Trial
    >>> likely = Trial(3, None, "complete", 0, Cost(), 0.21, details={"likelihood": 0.21, "val_accuracy": 0.5})
    >>> estimated(likely)
    {'proxy_score': 0.21, 'proxy_accuracy': 0.5}
    """
    if trial.is_accuracy:
        return {"proxy_accuracy": trial.accuracy}
    measured = {"proxy_accuracy": trial.details["val_accuracy"]} if "val_accuracy" in trial.details else {}
    return {"proxy_score": trial.details.get("score", trial.accuracy), **measured}


def _tuned(network: Buildable, found: Document) -> tuple[Buildable, tuple[str, Document] | None]:
    """The network of a trial, and the recipe that it was trained by, if the study is one of recipes."""
    home = None if network.architecture is None else network.architecture.space
    if not isinstance(home, RecipeSpace):
        return network, None
    assert network.architecture is not None
    how, decided = found["estimator"], network.architecture.choices
    found |= {"decided": decided}
    return home.base, (how["recipe"], {"epochs": how["epochs"], **how["settings"], **decided})


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
    run, number = in_run(title) or (Path(title), None)
    run = run if run.name else run.resolve()  # the folder that one stands in
    path = run if number is None else run.with_name(f"{run.name}-trial-{number}")
    of_run = Manifest.is_in(run)
    name = path.name if of_run else path.stem  # a run's name may have a point, and a file has an ending
    if of_run or path.parent != Path("."):
        return path.with_name(f"{name}-trained")
    return Path("runs") / f"{name}-{Path(data.removeprefix('hub:')).name.removesuffix('.npz')}"


def recipe_for(job: TrainingJob, folder: Path, name: str, settings: Document) -> Recipe:
    """The recipe of a training: that of its folder, if it was begun there and nobody asks for another; by default the
    one that a study tuned, where it was one of recipes.

    Raises:
        UserError: the recipe or a setting is unknown, or a value is out of range.
    """
    from estimators.recipe import Recipe, images_of, make_recipe
    from estimators.trained import read_facts

    begun = read_facts(folder)
    if begun is not None and name == "auto" and all(begun["recipe"].get(each) == settings[each] for each in settings):
        return Recipe(**begun["recipe"])  # how it is fitted may have changed since
    if name == "auto" and job.tuned is not None:
        name, settings = job.tuned[0], {**job.tuned[1], **settings}
    return make_recipe(name, images_of(job.data, settings), job.data.task.image_size, **settings)


def freeze_for(job: TrainingJob, recipe: Recipe, freeze: str | None, weights: Path | None) -> str | None:
    """What is frozen: as it was given, where `auto` is what is proposed for the number of images.

    Raises:
        UserError: something is frozen that no trained weights are given for.
    """
    from estimators.freezing import AUTO

    if freeze is not None and weights is None:
        raise UserError(f"--freeze {freeze} needs --weights: without trained weights there is nothing to freeze")
    return _proposed_freeze(job, recipe) if freeze == AUTO else freeze


def _proposed_freeze(job: TrainingJob, recipe: Recipe) -> str | None:
    """What the number of training images proposes to freeze."""
    from estimators.freezing import proposed
    from estimators.training import split

    task = job.data.task
    return proposed(len(split(job.data, recipe)[0]) / task.classes, job.network.network(task), task.shape)


def plan_document(
    job: TrainingJob,
    recipe: Recipe,
    folder: Path,
    seed: int,
    weights: StartingWeights | None = None,
    teacher: Teacher | None = None,
) -> Document:
    """What is about to be trained, and how.

    Raises:
        UserError: the recipe trains auxiliary heads that the network has not, or not on images of this size.
    """
    from estimators.augmentation import batches_in
    from estimators.objective import auxiliary_heads, check_heads_fit
    from estimators.recipe import images_of, why_fitted
    from estimators.training import split

    if recipe.auxiliary:
        check_heads_fit(job.network, job.data.task)
    cost = job.network.cost(job.data.task)
    train, val = map(len, split(job.data, recipe))
    return {
        "network": job.title,
        "words": job.network.words(),
        **given_and_seen(job.data.task, seen_task(job.network, job.data.task)),
        "size_from": job.size_from,
        "counted": None if job.counted is None else str(job.counted),
        "macs": cost.macs,
        "params": cost.params,
        "data": job.data.describe(),
        "recipe": recipe.describe(),
        "why": why_fitted(recipe, images_of(job.data, recipe.describe()), job.data.task.image_size, train),
        "dropout": _dropout(job, recipe),
        "auxiliary_heads": auxiliary_heads(job.network, job.data.task),
        "train_images": train,
        "val_images": val,
        "epoch_steps": batches_in(train, recipe.batch, fill=True),
        "seed": seed,
        "weights": None if weights is None else weights.told(),
        "proposed_freeze": None if weights is None or weights.frozen else _proposed_freeze(job, recipe),
        "teacher": None if teacher is None else teacher.told(),
        "folder": str(folder),
    }


def _dropout(job: TrainingJob, recipe: Recipe) -> list[float]:
    """The rates of dropout, those of the network's own layers unless the recipe has one."""
    if recipe.dropout is not None:
        return [recipe.dropout]
    task = job.data.task
    own = (leaf.rate for leaf, _ in leaves(job.network.network(task), task.shape) if isinstance(leaf, Dropout))
    return list(dict.fromkeys(float(rate) for rate in own))


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

    with first_interrupt(asked.set, "waiting for the checkpoint"):
        yield after_step


def training_document(trained: Trained) -> Document:
    """The results of a training."""
    held = trained.facts
    return {
        "folder": str(trained.folder),
        **given_and_seen(trained.task, seen_task(trained.network, trained.task)),
        "macs": held["cost"]["macs"],
        "params": held["cost"]["params"],
        "data": held["data"],
        "recipe": held["recipe"],
        "seed": held["seed"],
        "curve": held["curve"],
        "best_epoch": held["best_epoch"],
        "val_accuracy": held["val_accuracy"],
        "val_standard_error": binomial_error(held["val_accuracy"], held["val_images"]),
        "val_images": held["val_images"],
        "test_accuracy": held["test_accuracy"],
        "test_standard_error": binomial_error(held["test_accuracy"], held["data"]["test_images"]),
        "seconds": held["seconds"],
        "found": held["found"],
        "weights": held.get("weights"),
        "teacher": held.get("teacher"),
        "files": {name: str(trained.folder / file) for name, file in FILES.items()},
    }


FILES: Final = {
    "network": TRAINED,
    "training": "training.json",
    "weights": "best.safetensors",
    "last weights": "last.safetensors",
}
"""The files in the folder of a trained network, by purpose."""
