"""`nas train`: train a network in full."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self

import typer
from rich.table import Table
from rich.text import Text

from nas.commands import options
from nas.commands.console import console, interrupted, print_json, say_at_once, stopping, waiting
from nas.commands.running import reading_given
from nas.commands.study_screens import choices, image_size_text
from nas.commands.tables import BAR_WIDTH, FAINT, GOOD, WARNING, Typed, facts, mirroring_text, show_facts, table
from nas.wording import duration, human, images_text, number_of, path_here, percent, sparkline, within

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

    from estimators.training import Moment
    from nas.documents import Document


def train(
    context: typer.Context,
    network: options.BestOrNetwork,
    trial: options.OfTrial = None,
    data: options.TrainedData = None,
    skip_bad: options.SkipBad = False,
    max_pixels: options.MaxPixels = None,
    cache: options.Cache = None,
    centre_crop: options.CentreCrop = None,
    image_size: options.ImageSize = None,
    epochs: options.Epochs = None,
    recipe: options.Recipe = "auto",
    settings: options.RecipeSettings = None,
    weights: options.StartingWeights = None,
    freeze: options.Freeze = None,
    teacher: options.Teacher = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    out: options.TrainedFolder = None,
    checkpoint_every: options.CheckpointEvery = "5m",
    ray: options.TrainOnRay = None,
    gpus: options.Gpus = None,
    workers: options.TrainWorkers = None,
    space: options.SpaceOfNetwork = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Train a network in full, such as the best of a search.

    [bold]Example:[/]  nas train runs/first --epochs 100
    [bold]Example:[/]  nas train resnet18 --data pets/ --image-size 64 --recipe adamw
    [bold]Example:[/]  nas train resnet34 --data pets/ --weights runs/resnet18-pets
    [bold]Example:[/]  nas train resnet18 --data cats/ --weights runs/resnet18-pets --freeze all-but-head

    After an interruption, the same command resumes training. The held-out test
    set is used only once, at the end.
    """
    with waiting(json, quiet):
        from estimators.estimator import Diverged
        from estimators.teacher import Teacher
        from estimators.training import train as train_here
        from nas.parsing import parse_duration, parse_values
        from nas.placement import check_training_workers, checked_address
        from nas.references import with_trial
        from nas.training import (
            freeze_for,
            interruptible,
            plan_document,
            recipe_for,
            trained_folder,
            training_document,
            training_job,
        )
        from searchspaces import UserError, load_space
        from searchspaces.files import make_folder
        from studies.interrupts import answered
        from studies.lock import locked
        from studies.shared_start import starting_weights

        check_training_workers(ray, gpus, workers)
        network = with_trial(network, trial)
        given = parse_values(settings or []) | ({} if epochs is None else {"epochs": epochs})
        checkpoint_s = parse_duration(checkpoint_every, "--checkpoint-every")
        reading = reading_given(skip_bad, max_pixels, cache, centre_crop)
        own_space = load_space(space) if space else None
        job = training_job(network, data, image_size, own_space, reading, out)
        folder = trained_folder(job.title, job.data.name) if out is None else out
        plan = recipe_for(job, folder, recipe, given)
        frozen, task, names = freeze_for(job, plan, freeze, weights), job.data.task, job.data.class_names
        start = None if weights is None else starting_weights(weights, job.network, task, own_space, frozen, names)
        taught = None if teacher is None else Teacher.read(teacher.split(","), job.data, own_space)
        train_it: Any = partial(train_here, device=device)
        if ray is not None:
            from studies.ray.training import train_on_ray

            train_it = partial(train_on_ray, address=checked_address(ray) or None, gpus=gpus or 0, workers=workers)
        document = plan_document(job, plan, folder, seed, start, taught)
    screen = console(json)
    if not quiet:
        show_training_plan(document, screen)
    make_folder(folder)
    try:
        with (
            locked(folder),
            TrainingDisplay(plan.epochs, screen, quiet, images=document["val_images"]) as display,
            answered(display.stopping),
            interruptible(display) as after_step,
        ):
            trained = train_it(
                job.network,
                job.data,
                plan,
                folder,
                seed,
                found=job.found,
                checkpoint_s=checkpoint_s,
                on_moment=after_step,
                weights=start,
                teacher=taught,
            )
    except Diverged as error:
        raise UserError(str(error)) from error
    except KeyboardInterrupt:
        command = shlex.join(["nas", *(context.obj or ["train", network])])
        raise interrupted(f"resume with: {command}") from None
    document = training_document(trained)
    if json:
        return print_json(document)
    show_training(document, screen, job.data.name, space)


