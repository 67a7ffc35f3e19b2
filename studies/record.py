"""The record of a study: the trials of its ledger in memory, checked, and written to as they start and end."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from searchspaces import UserError
from strategies import Outcome
from studies.trial import Trial

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from searchspaces import Architecture, Cost, SearchSpace, Task
    from studies.ledger import Ledger
    from studies.ledger.drivers import Drivers


class Record:
    """What a ledger holds, and what was tried.

    Args:
        ledger: where trials are kept.
        space: the whole space.
        task: the deployment task, on which costs are counted.
        seed: of the study.
        where: what to call the study in messages.

    Attributes:
        ledger: as given.
        trials: by number.
        notes: what the pruner noted of trials that ended, by number.

    Raises:
        UserError: the ledger was not written by a study over this space.
    """

    def __init__(self, ledger: Ledger, space: SearchSpace, task: Task, seed: int, where: str) -> None:
        self.ledger, self._space, self._task, self._seed, self._where = ledger, space, task, seed, where
        self.trials: list[Trial] = []
        self.notes: dict[int, dict[str, Any]] = {}
        self.load()

    @property
    def drivers(self) -> Drivers | None:
        """The processes that work on the study, where there may be several."""
        return self.ledger.drivers

    def load(self) -> None:
        """Read the ledger anew: another process may have written since."""
        read = self.ledger.trials(self._space)
        self.trials = [trial for trial, _ in read]
        self.notes = {trial.number: notes for trial, notes in read}
        for trial in self.trials:
            self._check(trial)
        ended = [trial for trial in self.trials if trial.state != "running"]
        if {trial.rank for trial in ended} != set(range(len(ended))):
            raise UserError(f"{self._where}: the ledger does not say in which order trials finished")
        # by cost: numbers of trials of which no tree was made yet, and the first number of each tree
        self._known: dict[Cost, tuple[deque[int], dict[int, int]]] = {}
        for trial in self.trials:
            self._remember(trial)

    def cost_of(self, architecture: Architecture) -> Cost:
        """On the deployment task."""
        return architecture.cost(self._task)

    def seed_of(self, number: int) -> int:
        """The seed of a trial's estimate; its proposal has its own."""
        return int(np.random.SeedSequence([self._seed, number, 1]).generate_state(1)[0])

    def tried(self, architecture: Architecture, cost: Cost) -> int | None:
        """The first trial of an equal network, however it was chosen; None if there is none. The tree of layers tells.

        Equal networks have equal costs, so trees are made only of networks whose costs are met again.
        """
        if cost not in self._known:
            return None
        unread, numbers = self._known[cost]
        while unread:
            number = unread.popleft()
            numbers.setdefault(hash(self.trials[number].architecture.network(self._task)), number)
        return numbers.get(hash(architecture.network(self._task)))

    def turn(self) -> AbstractContextManager[None]:
        """Be the only driver that reads and writes, where there may be several."""
        return self.ledger.turn()

    def start(
        self,
        architecture: Architecture,
        ends: int,
        confirms: int | None = None,
        parent: int | None = None,
        told: int | None = None,
        twins: Sequence[Architecture] = (),
    ) -> Trial:
        """Write a new trial as running.

        Args:
            architecture: what is tried.
            ends: how many trials have ended.
            confirms: the number of the trial whose network it trains again.
            parent: the number of the trial whose weights it starts from.
            told: how many of the ends its proposal knew; by default all.
            twins: what was proposed in its place before; see `Trial`.
        """
        told = ends if told is None else told
        number, cost, now = len(self.trials), self.cost_of(architecture), datetime.now().astimezone()
        driver = self.drivers.me if self.drivers else None
        trial = Trial(
            number, architecture, cost, "running", told, started=now, confirms=confirms, parent=parent, driver=driver,
            twins=tuple(twins),
        )  # fmt: skip
        self.ledger.started(trial, self.seed_of(number), self._space, ends)
        self.trials.append(trial)
        self._remember(trial)
        return trial

    def take_over(self, number: int) -> bool:
        """Take over a trial that its driver left running; False where another driver was faster."""
        self.trials[number], ours = self.ledger.taken_over(self.trials[number])
        return ours

    def report(self, number: int, step: int, accuracy: float) -> None:
        """Write one point of a running trial's learning curve."""
        self.ledger.reported(number, step, accuracy)

    def end(self, trial: Trial, written: int, notes: Mapping[str, Any]) -> None:
        """Write how a trial ended.

        Args:
            trial: as it ended.
            written: how many of its reports were written as they came in.
            notes: what the pruner noted of it.
        """
        self.ledger.ended(trial, written, notes)
        self.trials[trial.number], self.notes[trial.number] = trial, dict(notes)

    def news(self, elsewhere: Iterable[int]) -> Iterator[tuple[Trial, Outcome]]:
        """Take in what other drivers wrote: starts and ends, in the order in which a strategy is told of them.

        Args:
            elsewhere: numbers of running trials that are not this driver's.
        """
        known = len(self.trials)
        news = self.ledger.news(elsewhere, self._space)
        for trial, notes in news:
            self._check(trial)
            self.notes[trial.number] = notes
            if trial.number < known:
                self.trials[trial.number] = trial
            else:
                self.trials.append(trial)
                self._remember(trial)
        yield from replay((trial for trial, _ in news), known)

    def close(self) -> None:
        """Give files and connections back; the next call opens them again."""
        self.ledger.close()

    def _check(self, trial: Trial) -> None:
        if trial.architecture.cost(self._task) != trial.cost:
            raise UserError(
                f"{self._where}: the space {self._space.name!r} has changed: trial {trial.number} had "
                f"{trial.cost.macs:,} MACs and {trial.cost.params:,} parameters, and now it has others"
            )

    def _remember(self, trial: Trial) -> None:
        self._known.setdefault(trial.cost, (deque(), {}))[0].append(trial.number)


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
