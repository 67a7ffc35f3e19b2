"""What a strategy is: it proposes an architecture when asked and learns from the outcomes that it is told.

A strategy owns no loop, no files, no threads and no randomness. The generator is given at every `ask`, and `ask`
leaves no
trace: a strategy's state is a function of what it was told, in order, so telling the same again restores it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from searchspaces import Architecture, Cost

State = Literal["running", "complete", "pruned", "failed"]
STATES: Final[tuple[str, ...]] = get_args(State)


class Exhausted(Exception):  # noqa: N818 - it is no error
    """The space has no architecture left that was not tried: the study is done, early and in order."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a trial.

    Attributes:
        state: "running" when it starts; then one of "complete", "pruned" (stopped early, on purpose) and "failed".
        accuracy: top-1 in [0, 1] on the validation split. A complete trial has one, a pruned one has the last it
            reported if there was any, the others have none.
        cost: of the architecture on the deployment task, where it is known.
    """

    state: State
    accuracy: float | None = None
    cost: Cost | None = None

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
    """Decides what is tried next."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Every setting as resolved, in plain JSON values; the same settings make the same strategy."""
        ...

    def ask(self, rng: np.random.Generator) -> Architecture:
        """Propose an architecture that is in the space and of which nothing was told yet; changes nothing but `rng`.

        Raises:
            Exhausted: none is left.
        """
        ...

    def tell(self, architecture: Architecture, outcome: Outcome) -> None:
        """Learn that a trial started ("running") or how it ended; ends come in any order, starts may be missing."""
        ...
