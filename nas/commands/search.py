"""`nas search` and `nas resume`: run a search, and run it on."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from nas.commands import options
from nas.commands.console import interrupted, print_json, say, waiting
from nas.commands.running import Running, settings_given
from nas.commands.study_screens import show_preflight, show_result

if TYPE_CHECKING:
    from studies import Study


def search(
    context: typer.Context,
    budget: options.Budget,
    space: options.Space = "mbconv",
    data: options.Data = "digits",
    skip_bad: options.SkipBad = False,
    max_pixels: options.MaxPixels = None,
    cache: options.Cache = None,
    centre_crop: options.CentreCrop = None,
    task: options.Task = None,
    image_size: options.SearchedImageSize = None,
    strides: options.Strides = None,
    latency: options.Latency = None,
    trials: options.Trials = None,
    time: options.Time = None,
    strategy: options.Strategy = "guided",
    estimator: options.Estimator = "short-training",
    start_from: options.StartFrom = None,
    objectives: options.Objectives = None,
    confirm: options.Confirm = None,
    replicas: options.Replicas = False,
    inherit: options.Inherit = False,
    metric: options.Metric = None,
    prescreen: options.Prescreen = None,
    pruner: options.Pruner = "none",
    settings: options.StudySettings = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    name: options.Name = None,
    out: options.RunsFolder = Path("runs"),
    ledger: options.Ledger = "sqlite",
    ray: options.Ray = None,
    workers: options.Workers = None,
    at_once: options.AtOnce = None,
    cpus_per_trial: options.CpusPerTrial = None,
    gpus_per_trial: options.GpusPerTrial = None,
    trial_timeout: options.TrialTimeout = None,
    deterministic: options.Deterministic = False,
    checkpoints: options.Checkpoints = None,
    tensorboard: options.Tensorboard = False,
    mlflow: options.Mlflow = None,
    wandb: options.Wandb = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Search a space for the most accurate networks within a budget.

    [bold]Example:[/]  nas search --space mbconv --budget 400M --data digits --trials 60 --name first

    Before training anything, it shows what the space holds and how much of it
    fits the budget. Ctrl-C stops cleanly; the same command resumes the search.
    """
    with waiting(json, quiet) as begin:
        from nas.api import checked_name, planned, run_name
        from searchspaces.strides import stated
        from studies import Study
        from studies.settings import Settings

        where = stated(space, strides)
        folder = out / checked_name(run_name(where, budget, data) if name is None else name)
        given = Settings.parse({**settings_given(context.params), "space": where, "trials": planned(trials, time)})
        running = Running.of(context.params, folder)
        _run(Study.create(folder, given), running, json, begin)


def resume(
    context: typer.Context,
    run: options.Run,
    trials: options.TrialsInAll = None,
    time: options.Time = None,
    space: options.OwnSpace = None,
    strategy: options.OwnStrategy = None,
    estimator: options.OwnEstimator = None,
    key: options.OwnKey = None,
    data: options.MovedData = None,
    device: options.Device = "auto",
    ledger: options.LedgerUrl = None,
    ray: options.Ray = None,
    workers: options.Workers = None,
    at_once: options.AtOnce = None,
    cpus_per_trial: options.CpusPerTrial = None,
    gpus_per_trial: options.GpusPerTrial = None,
    trial_timeout: options.TrialTimeout = None,
    checkpoints: options.Checkpoints = None,
    tensorboard: options.Tensorboard = False,
    mlflow: options.Mlflow = None,
    wandb: options.Wandb = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Resume a search from its run folder.

    [bold]Example:[/]  nas resume runs/first --trials 100

    If its ledger is a PostgreSQL database, several machines can resume it at
    the same time and share the work.
    """
    with waiting(json, quiet) as begin:
        from nas.api import open_study

        study = open_study(
            run,
            space=space,
            strategy=strategy,
            estimator=estimator,
            key=key,
            data=data,
            device=device,
            ledger=ledger,
            checkpoints=checkpoints,
        )
        running = Running.of(context.params, Path(run))
        if checkpoints:
            running = replace(running, typed=f"{running.typed} --checkpoints {shlex.quote(checkpoints)}")
        _run(study, running, json, begin)


def _scale_again(study: Study) -> None:
    """Write the family of a scaling study again, since further trials may change the factors."""
    from searchspaces import ScalingSpace

    if isinstance(study.space, ScalingSpace):
        from nas.scaling import made_again, write

        if (family := made_again(study)) is not None:
            write(family)


def _run(study: Study, running: Running, json: bool, begin: Callable[[], None]) -> None:
    """Show what is about to run, after a call of `begin`, run it, and show what was found."""
    from nas.documents import space_document, study_document
    from nas.next_commands import resume_command
    from studies.fidelity import read_as

    def preflight() -> None:
        space, document = space_document(study.feasible, study.task), study_document(study)
        begin()
        show_preflight(document, space, running.console, study.size_from)

    ended, stopped = running.run(study, preflight)
    _scale_again(study)
    document = study_document(study)
    if ended is not None:
        document["ended"] = {"kind": ended.kind, "reason": ended.reason}
        if ended.kind == "exhausted":
            document["more"] = None
    again = resume_command(study, running.trials) + running.typed
    if stopped:
        document["more"] = again
    if json:
        print_json(document)
    else:
        show_result(document, running.console, read_as(study))
    for name, why in ({} if running.trackers is None else running.trackers.lost).items():
        say(f"some results were not logged to {name}: {why}")
    if stopped:
        raise interrupted(f"resume with: {again}")
