"""Architectures as a predictor sees their choices: one-hot options, and the rank of numeric ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, final

import numpy as np

if TYPE_CHECKING:
    from searchspaces import Decision, Indices
    from strategies.gaussian_process import Matrix


@final
class Options:
    """Features of the options that were chosen.

    Args:
        decisions: of the space.
    """

    def __init__(self, decisions: Sequence[Decision]) -> None:
        self._offsets = np.cumsum([0, *(len(each.options) + 1 for each in decisions)])
        self._ranked = [
            index
            for index, each in enumerate(decisions)
            if len(each.options) > 2 and all(isinstance(option, (int, float)) for option in each.options)
        ]
        self._most = np.array([len(decisions[index].options) - 1 for index in self._ranked])

    def of(self, rows: Indices) -> tuple[Matrix, Matrix]:
        """One-hot options (rows, columns) and ranks (rows, numeric decisions) in [0, 1], 0.5 where inactive.

        One differing decision adds about 1 to the squared distance.

        Args:
            rows: indices of options (rows, decisions), -1 where inactive.
        """
        one_hot = np.zeros((len(rows), self._offsets[-1]))
        one_hot[np.arange(len(rows))[:, None], self._offsets[:-1] + rows + 1] = np.sqrt(0.5)
        ranked = rows[:, self._ranked]
        return one_hot, np.where(ranked >= 0, ranked / self._most, 0.5)