FEW_STEPS: Final = 5
"""Steps of an epoch below which a warning is printed."""


def show_training_plan(document: Document, console: Console) -> None:
    """What `nas train` shows before it trains."""
    recipe, data = document["recipe"], document["data"]
    images = f"{document['train_images']:,} training, {document['val_images']:,} validation"
    console.print(
        facts(
            ("network", Text(document["network"], style="bold")),
            *([] if document["words"] == document["network"] else [("", choices(document))]),
            (
                "cost",
                f"{human(document['macs'])} MACs, {human(document['params'])} parameters on {images_text(document)}",
            ),
            *_image_size_facts(document),
            ("data", Text(f"{data['name']}; images: {images}, {data['test_images']:,} test (held out)")),
            *(("", Text(note, style=WARNING)) for note in data["notes"]),
            *_weights_facts(document),
            ("recipe", _recipe_text(recipe, document["dropout"])),
            *([] if document["why"] is None else [("", Text(document["why"], FAINT))]),
            *_teacher_facts(document["teacher"], recipe),
            *_heads_facts(document["auxiliary_heads"], recipe["auxiliary"]),
            (
                "steps",
                f"{document['epoch_steps']:,} per epoch, {document['epoch_steps'] * recipe['epochs']:,} in total",
            ),
            ("mirroring", Text(mirroring_text(data, recipe["mirror"], "--set mirror"))),
            ("folder", Text(document["folder"])),
        )
    )
    if document["epoch_steps"] < FEW_STEPS:
        console.print(
            f"An epoch has only {document['epoch_steps']} steps of {recipe['batch']} images: a smaller batch (--set "
            "batch=16) or more epochs would learn more.",
            style="yellow",
        )


def _image_size_facts(document: Document) -> list[tuple[str, RenderableType]]:
    """Where the image size comes from, and the one of the search, if it is another one."""
    rows: list[tuple[str, RenderableType]] = []
    task, counted = document["task"], document["counted"]
    if document["size_from"] is not None:
        rows.append(("image size", image_size_text(task, document["size_from"], "--image-size")))
    if counted is not None and counted.partition("x")[0] != task.partition("x")[0]:
        rows.append(("", Text(f"the search counted costs on {counted}", style=WARNING)))
    return rows


def _weights_facts(document: Document) -> list[tuple[str, RenderableType]]:
    """Which weights the training starts from, if they are not random, and which of them are frozen."""
    from estimators.freezing import ALL_BUT_HEAD

    weights, proposed = document["weights"], document["proposed_freeze"]
    if weights is None:
        return []
    share = f"{percent(weights['inherited_share'])} of {human(document['params'])} parameters from {weights['source']}"
    same = "; it starts out computing the same function" if weights["preserved"] else ""
    rows: list[tuple[str, RenderableType]] = [("weights", Text(share + same))]
    frozen = weights["frozen"]
    if frozen is not None:
        which = frozen["name"] if frozen["name"] == ALL_BUT_HEAD else f"up to {frozen['name']}"
        told = f"{which}: {human(frozen['params'])} parameters; {human(frozen['trained_params'])} are trained"
        rows.append(("frozen", Text(told)))
    elif proposed is not None:
        images = document["train_images"] // int(document["task"].rpartition(":")[2])
        rows.append(
            ("frozen", Text(f"nothing; with {images} images per class, --freeze {proposed} is suggested", FAINT))
        )
    return rows


def _teacher_facts(teacher: list[Document] | None, recipe: Document) -> list[tuple[str, RenderableType]]:
    """The trained networks that it learns from, if there are any."""
    if teacher is None:
        return []
    share = f"{percent(recipe['distillation'])} of the loss at temperature {recipe['temperature']:g}"
    return [("teacher", Text(f"{', '.join(each['source'] for each in teacher)}: {share}"))]


