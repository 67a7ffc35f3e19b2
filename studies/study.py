"""A study: trials under one manifest, kept in a ledger, that goes on from wherever it was cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from estimators import Estimator
    from searchspaces import Budget, SearchSpace, Task
    from strategies import Strategy
    from studies.engine import Engine
    from studies.trial import Event, StudyEnded, Trial


class Study:
    """Signatures first; the bodies follow."""

    folder: Path | None

    @classmethod
    def create(
        cls,
        folder: str | Path | None,
        space: str | SearchSpace,
        task: Task,
        budget: Budget | None,
        strategy: str | Strategy | Callable[..., Strategy] = "evolution",
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
        device: str = "auto",
    ) -> Study:
        """Begin a study, or go on with the one that is in the folder if all settings are the same."""
        raise NotImplementedError

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
    ) -> Study:
        """The study of a run folder."""
        raise NotImplementedError

    def run(
        self,
        trials: int | None = None,
        seconds: float | None = None,
        engine: Engine | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> StudyEnded:
        """Go on until there are `trials` in all, or no more are started after `seconds`."""
        raise NotImplementedError

    @property
    def trials(self) -> list[Trial]:
        """All trials by number."""
        raise NotImplementedError

    @property
    def best(self) -> Trial:
        """The most accurate complete trial; UserError while there is none."""
        raise NotImplementedError

    def pareto(self, x: str = "macs") -> list[Trial]:
        """Complete trials that no other beats in accuracy and cost, cheapest first."""
        raise NotImplementedError

    def trials_dataframe(self) -> pd.DataFrame:
        """One row a trial."""
        raise NotImplementedError

    def plot(self, path: str | Path | None = None) -> Path:
        """Write the interactive Pareto plot, by default `pareto.html` in the folder."""
        raise NotImplementedError
