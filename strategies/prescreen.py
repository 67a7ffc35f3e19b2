"""A strategy asked several times for each trial: of its proposals, the one of the highest merit is tried.

The merit is any function of an architecture, such as a zero-cost score (Abdelfattah et al. 2021, arXiv:2101.08134,
sec. 5, who use scores to warm up a search and to choose among proposals). It must not change with time: what is
proposed is then a function of the strategy's state and the generator, as without the screen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

from searchspaces import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from searchspaces import Architecture
    from strategies.strategy import Outcome, Strategy


@final
class Prescreened:
    """Any strategy behind a screen.

    Asks draw from the same generator, one after the other, and the strategy learns of nothing in between, so it
    proposes independently each time; one that draws nothing, as the grid does, proposes one architecture and is not
    screened. What was tried already does not take part while there is anything else.

    Args:
        strategy: proposes, and is told of all outcomes.
        merit: of an architecture; the highest is chosen, of equals the one proposed first.
        draws: proposals for each trial.

    Raises:
        UserError: `draws` is not at least 2.
    """

    def __init__(self, strategy: Strategy, merit: Callable[[Architecture], float], draws: int) -> None:
        if draws < 2:
            raise UserError(f"a screen needs at least 2 proposals for each trial, got {draws}")
        self._strategy, self._merit, self._draws = strategy, merit, draws
        self._tried: set[Architecture] = set()
        self.believed: Any = getattr(strategy, "believed", None)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Those of the strategy."""
        return self._strategy.settings

    def ask(self, rng: np.random.Generator) -> Architecture:
        """The best of several proposals.

        Raises:
            Exhausted: the strategy has nothing to propose.
        """
        proposed = list(dict.fromkeys(self._strategy.ask(rng) for _ in range(self._draws)))
        new = [each for each in proposed if each not in self._tried] or proposed[:1]
        return new[0] if len(new) == 1 else max(new, key=self._merit)

    def tell(self, architecture: Architecture, outcome: Outcome) -> None:
        """Pass it on."""
        self._tried.add(architecture)
        self._strategy.tell(architecture, outcome)
