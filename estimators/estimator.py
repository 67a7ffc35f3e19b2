"""What an estimator is: it is given an architecture and says how good it is.

An estimator owns no files and no queue. It reports its learning curve as it grows through the context it is given,
which answers whether to go on; everything else about a trial (its number, its ledger, its engine) is not its business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from searchspaces import Architecture


def _go_on(step: int, accuracy: float) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Estimate:
    """How good an architecture is.

    Attributes:
        accuracy: share of the validation images that are told right, in [0, 1].
        seconds: wall-clock time that the estimate took.
        curve: accuracy after each epoch, in [0, 1]; its last value is `accuracy`.
        details: anything else worth keeping, as plain JSON values.
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
    """What an estimator may know of the trial that it works for.

    Attributes:
        seed: the only source of randomness of the estimate; at least 0.
        device: `auto`, `cpu`, `cuda` or `mps`; `auto` leaves it to the estimator.
        report: called with a step (1 after the first epoch) and the accuracy in [0, 1]; False means stop.
        checkpoint: a path or a URL where its training state may be kept, as one file, and is found again if the trial
            was cut; the study removes it when the trial ends. Such a trial reports again from its first step. None:
            nowhere.
    """

    seed: int
    device: str = "auto"
    report: Callable[[int, float], bool] = _go_on
    checkpoint: str | None = None


class Pruned(Exception):  # noqa: N818 - an outcome, not an error
    """The trial was told to stop before its end.

    Attributes:
        curve: accuracy in [0, 1] after each epoch up to the stop; never empty.
        seconds: wall-clock time spent until then.
    """

    def __init__(self, curve: tuple[float, ...], seconds: float) -> None:
        super().__init__(curve, seconds)
        self.curve = curve
        self.seconds = seconds

    @property
    def accuracy(self) -> float:
        """The last reported accuracy, in [0, 1]."""
        return self.curve[-1]

    def __str__(self) -> str:
        return f"stopped after epoch {len(self.curve)} at accuracy {self.accuracy:.4f}"


class Diverged(Exception):  # noqa: N818
    """The loss or the logits are no longer finite; the message says after how many epochs."""


@runtime_checkable
class Estimator(Protocol):
    """Says how good an architecture is, and what it means by that."""

    def describe(self) -> dict[str, Any]:
        """Name, settings and data as plain JSON values; estimates are comparable only where these are equal."""
        ...

    def estimate(self, architecture: Architecture, context: TrialContext) -> Estimate:
        """Estimate one architecture; a function of the architecture and `context.seed` alone, on a CPU.

        Raises:
            Pruned: `context.report` said stop.
            Diverged: training left the finite numbers.
        """
        ...