def _heads_facts(count: int, weight: float) -> list[tuple[str, RenderableType]]:
    """Whether the auxiliary heads of the network are trained, if it has any."""
    if not count:
        return []
    told = f"trained with weight {weight:g}, dropped at the end"
    how = told if weight else "not trained; --set auxiliary=0.3 trains them"
    return [("heads", f"{count} auxiliary, {how}")]


def _recipe_text(recipe: Document, dropout: list[float]) -> str:
    """The most important settings, in one line.

    Args:
        recipe: its settings.
        dropout: the rates, of the network itself where the recipe has none.
    """
    words = [
        f"{number_of(recipe['epochs'], 'epoch')} of {recipe['optimizer']}, batch size {recipe['batch']}",
        f"learning rate {recipe['lr']:g}, {_schedule_text(recipe)}",
        f"weight decay {recipe['weight_decay']:g}",
        f"label smoothing {recipe['label_smoothing']:g}",
    ]
    if recipe["auto_augment"]:
        words.append(f"AutoAugment {recipe['auto_augment']}")
    elif recipe["randaugment_operations"]:
        words.append(f"RandAugment {recipe['randaugment_operations']} x {recipe['randaugment_magnitude']:g}")
    words += [f"{name} {recipe[name]:g}" for name in ("mixup", "cutmix") if recipe[name] and recipe["mix"]]
    named = {
        "drop_path": "stochastic depth",
        "drop_connect": "DropConnect",
        "ema": "weight averaging",
    }
    named |= {"adaptive_clip": "adaptive gradient clipping", "clip_norm": "gradient clipping"}
    words += [f"{word} {recipe[name]:g}" for name, word in named.items() if recipe[name]]
    words += [f"dropout {' and '.join(f'{rate:g}' for rate in dropout)}"] if any(dropout) else []
    words += [f"progressive learning in {recipe['progressive']} stages"] if recipe["progressive"] > 1 else []
    words += [f"{recipe['initialization'].title()} initialization"] if recipe["initialization"] else []
    return ", ".join(words)


def _schedule_text(recipe: Document) -> str:
    """How the learning rate falls, and when the training ends before its last epoch."""
    words = {
        "cosine": "cosine decay",
        "step": "divided by 10 at 1/2 and 3/4",
        "exponential": "exponential decay",
        "plateau": f"divided by 10 after {recipe['patience']} epochs without improvement",
        "constant": "constant",
    }[recipe["schedule"]]
    stop = recipe["stop_after"]
    return f"{words}, early stopping after {stop} epochs without improvement" if stop else words


