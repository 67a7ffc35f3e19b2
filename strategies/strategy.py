"""The interface of a search strategy: `ask` proposes an architecture, `tell` reports the outcome of a trial.

A strategy owns no loop, no files, no threads and no randomness. Every `ask` receives the random generator and leaves no
trace. A strategy's state is therefore a function of the outcomes it was told, in order: replaying them restores it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from searchspaces import Architecture, Cost

TrialState = Literal["running", "complete", "pruned", "failed"]
STATES: Final[tuple[str, ...]] = get_args(TrialState)


class Exhausted(Exception):  # noqa: N818 - not an error
    """Every architecture of the space has been tried: the study ends early, without an error."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a trial.

    Attributes:
        state: "running" when the trial starts, then "complete", "pruned" (stopped early on purpose) or "failed".
        accuracy: top-1 accuracy in [0, 1] on the validation images. A complete trial has one; a pruned trial has the
            last one it reported, if any; running and failed trials have none.
        cost: of the architecture on the deployment task, if known.
        reports: step (1 after the first epoch) and accuracy in [0, 1] of a trial that ended, first to last, if known.
    """

    state: TrialState
    accuracy: float | None = None
    cost: Cost | None = None
    reports: tuple[tuple[int, float], ...] = ()

    def __post_init__(self) -> None:
        if self.state not in STATES:
            raise ValueError(f"state must be one of {', '.join(STATES)}, got {self.state!r}")
        if self.accuracy is None:
            if self.state == "complete":
                raise ValueError("a complete trial has an accuracy")
        elif self.state in ("running", "failed"):
            raise ValueError(f"a {self.state} trial has no accuracy, got {self.accuracy}")
        elif not 0.0 <= self.accuracy <= 1.0:  # NaN fails here too
            raise ValueError(f"accuracy must be in [0, 1], got {self.accuracy}")


class Strategy(Protocol):
    """Decides which architecture is tried next."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """All settings with their defaults resolved, as plain JSON values; equal settings make equal strategies."""
        ...

    def ask(self, rng: np.random.Generator) -> Architecture:
        """Propose an architecture of the space that has not been tried; changes nothing but `rng`.

        A study refuses to train a network twice, unless it runs with `replicas`. A strategy that repeats a proposal on
        purpose says so in its docstring.

        Raises:
            Exhausted: every architecture of the space has been tried.
        """
        ...

    def tell(self, architecture: Architecture, outcome: Outcome) -> None:
        """Report that a trial started ("running") or ended. Ends come in any order; a start may be missing."""
        ...
