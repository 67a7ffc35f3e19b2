"""What a person types: commands parse, call a public function and print.

Nothing heavy is imported at the top: `nas --help` and `nas space` answer without torch, Ray or Optuna. Mistakes are one
line on stderr and exit code 2; Ctrl-C exits 130 and says how to go on; anything else is our own mistake and keeps its
traceback.
"""

from __future__ import annotations

import errno
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from studies import Engine, Event, Study, StudyEnded, Trial
    from studies.comparison import Comparison
    from studies.trackers import Trackers

INTERRUPTED: Final = 130
MISTAKE: Final = 2

app = typer.Typer(
    name="nas",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

BUDGET_HELP: Final = (
    "Most a network may cost: 400M (MACs), 360M..400M, macs=400M,params=5.3M, 60% of the space's largest, or 8ms "
    "(with --latency)."
)

LATENCY_HELP: Final = "Latency table of nas measure: latency_ms is then a cost, as in --budget 8ms."

DATA_HELP: Final = (
    "Images: digits, a folder with one subfolder a class, an .npz file, or a data set of the Hugging Face hub."
)
SET_HELP: Final = "A setting of the strategy or the estimator, as in estimator.epochs=8; may be given again."
AGAIN_HELP: Final = "Again, where the search was begun with one of your own."
WHAT, HOW_LONG, HOW, WHERE = "What to search", "How long", "How", "Where to keep it"
SIZES: Final = "What sizes"
CLUSTER: Final = "Many trials at once"
TO_TRAIN, TOGETHER = "What to train", "Several workers on one network"
ELSEWHERE: Final = "Follow it elsewhere"

Json = Annotated[bool, typer.Option("--json", metavar="", help="Print one JSON object instead.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", metavar="", help="Print nothing but the result.")]
LatencyFile = Annotated[
    str | None,
    typer.Option(
        "--latency",
        metavar="FILE.json",
        help=LATENCY_HELP,
        show_default=False,
    ),
]
TaskText = Annotated[
    str, typer.Option("--task", metavar="HxWxC:N", help="Deployment task, on which costs are counted.")
]
LedgerAgain = Annotated[
    str | None,
    typer.Option("--ledger", metavar="URL", help="Again, where it has a password; PGPASSWORD does too."),
]
SpaceAgain = Annotated[str | None, typer.Option("--space", metavar="file.py:object", help=AGAIN_HELP)]
Ray = Annotated[
    str | None,
    typer.Option(
        metavar="[ADDRESS]",
        help="Run trials on Ray: on this machine, or at an address: auto or host:6379.",
        show_default=False,
        rich_help_panel=CLUSTER,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(metavar="N", help="Trials at once; by default as many as there is room for.", rich_help_panel=CLUSTER),
]
CpusPerTrial = Annotated[
    float | None,
    typer.Option(metavar="N", help="Cores of a trial; by default its estimator's threads.", rich_help_panel=CLUSTER),
]
GpusPerTrial = Annotated[
    float | None,
    typer.Option(
        metavar="N", help="GPUs of a trial, 0.25 is a quarter of one; by default 1, if any.", rich_help_panel=CLUSTER
    ),
]
TrialTimeout = Annotated[
    str | None,
    typer.Option(metavar="30m", help="Kill a trial that takes longer; it is a failed one.", rich_help_panel=CLUSTER),
]
Tensorboard = Annotated[
    bool,
    typer.Option("--tensorboard", metavar="", help="Write what TensorBoard reads, too.", rich_help_panel=ELSEWHERE),
]
Mlflow = Annotated[
    str | None,
    typer.Option(metavar="URI", help="Tell MLflow there, such as http://host:5000, too.", rich_help_panel=ELSEWHERE),
]
Wandb = Annotated[
    str | None,
    typer.Option(metavar="PROJECT", help="Tell Weights & Biases, too; needs --ray.", rich_help_panel=ELSEWHERE),
]
CheckpointsAt = Annotated[
    str | None,
    typer.Option(
        "--checkpoints",
        metavar="DIR|URL|none",
        help="Where unfinished trainings are kept, for all nodes to reach; by default in the run folder.",
        show_default=False,
        rich_help_panel=CLUSTER,
    ),
]
Trained = Annotated[str, typer.Argument(metavar="TRAINED", help="Folder that nas train wrote.", show_default=False)]
Weights = Annotated[str, typer.Option(metavar="NAME", help="best (on validation images, averaged) or last.")]
Run = Annotated[str, typer.Argument(metavar="RUN", help="Run folder, such as runs/first.", show_default=False)]


@app.callback()
def nas() -> None:
    """Find convolutional networks that are as accurate as possible within a compute budget, on your own images.

    [bold]Start here:[/]  nas search --space mbconv --budget 400M --data digits

    400M means MACs: one MAC is one multiply and one add. Papers call the same
    number 400M FLOPs or mult-adds; torch's own counter would print 800M.
    """


@app.command()
def search(
    context: typer.Context,
    budget: Annotated[str, typer.Option(metavar="BUDGET", help=BUDGET_HELP, show_default=False, rich_help_panel=WHAT)],
    space: Annotated[
        str, typer.Option(metavar="SPACE", help="A name from 'nas spaces', or file.py:object.", rich_help_panel=WHAT)
    ] = "mbconv",
    data: Annotated[str, typer.Option(metavar="DATA", help=DATA_HELP, rich_help_panel=WHAT)] = "digits",
    task: Annotated[
        str,
        typer.Option(metavar="HxWxC:N", help="Deployment task, on which the budget is counted.", rich_help_panel=WHAT),
    ] = "224x224x3:1000",
    latency: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.json",
            help=LATENCY_HELP,
            show_default=False,
            rich_help_panel=WHAT,
        ),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(metavar="N", help="Networks to try in all; 60 unless --time is given.", rich_help_panel=HOW_LONG),
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(metavar="30m", help="Start no trial after this time: 90s, 30m, 1h30m.", rich_help_panel=HOW_LONG),
    ] = None,
    strategy: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="evolution, grid, guided, pareto, random, rl, tpe, optuna:SAMPLER or file.py:object.",
            rich_help_panel=HOW,
        ),
    ] = "guided",
    estimator: Annotated[
        str,
        typer.Option(metavar="NAME", help="short-training, table:FILE.json or file.py:object.", rich_help_panel=HOW),
    ] = "short-training",
    start_from: Annotated[
        list[str] | None,
        typer.Option(
            "--start-from",
            metavar="NETWORK",
            help="Try this first: a classic of the space, an architecture (JSON or its file); may be given again.",
            show_default=False,
            rich_help_panel=HOW,
        ),
    ] = None,
    objectives: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="For the strategy pareto, such as accuracy,macs.", rich_help_panel=HOW),
    ] = None,
    confirm: Annotated[
        int,
        typer.Option(
            metavar="K", help="Last, train the K best three times more; the mean decides.", rich_help_panel=HOW
        ),
    ] = 0,
    pruner: Annotated[
        str, typer.Option(metavar="NAME", help="Stop hopeless trials early: asha, median or none.", rich_help_panel=HOW)
    ] = "none",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="WHOSE.NAME=VALUE", help=SET_HELP, show_default=False, rich_help_panel=HOW),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="All randomness follows from it.", rich_help_panel=HOW)] = 0,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda or mps.", rich_help_panel=HOW)] = "auto",
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of the run; by default made from space, budget and data. The same name again goes on.",
            rich_help_panel=WHERE,
        ),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for run folders.", rich_help_panel=WHERE)] = Path(
        "runs"
    ),
    ledger: Annotated[
        str,
        typer.Option(
            metavar="LEDGER",
            help="sqlite or journal, in the run folder; or postgresql://host/name, where several drivers may work.",
            rich_help_panel=WHERE,
        ),
    ] = "sqlite",
    ray: Ray = None,
    workers: Workers = None,
    cpus_per_trial: CpusPerTrial = None,
    gpus_per_trial: GpusPerTrial = None,
    trial_timeout: TrialTimeout = None,
    deterministic: Annotated[
        bool,
        typer.Option(
            "--deterministic",
            metavar="",
            help="Propose in waves of --workers: the same trials, however they end. Slots wait at a wave's end.",
            rich_help_panel=CLUSTER,
        ),
    ] = False,
    checkpoints: CheckpointsAt = None,
    tensorboard: Tensorboard = False,
    mlflow: Mlflow = None,
    wandb: Wandb = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Search a space for the most accurate networks within a budget.

    [bold]Example:[/]  nas search --space mbconv --budget 400M --data digits --trials 60 --name first

    Before anything is trained it says what the space holds and how much of it
    fits. Ctrl-C ends cleanly; the same command goes on.
    """
    from nas.api import checked_name, planned, run_name
    from nas.follow import Follow
    from nas.where import Where
    from nas.wording import parse_duration
    from studies import Study
    from studies.settings import Settings

    where = Where(ray, workers, cpus_per_trial, gpus_per_trial, trial_timeout)
    engine = where.engine(device)
    limit_s = parse_duration(time) if time is not None else None
    of_strategy, of_estimator = _settings(settings or [])
    folder = out / checked_name(run_name(space, budget, data) if name is None else name)
    follow = Follow(tensorboard, mlflow, wandb)
    trackers = follow.trackers(folder, engine)
    given = {**context.params, "trials": planned(trials, limit_s), "wave": where.wave(deterministic)}
    given |= {"strategy_settings": of_strategy, "estimator_settings": of_estimator}
    study = Study.create(folder, Settings.parse(given))
    _run(study, trials, limit_s, quiet, json, engine, where.words() + follow.words(), trackers)


@app.command()
def resume(
    run: Run,
    trials: Annotated[
        int | None, typer.Option(metavar="N", help="Trials in all; by default as many as were planned.")
    ] = None,
    time: Annotated[
        str | None, typer.Option(metavar="30m", help="Start no trial after this time: 90s, 30m, 1h30m.")
    ] = None,
    space: SpaceAgain = None,
    strategy: Annotated[str | None, typer.Option(metavar="file.py:object", help=AGAIN_HELP)] = None,
    estimator: Annotated[str | None, typer.Option(metavar="file.py:object", help=AGAIN_HELP)] = None,
    data: Annotated[str | None, typer.Option(metavar="DATA", help="Where the same images are now.")] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda or mps.")] = "auto",
    ledger: LedgerAgain = None,
    ray: Ray = None,
    workers: Workers = None,
    cpus_per_trial: CpusPerTrial = None,
    gpus_per_trial: GpusPerTrial = None,
    trial_timeout: TrialTimeout = None,
    checkpoints: CheckpointsAt = None,
    tensorboard: Tensorboard = False,
    mlflow: Mlflow = None,
    wandb: Wandb = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Go on with a search: the folder says all there is to know.

    [bold]Example:[/]  nas resume runs/first --trials 100

    Where its ledger is a PostgreSQL database, this may be typed on several
    machines: they work on the search together.
    """
    from nas.api import open_study
    from nas.follow import Follow
    from nas.where import Where
    from nas.wording import parse_duration

    where = Where(ray, workers, cpus_per_trial, gpus_per_trial, trial_timeout)
    engine = where.engine(device)
    limit_s = parse_duration(time) if time is not None else None
    follow = Follow(tensorboard, mlflow, wandb)
    study = open_study(
        run,
        space=space,
        strategy=strategy,
        estimator=estimator,
        data=data,
        device=device,
        ledger=ledger,
        checkpoints=checkpoints,
    )
    trackers = follow.trackers(Path(run), engine)
    kept = f" --checkpoints {shlex.quote(checkpoints)}" if checkpoints else ""
    _run(study, trials, limit_s, quiet, json, engine, where.words() + kept + follow.words(), trackers)