class TrainingDisplay:
    """Shows a training on a console: a live screen if it is a terminal, else one line for each epoch.

    Args:
        epochs: in all.
        console: where it is shown.
        quiet: show nothing.
        clock: a monotonic clock, in seconds.
        images: on which accuracies are estimated; None where nobody knows.
    """

    def __init__(
        self,
        epochs: int,
        console: Console,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
        images: int | None = None,
    ) -> None:
        self._epochs, self._console, self._quiet, self._clock, self._images = epochs, console, quiet, clock, images
        self._moment: Moment | None = None
        self._began = clock()
        self._first: int | None = None  # the first step of this process: those before are of an earlier one
        self._since = self._began  # when that step was done: what workers and recorders take to start is no step's
        self._shown = 0
        self._meanwhile: str | None = None
        self._live: Live | None = None
        if console.is_terminal and not quiet:
            from rich.live import Live

            self._live = Live(get_renderable=self.screen, console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, moment: Moment) -> None:
        """One more step is done."""
        if self._first is None:
            ended_one = moment.step % (moment.steps // self._epochs) == 0
            self._first, self._shown, self._since = moment.step, len(moment.curve) - ended_one, self._clock()
            if moment.step > 1 and not self._quiet and self._live is None:
                self._console.print(f"resumes after step {moment.step - 1} of {moment.steps}")
        self._moment = moment
        for one in moment.curve[self._shown :]:
            if self._live is None and not self._quiet:
                self._console.print(self.line(one), soft_wrap=True)
        self._shown = len(moment.curve)

    def stopping(self, meanwhile: str) -> None:
        """Ctrl-C was pressed; in its handler, so the live screen only finds it at its next refresh."""
        self._meanwhile = meanwhile
        if self._live is None:
            say_at_once(stopping(meanwhile))

    @property
    def left_s(self) -> float | None:
        """Estimated seconds left, from the steps after the first one of this process; None before there are two."""
        if self._moment is None or self._first is None or self._moment.step == self._first:
            return None
        done = self._moment.step - self._first
        return (self._clock() - self._since) / done * (self._moment.steps - self._moment.step)

    def line(self, one: Any) -> str:
        """An epoch that has ended, in one line without colour."""
        best = max(each["val_accuracy"] for each in self._moment.curve) if self._moment else one["val_accuracy"]
        words = [f"epoch {one['epoch']}/{self._epochs}", f"loss {one['train_loss']:.3f}"]
        words += [f"validation {self._within(one['val_accuracy'])}", f"best {self._within(best)}"]
        words.append(duration(one["seconds"]))
        if self.left_s:
            words.append(f"about {duration(self.left_s)} left")
        return "  ".join(words)

    def _within(self, accuracy: float) -> str:
        from estimators.estimator import binomial_error

        return within(accuracy, binomial_error(accuracy, self._images) if self._images else None)

    def screen(self) -> RenderableType:
        """The live screen."""
        from rich.progress_bar import ProgressBar

        moment = self._moment
        end = [] if self._meanwhile is None else [("Ctrl-C", Text(stopping(self._meanwhile), style=WARNING))]
        if moment is None:
            return facts(("training", Text("first step", style=FAINT)), *end)
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
            rows.append(("accuracy", Text.assemble((sparkline(values), "cyan"), f"  {self._within(values[-1])}")))
            best = (self._within(top["val_accuracy"]), GOOD)
            rows.append(("best", Text.assemble(best, (f"  epoch {top['epoch']}, on validation images", FAINT))))
            rows.append(("loss", f"{moment.curve[-1]['train_loss']:.3f}"))
        words = [duration(self._clock() - self._began)]
        words += [f"about {duration(self.left_s)} left"] if self.left_s else []
        rows.append(("time", ", ".join(words)))
        return facts(*rows, *end)


def show_training(document: Document, console: Console, data: str, space: str | None) -> None:
    """What `nas train` shows at its end.

    Args:
        document: of the training.
        console: where it is shown.
        data: where the images are.
        space: that was given, without which a network of it cannot be read.
    """
    from estimators.estimator import binomial_error

    made = table("epoch>", "training loss>", "validation accuracy>", "time>")
    curve = document["curve"]
    before, left_out = 0.0, False
    for index, one in enumerate(curve):
        if len(curve) <= 12 or index < 3 or index >= len(curve) - 6 or one["epoch"] == document["best_epoch"]:
            if left_out:
                made.add_row("…")
            left_out = False
            style = GOOD if one["epoch"] == document["best_epoch"] else ""
            cells = [
                str(one["epoch"]),
                f"{one['train_loss']:.3f}",
                within(one["val_accuracy"], binomial_error(one["val_accuracy"], document["val_images"])),
            ]
            made.add_row(*cells, duration(max(one["seconds"] - before, 0.0)), style=style)
        else:
            left_out = True
        before = one["seconds"]
    console.print(made)
    values = [one["val_accuracy"] for one in curve]
    error = f" ± {100 * document['test_standard_error']:.1f}%"
    images = f"  top-1 accuracy on {document['data']['test_images']:,} held-out test images, used only here"
    best = f"{within(document['val_accuracy'], document['val_standard_error'])} in epoch {document['best_epoch']}"
    if max(values) > document["val_accuracy"]:
        best += f", the last one within a standard error of the best, {percent(max(values))}"
    rows: list[tuple[str, RenderableType]] = [
        ("test", Text.assemble((percent(document["test_accuracy"]), GOOD), error, (images, FAINT))),
        ("validation", f"{sparkline(values)}  {best}"),
        ("cost", f"{human(document['macs'])} MACs, {human(document['params'])} parameters on {images_text(document)}"),
        ("time", duration(document["seconds"])),
        ("", ""),
    ]
    rows += [(name, Text(path)) for name, path in document["files"].items()]
    folder, again = document["folder"], ["--space", space] if space else []
    rows += [("", ""), ("next", Typed(shlex.join(["nas", "export", folder, "--data", path_here(data), *again])))]
    for words in (["predict", folder, "IMAGE"], ["evaluate", folder]):
        rows.append(("", Typed(shlex.join(["nas", *words, *again]))))
    show_facts(console, *rows)
