"""One run of a study: the replay of what its strategy was told, then jobs for an engine until a limit is reached."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from statistics import fmean
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from strategies import Exhausted, Outcome
from studies.belief import beliefs
from studies.confirming import AUTO, confirmations, lacking, most_leaders, next_confirmed
from studies.engine import Ending, Job, failure_kind
from studies.ledger.drivers import key_of
from studies.lineage import Drift
from studies.pruning import Pruning
from studies.record import replay
from studies.results import by_merit, inherited, merit
from studies.trial import StudyEnded, Trial, TrialEnded, TrialReported, TrialStarted

if TYPE_CHECKING:
    from searchspaces import Architecture, Budget
    from strategies import Strategy
    from studies.checkpoints import Checkpoints
    from studies.inheritance import Inheritance
    from studies.manifest import Manifest
    from studies.pruning import Aim
    from studies.record import Record
    from studies.trial import EndKind, Event

ASKS: Final = 100
"""Asks for one trial before the strategy is taken to have nothing that may be trained."""
TWINS: Final = 1000
"""Networks tried already that it may propose for one trial by other choices, before that."""
ALIKE: Final = 5
"""Trials that all fail alike before the study stops to say so."""
LOOK_S: Final = 1.0
"""Seconds after which a driver looks again for trials that another one left behind."""
WORTH: Final = 0.01
"""Proposals are prepared where a trial would wait for its own for this part of its time, or longer."""
RECENT: Final = 16
"""Asks and trials whose mean times tell it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a run starts no more trials.

    Attributes:
        trials: in all, those of earlier runs included; None is no limit.
        limit_s: seconds from the start of the run; None is no limit.
    """

    trials: int | None = None
    limit_s: float | None = None


class Runnable(Protocol):
    """What a run needs of its study."""

    manifest: Manifest
    record: Record
    checkpoints: Checkpoints
    inheritance: Inheritance | None
    budget: Budget | None

    @property
    def aim(self) -> Aim:
        """What it is after, for its pruner."""
        ...

    def refusal(self, architecture: Architecture) -> str | None:
        """Why an architecture may not be trained; None if it may."""

    def twin(self, architecture: Architecture) -> Trial | None:
        """The trial of an equal network that was chosen otherwise; None if there is none."""


class Run:
    """Gives an engine its jobs and writes down how they end.

    Args:
        study: whose trials they are.
        strategy: to which nothing was told yet.
        limits: when no trial is started any more.
        emit: told of everything as it happens.

    Attributes:
        ends: trials that have ended, those of earlier runs included.
        elsewhere: numbers of trials that are running, and not in this run: left unfinished, or another driver's.
        again: those of them that were left unfinished and are still to be run again.
        end: why there is nothing more to start; None while there is.
    """

    def __init__(self, study: Runnable, strategy: Strategy, limits: Limits, emit: Callable[[Event], None]) -> None:
        self._study, self._strategy, self._limits, self._emit = study, strategy, limits, emit
        self._record, self._manifest = study.record, study.manifest
        self._began = time.monotonic()
        self._wave = study.manifest.wave
        self._pruning = Pruning(study.manifest.pruner, study.aim, waves=self._wave is not None)
        self._untold: dict[int, Trial] = {}  # ended in a wave that is not over
        self._dry = False  # there is nothing more to propose
        self._reports: dict[int, list[tuple[int, float]]] = {}  # of trials under way in this run
        self._prepared: tuple[Architecture, int] | None = None  # the next proposal, and the ends that it knew
        self._twins: list[Architecture] = []  # proposed in the place of the next trial, and refused
        self._twins_of: dict[int, list[Architecture]] = {}  # of trials whose ends the strategy does not know
        self._told: set[int] = set()  # whose ends the strategy knows
        self._drift = Drift()  # of these
        self._twinned: set[Architecture] = set()  # all twins that it was told of
        self._tried = -1  # ends when one was prepared, or tried to be
        self._thought_s, self._trained_s = deque[float](maxlen=RECENT), deque[float](maxlen=RECENT)
        trials = self._record.trials
        for trial, outcome in replay(trials):
            self._learn(trial, outcome)
        running = [trial for trial in trials if trial.state == "running"]
        self.ends = len(trials) - len(running)
        self.end: StudyEnded | None = None
        self.elsewhere = {trial.number for trial in running}
        self._look_for_left()

    def next_job(self) -> Job | None:
        """The next job for the engine: a trial to be run again, or a new one."""
        if self.end is not None:
            return None
        if self._is_late():
            self._stop("time", f"the time limit of {_seconds(self._limits.limit_s)} is reached")
            return None
        with self._turn():
            trial = None if self.end else self._left() or self._new()
        if trial is None:
            return None
        budget = self._study.budget
        assert budget is None or budget.admits(trial.cost), f"trial {trial.number} is outside the budget"
        self._reports[trial.number] = []
        if trial.confirms is None:
            self._pruning.started(trial)
        self._emit(TrialStarted(trial))
        job = Job(
            trial.number,
            trial.architecture,
            self._record.seed_of(trial.number),
            self._study.checkpoints.place(trial.number),
            stoppable=trial.confirms is None,
        )
        inheritance = self._study.inheritance
        if inheritance is None or trial.confirms is not None:
            return job
        return replace(job, parent=inheritance.place(trial.parent), weights=inheritance.place(trial.number))

    def prepare(self) -> None:
        """Think of the next proposal while every worker is busy, so that the first one that is free need not wait.

        It is proposed without the outcomes of the trials that end between now and its start, and is written down so:
        with the number of ends that it knew, which a replay follows. Only where it pays (`WORTH`), and where another
        run would not repeat the order of the ends anyway: not in waves, nor with one trial at a time. Nor with several
        drivers, of which another one may take the number. A proposal that was prepared and never started leaves no
        trace: it is not in the ledger.
        """
        number, most = len(self._record.trials), self._limits.trials
        if self._prepared or self._tried == self.ends or len(self._reports) < 2 or not self._pays:
            return
        if self.end or self.again or self._wave is not None or self._record.drivers or self._is_late():
            return
        if most is not None and number >= self._sure_proposals:
            return
        self._tried = self.ends
        with contextlib.suppress(Exhausted):  # the ends to come may change that
            architecture, _ = self._propose(number)
            if architecture is not None:
                self._prepared = architecture, self.ends
                self._strategy.tell(architecture, Outcome("running", cost=self._record.cost_of(architecture)))

    @property
    def _pays(self) -> bool:
        """Whether a trial would wait for long, for its length, until its network is proposed."""
        thought, trained = self._thought_s, self._trained_s
        return bool(thought and trained) and fmean(thought) > WORTH * fmean(trained)

    def wait_for_others(self, check: Callable[[], None]) -> None:
        """Until their ends, or one of them that died, leave something to do here; nothing is under way here.

        Args:
            check: called at each look; it may raise.
        """
        assert not self._reports, "the engine returned while trials were under way"
        assert self.end or self.elsewhere, "the engine returned before next_job said that there is nothing left"
        proposals = self._proposals_elsewhere()
        while not (self.end or self.again or self._is_late() or not self.elsewhere):
            time.sleep(LOOK_S)
            check()
            with self._turn():
                self._look_for_left()
            if proposals and not self._proposals_elsewhere():
                return  # they can be confirmed now
            if self._wave_has_room():
                return  # another driver began it

    def report(self, number: int, step: int, accuracy: float) -> bool:
        """Write a point of a learning curve; whether the trial goes on."""
        self._record.report(number, step, accuracy)
        self._reports[number].append((step, accuracy))
        goes_on = self._record.trials[number].confirms is not None or self._pruning.goes_on(number, step, accuracy)
        self._emit(TrialReported(number, step, accuracy, stop=not goes_on))
        return goes_on

    def done(self, number: int, ending: Ending) -> None:
        """Write how a trial ended, and tell the strategy."""
        reports = self._reports.pop(number)
        self._trained_s.append(ending.seconds)
        with self._turn():
            trial = replace(
                self._record.trials[number],
                state=ending.state,
                accuracy=ending.accuracy,
                reports=tuple(reports or enumerate(ending.curve, start=1)),
                seconds=ending.seconds,
                reason=ending.reason,
                details=ending.details,
                rank=self.ends,
                ended=datetime.now().astimezone(),
            )
            proposed = trial.confirms is None
            self._record.end(trial, len(reports), self._pruning.ended(trial) if proposed else {})
            self.ends += 1
            if proposed:
                self._tell_end(trial)
            if self._study.inheritance is not None:
                self._study.inheritance.ended(trial, self._record.trials)
        self._study.checkpoints.remove(number)
        self._emit(TrialEnded(trial))
        self._stop_if_all_fail()

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Be the only driver that writes, having learned what the others wrote; they are told of after it."""
        ended: list[Trial] = []
        with self._record.turn():
            for trial, outcome in self._record.news(self.elsewhere):
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
            for twin in trial.twins:
                self._tell_twin(twin)
            self._strategy.tell(trial.architecture, outcome)
        else:
            self._pruning.remember(trial, self._record.notes[trial.number])
            self._tell_end(trial)

    def _tell_end(self, trial: Trial) -> None:
        """Tell the strategy of an end; in waves, when the wave is over."""
        if self._wave is None:
            self._tell(trial)
        else:
            self._untold[trial.number] = trial

    def _tell_wave(self) -> None:
        """Tell the strategy of all ends that it does not know, in the order of the trials."""
        for _, trial in sorted(self._untold.items()):
            self._tell(trial)
        self._untold.clear()
        self._pruning.reveal()

    def _tell(self, trial: Trial) -> None:
        """Tell the strategy of an end, and the same of the twins of the network."""
        self._told.add(trial.number)
        self._drift.add(trial)
        for architecture in (trial.architecture, *self._twins_of.pop(trial.number, ())):
            self._strategy.tell(architecture, self._drift.without(trial).outcome)

    def _tell_twin(self, architecture: Architecture) -> bool:
        """Tell the strategy of an architecture what became, or will become, of the trial of an equal network.

        Strategies know architectures: untold, they would propose the twin of a good network on and on. False where it
        is no twin, or the strategy was told and repeats itself.
        """
        trial = None if architecture in self._twinned else self._study.twin(architecture)
        if trial is None:
            return False
        self._twinned.add(architecture)
        self._strategy.tell(architecture, Outcome("running", cost=trial.cost))
        if trial.number in self._told:
            self._strategy.tell(architecture, self._drift.without(trial).outcome)
        else:
            self._twins_of.setdefault(trial.number, []).append(architecture)
        return True

    def _wave_has_room(self) -> bool:
        """Whether a proposal can be made in the present wave; not if there is to be none."""
        number, most = len(self._record.trials), self._limits.trials
        if self._wave is None or self._dry or (most is not None and (number >= most or self._confirms_next())):
            return False
        return number % self._wave > 0

    @property
    def _planned(self) -> int:
        """Trials in all: of a run that is to end earlier than planned, as many as planned; 0 where nobody said."""
        return max(self._limits.trials or 0, self._manifest.total or 0)

    @property
    def _sure_proposals(self) -> int:
        """The number of the first trial that may be a confirmation, if so many are planned."""
        return self._planned - confirmations(self._manifest.confirm, self._planned)

    @property
    def _wave_start(self) -> int:
        """The number of the first trial of the present wave; without waves, of the next trial."""
        number = len(self._record.trials)
        return number - number % (self._wave or 1)

    def _confirms_next(self) -> bool:
        """Whether the trials that are left are for confirmations, as many as the leaders still lack.

        Of a study that goes on after its confirmations these are fewer, as some leaders have had theirs. Judged by what
        had ended before the present wave; what is under way, or complete in this wave, may become a leader.
        """
        trials, confirm, start = self._record.trials, self._manifest.confirm, self._wave_start
        if len(trials) < self._sure_proposals:
            return False
        again = [each for each in trials if each.confirms is not None]
        proposed = [each for each in trials if each.confirms is None]
        if again and confirm != AUTO:
            leaders = self._leaders(start)
        else:  # whichever they are: how often they were trained again does not matter, or it is never
            known = [each for each in proposed if each.state == "complete" and each.number < start]
            leaders = known[: most_leaders(confirm)]
        more = sum(each.state == "running" or (each.state == "complete" and each.number >= start) for each in proposed)
        return self._planned - len(trials) <= lacking(confirm, leaders, again, self._planned, more)

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
            if self._record.take_over(number):
                self.elsewhere.remove(number)
                return self._record.trials[number]
        return None

    def _look_for_left(self) -> None:
        """Find the running trials whose driver is no more."""
        drivers, self._looked = self._record.drivers, time.monotonic()
        there = drivers.there() if drivers and self.elsewhere else set()
        of = {number: self._record.trials[number].driver for number in sorted(self.elsewhere)}
        self.again = deque(number for number, driver in of.items() if driver is None or key_of(driver) not in there)

    def _proposals_elsewhere(self) -> bool:
        return any(self._record.trials[number].confirms is None for number in self.elsewhere)

    def _is_late(self) -> bool:
        return self._limits.limit_s is not None and time.monotonic() - self._began >= self._limits.limit_s

    def _new(self) -> Trial | None:
        """A new trial, in the ledger; None when there is to be none, and `end` says why."""
        number, most = len(self._record.trials), self._limits.trials
        if most is not None and number >= most:
            self._stop_when_alone("trials", _all_done(number, most))
            return None
        if most is not None and self._confirms_next():
            return self._confirmation()
        if self._begins_wave(number):
            if any(trial.state == "running" for trial in self._record.trials):
                return None
            self._tell_wave()
        prepared, self._prepared = self._prepared, None
        if prepared is not None:
            return self._start(*prepared)
        try:
            architecture, refused = self._propose(number)
        except Exhausted as nothing_left:
            reason = f"nothing new left to try: {nothing_left}"
            if self._manifest.confirm:
                return self._confirmation(reason)
            self._stop_when_alone("exhausted", reason)
            return None
        if architecture is None:
            asked = ASKS + len(self._twins)
            self._stop(
                "stuck", f"the strategy was asked {asked} times and proposed nothing that could be trained; {refused}"
            )
            return None
        trial = self._start(architecture, self.ends)
        self._strategy.tell(architecture, Outcome("running", cost=trial.cost))
        return trial

    def _start(self, architecture: Architecture, told: int) -> Trial:
        """Write a proposal, which knew so many ends, as running."""
        inheritance = self._study.inheritance
        parent = None if inheritance is None else inheritance.parent_of(architecture, self._record.trials)
        twins, self._twins = self._twins, []
        return self._record.start(architecture, self.ends, parent=parent, told=told, twins=twins)

    def _propose(self, number: int) -> tuple[Architecture | None, str | None]:
        """What the strategy proposes for a trial; or None, and why the last one was refused.

        Raises:
            Exhausted: it has nothing new to propose.
        """
        rng, began = np.random.default_rng([self._manifest.seed, number]), time.perf_counter()
        refused, asks = None, 0
        while asks < ASKS and len(self._twins) < TWINS:
            architecture = self._strategy.ask(rng)
            refused = self._study.refusal(architecture)
            if refused is None:
                self._thought_s.append(time.perf_counter() - began)
                return architecture, None
            if self._tell_twin(architecture):
                self._twins.append(architecture)
            else:
                asks += 1
        return None, refused

    def _confirmation(self, nothing_left: str | None = None) -> Trial | None:
        """The next fresh training of a leader, once every proposal has ended; None for now, or at the end.

        A given number of leaders take turns, so that a study cut short has confirmed all of them alike. With `auto` the
        next one follows from how the others ended; in waves, from those that ended in earlier waves.

        Args:
            nothing_left: why there are no more proposals, if so: the study then ends when its leaders lack nothing.
        """
        trials, confirm = self._record.trials, self._manifest.confirm
        awaited = self._wave_start if confirm == AUTO and self._wave else 0
        if any(each.state == "running" and (each.confirms is None or each.number < awaited) for each in trials):
            return None
        self._tell_wave()
        leaders = self._leaders(len(trials))
        again = [trial for trial in trials if trial.confirms is not None]
        if nothing_left is not None and not lacking(confirm, leaders, again, self._planned):
            self._stop_when_alone("exhausted", nothing_left)
            return None
        chosen = next_confirmed(confirm, leaders, again, self._wave_start, alone=inherited(trials))
        assert chosen is not None, "the leaders lack confirmations, and none of them is next"
        return self._record.start(chosen.architecture, self.ends, confirms=chosen.number)

    def _leaders(self, before: int) -> list[Trial]:
        """The best proposals of the first so many trials, the best first, with their accuracies as they are believed.

        Where there are no beliefs, in the order of the strategy's `believed`, if it has one: one observation is luck.
        """
        trials = self._record.trials[:before]
        proposed = [each for each in trials if each.state == "complete" and each.confirms is None]
        found, merits = beliefs(trials), [*map(by_merit, proposed)]
        if found:
            proposed = [replace(each, accuracy=found[each.number].mean) for each in proposed]
            merits = [*map(by_merit, proposed)]
        elif own := getattr(self._strategy, "believed", None):
            means = own([each.architecture for each in proposed])
            merits = [
                merit(float(mean), each.cost.macs, each.number) for mean, each in zip(means, proposed, strict=True)
            ]
        order = sorted(range(len(proposed)), key=merits.__getitem__)
        return [proposed[index] for index in order[: most_leaders(self._manifest.confirm)]]

    def _stop_if_all_fail(self) -> None:
        """Judged by the ledger alone, once in `ALIKE` ends: a resumed study stops where an unbroken one does.

        In waves, at the end of the wave in which so many have ended.
        """
        wave = self._wave or 1
        if self.ends % wave or self.ends // ALIKE == (self.ends - wave) // ALIKE:
            return
        trials = self._record.trials
        if any(trial.state in ("complete", "pruned") and (trial.rank or 0) < self.ends for trial in trials):
            return
        ended = [trial for trial in trials if trial.rank is not None and trial.rank < self.ends]
        if all(each.state == "failed" for each in ended) and len({failure_kind(each.reason) for each in ended}) == 1:
            self._stop("failing", f"all {self.ends} trials failed in the same way: {ended[-1].reason}")

    def _stop_when_alone(self, kind: EndKind, reason: str) -> None:
        """Stop, but wait for what is running elsewhere, as it may yet be left behind."""
        self._dry = True
        if not self.elsewhere:
            self._stop(kind, reason)

    def _stop(self, kind: EndKind, reason: str) -> None:
        """Start nothing more; the first reason stands."""
        if self.end is None:
            self.end = StudyEnded(kind, reason)


def _seconds(limit_s: float | None) -> str:
    return f"{limit_s:g} second{'s' * (limit_s != 1)}"


def _all_done(number: int, most: int) -> str:
    """That so many trials are as many as were asked for, or more.

    >>> _all_done(1, 1), _all_done(30, 30), _all_done(30, 5)
    ('the only trial is done', 'all 30 trials are done', '30 trials are done, more than the 5 asked for')
    """
    if number > most:
        return f"{number} trials are done, more than the {most} asked for"
    return f"all {most} trials are done" if most > 1 else "the only trial is done"