@app.command()
def show(
    what: Annotated[
        str,
        typer.Argument(
            metavar="RUN|NETWORK",
            help="Run folder, such as runs/first; a classic's name; an architecture (JSON or its file).",
            show_default=False,
        ),
    ],
    trial: Annotated[
        int | None, typer.Option(metavar="N", help="One trial of a run, with all that is known of it.")
    ] = None,
    task: Annotated[
        str | None, typer.Option(metavar="HxWxC:N", help="Images and classes a network is for; else its own.")
    ] = None,
    svg: Annotated[
        Path | None, typer.Option(metavar="FILE.svg", help="Draw the network too; of a run the best, or the trial.")
    ] = None,
    space: SpaceAgain = None,
    ledger: LedgerAgain = None,
    json: Json = False,
) -> None:
    """Show what a search has found or one of its trials; or a network, block by block.

    [bold]Example:[/]  nas show runs/first --trial 7
    [bold]Example:[/]  nas show efficientnet_b0 --svg b0.svg
    """
    from nas.networks import names_network

    if names_network(what):
        document = _network(what, trial, task, svg, space)
    else:
        document = _found(what, trial, task, svg, space, ledger)
    if json:
        return _print_json(document)
    from nas.screens import show_network, show_study, show_trial

    if "stages" in document:
        return show_network(document, _console())
    (show_study if trial is None else show_trial)(document, _console())


