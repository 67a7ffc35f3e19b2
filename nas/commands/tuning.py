"""`nas tune-recipe`: tune the recipe of a network's training."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer
from rich.text import Text

from nas.commands import options
from nas.commands.console import console, interrupted, print_json, waiting
from nas.commands.running import Running, reading_given
from nas.commands.study_screens import choices, image_size_text, show_plan, study_facts, with_notes
from nas.commands.tables import GOOD, WARNING, facts, option_text, table
from nas.wording import human, number_of, within

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from nas.documents import Document
    from nas.tuning import TuningPlan
    from studies import Study

SHOWN: Final = 10
"""Recipes in the table; `--json` has all."""


def tune_recipe(
    context: typer.Context,
    network: options.BestOrNetwork,
    trial: options.OfTrial = None,
    data: options.TrainedData = None,
    skip_bad: options.SkipBad = False,
    max_pixels: options.MaxPixels = None,
    cache: options.Cache = None,
    centre_crop: options.CentreCrop = None,
    image_size: options.ImageSize = None,
    tuned: options.TunedSettings = "lr,weight_decay",
    recipe: options.Recipe = "auto",
    settings: options.RecipeSettings = None,
    epochs: options.TunedEpochs = 30,
    trials: options.TunedTrials = None,
    time: options.Time = None,
    strategy: options.Strategy = "tpe",
    confirm: options.Confirm = None,
    pruner: options.Pruner = "none",
    seed: options.Seed = 0,
    device: options.Device = "auto",
    name: options.TunedName = None,
    out: options.RunsFolder = Path("runs"),
    ledger: options.Ledger = "sqlite",
    ray: options.Ray = None,
    workers: options.Workers = None,
    at_once: options.AtOnce = None,
    cpus_per_trial: options.CpusPerTrial = None,
    gpus_per_trial: options.GpusPerTrial = None,
    trial_timeout: options.TrialTimeout = None,
    checkpoints: options.Checkpoints = None,
    space: options.SpaceOfNetwork = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Tune a network's training recipe: learning rate, weight decay, augmentation and more.

    [bold]Example:[/]  nas tune-recipe resnet20 --data pets/ --trials 20
    [bold]Example:[/]  nas tune-recipe runs/first --settings lr=0.05/0.1/0.2,mixup --strategy grid

    Each trial trains the network with one recipe. Recipes are compared by
    validation accuracy; test images are not used. A grid over
    randaugment_operations,randaugment_magnitude is the search of the
    RandAugment paper. The same command resumes an interrupted run.
    """
    with waiting(json, quiet) as begin:
        from nas.parsing import parse_duration, parse_values
        from nas.placement import Placement
        from nas.references import with_trial
        from nas.tuning import plan, settings_for, tuning_document
        from studies import Study

        planned = plan(
            with_trial(network, trial),
            tuned,
            data,
            recipe=recipe,
            epochs=epochs,
            fixed=parse_values(settings or []),
            image_size=image_size,
            space=space,
            reading=reading_given(skip_bad, max_pixels, cache, centre_crop),
            name=name,
            out=out,
        )
        of_study = {key: context.params[key] for key in _OF_STUDY}
        placement, screen = Placement.of(context.params), console(json)
        limit_s = None if time is None else parse_duration(time)
        running = Running(trials, limit_s, placement.engine(device), None, screen, quiet, placement.typed())
        study = Study.create(planned.folder, settings_for(planned, of_study), planned.home)
        ended, stopped = running.run(study, lambda: show_preflight(planned, study, screen, begin))
    document = tuning_document(planned, study, _typed(context.params))
    if ended is not None:
        document["ended"] = {"kind": ended.kind, "reason": ended.reason}
    if json:
        print_json(document)
    else:
        show_recipes(document, screen)
    if stopped:
        raise interrupted(f"resume with: {shlex.join(['nas', *(context.obj or ['tune-recipe'])])}")


_OF_STUDY: Final = ("trials", "strategy", "confirm", "pruner", "seed", "device", "ledger", "checkpoints")
"""Options that are settings of the study."""


def _typed(given: Mapping[str, Any]) -> list[str]:
    """The options of the network and its images that were given, for the command that trains."""
    typed = ["--skip-bad"] if given["skip_bad"] else []
    for option in ("--space", "--image-size", "--max-pixels", "--cache", "--centre-crop"):
        value = given[option.removeprefix("--").replace("-", "_")]
        typed += [] if value is None else [option, str(value)]
    return typed


def show_preflight(plan: TuningPlan, study: Study, console: Console, begin: Callable[[], None]) -> None:
    """What `nas tune-recipe` is about to do, before anything is trained; `begin` is called before it is shown."""
    from nas.documents import study_document

    document = study_document(study)
    job, cost = plan.job, plan.job.network.cost(plan.job.data.task)
    words = job.network.words()
    fixed = "".join(f", {name} {option_text(value)}" for name, value in plan.fixed.items())
    rows: list[tuple[str, RenderableType]] = [
        ("network", Text(job.title, style="bold")),
        *([] if words == job.title else [("", choices({"words": words}))]),
        ("cost", f"{human(cost.macs)} MACs, {human(cost.params)} parameters on {job.data.task}"),
    ]
    if job.size_from is not None:
        rows.append(("image size", image_size_text(str(job.data.task), job.size_from, "--image-size")))
    rows.append(("recipe", f"{plan.recipe}{fixed}"))
    for index, one in enumerate(plan.space.decisions):
        listed = ", ".join(option_text(option) for option in one.options)
        rows.append(("decides" if index == 0 else "", f"{one.name}: {listed}"))
    rows.append(("", f"{plan.space.size:,} recipes"))
    begin()
    show_plan(f"nas tune-recipe: {study.folder}", [*rows, *study_facts(document)], document, console)


def show_recipes(document: Document, console: Console) -> None:
    """The best recipes, and the command that trains by the best of them.

    Args:
        document: made by `tuning_document`.
        console: where it is shown.
    """
    recipes = document["recipes"]
    names = list(document["options"])
    made = table("trial>", "accuracy>", *(f"{name}>" for name in names))
    accuracy = f"validation accuracy after {number_of(document['epochs'], 'epoch')} on {document['data']}"
    made.title = with_notes(f"Recipes of {document['network']}, best first", [accuracy])
    for one in recipes[:SHOWN]:
        cells = (option_text(one["settings"][name]) for name in names)
        style = GOOD if one is recipes[0] else ""
        made.add_row(str(one["trial"]), within(one["accuracy"], one["standard_error"]), *cells, style=style)
    if recipes:
        console.print(made)
    rows: list[tuple[str, RenderableType]] = []
    if len(recipes) > SHOWN:
        rows.append(("more", f"{len(recipes) - SHOWN} other recipes; --json lists them"))
    if document["near_best"]:
        count = len(document["near_best"])
        alike = "1 other is" if count == 1 else f"{count} others are"
        told = f"{alike} within one standard error of the best; --confirm 3 retrains the best with fresh seeds"
        rows.append(("near", Text(told, style=WARNING)))
    if document["failures"]:
        rows.append(("failed", Text(f"{len(document['failures'])}: {document['failures'][0]}", style="red")))
    if "ended" in document:
        rows.append(("ended", document["ended"]["reason"]))
    rows.append(("run", Text(document["run"])))
    console.print(facts(*rows))
    if document["command"] is not None:
        console.print(Text(document["command"]), soft_wrap=True)
