"""What a study knows of one architecture that it tried, and what it tells while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from estimators import Estimate
from strategies import Outcome

if TYPE_CHECKING:
    from datetime import datetime

    from searchspaces import Architecture, Cost
    from strategies.strategy import TrialState

RANKS: Final = ("score", "likelihood", "shared_weights")
"""What the details of a trial have whose estimate is no accuracy, and only ranks."""

SHARE: Final = "device_share"
"""In the details of a trial that shared its device with others: its mean share of the time, in [0, 1]."""

EndKind = Literal["trials", "time", "exhausted", "failing", "stuck", "interrupted"]


@dataclass(frozen=True, slots=True)
class Trial:
    """An architecture, what became of it, and when.

    Attributes:
        number: from 0, in the order of the starts.
        architecture: what was tried.
        cost: of the architecture, on the deployment task.
        state: `running` until it ends; one that was running when its process died stays so until it is run again.
        told: how many ends were known when it was proposed, or began as a confirmation; with `rank` this is the order
            in which a strategy learned. Fewer than had ended when it started, if it was prepared (`Run.prepare`).
        accuracy: in [0, 1] on the validation images. None while running or failed; of a pruned trial the last reported.
        reports: step (1 after the first epoch; of a rung 0 or less) and accuracy in [0, 1], first to last.
        seconds: wall-clock time of the estimate; None while running.
        reason: why it failed or was pruned; begins with a kind, as in `out of memory: ...`.
        details: what else the estimator said, plain JSON values.
        rank: its place among the ends, from 0; None while running.
        started, ended: local time, with its offset from UTC.
        confirms: the number of the trial whose network this one trains again, with a fresh seed; None for a proposal.
        parent: the number of the trial whose trained weights it starts from; None for one trained from scratch.
        driver: who runs or ran it, where several may work on one study; see `Drivers`.
        twins: what was proposed in its place before, and was not tried, since an equal network had been; the strategy
            was told of each what became of that one.
    """

    number: int
    architecture: Architecture
    cost: Cost
    state: TrialState
    told: int
    accuracy: float | None = None
    reports: tuple[tuple[int, float], ...] = ()
    seconds: float | None = None
    reason: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    rank: int | None = None
    started: datetime | None = None
    ended: datetime | None = None
    confirms: int | None = None
    parent: int | None = None
    driver: str | None = None
    twins: tuple[Architecture, ...] = ()

    @property
    def curve(self) -> tuple[float, ...]:
        """The accuracy after each epoch, in [0, 1]."""
        return tuple(accuracy for step, accuracy in self.reports if step > 0)

    @property
    def rungs(self) -> tuple[float, ...]:
        """The accuracy at each rung before the first epoch, in [0, 1]."""
        return tuple(accuracy for step, accuracy in self.reports if step <= 0)

    @property
    def is_accuracy(self) -> bool:
        """Whether the estimate is an accuracy, and not a number that only ranks."""
        return not any(name in self.details for name in RANKS)

    @property
    def estimate(self) -> Estimate | None:
        """What the estimator said of a complete trial, else None."""
        if self.state != "complete" or self.accuracy is None:
            return None
        return Estimate(self.accuracy, self.seconds or 0.0, self.curve, self.details)

    @property
    def outcome(self) -> Outcome:
        """What a strategy is told of it."""
        return Outcome(self.state, self.accuracy, self.cost, self.reports if self.rank is not None else ())


def device_seconds(trial: Trial) -> float:
    """What a trial took of its device, in seconds: its wall-clock time, less what others had of it meanwhile."""
    return (trial.seconds or 0.0) * float(trial.details.get(SHARE, 1.0))


@dataclass(frozen=True, slots=True)
class StudyStarted:
    """A run begins.

    Attributes:
        ended: trials of earlier runs that ended already.
        again: trials that an earlier run left unfinished and that are now run again.
        trials: how many there will be in all; None where only time or the space is the limit.
        limit_s: seconds after which no trial is started; None where there is no such limit.
    """

    ended: int
    again: int
    trials: int | None
    limit_s: float | None


@dataclass(frozen=True, slots=True)
class StudyPrepares:
    """What all trials need is being made, before the first of this run.

    Attributes:
        words: what is done from now on, for a person.
    """

    words: str


@dataclass(frozen=True, slots=True)
class TrialStarted:
    """A trial is in the ledger and about to be estimated."""

    trial: Trial


@dataclass(frozen=True, slots=True)
class TrialReported:
    """A running trial told its accuracy.

    Attributes:
        step: 1 after the first epoch; of a rung 0 or less.
        accuracy: in [0, 1].
        stop: whether the pruner stops it here.
    """

    number: int
    step: int
    accuracy: float
    stop: bool


@dataclass(frozen=True, slots=True)
class TrialEnded:
    """A trial came to an end, good or bad, and the ledger knows."""

    trial: Trial


@dataclass(frozen=True, slots=True)
class StudyEnded:
    """A run is over.

    Attributes:
        kind: `trials` or `time` (the limits), `exhausted` (nothing new is left in the space), `failing` (every trial
            fails alike), `stuck` (the strategy proposes nothing that may be trained), `interrupted` (Ctrl-C).
        reason: the same in one line for a person.
    """

    kind: EndKind
    reason: str


Event = StudyStarted | StudyPrepares | TrialStarted | TrialReported | TrialEnded | StudyEnded
