"""The interface of an estimator: it estimates the accuracy of an architecture.

An estimator owns no files and no queue. It reports its learning curve through the context of the trial, which answers
whether to continue. It knows nothing else of the trial: not its number, its ledger or its engine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

if TYPE_CHECKING:
    from searchspaces import Architecture, SearchSpace


PREPARED_S: Final = "prepared_s"
"""In the details of an estimate: seconds of what was made once for all trials (`Preparing`)."""


def _go_on(step: int, accuracy: float) -> bool:
    return True


BALANCED: Final = "balanced_images"
"""In the details of a trial that estimates a balanced accuracy: see `effective_images`."""


def effective_images(counts: Iterable[int]) -> int:
    """Images of which an accuracy has the standard error of a balanced one, where all classes are equally hard.

    >>> effective_images([400, 40, 10]), effective_images([150, 150, 150])
    (70, 450)
    """
    there = [each for each in counts if each]
    return int(len(there) ** 2 / sum(1 / each for each in there))


def _alone() -> bool:
    return False


def binomial_error(accuracy: float, images: int) -> float:
    """The standard error of an accuracy in [0, 1], as of a binomial proportion.

    sqrt(p (1 - p) / n) with the p of Agresti & Coull 1998, The American Statistician 52(2): two successes and two
    failures are added, so that few images that are all right are not exact. Of many images it is the usual one.

    >>> round(binomial_error(0.9, 900), 3), round(binomial_error(1.0, 24), 3)
    (0.01, 0.053)
    """
    share = (accuracy * images + 2) / (images + 4)
    return round(math.sqrt(share * (1 - share) / images), 12)


@dataclass(frozen=True, slots=True)
class Estimate:
    """The estimate of an architecture.

    Attributes:
        accuracy: top-1 accuracy on the validation images, in [0, 1]. Of an estimator whose description has a `unit`, a
            number in [0, 1] that serves to rank and is no accuracy.
        seconds: wall-clock time of the estimate.
        curve: accuracy after each epoch, in [0, 1]; its last value is `accuracy`.
        details: anything else worth recording, as plain JSON values. A study whose trials all have their number of
            `val_images` here chooses by what it believes of them (`studies.belief`); if they have their `train_loss` (a
            float) too, accuracies are first adjusted for luck (`studies.adjusting`).
    """

    accuracy: float
    seconds: float
    curve: tuple[float, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0.0 <= self.accuracy <= 1.0:
            raise ValueError(f"accuracy must be in [0, 1], got {self.accuracy}")


@dataclass(frozen=True, slots=True)
class TrialContext:
    """What an estimator knows of the trial.

    Attributes:
        seed: the only source of randomness of the estimate; at least 0.
        device: `auto`, `cpu`, `cuda` or `mps`; `auto` leaves the choice to the estimator.
        report: takes a step (1 after the first epoch) and the accuracy in [0, 1]; returns False to stop the trial. An
            estimator whose attribute `climbs` is above 0 first reports that many rungs, the last of them at step 0,
            of a trial that is `stoppable`.
        checkpoint: path or URL of a file for the state of the training. If the trial is interrupted, the file is there
            when it runs again, and the trial reports again from its first step. The study removes the file when the
            trial ends. None: no checkpoint is kept.
        parent: path or URL of the weights that an earlier trial left, to start from (`estimators.parent`). None: the
            training starts from scratch. Only for an estimator with `inherits = True`, as is the next one.
        weights: path or URL at which to leave the trained weights. None: they are not kept.
        stoppable: False where every report is answered with True, as in a confirmation: rungs would be for nothing.
        shared: whether other trials use the device now: if memory runs out, the trial is to fail, and is run again
            beside fewer.
    """

    seed: int
    device: str = "auto"
    report: Callable[[int, float], bool] = _go_on
    checkpoint: str | None = None
    parent: str | None = None
    weights: str | None = None
    stoppable: bool = True
    shared: Callable[[], bool] = _alone


class Pruned(Exception):  # noqa: N818 - an outcome, not an error
    """The trial was stopped before its end.

    Attributes:
        curve: accuracy in [0, 1] after each epoch up to the stop, or at each rung if it is at one; never empty.
        seconds: wall-clock time spent until then.
        rung: the rung at which it was stopped; None after an epoch.
    """

    def __init__(self, curve: tuple[float, ...], seconds: float, rung: str | None = None) -> None:
        super().__init__(curve, seconds, rung)
        self.curve = curve
        self.seconds = seconds
        self.rung = rung

    @property
    def accuracy(self) -> float:
        """The last reported accuracy, in [0, 1]."""
        return self.curve[-1]

    def __str__(self) -> str:
        where = f"after epoch {len(self.curve)}" if self.rung is None else f"at rung {self.rung}"
        return f"stopped {where} at accuracy {self.accuracy:.4f}"


class Diverged(Exception):  # noqa: N818
    """The loss or the logits are not finite; the message has the epoch."""


@runtime_checkable
class Estimator(Protocol):
    """Estimates the accuracy of an architecture, and describes how.

    One whose estimates of a network differ from seed to seed may say so by `noisy = True`: studies of at least 50
    trials then train leading networks again unless told otherwise.
    """

    def describe(self) -> dict[str, Any]:
        """Name, settings and data as plain JSON values; only estimates with equal descriptions are comparable."""
        ...

    def estimate(self, architecture: Architecture, context: TrialContext) -> Estimate:
        """Estimate one architecture. On a CPU, a function of the architecture and `context.seed` alone.

        Raises:
            Pruned: `context.report` returned False.
            Diverged: the loss or the logits are not finite.
        """
        ...


@runtime_checkable
class Advancing(Protocol):
    """An estimator that can also be advanced step by step, so that one process keeps several estimates under way."""

    def advance(self, architecture: Architecture, context: TrialContext) -> Generator[int, None, Estimate]:
        """`Estimator.estimate` as a generator, whose result does not depend on what runs between two steps.

        The caller keeps torch's global generators and its number of threads.

        Yields:
            The number of images that a step processed; 0 where it waits for the device.
        """
        ...


@runtime_checkable
class Preparing(Protocol):
    """An estimator that needs something which is made once, for all trials of a study."""

    def prepared(self, space: SearchSpace, place: str | None = None) -> Estimator:
        """The estimator with what it needs, read from a file if it is there.

        A study asks for it at the beginning of each run, in the process that starts the trials; what comes back travels
        to where they run. Words of `searchspaces.progress.doing` are shown meanwhile.

        Args:
            space: what fits the budget.
            place: path or URL of a file in the study's folder, to keep it in; None where there is no folder.
        """
        ...
