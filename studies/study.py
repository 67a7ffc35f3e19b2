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
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from estimators.estimator import BALANCED, Preparing
from searchspaces import Budget, UserError, nearest
from searchspaces.files import write_whole
from searchspaces.plural import number_of
from searchspaces.progress import watched
from studies import opening, results
from studies.belief import beliefs
from studies.confirming import most_leaders
from studies.folder import BEST, PLOT, SUPERNET, TABLE
from studies.interrupts import Interrupt, first_interrupt
from studies.ledger import mend_journal
from studies.local import LocalEngine
from studies.lock import in_use, locked
from studies.pareto import front, front_of_several
from studies.pruning import Aim
from studies.record import Record
from studies.results import Confirmed
from studies.run import Limits, Run
from studies.trial import StudyEnded, StudyPrepares, StudyStarted, Trial

if TYPE_CHECKING:
    import pandas as pd

    from estimators import Estimator
    from searchspaces import Architecture, SearchSpace
    from strategies import Strategy
    from studies.engine import Engine
    from studies.extrapolating import Expected, Extrapolating
    from studies.manifest import Manifest
    from studies.opening import Opened
    from studies.settings import Settings
    from studies.trial import Event


class Study:
    """Made by `create` and `open`.

    Attributes:
        folder: the run folder; None for a study that is kept in memory.
        manifest: its settings.
        space: the whole space.
        feasible: what of it fits the budget; the space itself where there is no budget.
        task: the deployment task, on which costs are counted.
        budget: with percents resolved; None where everything fits.
        record: its trials, as the ledger has them.
        checkpoints: where trials keep their training state while they run.
        inheritance: the trained weights that trials start from; None where each is trained from scratch.
        size_from: what the task's image size follows from, in words, if this study begins now and nobody gave it.
        make_estimator: makes the estimator anew; raises UserError where it must be given again.
    """

    def __init__(self, opened: Opened) -> None:
        self.folder, self.manifest, self.task = opened.folder, opened.manifest, opened.task
        self.space, self.feasible, self.checkpoints = opened.space, opened.feasible, opened.checkpoints
        self.inheritance = opened.inheritance
        self.budget = None if self.manifest.budget is None else Budget.parse(self.manifest.budget)
        self.record = Record(opened.ledger, self.space, self.task, self.manifest.seed, self._where())
        self.size_from, self._strategy, self.make_estimator = opened.size_from, opened.strategy, opened.estimator
        self._images, self._runs = opened.images, False

    @classmethod
    def create(cls, folder: str | Path | None, settings: Settings, home: str | None = None) -> Study:
        """Begin a study, or go on with the one that is in the folder if all settings are the same.

        Nothing is written unless everything can be: the folder appears complete, with its manifest and an empty ledger.

        Args:
            folder: where it is kept; None keeps it in memory.
            settings: of the study. Where it exists already, strategy and estimator settings that are not given keep
                their values.
            home: the `file.py:object` of the network's space, where the study's space is made of a network.

        Raises:
            UserError: a setting is wrong or differs from the study that is there, or the folder cannot be made.
        """
        return cls(opening.create(folder, settings, home))

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
        key: str | Callable[[Architecture], str] | None = None,
    ) -> Study:
        """The study of a run folder, to look at or to run on.

        Args:
            folder: as given to `create`.
            space, strategy, estimator: needed again where they had no name of ours; see `Settings`.
            data: where the same images are now, if they were moved.
            ledger: the URL of the database, where it has a password that is not in `PGPASSWORD`.
            device: for estimators with a name.
            checkpoints: as in `Settings`; by default as when the study began.
            key: of a table, needed again where it was a function of one's own.

        Raises:
            UserError: it is not a run folder, it is damaged or of a newer version, or something must be given again.
                What only a run needs is missed only by `run`.
        """
        return cls(
            opening.find(
                folder, space=space, strategy=strategy, estimator=estimator, data=data, ledger=ledger, device=device,
                checkpoints=checkpoints, key=key,
            )
        )  # fmt: skip

    def close(self) -> None:
        """Give files and connections back."""
        self.record.close()

    @property
    def trials(self) -> list[Trial]:
        """All trials by number, running ones included."""
        return list(self.record.trials)

    @property
    def is_running(self) -> bool:
        """Whether a process runs it, perhaps on another machine; trials that are `running` were interrupted if not."""
        if self.record.drivers is not None:
            return self.record.drivers.at_work()
        return self._runs if self.folder is None else in_use(self.folder)

    @property
    def best(self) -> Trial:
        """The most accurate complete trial; of equals the one with the fewest MACs, then the first.

        Once there are confirmations, the best of the networks that were confirmed, by the mean over their trainings.

        Raises:
            UserError: no trial is complete.
        """
        found = results.best(self.record.trials)
        if found is None:
            raise UserError(f"{self._where()}: no trial is complete yet")
        return found

    @property
    def confirmed(self) -> list[Confirmed]:
        """Networks that were trained again to the end, in the order of their trials."""
        return results.confirmed(self.record.trials)

    @property
    def adjusted(self) -> dict[int, float]:
        """The accuracy of each complete proposal, by number, as it is believed (`studies.belief`); empty where none is.

        Of its own training; `best`, `pareto` and `near_best` take the mean over those of a confirmed network.
        """
        return {number: each.mean for number, each in beliefs(self.record.trials).items()}

    @property
    def standard_errors(self) -> dict[int, float]:
        """The standard error of the accuracy of each complete proposal, by number, where it is known.

        Over its trainings, of a confirmed network; of one that was trained once, that of its belief or, where there is
        none, that of its validation images alone.
        """
        return results.standard_errors(self.record.trials, self.judged_by)

    @property
    def judged_by(self) -> int | None:
        """Validation images, from which the standard error of an accuracy follows; None where there is none.

        Of a balanced accuracy as many as would tell as much if each class had as many of them, from the first trial
        that says so.
        """
        return judged_by(self.manifest, self.record.trials)

    @property
    def near_best(self) -> list[Trial]:
        """Complete proposals, the best aside, whose accuracy is within one standard error of the best one's.

        None of them where that error is unknown. Where networks were confirmed, one that was trained once may be far
        above the best, by luck.

        Raises:
            UserError: no trial is complete.
        """
        best = self.best
        error = self.standard_errors.get(best.number)
        if error is None:
            return []
        reached, others = results.accuracy_of(best), results.complete(self.record.trials)
        return [
            each for each in others if each.number != best.number and abs(results.accuracy_of(each) - reached) <= error
        ]

    def pareto(self, x: str = "macs") -> list[Trial]:
        """Complete trials that no other one beats in accuracy and in a cost, cheapest first.

        Of a study with more than two objectives, those that no other one beats in all of them.

        Args:
            x: a name in `COSTS`.

        Raises:
            UserError: there is no such cost.
        """
        if x not in self.task.costs:
            raise UserError(f"unknown cost {x!r}{nearest(x, self.task.costs)}")
        complete = results.complete(self.record.trials)
        points = [(getattr(each.cost, x), results.accuracy_of(each)) for each in complete]
        if not self.front_of:
            return [complete[index] for index in front(points)]
        found = front_of_several([results.weighed(each, self.front_of) for each in complete])
        return [complete[i] for i in sorted(found, key=lambda i: (points[i][0], -points[i][1], complete[i].number))]

    @property
    def front_of(self) -> tuple[str, ...]:
        """The objectives of its front, where there are more than two; else it is that of accuracy and one cost."""
        known = tuple(name for name in self.objectives if name == "accuracy" or name in self.task.costs)
        return known if len(known) > 2 else ()

    @property
    def aim(self) -> Aim:
        """What its pruner judges by: the front in its strategy's objectives; of one without, accuracy alone."""
        objectives = self.manifest.strategy["resolved"].get("objectives") or ()
        costs = tuple(name for name in objectives if name in self.task.costs)
        return Aim(costs, max(most_leaders(self.manifest.confirm), 1))

    @property
    def extrapolation(self) -> Extrapolating | None:
        """How far extrapolated final accuracies hold on its complete trials, whatever the pruner.

        None where too few of them reported the same steps.
        """
        from studies.extrapolating import checked_on

        return checked_on(self.record.trials)

    @property
    def may_exceed(self) -> list[Expected]:
        """Pruned trials that may have ended above the best one, the likeliest first; `extrapolating.NAMED` is enough.

        By their extrapolated final accuracy, against the accuracy that `best` has.
        """
        from studies.extrapolating import may_exceed

        best = results.best(self.record.trials)
        return [] if best is None else may_exceed(self.record.trials, results.accuracy_of(best))

    def extrapolated(self, number: int) -> Mapping[str, float] | None:
        """Why the pruner `curves` stopped a trial; None for any other trial.

        The final `accuracy` that was expected, the `low` and `high` end of its interval of 80 %, and the `chance` of
        entering the front, each in [0, 1].
        """
        if not self.manifest.pruner.startswith("curves") or self.record.trials[number].state != "pruned":
            return None
        from studies.curve_pruning import NOTE

        return self.record.notes[number].get(NOTE)

    @property
    def objectives(self) -> tuple[str, ...]:
        """What the strategy weighs against one another: accuracy and names in `COSTS`; accuracy and MACs by default."""
        return tuple(self.manifest.strategy["resolved"].get("objectives") or ("accuracy", "macs"))

    def hypervolumes(self) -> list[float]:
        """The share of what could be had that the trials until each one dominate, in [0, 1]; one a trial, by number.

        In the objectives' space: accuracy from 0, and each cost as its distance from the most that the budget allows
        (that the space has, where it is not bounded). A confirmed network counts with its mean.
        """
        return results.dominated_share(self.record.trials, self.objectives, self.budget, self.feasible)

    def trials_dataframe(self) -> pd.DataFrame:
        """One row a trial: what became of it, its costs, and each decision (empty where it has no effect).

        `hypervolume` is that of `hypervolumes`.
        """
        import pandas as pd

        rows = results.rows(self.record.trials, self.hypervolumes(), self.is_running)
        return pd.DataFrame(rows, columns=results.columns(self.space, self.task))

    def plot(self, path: str | Path | None = None, x: str = "macs", trial: int | None = None) -> Path:
        """Write the Pareto plot: an interactive page that needs no network, or a picture.

        Args:
            path: by default `pareto.html` in the run folder; a picture, if it ends in .png, .svg or .pdf.
            x: the cost on the horizontal axis, a name in `COSTS`.
            trial: the number of one that is ringed and named; by default the page is then `pareto-trial-N.html`.

        Raises:
            UserError: the file has another ending or cannot be written, nothing here can draw a picture, or there is no
                such trial.
        """
        from studies.pages.pareto import write_pareto

        if path is None:
            if self.folder is None:
                raise UserError("a study in memory has no folder; say where to write the plot")
            path = self.folder / (PLOT if trial is None else f"pareto-trial-{trial}.html")
        write_pareto(self, Path(path), x, trial)
        return Path(path)

    def run(
        self,
        trials: int | None = None,
        limit_s: float | None = None,
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
            trials: in all, those of earlier runs included; by default as many as planned. More than those are what is
                planned from now on.
            limit_s: seconds after which no trial is started; those under way end in order.
            engine: runs the trials; by default in this process: one after the other on a CPU, on a GPU several at
                once, whose proposals depend on which ends first (`LocalEngine(at_once=1)`: one).
            on_event: told of everything as it happens, in this thread.

        Returns:
            Why it ended; the last event.

        Raises:
            UserError: the folder is in use, the disk is full, or something of a person's own must be given again.
            KeyboardInterrupt: as it came in, after the ledger is in order.
        """
        if trials is not None and trials < 1:
            raise UserError(f"trials must be at least 1, got {trials}")
        if limit_s is not None and not limit_s > 0:
            raise UserError(f"the time limit must be above 0 seconds, got {limit_s}")
        limits = Limits(self.manifest.total if trials is None else trials, limit_s)
        if limits == Limits():
            raise UserError(f"{self._where()} has no total number of trials; give one, or a time limit")
        emit = on_event or (lambda event: None)
        with self._at_work():
            self.record.load()  # another process may have gone on since
            strategy, estimator = self._strategy(), self.make_estimator()
            self._record_moved_images()
            if trials is not None and self.manifest.total is not None and trials > self.manifest.total:
                self._note(extended_to=trials)
            self.checkpoints.begin(trial.number for trial in self.record.trials if trial.state != "running")
            if self.inheritance is not None:
                self.inheritance.begin(self.record.trials)
            run = Run(self, strategy, limits, emit)
            emit(StudyStarted(run.ends, len(run.again), limits.trials, limit_s))
            interrupt = Interrupt()
            next_job, report = interrupt.before(run.next_job), interrupt.before(run.report)
            with first_interrupt(interrupt.ask, "writing the results"):
                try:
                    estimator = self._prepared(estimator, interrupt.before(emit))
                    while run.end is None:
                        (engine or LocalEngine()).run(estimator, next_job, report, run.done, run.prepare)
                        run.wait_for_others(interrupt.check)
                except KeyboardInterrupt:
                    self.record.load()  # it may have come between the ledger's write and what is known of it here
                    ends = number_of(sum(trial.rank is not None for trial in self.record.trials), "trial")
                    self._finish(emit, StudyEnded("interrupted", f"interrupted after {ends}; it can be resumed"))
                    raise
            return self._finish(emit, run.end)

    def _record_moved_images(self) -> None:
        """Write where the images are now, once the estimator has found that they are those that the study began with:
        what is typed next finds them there."""
        before = self.manifest.data
        if self._images is None or before is None or self._images == before:
            return
        self._note(data=self._images)

    def _note(self, **changes: Any) -> None:
        """Write into the manifest what has changed since the study began."""
        self.manifest = replace(self.manifest, **changes)
        if self.folder is not None:
            self.manifest.write(self.folder)

    def _prepared(self, estimator: Estimator, emit: Callable[[Event], None]) -> Estimator:
        """The estimator with what all its trials need, if it is one that prepares."""
        if not isinstance(estimator, Preparing):
            return estimator
        place = None if self.folder is None else str(self.folder / SUPERNET)
        with watched(lambda words: emit(StudyPrepares(words))):
            return estimator.prepared(self.feasible, place)

    @contextlib.contextmanager
    def _at_work(self) -> Iterator[None]:
        """Alone in the folder, or one of several drivers."""
        if self.record.drivers is not None:
            with self.record.drivers.joined():
                yield
        elif self.folder is not None:
            with locked(self.folder):
                if self.manifest.ledger == "journal":
                    mend_journal(self.folder)
                yield
        else:
            self._runs = True
            try:
                yield
            finally:
                self._runs = False

    def refusal(self, architecture: Architecture) -> str | None:
        """Why an architecture may not be trained in this study; None if it may. Judged by its true cost."""
        if architecture not in self.space:
            return f"{architecture} is not in {self.space.name}"
        cost = architecture.cost(self.task)
        if self.budget is not None and not self.budget.admits(cost):
            return f"{architecture.words()} is outside the budget {self.budget}: it has {self.budget.told_of(cost)}"
        if not self.manifest.replicas and self.record.tried(architecture, cost) is not None:
            return f"{architecture.words()} has already been tried"
        return None

    def twin(self, architecture: Architecture) -> Trial | None:
        """The trial of an equal network that was chosen otherwise; None if there is none."""
        if architecture not in self.space:
            return None
        number = self.record.tried(architecture, architecture.cost(self.task))
        found = None if number is None else self.record.trials[number]
        return None if found is None or found.architecture == architecture else found

    def seed_of(self, number: int) -> int:
        """The seed of a trial's estimate; its proposal has its own."""
        return self.record.seed_of(number)

    def _finish(self, emit: Callable[[Event], None], end: StudyEnded) -> StudyEnded:
        if end.kind == "exhausted":
            self._note(used_up_at=len(self.record.trials))
        if self.record.drivers is None:  # another driver may be about to keep something
            self.checkpoints.end()
        if self.folder is not None:
            trials = self.record.trials
            write_whole(self.folder / TABLE, self._table())
            if results.best(trials) is not None:
                write_whole(self.folder / BEST, results.best_network(trials, self.manifest.task))
        emit(end)
        return end

    def _table(self) -> str:
        """`trials.csv` when a run has ended: what is running then, other drivers run."""
        at_work = self.record.drivers is not None
        return results.table(self.record.trials, self.hypervolumes(), self.space, self.task, at_work)

    def _where(self) -> str:
        return str(self.folder) if self.folder else "this study"

    def __repr__(self) -> str:
        return f"Study({self._where()}: {len(self.record.trials)} trials over {self.space.name})"


def judged_by(manifest: Manifest, trials: Iterable[Trial]) -> int | None:
    """As `Study.judged_by`, of a study's manifest and trials."""
    resolved = manifest.estimator["resolved"]
    if "estimates" in resolved:
        return None
    if resolved.get("metric") != "balanced":
        images: int | None = resolved.get("val_images")
        return images
    told = (each.details.get(BALANCED) for each in trials)
    return next((each for each in told if isinstance(each, int) and each > 0), None)
