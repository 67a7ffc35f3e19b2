"""`nas train`, `nas evaluate`, `nas predict`: what they work on, what they have to say, and what that looks like."""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from nas.networks import TRAINED, named, read
from nas.screens import FAINT, facts, table
from nas.wording import duration, human, percent, sparkline
from searchspaces import Buildable, Scale, UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console, RenderableType

    from estimators import ImageData
    from estimators.recipe import Recipe
    from estimators.trained import Trained
    from estimators.training import Moment
    from nas.documents import Document
    from searchspaces import SearchSpace

BAR_WIDTH: Final = 40
CONFUSED: Final = 5
"""Confusions that are shown, the most frequent ones."""


@dataclass(frozen=True)
class Job:
    """What is to be trained on what.

    Attributes:
        network: a classic, an architecture or a scaled one.
        data: the images, at the side that they are trained at.
        found: how the network was found, where it is a search's.
        title: what the network is called.
    """

    network: Buildable
    data: ImageData
    found: Document | None
    title: str


def job(what: str, data: str | None = None, image_size: int | None = None, space: SearchSpace | None = None) -> Job:
    """What a person means by a network and images.

    Args:
        what: a run folder, which stands for its best; a classic's name; a network's text form or its file.
        data: images, as `load_data` takes them; by default those of the run.
        image_size: side in pixels; by default the data's own, or for a network that was scaled the size's own.
        space: of the network, where it is no space of ours.

    Raises:
        UserError: there is no such network or data, or they are none that can be trained on.
    """
    from estimators import load_data

    folder = Path(what)
    found: Document | None
    if (folder / "study.json").exists():
        network, found, own = _of_run(folder, space)
    else:
        network, found, own = named(what, space), _of_file(what), None
    if not isinstance(network, Buildable):
        raise UserError(f"{what} is a torch module; only what is made of our layers can be trained, and opened again")
    source = data or own
    if source is None:
        raise UserError(f"--data is needed: {_title(what)} is no run folder that has its own")
    if image_size is None and network.task is not None and network.scale != Scale():
        image_size = network.task.image_size
    return Job(network, load_data(source, image_size), found, _title(what))


def _of_run(folder: Path, space: SearchSpace | None) -> tuple[Buildable, Document, str | None]:
    """The best network of a run, how it was found, and the data that the run is about."""
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
        "estimator": dict(manifest.estimator["describe"]),
        "seed": manifest.seed,
        "created": manifest.created,
        "versions": dict(manifest.versions),
    }
    source = manifest.estimator["data"]
    return best.architecture, found, source if isinstance(source, str) else None


def _of_file(what: str) -> Document | None:
    """What a file of a network says besides the network: which trial it was, or which size of what."""
    if not what.endswith(".json"):
        return None
    form = json.loads(read(what))
    known = {"space", "choices", "scale", "task", "classic"}
    return {"file": what, **{name: value for name, value in form.items() if name not in known and value is not None}}


def _title(what: str) -> str:
    return "network" if what.lstrip().startswith("{") else what.rstrip("/")


def trained_folder(title: str, data: str) -> Path:
    """Where a trained network goes when nobody said it.

    >>> str(trained_folder("runs/first", "digits")), str(trained_folder("resnet18", "pets.npz"))
    ('runs/first-trained', 'runs/resnet18-pets')
    """
    path = Path(title)
    if (path / "study.json").exists() or path.parent != Path("."):
        return path.with_name(f"{path.stem}-trained")
    return Path("runs") / f"{path.stem}-{Path(data.removeprefix('hub:')).stem}"


def plan_document(job: Job, recipe: Recipe, folder: Path, seed: int) -> Document:
    """What is about to happen."""
    cost = job.network.cost(job.data.task)
    return {
        "network": job.title,
        "words": job.network.words(),
        "task": str(job.data.task),
        "macs": cost.macs,
        "params": cost.params,
        "data": job.data.describe(),
        "recipe": recipe.describe(),
        "seed": seed,
        "folder": str(folder),
    }


def show_plan(document: Document, console: Console) -> None:
    """What `nas train` says before it trains."""
    recipe, data = document["recipe"], document["data"]
    console.print(
        facts(
            ("network", Text.assemble((document["network"], "bold"), (f"  {document['words']}", FAINT))),
            ("cost", f"{human(document['macs'])} MACs, {human(document['params'])} parameters on {document['task']}"),
            ("data", f"{data['name']}: {data['images']:,} images to learn from, {data['test_images']:,} to test on"),
            ("recipe", _recipe_words(recipe)),
            ("folder", Text(document["folder"])),
        )
    )


