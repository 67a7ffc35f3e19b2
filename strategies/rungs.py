"""What a trial that was stopped early tells of its final accuracy.

The complete trials have an accuracy at that step and a final one, so the line through them maps the one to the other,
and how far they lie off it is the noise of what is mapped: both are learned from the study, for each step alone. The
line is that of ordinary least squares; its variance at a point that is far from the others, as what is stopped mostly
is, is that of a prediction (Weisberg 2014, *Applied Linear Regression*, sec. 2.6.3).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, final

import numpy as np

FEWEST: Final = 5
"""Complete trials without which a step tells nothing."""


@final
class Rungs:
    """Lines from the accuracies at each step to the final ones.

    Args:
        complete: reports, by step, and final accuracy of complete trials, in [0, 1].
    """

    def __init__(self, complete: Iterable[tuple[Mapping[int, float], float]]) -> None:
        self._complete = list(complete)
        self._lines: dict[int, tuple[float, float, float, float, float, int] | None] = {}

    def at_end(self, step: int, accuracy: float) -> tuple[float, float] | None:
        """The final accuracy that is expected after an accuracy at a step, and its variance; None if nothing is known.

        >>> rungs = Rungs(({1: each / 10}, each / 20 + 0.4) for each in range(5))
        >>> [round(number, 3) for number in rungs.at_end(1, 0.6)]
        [0.7, 0.0]
        """
        if step not in self._lines:
            self._lines[step] = self._line(step)
        line = self._lines[step]
        if line is None:
            return None
        centre, height, slope, residual, scatter, count = line
        off = accuracy - centre
        variance = residual * (1 + 1 / count + off**2 / scatter)
        return min(max(height + slope * off, 0.0), 1.0), variance

    def _line(self, step: int) -> tuple[float, float, float, float, float, int] | None:
        """Its centre and height there, its slope, the residual variance, the squared deviations, and of how many."""
        pairs = np.array([(reports[step], final) for reports, final in self._complete if step in reports])
        if len(pairs) < FEWEST or np.ptp(pairs[:, 0]) < 1e-9:
            return None
        centre, height = pairs.mean(0)
        early, late = (pairs - (centre, height)).T
        scatter = float(early @ early)
        slope = float(early @ late) / scatter
        residual = float(((late - slope * early) ** 2).sum()) / (len(pairs) - 2)
        return float(centre), float(height), slope, residual, scatter, len(pairs)