def _network(text: str, trial: int | None, task: str | None, svg: Path | None, space: str | None) -> dict[str, Any]:
    """What `nas show` has to say of a network."""
    from nas.networks import cost_document, draw, named, own_task, title
    from searchspaces import Task, UserError, load_space

    if trial is not None:
        raise UserError(f"--trial is for a run folder, and {title(text)} is a network")
    images, home = Task.parse(task) if task else None, load_space(space) if space else None
    document = cost_document(text, images, home)
    if svg is not None:
        found = named(text, home)
        draw(found, images or own_task(found), title(text), svg)
        document["drawing"] = str(svg)
    return document


def _found(
    run: str, number: int | None, task: str | None, svg: Path | None, space: str | None, ledger: str | None
) -> dict[str, Any]:
    """What `nas show` has to say of a run folder."""
    from nas.api import open_study
    from nas.documents import study_document, trial_document
    from nas.networks import draw
    from searchspaces import CLASSICS, UserError, nearest

    if "/" not in run and not Path(run).exists():
        raise UserError(f"{run!r} is no run folder and no network of the literature{nearest(run, CLASSICS)}")
    if task is not None:
        raise UserError(f"--task is for a network; {run} has the task that it was begun with")
    study = open_study(run, space=space, ledger=ledger)
    trial = None if number is None else _trial(study, number)
    document = study_document(study) if trial is None else trial_document(trial)
    if svg is not None:
        drawn = study.best if trial is None else trial
        draw(drawn.architecture, study.task, f"{run}, trial {drawn.number}", svg)
        document["drawing"] = str(svg)
    return document


@app.command()
def plot(
    run: Run,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Where to write it; by default pareto.html in the run folder."),
    ] = None,
    space: SpaceAgain = None,
    ledger: LedgerAgain = None,
    json: Json = False,
) -> None:
    """Draw accuracy against cost as one HTML file that needs no network.

    [bold]Example:[/]  nas plot runs/first
    """
    from nas.api import open_study
    from nas.documents import axis

    study = open_study(run, space=space, ledger=ledger)
    path = study.plot(out, axis(study))
    if json:
        return _print_json({"plot": str(path)})
    print(path)