def _recipe_words(recipe: Document) -> str:
    """The settings that matter most, in one line."""
    said = [
        f"{recipe['epochs']} epochs of {recipe['optimizer']}, batch {recipe['batch']}, rate {recipe['lr']:g}",
        f"weight decay {recipe['weight_decay']:g}",
        f"smoothing {recipe['label_smoothing']:g}",
    ]
    if recipe["randaugment_operations"]:
        said.append(f"RandAugment {recipe['randaugment_operations']} x {recipe['randaugment_magnitude']:g}")
    said += [f"{name} {recipe[name]:g}" for name in ("mixup", "cutmix") if recipe[name] and recipe["mix"]]
    said += [f"stochastic depth {recipe['drop_path']:g}"] if recipe["drop_path"] else []
    return ", ".join([*said, f"averaging {recipe['ema']:g}"])


class TrainingDisplay:
    """Shows a training on a console: a live screen where it is a terminal, else one line for each epoch.

    Args:
        epochs: in all.
        console: where to.
        quiet: show nothing.
        clock: seconds that only go forward.
    """

    def __init__(
        self, epochs: int, console: Console, quiet: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._epochs, self._console, self._quiet, self._clock = epochs, console, quiet, clock
        self._moment: Moment | None = None
        self._began = clock()
        self._first: int | None = None  # the step that was done first: those before are of an earlier run
        self._shown = 0
        self._live: Live | None = None
        if console.is_terminal and not quiet:
            self._live = Live(get_renderable=self.screen, console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, moment: Moment) -> None:
        """One more step was done."""
        if self._first is None:
            ended_one = moment.step % (moment.steps // self._epochs) == 0
            self._first, self._shown = moment.step, len(moment.curve) - ended_one
            if moment.step > 1 and not self._quiet and self._live is None:
                self._console.print(f"goes on after step {moment.step - 1} of {moment.steps}")
        self._moment = moment
        for one in moment.curve[self._shown :]:
            if self._live is None and not self._quiet:
                self._console.print(self.line(one), soft_wrap=True)
        self._shown = len(moment.curve)

    @property
    def left_s(self) -> float | None:
        """Seconds to go, from the steps measured so far; None before there are two."""
        if self._moment is None or self._first is None or self._moment.step == self._first:
            return None
        done = self._moment.step - self._first
        return (self._clock() - self._began) / (done + 1) * (self._moment.steps - self._moment.step)

    def line(self, one: Any) -> str:
        """What became of an epoch, in one line without colour."""
        best = max(each["val_accuracy"] for each in self._moment.curve) if self._moment else one["val_accuracy"]
        said = [f"epoch {one['epoch']}/{self._epochs}", f"loss {one['train_loss']:.3f}"]
        said += [f"validation {percent(one['val_accuracy'])}", f"best {percent(best)}", duration(one["seconds"])]
        if self.left_s:
            said.append(f"about {duration(self.left_s)} left")
        return "  ".join(said)

    def screen(self) -> RenderableType:
        """The live screen."""
        moment = self._moment
        if moment is None:
            return facts(("training", Text("the first step", style=FAINT)))
        each_epoch = moment.steps // self._epochs
        grid = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=1.0, completed=moment.step / moment.steps, width=BAR_WIDTH)
        before, step = divmod(moment.step - 1, each_epoch)
        at = Text(f"step {step + 1} of {each_epoch}", style=FAINT)
        grid.add_row(bar, f"epoch {before + 1} of {self._epochs}", at)
        rows: list[tuple[str, RenderableType]] = [("done", grid)]
        if moment.curve:
            values = [one["val_accuracy"] for one in moment.curve]
            top = max(moment.curve, key=lambda one: float(one["val_accuracy"]))
            rows.append(("accuracy", Text.assemble((sparkline(values), "cyan"), f"  {percent(values[-1])}")))
            best = (percent(top["val_accuracy"]), "bold green")
            rows.append(("best", Text.assemble(best, (f"  epoch {top['epoch']}, on validation images", FAINT))))
            rows.append(("loss", f"{moment.curve[-1]['train_loss']:.3f}"))
        said = [duration(self._clock() - self._began)]
        said += [f"about {duration(self.left_s)} left"] if self.left_s else []
        rows.append(("time", ", ".join(said)))
        return facts(*rows)


@contextmanager
def interruptible(on_moment: Callable[[Moment], None]) -> Iterator[Callable[[Moment], None]]:
    """Ctrl-C between two steps, where nothing is lost; a second one at once.

    Gives what is to be called after each step. In another thread than the main one, nothing changes.
    """
    asked = False

    def ask(*_: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    def after_step(moment: Moment) -> None:
        on_moment(moment)
        if asked:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield on_moment
        return
    before = signal.signal(signal.SIGINT, ask)
    try:
        yield after_step
    finally:
        signal.signal(signal.SIGINT, before)


def training_document(trained: Trained) -> Document:
    """What came out of a training."""
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
"""What lies in the folder of a trained network, by what it is for."""


def show_training(document: Document, console: Console) -> None:
    """What `nas train` says at its end."""
    made = table("epoch>", "loss>", "validation>", "took>")
    curve = document["curve"]
    before = 0.0
    for index, one in enumerate(curve):
        if len(curve) <= 12 or index < 3 or index >= len(curve) - 6 or one["epoch"] == document["best_epoch"]:
            best = one["epoch"] == document["best_epoch"]
            style = "bold green" if best else ""
            cells = [str(one["epoch"]), f"{one['train_loss']:.3f}", percent(one["val_accuracy"])]
            made.add_row(*cells, duration(max(one["seconds"] - before, 0.0)), style=style)
        before = one["seconds"]
    console.print(made)
    values = [one["val_accuracy"] for one in curve]
    error = f" ± {100 * document['test_standard_error']:.1f}%"
    rows: list[tuple[str, RenderableType]] = [
        ("test", Text.assemble((percent(document["test_accuracy"]), "bold green"), error,
                               (f"  of {document['data']['test_images']:,} images that nothing was chosen on", FAINT))),
        ("validation", f"{sparkline(values)}  {percent(document['val_accuracy'])} in epoch {document['best_epoch']}"),
        ("cost", f"{human(document['macs'])} MACs, {human(document['params'])} parameters on {document['task']}"),
        ("took", duration(document["seconds"])),
        ("", ""),
    ]  # fmt: skip
    rows += [(name, Text(path)) for name, path in document["files"].items()]
    folder = document["folder"]
    rows += [("", ""), ("next", Text(f"nas evaluate {folder}")), ("", Text(f"nas predict {folder} IMAGE"))]
    rows += [("", Text(f"nas export {folder} --to onnx,python"))]
    console.print(facts(*rows))


def standard_error(accuracy: float, images: int) -> float:
    """Of an accuracy in [0, 1], as that of a share of so many draws.

    >>> standard_error(0.9, 900)
    0.01
    """
    return round(math.sqrt(accuracy * (1 - accuracy) / images), 12)


def evaluate(trained: Trained, data: str | None = None, which: str = "best") -> Document:
    """How well a trained network does on images.

    Args:
        trained: the network.
        data: images of the same classes, all of which are looked at; by default the test part of those trained on.
        which: its weights, `best` or `last`.

    Raises:
        UserError: there are no such images, or their classes are others.
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
        raise UserError(f"data {source!r} are not the images that the network was trained on; give some with --data")
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

    told = trained.logits(images, which).argmax(1)
    names, classes = trained.class_names, trained.task.classes
    counted = np.zeros((classes, classes), dtype=np.int64)  # [is, was taken for]
    np.add.at(counted, (labels, told), 1)
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
            for i, j in most[: 4 * CONFUSED]
            if wrong[i, j]
        ],
    }


def show_evaluation(document: Document, console: Console) -> None:
    """`nas evaluate`."""
    made = table("class", "images>", "accuracy>")
    several = sorted(document["classes"], key=lambda one: (one["accuracy"] is None, one["accuracy"]))
    for one in several[:20]:
        share = "" if one["accuracy"] is None else percent(one["accuracy"])
        made.add_row(Text(one["class"]), f"{one['images']:,}", share)
    console.print(made)
    if len(several) > 20:
        console.print(Text(f"and {len(several) - 20} classes more, told better", style=FAINT))
    error = f" ± {100 * document['standard_error']:.1f}%"
    what = "the test part of" if document["part"] == "test" else "all of"
    rows: list[tuple[str, RenderableType]] = [
        ("accuracy", Text.assemble((percent(document["accuracy"]), "bold green"), error)),
        ("images", f"{document['images']:,}: {what} {document['data']}"),
    ]
    for index, one in enumerate(document["confusions"][:CONFUSED]):
        said = f"{one['class']} for {one['taken_for']}  {one['images']:,} times, {percent(one['share'])} of them"
        rows.append(("taken" if index == 0 else "", Text(said)))
    console.print(facts(*rows))


def predict(trained: Trained, images: Sequence[str], top: int = 5, which: str = "best") -> Document:
    """What a trained network takes image files for.

    Args:
        trained: the network.
        images: files.
        top: classes told of each, the most probable first.
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


def show_prediction(document: Document, console: Console) -> None:
    """`nas predict`."""
    made = table("image", "class", "probability>")
    for one in document["images"]:
        for index, each in enumerate(one["classes"]):
            style = "bold" if index == 0 else FAINT
            cells = (Text(one["file"] if index == 0 else ""), Text(each["class"], style=style))
            made.add_row(*cells, Text(percent(each["probability"]), style=style))
    console.print(made)
