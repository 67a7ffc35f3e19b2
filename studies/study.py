"""A study: trials under one manifest, kept in a ledger, that goes on from wherever it was cut.

The study owns the loop's memory, not the loop: an engine asks it for jobs and tells it how they ended. Everything a
strategy learned is in the ledger, in order, so a study goes on after any cut by telling a fresh strategy the same
again; trials that were under way are run again, first, under their numbers and with their seeds.

Where the ledger is a PostgreSQL database, several drivers may work on one study, each in a process of its own. What
starts or ends is written in turns, and at its turn a driver first takes in what the others wrote: so all of them tell
their strategies the same, in the same order, and what several did is replayed as if it had been one.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
import shutil
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from searchspaces import COSTS, Budget, Task, UserError, load_space, nearest
from searchspaces.latency import LatencyTable
from strategies import Exhausted, Outcome, settings_of
from studies.checkpoints import Checkpoints, check_place, whole_place
from studies.drivers import key_of
from studies.engine import Ending, Job, LocalEngine, failure_kind
from studies.ledger import FILES, Ledger, Memory, check_spec, mend_journal, without_password
from studies.leftovers import part_of, remove_parts
from studies.lock import locked
from studies.manifest import Manifest, fingerprint, write_whole
from studies.origins import (
    NAMED,
    again,
    estimator_from,
    makes,
    manifest_of,
    name_of,
    space_again,
    space_from,
    strategy_from,
    suited,
    under,
    whole_path,
)
from studies.pareto import front, hypervolumes
from studies.pruning import Pruning
from studies.trial import StudyEnded, StudyStarted, Trial, TrialEnded, TrialReported, TrialStarted

if TYPE_CHECKING:
    import pandas as pd

    from estimators import Estimator
    from searchspaces import Architecture, Cost, SearchSpace
    from strategies import Strategy
    from studies.engine import Engine
    from studies.trial import EndKind, Event

ASKS: Final = 100
"""Asks for one trial before the strategy is taken to have nothing that may be trained."""
ALIKE: Final = 5
"""Trials that all fail alike before the study stops to say so."""
PLANNED: Final = 200
"""Trials that a strategy is told to expect where only time limits them."""
LOOK_S: Final = 1.0
"""Seconds after which a driver looks again for trials that another one left behind."""
LATENCY: Final = "latency.json"
"""The latency table in a run folder."""
CONFIRMATIONS: Final = 3
"""Fresh trainings of each network that is confirmed."""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A leading network that was trained again with fresh seeds.

    Attributes:
        trial: the one that proposed it.
        accuracies: of its first training and of the fresh ones, in [0, 1].
    """

    trial: Trial
    accuracies: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over all its trainings. The first was chosen for being high; that it counts once favours no leader."""
        return sum(self.accuracies) / len(self.accuracies)

    @property
    def standard_error(self) -> float:
        """Of the mean; NaN with a single training."""
        if len(self.accuracies) < 2:
            return math.nan
        return float(np.std(self.accuracies, ddof=1)) / math.sqrt(len(self.accuracies))


class Study:
    """Made by `create` and `open`.

    Attributes:
        folder: the run folder; None for a study that is kept in memory.
        manifest: its settings.
        space: the whole space.
        feasible: what of it fits the budget; the space itself where there is no budget.
        task: the deployment task, on which costs are counted.
        budget: with percents resolved; None where everything fits.
    """

    def __init__(
        self,
        folder: Path | None,
        manifest: Manifest,
        space: SearchSpace,
        feasible: SearchSpace,
        task: Task,
        ledger: Ledger | Memory,
        strategy: Callable[[], Strategy],
        estimator: Callable[[], Estimator],
        checkpoints: Checkpoints,
    ) -> None:
        self.folder, self.manifest, self.space, self.feasible = folder, manifest, space, feasible
        self.task = task
        self.budget = None if manifest.budget is None else Budget.parse(manifest.budget)
        self._ledger, self._strategy, self._estimator = ledger, strategy, estimator
        self._checkpoints = checkpoints
        self._trials: list[Trial] = []
        self._notes: dict[int, dict[str, Any]] = {}
        self._load()

    @classmethod
    def create(
        cls,
        folder: str | Path | None,
        space: str | SearchSpace,
        task: Task,
        budget: Budget | None,
        strategy: str | Strategy | Callable[..., Strategy] = "guided",
        estimator: str | Estimator | Callable[..., Estimator] = "short-training",
        seed: int = 0,
        *,
        trials: int | None = None,
        data: str = "digits",
        pruner: str = "none",
        strategy_settings: Mapping[str, Any] | None = None,
        estimator_settings: Mapping[str, Any] | None = None,
        ledger: str = "sqlite",
        replicas: bool = False,
        confirm: int = 0,
        device: str = "auto",
        wave: int | None = None,
        checkpoints: str | None = None,
    ) -> Study:
        """Begin a study, or go on with the one that is in the folder if all settings are the same.

        Nothing is written unless everything can be: the folder appears complete, with its manifest and an empty ledger.

        Args:
            folder: where it is kept; None keeps it in memory.
            space: a name, `file.py:object`, or a space; the whole of it, not the part that fits.
            task: the deployment task, on which costs are counted; with a latency table, which is kept in the folder.
            budget: what may be trained; None is everything.
            strategy: a name, `file.py:object`, a function or class that makes one from a space and settings, or a
                strategy to which nothing was told (it is copied, never changed).
            estimator: a name, `file.py:object`, a function or class that makes one from settings, or an estimator.
            seed: with the settings it determines every proposal and the seed of every trial.
            trials: planned; `run` stops there unless told otherwise.
            data: what `load_data` understands; for estimators with a name.
            pruner: `none`, `asha` or `median`.
            strategy_settings, estimator_settings: by name. On a study that is there already, those that are not given
                stay what they were.
            ledger: `sqlite` or `journal` in the folder, `memory`, or the URL of a database.
            replicas: allow a network to be trained more than once.
            confirm: so many leading networks are trained three more times each with fresh seeds, as the last of the
                `trials`; the best is then chosen on the mean of all its trainings. 0 is none.
            device: for estimators with a name; may change from run to run.
            wave: so many proposals are made on the same knowledge: the strategy is told of all ends of a wave, in the
                order of the trials, when the last of it has ended. The trials are then the same in whatever order they
                end, with as many workers or fewer. None tells it of each end at once.
            checkpoints: a folder or a URL of fsspec where trials keep their training while it lasts; `none` is nowhere.
                By default in the run folder. May change from run to run.

        Raises:
            UserError: a setting is wrong or differs from the study that is there, or the folder cannot be made.
        """
        place = None if folder is None else Path(folder).expanduser()
        there = _manifest_of(place)
        if trials is not None and trials < 1:
            raise UserError(f"trials must be at least 1, got {trials}")
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise UserError(f"seed must be a whole number from 0, got {seed!r}")
        if isinstance(confirm, bool) or not isinstance(confirm, int) or confirm < 0:
            raise UserError(f"confirm must be a whole number from 0, got {confirm!r}")
        if wave is not None and (isinstance(wave, bool) or not isinstance(wave, int) or wave < 1):
            raise UserError(f"wave must be a whole number from 1, got {wave!r}")
        if confirm and (trials is None or 2 * CONFIRMATIONS * confirm > trials):
            raise UserError(
                f"confirm {confirm} takes {CONFIRMATIONS * confirm} of the trials, which must be at most half of them; "
                f"trials is {trials}"
            )
        ledger = "memory" if place is None else ledger
        check_spec(ledger)
        check_place(checkpoints)
        Pruning(pruner)
        space_origin, whole = space_from(space)
        feasible = under(whole, budget, task)
        given = dict(strategy_settings or {})
        if there is not None and there.strategy["origin"] == NAMED and there.strategy["name"] == strategy:
            given = {**there.strategy["settings"], **given}
        planned = (there.trials if there else trials) or PLANNED
        strategy_origin, make = strategy_from(strategy, feasible, planned, given)
        own, data = dict(estimator_settings or {}), whole_path(data)
        if isinstance(estimator, str):
            estimator = whole_path(estimator)
            if there is not None and there.estimator["given"] == estimator:
                own = {**there.estimator["settings"], **own}
        estimator_origin, found = estimator_from(estimator, data, device, own)
        ours = estimator_origin == NAMED
        if ours and there is None:
            found, own = suited(found, feasible, own)
        described = found.describe()
        manifest = Manifest(
            study=place.resolve().name if place else "memory",
            space=manifest_of(whole, space_origin, fingerprint(whole)),
            task=str(task),
            budget=None if budget is None else str(getattr(feasible, "budget", budget)),
            strategy={
                "name": name_of(strategy),
                "origin": strategy_origin,
                "given": given,
                "settings": settings_of(make()),
            },
            estimator={
                "name": described.get("name", type(found).__name__),
                "origin": estimator_origin,
                "given": estimator if ours else None,
                "settings": own,
                "data": data if ours else None,
                "describe": described,
            },
            pruner=pruner,
            seed=seed,
            replicas=replicas,
            confirm=confirm,
            trials=trials,
            ledger=without_password(ledger),
            wave=wave,
            checkpoints=None if checkpoints is None else whole_place(checkpoints),
            latency=None if task.latency is None else task.latency.fingerprint,
        )
        if there is None:
            opened = _begin(place, manifest, ledger, task)
        else:
            there.refuse_changes(manifest, str(place))
            manifest, opened = there, Ledger.open(ledger, cast(Path, place), there.study)
        kept = Checkpoints.of(place, manifest, checkpoints)
        return cls(place, manifest, whole, feasible, task, opened, make, lambda: found, kept)

    @classmethod
    def open(
        cls,
        folder: str | Path,
        *,
        space: str | SearchSpace | None = None,
        strategy: str | Strategy | Callable[..., Strategy] | None = None,
        estimator: str | Estimator | Callable[..., Estimator] | None = None,
        data: str | None = None,
        ledger: str | None = None,
        device: str = "auto",
        checkpoints: str | None = None,
    ) -> Study:
        """The study of a run folder, to look at or to run on.

        Args:
            folder: as given to `create`.
            space, strategy, estimator: needed again where they had no name of ours; see `create`.
            data: where the same images lie now, if they were moved.
            ledger: the URL of the database, where it has a password that is not in `PGPASSWORD`.
            device: for estimators with a name.
            checkpoints: as in `create`; by default as when the study began.

        Raises:
            UserError: it is not a run folder, it is damaged or of a newer version, or something must be given again.
                What only a run needs is missed only by `run`.
        """
        place = Path(folder).expanduser()
        manifest = Manifest.read(place)
        if space is None:
            if manifest.space["origin"] != NAMED:
                raise again(manifest.space["origin"], "space", place)
            space = space_again(manifest.space)
        elif "of" in manifest.space and load_space(space).name != manifest.space["name"]:
            space = space_again(manifest.space, load_space(space))
        origin, whole = space_from(space)
        task = _task_of(manifest, place)
        feasible = under(whole, Budget.parse(manifest.budget) if manifest.budget is not None else None, task)
        now = manifest_of(whole, origin, fingerprint(whole))
        manifest.refuse_changes(replace(manifest, space=now), str(place))

        def make_strategy_again() -> Strategy:
            if strategy is None and manifest.strategy["origin"] != NAMED:
                raise again(manifest.strategy["origin"], "strategy", place)
            given = manifest.strategy["name"] if strategy is None else strategy
            settings = manifest.strategy["settings" if manifest.strategy["origin"] == NAMED else "given"]
            _, make = strategy_from(given, feasible, manifest.trials or PLANNED, settings if makes(given) else {})
            made = make()
            now = {**manifest.strategy, "name": name_of(given), "settings": settings_of(made)}
            manifest.refuse_changes(replace(manifest, strategy=now), str(place))
            return made

        def make_estimator_again() -> Estimator:
            if estimator is None and manifest.estimator["origin"] != NAMED:
                raise again(manifest.estimator["origin"], "estimator", place)
            given = manifest.estimator["given"] if estimator is None else estimator
            settings = manifest.estimator["settings"] if makes(given) else {}
            _, found = estimator_from(given, whole_path(data or manifest.estimator["data"] or ""), device, settings)
            described = found.describe()
            now = {**manifest.estimator, "name": described.get("name", type(found).__name__), "describe": described}
            manifest.refuse_changes(replace(manifest, estimator=now), str(place))
            return found

        spec = ledger or manifest.ledger
        if "***" in spec:
            if "PGPASSWORD" not in os.environ or ":***@" not in spec:
                raise UserError(
                    f"{place}: the password of its ledger is not kept; set PGPASSWORD or give the URL again: "
                    f"--ledger {spec}"
                )
            spec = spec.replace(":***@", "@")
        opened = Ledger.open(spec, place, manifest.study)
        kept = Checkpoints.of(place, manifest, checkpoints)
        return cls(place, manifest, whole, feasible, task, opened, make_strategy_again, make_estimator_again, kept)

    def close(self) -> None:
        """Give files and connections back."""
        self._ledger.close()

    @property
    def trials(self) -> list[Trial]:
        """All trials by number, running ones included."""
        return list(self._trials)

    @property
    def best(self) -> Trial:
        """The most accurate complete trial; of equals the one with the fewest MACs, then the first.

        Once there are confirmations, the best of the networks that were confirmed, on the mean of their trainings.

        Raises:
            UserError: no trial is complete.
        """
        confirmed = [replace(each.trial, accuracy=each.mean) for each in self.confirmed]
        complete = confirmed or self._complete()
        if not complete:
            raise UserError(f"{self._where()}: no trial is complete yet")
        return min(complete, key=lambda trial: (-_accuracy(trial), trial.cost.macs, trial.number))

    def pareto(self, x: str = "macs") -> list[Trial]:
        """Complete trials that no other one beats in accuracy and in a cost, cheapest first.

        Args:
            x: a name in `COSTS`.

        Raises:
            UserError: there is no such cost.
        """
        if x not in self.task.costs:
            raise UserError(f"unknown cost {x!r}{nearest(x, self.task.costs)}")
        complete = self._complete()
        return [complete[index] for index in front([(getattr(each.cost, x), _accuracy(each)) for each in complete])]

    @property
    def objectives(self) -> tuple[str, ...]:
        """What the strategy weighs against one another: accuracy and names in `COSTS`; accuracy and MACs by default."""
        return tuple(self.manifest.strategy["settings"].get("objectives") or ("accuracy", "macs"))

    def hypervolumes(self) -> list[float]:
        """Of what could be had, the share that the trials until each one dominate, in [0, 1]; one a trial, by number.

        In the objectives' space: accuracy from 0, and each cost as its distance from the most that the budget allows
        (that the space has, where it is not bounded). A confirmed network counts with its mean.
        """
        limits = {name: self._limit(name) for name in self.objectives if name in COSTS}
        complete = {trial.number: trial for trial in self._complete()}

        def point(trial: Trial) -> list[float]:
            return [
                1 - min(getattr(trial.cost, name) / limits[name], 1.0) if name in limits else _accuracy(trial)
                for name in self.objectives
            ]

        return hypervolumes(
            point(complete[trial.number]) if trial.number in complete else None for trial in self._trials
        )

    def _limit(self, cost: str) -> float:
        """The most of a cost that there can be; among the trials, where neither a budget nor the space says it."""
        for bound in self.budget.bounds if self.budget else ():
            if bound.cost == cost:
                return float(bound.upper)
        largest = getattr(self.feasible, "largest", None)
        known = [trial.cost for trial in self._trials] if largest is None else [largest]
        return max((float(getattr(each, cost)) for each in known), default=0.0) or 1.0

    def trials_dataframe(self) -> pd.DataFrame:
        """One row a trial: what became of it, its costs, and each decision (empty where it has no effect).

        `hypervolume` is that of `hypervolumes`.
        """
        import pandas as pd

        return pd.DataFrame(self._rows(), columns=self._columns())

    def plot(self, path: str | Path | None = None, x: str = "macs") -> Path:
        """Write the interactive Pareto plot as one HTML file that needs no network.

        Args:
            path: by default `pareto.html` in the run folder.
            x: the cost on the horizontal axis, a name in `COSTS`.

        Raises:
            UserError: the file cannot be written.
        """
        from studies.plots import pareto_html

        if path is None:
            if self.folder is None:
                raise UserError("a study in memory has no folder; say where to write the plot")
            path = self.folder / "pareto.html"
        with _writing(Path(path)):
            write_whole(Path(path), pareto_html(self, x))
        return Path(path)

    def run(
        self,
        trials: int | None = None,
        seconds: float | None = None,
        engine: Engine | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> StudyEnded:
        """Go on: trials that were left unfinished first, then new ones, until there are enough.

        Leaves `best.json` and `trials.csv` in the folder. A trial that fails is recorded and stops nothing, unless the
        first five all fail alike.

        Where the ledger is a PostgreSQL database, other processes may do the same at the same time, in this folder or
        in one of their own that holds a copy of `study.json`. The run then ends when all trials have ended, those of
        other drivers too, as it takes over what a dead one left.

        Args:
            trials: in all, those of earlier runs included; by default as many as planned.
            seconds: after which no trial is started; those under way end in order.
            engine: runs the trials; by default in this process, one after the other.
            on_event: told of everything as it happens, in this thread.

        Returns:
            Why it ended; the last event.

        Raises:
            UserError: the folder is in use, the disk is full, or something of a person's own must be given again.
            KeyboardInterrupt: as it came in, after the ledger is in order.
        """
        if trials is not None and trials < 1:
            raise UserError(f"trials must be at least 1, got {trials}")
        if seconds is not None and not seconds > 0:
            raise UserError(f"seconds must be above 0, got {seconds}")
        limit = self.manifest.trials if trials is None else trials
        if limit is None and seconds is None:
            raise UserError(f"{self._where()} was planned without a number of trials; say how many in all, or how long")
        emit = on_event or (lambda event: None)
        with self._at_work():
            self._load()  # another process may have gone on since
            strategy, estimator = self._strategy(), self._estimator()
            self._checkpoints.begin(trial.number for trial in self._trials if trial.state != "running")
            run = _Run(self, strategy, limit, seconds, emit)
            emit(StudyStarted(run.ends, len(run.again), limit, seconds))
            try:
                while run.end is None:
                    (engine or LocalEngine()).run(estimator, run.next_job, run.report, run.done)
                    run.wait_for_others()
            except KeyboardInterrupt:
                self._finish(emit, StudyEnded("interrupted", f"interrupted after {run.ends} trials; it can be resumed"))
                raise
            return self._finish(emit, run.end)

    @contextlib.contextmanager
    def _at_work(self) -> Iterator[None]:
        """Alone in the folder, or one of several drivers."""
        if self._ledger.drivers is not None:
            with self._ledger.drivers.joined():
                yield
        elif self.folder is not None:
            with locked(self.folder):
                if self.manifest.ledger == "journal":
                    mend_journal(self.folder)
                yield
        else:
            yield

    def refusal(self, architecture: Architecture) -> str | None:
        """Why an architecture may not be trained in this study; None if it may. Judged by its true cost."""
        if architecture not in self.space:
            return f"{architecture} is not in {self.space.name}"
        cost = architecture.cost(self.task)
        if self.budget is not None and not self.budget.admits(cost):
            return f"{architecture.words()} is outside the budget {self.budget}: it has {cost.macs:,} MACs"
        if not self.manifest.replicas and self._is_known(architecture, cost):
            return f"{architecture.words()} was tried already"
        return None

    def seed_of(self, number: int) -> int:
        """The seed of a trial's estimate; its proposal has its own."""
        return int(np.random.SeedSequence([self.manifest.seed, number, 1]).generate_state(1)[0])

    def _load(self) -> None:
        read = self._ledger.trials(self.space)
        self._trials = [trial for trial, _ in read]
        self._notes = {trial.number: notes for trial, notes in read}
        for trial in self._trials:
            self._check(trial)
        ended = [trial for trial in self._trials if trial.state != "running"]
        if {trial.rank for trial in ended} != set(range(len(ended))):
            raise UserError(f"{self._where()}: the ledger does not tell in which order trials ended")
        self._known: dict[Cost, tuple[list[Architecture], set[int]]] = {}
        for trial in self._trials:
            self._remember(trial)

    def _check(self, trial: Trial) -> None:
        if trial.architecture.cost(self.task) != trial.cost:
            raise UserError(
                f"{self._where()}: the space {self.space.name!r} has changed: trial {trial.number} had "
                f"{trial.cost.macs:,} MACs and {trial.cost.params:,} parameters, and now it has others"
            )

    def _remember(self, trial: Trial) -> None:
        self._known.setdefault(trial.cost, ([], set()))[0].append(trial.architecture)

    def _is_known(self, architecture: Architecture, cost: Cost) -> bool:
        """Whether an equal network was tried, however it was chosen; the tree of layers tells.

        Equal networks have equal costs, so that trees are made only of networks whose costs are met again.
        """
        if cost not in self._known:
            return False
        unread, identities = self._known[cost]
        while unread:
            identities.add(hash(unread.pop().network(self.task)))
        return hash(architecture.network(self.task)) in identities

    def _start(self, architecture: Architecture, ends: int, confirms: int | None = None) -> Trial:
        number, cost, now = len(self._trials), architecture.cost(self.task), datetime.now()
        driver = self._ledger.drivers.me if self._ledger.drivers else None
        trial = Trial(number, architecture, cost, "running", ends, started=now, confirms=confirms, driver=driver)
        self._ledger.started(trial, self.seed_of(number), self.space)
        self._trials.append(trial)
        self._remember(trial)
        return trial

    def _end(self, trial: Trial, written: int, notes: Mapping[str, Any]) -> None:
        self._ledger.ended(trial, written, notes)
        self._trials[trial.number] = trial

    def _news(self, elsewhere: Iterable[int]) -> Iterator[tuple[Trial, Outcome]]:
        """Take in what other drivers wrote: starts and ends, in the order in which a strategy is told of them."""
        known = len(self._trials)
        news = self._ledger.news(elsewhere, self.space)
        for trial, notes in news:
            self._check(trial)
            self._notes[trial.number] = notes
            if trial.number < known:
                self._trials[trial.number] = trial
            else:
                self._trials.append(trial)
                self._remember(trial)
        yield from replay((trial for trial, _ in news), known)

    def _finish(self, emit: Callable[[Event], None], end: StudyEnded) -> StudyEnded:
        if self._ledger.drivers is None:  # another driver may be about to keep something
            self._checkpoints.end()
        if self.folder is not None:
            with _writing(self.folder):
                write_whole(self.folder / "trials.csv", self._csv())
                if self._complete():
                    write_whole(self.folder / "best.json", self._best_json())
        emit(end)
        return end

    def _best_json(self) -> str:
        best = self.best
        found = {
            "trial": best.number,
            "accuracy": best.accuracy,
            "costs": best.cost.told(),
            "task": self.manifest.task,
        }
        for each in self.confirmed:
            if each.trial.number == best.number:
                found |= {"standard_error": each.standard_error, "trainings": len(each.accuracies)}
        return json.dumps({**json.loads(best.architecture.to_json()), **found}, indent=2) + "\n"

    def _csv(self) -> str:
        text = io.StringIO()
        table = csv.DictWriter(text, self._columns())
        table.writeheader()
        table.writerows(self._rows())
        return text.getvalue()

    def _columns(self) -> list[str]:
        fixed = ["number", "state", "accuracy", *self.task.costs, "seconds", "started", "ended", "confirms", "reason"]
        return [*fixed, "hypervolume", "words"] + [decision.name for decision in self.space.decisions]

    def _rows(self) -> Iterator[dict[str, Any]]:
        for trial, dominated in zip(self._trials, self.hypervolumes(), strict=True):
            yield {
                **{name: getattr(trial, name) for name in ("number", "state", "accuracy")},
                **trial.cost.told(),
                **{name: getattr(trial, name) for name in ("seconds", "started", "ended", "confirms", "reason")},
                "hypervolume": dominated,
                "words": trial.architecture.words(),
                **trial.architecture.choices,
            }

    @property
    def confirmed(self) -> list[Confirmed]:
        """Networks that were trained again and well, in the order of their trials."""
        found: dict[int, list[float]] = {}
        for trial in self._trials:
            if trial.confirms is not None and trial.accuracy is not None and trial.state == "complete":
                found.setdefault(trial.confirms, [_accuracy(self._trials[trial.confirms])]).append(trial.accuracy)
        return [Confirmed(self._trials[number], tuple(accuracies)) for number, accuracies in sorted(found.items())]

    def _complete(self) -> list[Trial]:
        """Complete proposals; a confirmed one has the mean of its trainings as its accuracy."""
        means = {each.trial.number: each.mean for each in self.confirmed}
        proposed = [trial for trial in self._trials if trial.state == "complete" and trial.confirms is None]
        return [replace(each, accuracy=means[each.number]) if each.number in means else each for each in proposed]

    def _where(self) -> str:
        return str(self.folder) if self.folder else "this study"

    def __repr__(self) -> str:
        return f"Study({self._where()}: {len(self._trials)} trials over {self.space.name})"


