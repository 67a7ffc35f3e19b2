"""The public functions: a space by name, a search from start to end, a study opened again.

Each argument that names a thing takes a name, `file.py:object`, or your own object.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nas.documents import axis
from nas.parsing import seconds_of
from searchspaces import Architecture, Budget, SearchSpace, Task, UserError, load_space
from searchspaces.files import NOT_UTF8
from searchspaces.latency import LatencyTable
from searchspaces.strides import stated

if TYPE_CHECKING:
    from estimators import Estimator
    from strategies import Strategy
    from studies import Engine, Event, Study, StudyEnded
    from studies.confirming import Confirm

TRIALS: Final = 60
"""Trials of a search that is given neither a number of trials nor a time."""


def space(given: str | SearchSpace) -> SearchSpace:
    """A search space by its name or by `file.py:object`.

    Raises:
        UserError: there is none of that name; the nearest is named.

    >>> space("mbconv").size
    1828079220031488
    """
    return load_space(given)


def search(
    space: str | SearchSpace = "mbconv",
    budget: str | Budget | None = "400M",
    data: str | Path = "digits",
    *,
    task: str | Task | None = None,
    image_size: int | None = None,
    strides: str | None = None,
    latency: str | Path | LatencyTable | None = None,
    trials: int | None = None,
    time: float | str | None = None,
    strategy: str | Strategy | Callable[..., Strategy] = "guided",
    estimator: str | Estimator | Callable[..., Estimator] = "short-training",
    seed: int = 0,
    name: str | None = None,
    out: str | Path = "runs",
    prescreen: str | None = None,
    pruner: str = "none",
    device: str = "auto",
    start_from: str | Architecture | Sequence[str | Architecture] = (),
    objectives: str | Sequence[str] | None = None,
    replicas: bool = False,
    confirm: Confirm | str | None = None,
    inherit: bool = False,
    wave: int | None = None,
    checkpoints: str | None = None,
    ledger: str = "sqlite",
    strategy_settings: Mapping[str, Any] | None = None,
    estimator_settings: Mapping[str, Any] | None = None,
    engine: Engine | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Study:
    """Search a space for the most accurate networks within a budget.

    The same name again goes on where it stopped; a setting that differs from the first time is refused.

    Args:
        space: where to look.
        budget: what a network may cost, such as `400M` (MACs), `360M..400M` or `macs=400M,params=5.3M`; None is
            everything.
        data: images to train on: `digits`, a folder with one subfolder a class, an `.npz` file, or a set of the hub.
        task: the deployment task, on which the budget is counted: by default the classes, the channels and the image
            size of your own images; 224 x 224 x 3 and 1000 classes with digits.
        image_size: height and width of the images in pixels, on which the budget is counted and candidates are
            trained; by default the budget is counted on images as they are in their files, up to 224 pixels, and
            candidates are trained on files decoded at 32.
        strides: `published` keeps all strides on small images, `small-images` leaves the first ones out
            (`searchspaces.strides`); by default as the space is declared.
        latency: a latency table (`nas measure`) or its file: with it `latency_ms` is a cost like any other, in budgets
            (`8ms`) and objectives.
        trials: how many networks to try in all; 60 where no time is given either.
        time: seconds, or text as in `30m`, after which no trial is started.
        strategy: what is tried next.
        estimator: how good one is.
        seed: all randomness follows from it.
        name: of the run; by default made from space, budget and data.
        out: where the run folder is made.
        prescreen: a zero-cost score and a number, such as `zico:8`: for each trial the strategy is asked so many times,
            and the proposal of the highest score is tried.
        pruner: `none`, `asha`, `median` or `curves`; `curves:0.05` stops a trial whose chance of entering the front is
            below 5 % instead of 10 %.
        device: `auto`, `cpu`, `cuda` or `mps`.
        start_from: networks to try before all others: classics of the space, architectures, their text form or a file
            of it. For strategies that go on from them: evolution, guided, local-search, pareto.
        objectives: for the strategy pareto, such as `accuracy,macs`.
        replicas: allow a network to be trained more than once.
        confirm: number of leading networks that are each trained three more times, as the last of the trials; the best
            is chosen by the mean. `auto` takes an eighth of the trials, and trains again what changes the choice most.
            By default `auto` where candidates are trained, or a table has several accuracies of a network, and at least
            50 trials are planned, else 0; not for the strategies pareto and grid, nor with the pruner curves.
        inherit: start each candidate from the trained weights of the nearest one before it, and train it for fewer
            epochs; confirmations are trained from scratch.
        wave: proposals in a synchronous batch, so that they do not depend on the order in which trials end.
        checkpoints: where trials keep their training state while they run: a folder or a URL that every node reaches,
            or `none`; by default in the run folder.
        ledger: where trials are kept: `sqlite` or `journal` in the run folder, or the URL of a database; several
            processes may work on one study where it is PostgreSQL's.
        strategy_settings, estimator_settings: their own, by name.
        engine: where trials run; this process by default.
        on_event: called with each `Event`.

    Raises:
        UserError: an argument is wrong, or a setting differs from those of the run that is there.
    """
    space, data = stated(space, strides), str(data)
    given = {**locals(), "trials": planned(trials, time)}
    from studies import Study
    from studies.engine import check_device
    from studies.settings import Settings

    limit_s = seconds_of(time)
    if engine is None:
        check_device(device)
    folder = Path(out) / checked_name(name or run_name(space, budget, data))
    study = Study.create(folder, Settings.parse(given))
    go_on(study, trials, limit_s, engine, on_event)
    return study


def go_on(
    study: Study,
    trials: int | None = None,
    limit_s: float | None = None,
    engine: Engine | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> StudyEnded:
    """Run a study and draw its plot, where it has found something; also where Ctrl-C ends it.

    Args:
        study: begun or opened.
        trials: in all; by default as many as were planned.
        limit_s: seconds after which no trial is started.
        engine, on_event: as in `search`.
    """
    try:
        ended = study.run(trials, limit_s, engine, on_event)
    except KeyboardInterrupt:
        _draw(study)
        raise
    _draw(study)
    return ended


def _draw(study: Study) -> None:
    if study.folder is not None and any(trial.state == "complete" for trial in study.trials):
        study.plot(x=axis(study))


def open_study(folder: str | Path, **given: Any) -> Study:
    """The study of a run folder, to look at or to go on with.

    Args:
        folder: such as `runs/demo`.
        given: `space`, `strategy`, `estimator` or a table's `key`, where the study was made with your own object
            (a run folder never says what code to load), `data` where it has moved, and `ledger`, the URL, where
            it has a password.

    Raises:
        UserError: the folder is not a run, or what is given is not what it was made with.
    """
    from studies import Study

    return Study.open(folder, **given)


def planned(trials: int | None, time: float | str | None) -> int | None:
    """Trials that a study plans: as asked; without a number and a time, the default."""
    return TRIALS if trials is None and time is None else trials


def run_name(space: str | SearchSpace, budget: str | Budget | None, data: str) -> str:
    """What a run is called when nobody named it: the same search has the same name, and so goes on.

    >>> run_name("mbconv", "360M..400M", "photos/pets.npz")
    'mbconv-360M-400M-pets'
    """
    where = space if isinstance(space, str) else space.name
    parts = (re.sub(r"\.py:", "-", where.rpartition("/")[2]), str(budget or "all"), Path(data).stem)
    return re.sub(r"[^A-Za-z0-9_]+", "-", "-".join(parts)).strip("-")


def checked_name(name: str) -> str:
    """The name, which is to be a folder's.

    Raises:
        UserError: it is empty, begins with a dot, has a slash, or cannot be written down.
    """
    if NOT_UTF8.search(name):
        raise UserError(f"name {name!r} has bytes that are not UTF-8 and cannot be recorded")
    if not re.fullmatch(r"[^./\\][^/\\]*", name):
        raise UserError(
            f"name {name!r} cannot be a folder name: it must not be empty, start with a dot or contain a slash"
        )
    return name