@app.command("scale")
def scale_network(
    context: typer.Context,
    what: Annotated[
        str,
        typer.Argument(
            metavar="RUN|NETWORK",
            help="Run folder (its best), such as runs/first; a classic's name; an architecture (JSON or its file).",
            show_default=False,
        ),
    ],
    target: Annotated[
        float, typer.Option(metavar="N", help="How much more compute a step of φ is to be.", rich_help_panel=SIZES)
    ] = 2.0,
    phi: Annotated[
        str, typer.Option(metavar="A..B", help="Members of the family: 1..7 or 0.5,1,2.", rich_help_panel=SIZES)
    ] = "1..7",
    coefficients: Annotated[
        str | None,
        typer.Option(
            metavar="α,β,γ",
            help="No search: depth, width, resolution as 1.2,1.1,1.15; or published (EfficientNet-B1 to B7).",
            show_default=False,
            rich_help_panel=SIZES,
        ),
    ] = None,
    step: Annotated[float, typer.Option(metavar="N", help="Of the grid of factors.", rich_help_panel=SIZES)] = 0.05,
    band: Annotated[
        str, typer.Option(metavar="5%", help="By how much true MACs may miss the target.", rich_help_panel=SIZES)
    ] = "5%",
    task: Annotated[
        str | None,
        typer.Option(
            metavar="HxWxC:N", help="Images and classes; by default the network's own.", rich_help_panel=SIZES
        ),
    ] = None,
    space: SpaceAgain = None,
    data: Annotated[str, typer.Option(metavar="DATA", help=DATA_HELP, rich_help_panel=HOW)] = "digits",
    strategy: Annotated[
        str, typer.Option(metavar="NAME", help="grid tries them all; or any of nas search.", rich_help_panel=HOW)
    ] = "grid",
    estimator: Annotated[
        str,
        typer.Option(metavar="NAME", help="short-training, table:FILE.json or file.py:object.", rich_help_panel=HOW),
    ] = "short-training",
    confirm: Annotated[
        int | None,
        typer.Option(
            metavar="K", help="Last, train the K best three times more; 3 where it pays.", rich_help_panel=HOW
        ),
    ] = None,
    trials: Annotated[
        int | None, typer.Option(metavar="N", help="Trainings in all; by default all that fit.", rich_help_panel=HOW)
    ] = None,
    time: Annotated[
        str | None, typer.Option(metavar="30m", help="Start no trial after this time.", rich_help_panel=HOW)
    ] = None,
    pruner: Annotated[
        str, typer.Option(metavar="NAME", help="Stop hopeless trials early: asha, median or none.", rich_help_panel=HOW)
    ] = "none",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="WHOSE.NAME=VALUE", help=SET_HELP, show_default=False, rich_help_panel=HOW),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="All randomness follows from it.", rich_help_panel=HOW)] = 0,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda or mps.", rich_help_panel=HOW)] = "auto",
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Name of the run; by default made from the network's.", rich_help_panel=WHERE
        ),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for run folders.", rich_help_panel=WHERE)] = Path(
        "runs"
    ),
    ray: Ray = None,
    workers: Workers = None,
    cpus_per_trial: CpusPerTrial = None,
    gpus_per_trial: GpusPerTrial = None,
    trial_timeout: TrialTimeout = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Scale a network into a family: find how depth, width and image size grow best.

    [bold]Example:[/]  nas scale runs/first --data digits
    [bold]Example:[/]  nas scale efficientnet_b0 --coefficients published

    Factors α, β, γ are searched for among those with about twice the base's
    true MACs; α, β, γ to the power of φ make the family. The same command
    again goes on.
    """
    from nas.documents import study_document
    from nas.scaling import (
        family_document,
        grid_document,
        made,
        plan,
        settings_for,
        show_family,
        show_grid,
        show_plan,
        write,
    )
    from nas.where import Where
    from nas.wording import parse_duration
    from studies import Study
    from studies.scaling import candidates

    engine = Where(ray, workers, cpus_per_trial, gpus_per_trial, trial_timeout).engine(device)
    limit_s = parse_duration(time) if time is not None else None
    planned = plan(
        what, target=target, phi=phi, step=step, band=band, coefficients=coefficients, task=task, space=space,
        name=name, out=out,
    )  # fmt: skip
    console = _console(json)
    found = candidates(planned.space)
    document: dict[str, Any] = {"run": str(planned.folder), "grid": grid_document(planned, found)}
    study, interrupted = None, False
    family = None if planned.searches else made(planned)
    if family is None:
        of_strategy, of_estimator = _settings(settings or [])
        given = {**context.params, "strategy_settings": of_strategy, "estimator_settings": of_estimator}
        study = Study.create(planned.folder, settings_for(planned, found, given))
        interrupted = _followed(
            study, trials, limit_s, quiet, console, engine, lambda: show_plan(planned, found, study, console)
        )[1]
        document["study"] = study_document(study)
    elif not quiet:
        show_grid(document["grid"], console)
    if study is not None and any(trial.state == "complete" for trial in study.trials):
        family = made(planned, study)
    if family is not None:
        write(family)
        document["family"] = family_document(family)
    if json:
        _print_json(document)
    elif "family" in document:
        show_family(document["family"], planned.folder, console, space)
    if interrupted:
        raise typer.Exit(_say("interrupted; the same command goes on", INTERRUPTED))


@app.command()
def compare(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN", help="Run folders, such as runs/first.", show_default=False)
    ],
    trials: Annotated[
        int | None, typer.Option(metavar="N", help="Compare after so many; by default as many as the shortest has.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write the curves there, as one file.", show_default=False)
    ] = None,
    space: SpaceAgain = None,
    json: Json = False,
) -> None:
    """Compare searches under equal conditions: which found more, and how sure is that?

    Runs whose settings differ in the seed alone are one contestant; several
    seeds each make intervals possible.

    [bold]Example:[/]  nas compare runs/evolution-* runs/random-* --out compare.html
    """
    from nas.comparing import compare_runs, comparison_document, show_comparison

    found = compare_runs(runs, space=space, trials=trials)
    document = comparison_document(found)
    if out is not None:
        document["plot"] = str(_write_curves(found, out))
    if json:
        return _print_json(document)
    show_comparison(document, _console())
    print(document["plot"] if out is not None else "curves: the same with --out compare.html")


@app.command("bench-strategies")
def bench_strategies(
    table: Annotated[
        Path, typer.Option(metavar="FILE.json", help="Recorded accuracies, by architecture.", show_default=False)
    ],
    space: Annotated[
        str, typer.Option(metavar="SPACE", help="A name from 'nas spaces', or file.py:object.", show_default=False)
    ],
    budget: Annotated[str | None, typer.Option(metavar="BUDGET", help=BUDGET_HELP)] = None,
    task: TaskText = "224x224x3:1000",
    trials: Annotated[int, typer.Option(metavar="N", help="Trials of each run.")] = 100,
    seeds: Annotated[int, typer.Option(metavar="K", help="Runs of each strategy, seeds 0 to K - 1.")] = 10,
    strategies: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="Strategies; all that have one objective.", show_default=False)
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="file.py:FUNCTION", help="From an architecture to its key in the table; else its text form."
        ),
    ] = None,
    unit: Annotated[str, typer.Option(metavar="NAME", help="Of the table: fraction or percent.")] = "fraction",
    field: Annotated[
        str, typer.Option(metavar="NAME", help="Of the accuracies, in entries that are objects.")
    ] = "test_acc",
    confirm: Annotated[
        int, typer.Option(metavar="K", help="Evaluate the K best again, within the trials, and choose on the mean.")
    ] = 0,
    jobs: Annotated[int, typer.Option(metavar="N", help="Processes; results are the same for any number.")] = 1,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where compare.html and results.json go.")] = Path(
        "bench-strategies"
    ),
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Run strategies against each other on recorded accuracies, over several seeds.

    [bold]Example:[/]  nas bench-strategies --table macro.json --space macro.py:space
    --key macro.py:key --unit percent --task 32x32x3:10 --budget 60M
    """
    import json as as_text

    from nas.comparing import ONE_OBJECTIVE, BenchProgress, bench_document, show_bench
    from nas.comparing import bench_strategies as bench
    from searchspaces.errors import UserError

    if out.exists() and not out.is_dir():
        raise UserError(f"--out: {str(out)!r} is a file, not a folder")
    named = [name.strip() for name in strategies.split(",") if name.strip()] if strategies else ONE_OBJECTIVE
    console = _console(json)
    with BenchProgress(len(set(named)) * seeds, console, quiet) as progress:
        found = bench(
            table, space, budget, task=task, trials=trials, seeds=seeds, strategies=named, key=key, unit=unit,
            field=field, confirm=confirm, jobs=jobs, on_begin=progress,
        )  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    files = {"plot": _write_curves(found.regret or found.observed, out), "results": out / "results.json"}
    document = bench_document(found, files)
    _written(files["results"], as_text.dumps(document, indent=1) + "\n")
    if json:
        _print_json(document)
    else:
        show_bench(document, console)
    if found.interrupted:
        raise typer.Exit(_say(f"interrupted after {len(found.runs)} runs", INTERRUPTED))


