"""A ledger that ends with its process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from searchspaces import SearchSpace
    from studies.trial import Trial


class MemoryLedger:
    """A ledger that ends with its process: the trials themselves. No tool of Optuna's could look at it, and copies in
    Optuna's own memory would take longer than all else that a study does for a trial."""

    drivers: None = None

    def __init__(self) -> None:
        self._kept: list[tuple[Trial, dict[str, Any]]] = []

    def trials(self, space: SearchSpace) -> list[tuple[Trial, dict[str, Any]]]:
        """As in `Ledger`."""
        return list(self._kept)

    def turn(self) -> AbstractContextManager[None]:
        """It is always ours."""
        return nullcontext()

    def news(self, elsewhere: Iterable[int], space: SearchSpace) -> list[tuple[Trial, dict[str, Any]]]:
        """There are no others."""
        return []

    def taken_over(self, trial: Trial) -> tuple[Trial, bool]:
        """It was ours."""
        return trial, True

    def started(self, trial: Trial, seed: int, space: SearchSpace, ends: int) -> None:
        """As in `Ledger`."""
        self._kept.append((trial, {}))

    def reported(self, number: int, step: int, accuracy: float) -> None:
        """What a trial reported is kept when it ends."""

    def ended(self, trial: Trial, written: int, notes: Mapping[str, Any]) -> None:
        """As in `Ledger`."""
        self._kept[trial.number] = trial, dict(notes)

    def close(self) -> None:
        """There is nothing to give back."""