class _Run:
    """One call of `Study.run`: gives an engine its jobs and writes down what comes back.

    Attributes:
        ends: trials that have ended, those of earlier runs included.
        elsewhere: numbers of trials that are running, and not in this run: left unfinished, or another driver's.
        again: those of them that were left unfinished and are still to be run again.
        end: why there is nothing more to start; None while there is.
    """

    def __init__(
        self, study: Study, strategy: Strategy, limit: int | None, seconds: float | None, emit: Callable[[Event], None]
    ) -> None:
        self._study, self._strategy, self._limit, self._seconds, self._emit = study, strategy, limit, seconds, emit
        self._began = time.monotonic()
        self._wave = study.manifest.wave
        self._pruning = Pruning(study.manifest.pruner, waves=self._wave is not None)
        self._untold: dict[int, Trial] = {}  # ended in a wave that is not over
        self._dry = False  # there is nothing more to propose
        self._reports: dict[int, list[tuple[int, float]]] = {}  # of trials under way in this run
        for trial, outcome in replay(study.trials):
            self._learn(trial, outcome)
        running = [trial for trial in study.trials if trial.state == "running"]
        self.ends = len(study.trials) - len(running)
        self.end: StudyEnded | None = None
        self.elsewhere = {trial.number for trial in running}
        self._look_for_left()

    def next_job(self) -> Job | None:
        """The next job for the engine: a trial to be run again, or a new one."""
        if self.end is not None:
            return None
        if self._is_late():
            self._stop("time", f"the time of {self._seconds:g} seconds is over")
            return None
        with self._turn():
            trial = None if self.end else self._left() or self._new()
        if trial is None:
            return None
        budget = self._study.budget
        assert budget is None or budget.admits(trial.cost), f"trial {trial.number} is outside the budget"
        self._reports[trial.number] = []
        if trial.confirms is None:
            self._pruning.started(trial.number)
        self._emit(TrialStarted(trial))
        place = self._study._checkpoints.place(trial.number)
        return Job(trial.number, trial.architecture, self._study.seed_of(trial.number), place)

    def wait_for_others(self) -> None:
        """Until their ends, or one of them that died, leave something to do here; nothing is under way here."""
        assert not self._reports, "the engine returned while trials were under way"
        assert self.end or self.elsewhere, "the engine returned before next_job said that there is nothing left"
        proposals = self._proposals_elsewhere()
        while not (self.end or self.again or self._is_late() or not self.elsewhere):
            time.sleep(LOOK_S)
            with self._turn():
                self._look_for_left()
            if proposals and not self._proposals_elsewhere():
                return  # they can be confirmed now
            if self._wave_has_room():
                return  # another driver began it

    def report(self, number: int, step: int, accuracy: float) -> bool:
        """Write a point of a learning curve; whether the trial goes on."""
        self._study._ledger.reported(number, step, accuracy)
        self._reports[number].append((step, accuracy))
        goes_on = self._study._trials[number].confirms is not None or self._pruning.goes_on(number, step, accuracy)
        self._emit(TrialReported(number, step, accuracy, stop=not goes_on))
        return goes_on

    def done(self, number: int, ending: Ending) -> None:
        """Write how a trial ended, and tell the strategy."""
        reports = self._reports.pop(number)
        with self._turn():
            trial = replace(
                self._study._trials[number],
                state=ending.state,
                accuracy=ending.accuracy,
                reports=tuple(reports or enumerate(ending.curve, start=1)),
                seconds=ending.seconds,
                reason=ending.reason,
                details=ending.details,
                rank=self.ends,
                ended=datetime.now(),
            )
            proposed = trial.confirms is None
            self._study._end(trial, len(reports), self._pruning.ended(trial) if proposed else {})
            self.ends += 1
            if proposed:
                self._tell_end(trial)
        self._study._checkpoints.remove(number)
        self._emit(TrialEnded(trial))
        self._stop_if_all_fail()

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Be the only driver that writes, having learned what the others wrote; they are told of after it."""
        ended: list[Trial] = []
        with self._study._ledger.turn():
            for trial, outcome in self._study._news(self.elsewhere):
                self._learn(trial, outcome)
                if outcome.state == "running":
                    self.elsewhere.add(trial.number)
                else:
                    self.elsewhere.discard(trial.number)
                    self.ends += 1
                    self._stop_if_all_fail()
                    ended.append(trial)
            yield
        for trial in ended:
            self._emit(TrialEnded(trial))

    def _learn(self, trial: Trial, outcome: Outcome) -> None:
        """Of a trial that was not started or did not end in this run."""
        if outcome.state == "running" and (trial.confirms is not None or self._begins_wave(trial.number)):
            self._tell_wave()
        if trial.confirms is not None:
            return
        if outcome.state == "running":
            self._strategy.tell(trial.architecture, outcome)
        else:
            self._pruning.remember(trial, self._study._notes[trial.number])
            self._tell_end(trial)

    def _tell_end(self, trial: Trial) -> None:
        """Tell the strategy of an end; in waves, when the wave is over."""
        if self._wave is None:
            self._strategy.tell(trial.architecture, trial.outcome)
        else:
            self._untold[trial.number] = trial

    def _tell_wave(self) -> None:
        """Tell the strategy of all ends that it does not know, in the order of the trials."""
        for _, trial in sorted(self._untold.items()):
            self._strategy.tell(trial.architecture, trial.outcome)
        self._untold.clear()
        self._pruning.reveal()

    def _wave_has_room(self) -> bool:
        """Whether a proposal can be made in the present wave; not if there is to be none."""
        number, last = len(self._study._trials), self._study.manifest.confirm * CONFIRMATIONS
        if self._wave is None or self._dry or (self._limit is not None and number >= self._limit - last):
            return False
        return number % self._wave > 0

    def _begins_wave(self, number: int) -> bool:
        return self._wave is not None and number % self._wave == 0

    def _left(self) -> Trial | None:
        """A trial to be run again, the first by number: it is ours from now on."""
        if self.elsewhere and time.monotonic() - self._looked > LOOK_S:
            self._look_for_left()
        while self.again:
            number = self.again.popleft()
            if number not in self.elsewhere:
                continue  # another driver was faster, and it has ended
            trial, ours = self._study._ledger.taken_over(self._study._trials[number])
            self._study._trials[number] = trial
            if ours:
                self.elsewhere.remove(number)
                return trial
        return None

    def _look_for_left(self) -> None:
        """Find the running trials whose driver is no more."""
        drivers, self._looked = self._study._ledger.drivers, time.monotonic()
        there = drivers.there() if drivers and self.elsewhere else set()
        of = {number: self._study._trials[number].driver for number in sorted(self.elsewhere)}
        self.again = deque(number for number, driver in of.items() if driver is None or key_of(driver) not in there)

    def _proposals_elsewhere(self) -> bool:
        return any(self._study._trials[number].confirms is None for number in self.elsewhere)

    def _is_late(self) -> bool:
        return self._seconds is not None and time.monotonic() - self._began >= self._seconds

    def _new(self) -> Trial | None:
        """A new trial, in the ledger; None when there is to be none, and `end` says why."""
        number, confirm = len(self._study._trials), self._study.manifest.confirm
        if self._limit is not None and number >= self._limit:
            self._stop_when_alone("trials", f"all {self._limit} trials are done")
            return None
        if self._limit is not None and confirm and number >= self._limit - CONFIRMATIONS * confirm:
            return self._confirmation("trials", "all proposals are confirmed")
        if self._begins_wave(number):
            if any(trial.state == "running" for trial in self._study._trials):
                return None
            self._tell_wave()
        rng = np.random.default_rng([self._study.manifest.seed, number])
        for _ in range(ASKS):
            try:
                architecture = self._strategy.ask(rng)
            except Exhausted as nothing_left:
                if confirm:
                    return self._confirmation("exhausted", f"nothing new is left: {nothing_left}")
                self._stop_when_alone("exhausted", f"nothing new is left: {nothing_left}")
                return None
            refused = self._study.refusal(architecture)
            if refused is None:
                trial = self._study._start(architecture, self.ends)
                self._strategy.tell(architecture, Outcome("running", cost=trial.cost))
                return trial
        self._stop("stuck", f"the strategy was asked {ASKS} times and proposed nothing to be trained; {refused}")
        return None

    def _confirmation(self, kind: EndKind, reason: str) -> Trial | None:
        """The next fresh training of a leader, once every proposal has ended; None for now, or when there is none left.

        Leaders are the most accurate proposals, as the strategy believes them where it has a `believed`, since one
        observation is luck in part. They take turns, so that a study cut short has confirmed all of them alike.
        """
        trials = self._study.trials
        if any(trial.state == "running" and trial.confirms is None for trial in trials):
            return None
        proposed = [trial for trial in trials if trial.state == "complete" and trial.confirms is None]
        self._tell_wave()
        believed = getattr(self._strategy, "believed", None)
        merits = believed([each.architecture for each in proposed]) if believed else [*map(_accuracy, proposed)]
        order = sorted(range(len(proposed)), key=lambda index: (-float(merits[index]), proposed[index].number))
        leaders = [proposed[index] for index in order[: self._study.manifest.confirm]]
        again = Counter(trial.confirms for trial in trials if trial.confirms is not None)
        least = min(leaders, key=lambda leader: again[leader.number], default=None)
        if least is None or again[least.number] >= CONFIRMATIONS:
            self._stop_when_alone(kind, reason)
            return None
        return self._study._start(least.architecture, self.ends, confirms=least.number)

    def _stop_if_all_fail(self) -> None:
        """Judged by the ledger alone, once in `ALIKE` ends: a resumed study stops where an unbroken one does.

        In waves, at the end of the wave in which so many have ended.
        """
        wave = self._wave or 1
        if self.ends % wave or self.ends // ALIKE == (self.ends - wave) // ALIKE:
            return
        trials = self._study._trials
        if any(trial.state in ("complete", "pruned") and (trial.rank or 0) < self.ends for trial in trials):
            return
        ended = [trial for trial in trials if trial.rank is not None and trial.rank < self.ends]
        if all(each.state == "failed" for each in ended) and len({failure_kind(each.reason) for each in ended}) == 1:
            self._stop("failing", f"all {self.ends} trials failed alike: {ended[-1].reason}")

    def _stop_when_alone(self, kind: EndKind, reason: str) -> None:
        """Stop, but wait for what is running elsewhere, as it may yet be left behind."""
        self._dry = True
        if not self.elsewhere:
            self._stop(kind, reason)

    def _stop(self, kind: EndKind, reason: str) -> None:
        """Start nothing more; the first reason stands."""
        if self.end is None:
            self.end = StudyEnded(kind, reason)


def replay(trials: Iterable[Trial], started: int = 0) -> Iterator[tuple[Trial, Outcome]]:
    """What a strategy was told, in the order in which it was: starts by number, ends by rank.

    Args:
        trials: by number; all that started or ended since.
        started: trials of which it was told before that they started.
    """
    trials = list(trials)
    ends = deque(sorted((trial for trial in trials if trial.rank is not None), key=lambda trial: trial.rank or 0))
    for trial in trials:
        if trial.number < started:
            continue
        while ends and (ends[0].rank or 0) < trial.told:
            end = ends.popleft()
            yield end, end.outcome
        yield trial, Outcome("running", cost=trial.cost)
    for end in ends:
        yield end, end.outcome


def _manifest_of(place: Path | None) -> Manifest | None:
    """The manifest of a study that is there; None where one may begin."""
    if place is None:
        return None
    try:
        if not place.exists():
            return None
        if not place.is_dir():
            raise UserError(f"{str(place)!r} is a file, not a folder")
        if Manifest.is_in(place):
            return Manifest.read(place)
        if any(place.iterdir()):
            raise UserError(f"{str(place)!r} is not a run folder, and not empty; choose another name")
    except OSError as error:
        raise UserError(f"cannot read {str(place)!r}: {error.strerror}") from error
    return None


def _task_of(manifest: Manifest, place: Path) -> Task:
    """The task of a run folder, with the latency table that lies there."""
    task = Task.parse(manifest.task)
    if manifest.latency is None:
        return task
    table = LatencyTable.read(place / LATENCY)
    if table.fingerprint != manifest.latency:
        raise UserError(
            f"{place / LATENCY} is not the latency table that the study began with: it is "
            f"#{table.fingerprint[:8]}, and was #{manifest.latency[:8]}"
        )
    return table.on(task)


def _begin(place: Path | None, manifest: Manifest, spec: str, task: Task) -> Ledger | Memory:
    """Make the folder beside its place, and move it there when it is complete."""
    if place is None:
        return Memory()
    about = {
        "space": manifest.space["name"],
        "task": manifest.task,
        "budget": manifest.budget,
        "made by": "nas-toolkit",
    }
    above = [each for each in place.parents if not each.exists()]
    part = part_of(place)
    try:
        remove_parts(place)
        part.mkdir(parents=True)
        manifest.write(part)
        if task.latency is not None:
            write_whole(part / LATENCY, task.latency.text())
        ledger = Memory() if spec == "memory" else Ledger.create(spec, part, manifest.study, about)
        if spec in FILES:
            ledger.close()
        if place.exists():
            place.rmdir()  # it is empty
        part.rename(place)
    except BaseException as error:
        shutil.rmtree(part, ignore_errors=True)
        for each in above:
            with contextlib.suppress(OSError):
                each.rmdir()
        if isinstance(error, OSError):
            raise UserError(f"cannot make the run folder {str(place)!r}: {error.strerror}") from error
        if isinstance(error, UserError) and part.name in str(error):
            full = "the disk is full" in str(error)
            why = "the disk is full" if full else str(error).replace(str(part), str(place))
            raise UserError(f"cannot make the run folder {str(place)!r}: {why}") from error
        raise
    return Ledger.open(spec, place, manifest.study) if spec in FILES else ledger


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write to {path}: {error.strerror}") from error


def _accuracy(trial: Trial) -> float:
    assert trial.accuracy is not None
    return trial.accuracy