@app.command()
def spaces(json: Json = False) -> None:
    """List the search spaces that have a name.

    [bold]Example:[/]  nas spaces
    """
    from nas.documents import spaces_document

    document = spaces_document()
    if json:
        return _print_json(document)
    from nas.screens import show_spaces

    show_spaces(document, _console())


@app.command()
def classics(
    part: Annotated[str, typer.Argument(metavar="PART", help="Only names that have it.", show_default=False)] = "",
    json: Json = False,
) -> None:
    """List the networks of the literature, with their costs on their own images.

    [bold]Example:[/]  nas classics resnet
    """
    from nas.networks import classics_document

    document = classics_document(part)
    if json:
        return _print_json(document)
    from nas.screens import show_classics

    show_classics(document, _console())


@app.command()
def space(
    name: Annotated[str, typer.Argument(metavar="SPACE", help="A name from 'nas spaces', or file.py:object.")],
    budget: Annotated[str | None, typer.Option(metavar="BUDGET", help=BUDGET_HELP)] = None,
    task: TaskText = "224x224x3:1000",
    latency: LatencyFile = None,
    json: Json = False,
) -> None:
    """Tell what a space holds, what its networks cost, and how many fit a budget.

    [bold]Example:[/]  nas space mbconv --budget 360M..400M --task 32x32x3:10
    """
    from nas.api import task_of
    from nas.documents import space_document
    from searchspaces import Budget, load_space

    document = space_document(load_space(name), task_of(task, latency), Budget.parse(budget) if budget else None)
    if json:
        return _print_json(document)
    from nas.screens import show_space

    show_space(document, _console())


@app.command()
def cost(
    network: Annotated[
        str,
        typer.Argument(
            metavar="NETWORK",
            help="A classic's name, a network's text form (JSON or its file), a run folder (its best), file.py:object.",
        ),
    ],
    task: Annotated[
        str | None,
        typer.Option(metavar="HxWxC:N", help="Images and classes; by default the network's own, or 224x224x3:1000."),
    ] = None,
    space: Annotated[
        str | None, typer.Option(metavar="file.py:object", help="Of an architecture of a space of your own.")
    ] = None,
    latency: LatencyFile = None,
    json: Json = False,
) -> None:
    """Count what a network costs, stage by stage.

    A torch module of your own (my_net.py:net, a module or a function that
    makes one) is counted by tracing.

    [bold]Example:[/]  nas cost efficientnet_b0 --task 240x240x3:1000
    """
    from nas.networks import cost_document
    from searchspaces import Task, load_space
    from searchspaces.latency import LatencyTable

    times = LatencyTable.read(latency) if latency else None
    document = cost_document(network, Task.parse(task) if task else None, load_space(space) if space else None, times)
    if json:
        return _print_json(document)
    from nas.screens import show_cost

    show_cost(document, _console())


@app.command()
def measure(
    networks: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NETWORK",
            help="Classics' names, text forms (JSON or files), run folders (their best), file.py:object.",
            show_default=False,
        ),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(
            metavar="SPACE",
            help="Make the latency table of this space; with networks, where these live.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="Where the table goes. The same again goes on.", show_default=False),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(metavar="HxWxC:N", help="Images and classes; by default a network's own, or 224x224x3:1000."),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(metavar="BUDGET", help="Of the table: which networks it is fitted and checked on; else any."),
    ] = None,
    check: Annotated[
        int, typer.Option(metavar="N", help="Of the table: networks to fit it on, and as many others to check it on.")
    ] = 20,
    runtime: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="onnxruntime or torch; by default the first, on a CPU where it is there."),
    ] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(metavar="N", help="Of the runtime.")] = 1,
    batch: Annotated[int, typer.Option(metavar="N", help="Images at a time.")] = 1,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Measure how long networks take on this machine; or make the latency table of a space.

    [bold]Example:[/]  nas measure efficientnet_b0 resnet18 mobilenetv3_large_100
    [bold]Example:[/]  nas measure --space mbconv --task 32x32x3:10 --out latency.json

    With a table, latency is a cost like any other: nas search --latency
    latency.json --budget 8ms. Every different block is measured once.
    """
    from estimators.latency import How
    from nas import measuring
    from searchspaces import Budget, Task, UserError, load_space

    if bool(networks) == (out is not None):
        raise UserError(
            "say networks to be measured, or --space SPACE --out FILE.json for the latency table of a space"
        )
    if out is not None and space is None:
        raise UserError(f"--out {out} is for the latency table of a space: add --space SPACE")
    how = How(runtime or "", device, threads, batch)
    home, images = load_space(space) if space else None, Task.parse(task) if task else None
    console = _console(json)
    try:
        with measuring.MeasureProgress(console, quiet) as progress:
            if networks:
                document = measuring.networks_document(networks, how, images, home, progress)
            else:
                assert home is not None
                assert out is not None
                bound = Budget.parse(budget) if budget else None
                made = measuring.make_table(
                    home, images or Task(), how, out, budget=bound, networks=check, on_step=progress
                )
                document = measuring.table_document(made, out, space or "")
    except KeyboardInterrupt:
        again = "; the same command goes on where it stopped" if out is not None else ""
        raise typer.Exit(_say(f"interrupted{again}", INTERRUPTED)) from None
    if json:
        return _print_json(document)
    (measuring.show_networks if networks else measuring.show_table)(document, console)


@app.command()
def export(
    network: Annotated[
        str,
        typer.Argument(
            metavar="TRAINED|NETWORK",
            help="Folder of 'nas train'; or, with random weights: run folder, classic, architecture or its file.",
            show_default=False,
        ),
    ],
    to: Annotated[
        str, typer.Option(metavar="A,B", help="onnx, torchscript, torch-export, python; several with commas.")
    ] = "onnx",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder for the files; by default export in the network's own.", show_default=False
        ),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", metavar="", help="ONNX in 8 bits too, calibrated on training images.")
    ] = False,
    data: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="The images trained on: classes are compared on test images too."),
    ] = None,
    task: Annotated[
        str | None, typer.Option(metavar="HxWxC:N", help="Images and classes where weights are random; else its own.")
    ] = None,
    space: SpaceAgain = None,
    json: Json = False,
) -> None:
    """Write a network as files that run without nas, each checked against torch.

    They take pixels as they are read, uint8 (batch, height, width, channels);
    scaling is part of them. A model card lies beside them.

    [bold]Example:[/]  nas export trained/first --to onnx,python --int8 --data digits
    """
    from nas.exporting import export as write

    console = _console(json)
    with console.status("") as status:
        document = write(
            network, to, out, int8=int8, data=data, task=task, space=space, on_step=lambda step: status.update(step)
        )
    if json:
        return _print_json(document)
    from nas.screens import show_export

    show_export(document, console)


@app.command()
def train(
    context: typer.Context,
    network: Annotated[
        str,
        typer.Argument(
            metavar="RUN|NETWORK",
            help="Run folder, for its best; a classic's name; a network's text form (JSON or its file).",
            show_default=False,
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(metavar="DATA", help=DATA_HELP + " By default the run's own.", rich_help_panel=TO_TRAIN),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Side in pixels; by default the data's, or a scaled size's own.", rich_help_panel=TO_TRAIN
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(metavar="N", help="Passes over the images; 100 by default.", rich_help_panel=HOW)
    ] = None,
    recipe: Annotated[str, typer.Option(metavar="NAME", help="sgd or adamw.", rich_help_panel=HOW)] = "sgd",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A setting of the recipe, as in lr=0.05 or mixup=0; may be given again.",
            show_default=False,
            rich_help_panel=HOW,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="All randomness follows from it.", rich_help_panel=HOW)] = 0,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda or mps.", rich_help_panel=HOW)] = "auto",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder of the trained network. The same again goes on.", rich_help_panel=WHERE
        ),
    ] = None,
    checkpoint_every: Annotated[
        str, typer.Option(metavar="5m", help="Between checkpoints within an epoch.", rich_help_panel=WHERE)
    ] = "5m",
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="[ADDRESS]",
            help="Train with several workers on Ray: on this machine, or at an address.",
            show_default=False,
            rich_help_panel=TOGETHER,
        ),
    ] = None,
    gpus: Annotated[
        int | None, typer.Option(metavar="N", help="GPUs that share each batch; needs --ray.", rich_help_panel=TOGETHER)
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", help="Without GPUs: workers that share each batch.", rich_help_panel=TOGETHER),
    ] = None,
    space: SpaceAgain = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Train a network in full, such as the best of a search.

    [bold]Example:[/]  nas train runs/first --epochs 100
    [bold]Example:[/]  nas train resnet18 --data pets/ --image-size 64 --recipe adamw

    Killed at any moment, the same command goes on. The test part of the data
    is looked at once, at the end.
    """
    from functools import partial

    from estimators.estimator import Diverged
    from estimators.recipe import make_recipe
    from estimators.training import train as train_here
    from nas import training as screen
    from nas.wording import parse_duration
    from searchspaces import UserError, load_space
    from studies.lock import locked

    if ray is None and (gpus or workers):
        raise UserError(f"{'--gpus' if gpus else '--workers'} is for a training on Ray: add --ray")
    given = _values(settings or [], "lr=0.05")
    plan = make_recipe(recipe, **given, **({} if epochs is None else {"epochs": epochs}))
    checkpoint_s = parse_duration(checkpoint_every, "--checkpoint-every")
    job = screen.job(network, data, image_size, load_space(space) if space else None)
    folder = screen.trained_folder(job.title, job.data.name) if out is None else out
    train_it: Any = partial(train_here, device=device)
    if ray is not None:
        from studies.ray.training import train_on_ray

        train_it = partial(train_on_ray, address=ray or None, gpus=gpus or 0, workers=workers)
    console = _console(json)
    if not quiet:
        screen.show_plan(screen.plan_document(job, plan, folder, seed), console)
    _made(folder)
    try:
        with (
            locked(folder),
            screen.TrainingDisplay(plan.epochs, console, quiet) as display,
            screen.interruptible(display) as after_step,
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
            )
    except Diverged as error:
        raise UserError(str(error)) from error
    except KeyboardInterrupt:
        import shlex

        _say(f"interrupted; go on with: {shlex.join(['nas', *(context.obj or ['train', network])])}", INTERRUPTED)
        raise typer.Exit(INTERRUPTED) from None
    document = screen.training_document(trained)
    if json:
        return _print_json(document)
    screen.show_training(document, console)


@app.command()
def evaluate(
    trained: Trained,
    data: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Other images of the same classes; all are looked at.", show_default=False),
    ] = None,
    weights: Weights = "best",
    space: SpaceAgain = None,
    json: Json = False,
) -> None:
    """Tell how well a trained network does: on the test part of its data, or on other images.

    [bold]Example:[/]  nas evaluate runs/first-trained
    """
    from nas.training import evaluate as evaluated
    from nas.training import show_evaluation

    document = evaluated(_opened(trained, space), data, weights)
    if json:
        return _print_json(document)
    show_evaluation(document, _console())


@app.command()
def predict(
    trained: Trained,
    images: Annotated[list[str], typer.Argument(metavar="IMAGE", help="Image files.", show_default=False)],
    top: Annotated[int, typer.Option(metavar="K", help="Classes told of each image.")] = 5,
    weights: Weights = "best",
    space: SpaceAgain = None,
    json: Json = False,
) -> None:
    """Tell what a trained network takes images for.

    [bold]Example:[/]  nas predict runs/first-trained cat.jpg dog.png --top 3
    """
    from nas.training import predict as predicted
    from nas.training import show_prediction

    document = predicted(_opened(trained, space), images, top, weights)
    if json:
        return _print_json(document)
    show_prediction(document, _console())


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 when done, 2 on a person's mistake, 130 on Ctrl-C."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if "--ray" in given:
        from nas.where import with_address

        given = with_address(given)
    try:
        if given and not given[0].startswith("-") and given[0] not in _command_names():
            code = _refuse(f"unknown command {given[0]!r}{_nearest(given[0], _command_names())}")
        else:
            code = app(args=given or ["--help"], prog_name="nas", standalone_mode=False, obj=given) or 0
    except KeyboardInterrupt:
        code = _say("interrupted", INTERRUPTED)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as failure:
        mistake = _mistake(failure)
        if mistake is None:
            raise
        code = _refuse(mistake)
    sys.exit(code)


def _mistake(failure: Exception) -> str | None:
    """What to tell the person whose mistake it was; None when it was ours."""
    if isinstance(failure, typer.TyperException):
        return _usage_line(failure)
    if isinstance(failure, OSError):
        return f"{failure.filename or 'output'}: {failure.strerror}" if failure.errno in _FOLDER_TROUBLE else None
    from searchspaces.errors import UserError

    return str(failure) if isinstance(failure, UserError) else None


_FOLDER_TROUBLE: Final = {errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EPERM, errno.EDQUOT}


def _refuse(message: str) -> int:
    return _say(message, MISTAKE)


def _say(message: str, code: int) -> int:
    print("nas: " + " ".join(message.split()), file=sys.stderr)
    return code


def _command_names() -> list[str]:
    return [each.name or str(getattr(each.callback, "__name__", "")) for each in app.registered_commands]


def _usage_line(mistake: typer.TyperException) -> str:
    """What was wrong with the words typed, with the nearest option where one was unknown."""
    context = getattr(mistake, "ctx", None)
    command = f"{context.info_name}: " if context is not None and context.parent is not None else ""
    option = getattr(mistake, "option_name", None)
    if option and "o such option" in mistake.message:
        known = [name for parameter in context.command.params for name in parameter.opts] if context else []
        return f"{command}unknown option {option!r}{_nearest(option, [name for name in known if name[:2] == '--'])}"
    text = mistake.format_message().rstrip(".")
    return f"{command}{text[:1].lower()}{text[1:]}"


def _run(
    study: Study,
    trials: int | None,
    limit_s: float | None,
    quiet: bool,
    json: bool,
    engine: Engine | None = None,
    where: str = "",
    trackers: Trackers | None = None,
) -> None:
    """Say what is about to happen, let it happen on the screen, and say what came out."""
    from nas.documents import resume_command, space_document, study_document
    from nas.screens import show_preflight, show_result

    console = _console(json)

    def preflight() -> None:
        show_preflight(study_document(study), space_document(study.feasible, study.task), console)

    ended, interrupted = _followed(study, trials, limit_s, quiet, console, engine, preflight, trackers)
    document = study_document(study)
    if ended is not None:
        document["ended"] = {"kind": ended.kind, "reason": ended.reason}
    if json:
        _print_json(document)
    else:
        show_result(document, console)
    for name, why in ({} if trackers is None else trackers.lost).items():
        _say(f"{name} was not told all: {why}", 0)
    if interrupted:
        _say(f"interrupted; go on with: {resume_command(study, trials)}{where}", INTERRUPTED)
        raise typer.Exit(INTERRUPTED)


def _followed(
    study: Study,
    trials: int | None,
    limit_s: float | None,
    quiet: bool,
    console: Console,
    engine: Engine | None,
    preflight: Callable[[], None],
    trackers: Trackers | None = None,
) -> tuple[StudyEnded | None, bool]:
    """Let a study happen on the screen; why it ended, and whether it was interrupted."""
    from nas.api import go_on
    from nas.display import Display, Progress

    best = study.best if any(trial.state == "complete" for trial in study.trials) else None
    display = Display(Progress(trials or study.manifest.trials, limit_s, best=best), console, preflight, quiet, engine)

    def tell(event: Event) -> None:
        display(event)
        if trackers is not None:
            trackers(event)

    try:
        with display:
            go_on(study, trials, limit_s, engine, on_event=tell)
    except KeyboardInterrupt:  # the ledger is in order: what ended is kept, what was under way is run again
        return display.ended, True
    return display.ended, False


def _write_curves(found: Comparison, out: Path) -> Path:
    """Write the page of a comparison into a file, or into a folder as compare.html."""
    from studies.pages.comparison import curves_html

    return _written(out / "compare.html" if out.is_dir() else out, curves_html(found))


def _written(path: Path, text: str) -> Path:
    from searchspaces.errors import UserError

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write to {path}: {error.strerror}") from error
    return path


def _trial(study: Study, number: int) -> Trial:
    from searchspaces.errors import UserError

    trials = {trial.number: trial for trial in study.trials}
    if number not in trials:
        raise UserError(f"{study.folder} has no trial {number}; it has {len(trials)}, numbered from 0")
    return trials[number]


def _settings(given: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings of the strategy and of the estimator, from `strategy.population=20` and the like."""
    import json

    from searchspaces.errors import UserError, nearest

    found: dict[str, dict[str, Any]] = {"strategy": {}, "estimator": {}}
    for text in given:
        target, equals, value = text.partition("=")
        whose, dot, name = target.partition(".")
        if not (equals and dot and name):
            raise UserError(f"--set {text!r} does not look like 'estimator.epochs=8' or 'strategy.population=20'")
        if whose not in found:
            raise UserError(f"--set {text!r}: nobody is called {whose!r}{nearest(whose, found)}")
        try:
            found[whose][name] = json.loads(value)
        except ValueError:
            found[whose][name] = value  # a text needs no quotes
    return found["strategy"], found["estimator"]


def _values(given: list[str], example: str) -> dict[str, Any]:
    """Settings by name, from `lr=0.05` and the like; a text needs no quotes."""
    import json

    from searchspaces.errors import UserError

    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (equals and name):
            raise UserError(f"--set {text!r} does not look like {example!r}")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def _opened(folder: str, space: str | None) -> Any:
    """The trained network of a folder."""
    from estimators.trained import Trained
    from searchspaces import load_space

    return Trained.open(folder, load_space(space) if space else None)


def _made(folder: Path) -> None:
    """Make a folder, where it is not there."""
    from searchspaces.errors import UserError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {folder}: {error.strerror}") from error


def _nearest(name: str, names: Iterable[str]) -> str:
    from searchspaces.errors import nearest

    return nearest(name, names)


def _console(json: bool = False) -> Console:
    """Standard output; standard error where standard output is for one JSON object."""
    from rich.console import Console

    console = Console(stderr=json, highlight=False)
    return console if console.is_terminal else Console(stderr=json, highlight=False, width=120)


def _print_json(value: Any) -> None:
    import json

    print(json.dumps(value, indent=2, default=str))
