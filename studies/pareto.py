"""Which trials no other beats, accuracy up and a cost down, and how much of all that there is they dominate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Positions of the points that none dominates, cheapest first.

    A point dominates another if it costs no more, is no less accurate, and differs. Equal points all stay.

    Args:
        points: cost and accuracy of each.

    >>> front([(10, 0.9), (20, 0.95), (30, 0.95), (20, 0.95), (5, 0.9), (40, 0.97)])
    [4, 1, 3, 5]
    """
    found: list[int] = []
    for index in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1], i)):
        if not found or points[index][1] > points[found[-1]][1] or points[index] == points[found[-1]]:
            found.append(index)
    return found


def front_of_several(points: Sequence[Sequence[float]]) -> list[int]:
    """Positions of the points that none dominates, in as many objectives as there are, in their order.

    A point dominates another if it is as good in all, and better in one. Equal points all stay.

    Args:
        points: each objective, larger is better.

    >>> front_of_several([(0.9, -10, -3), (0.9, -10, -2), (0.8, -20, -1), (0.8, -20, -2), (0.9, -10, -2)])
    [1, 2, 4]
    """
    import numpy as np

    values, kept = np.asarray(points, float), list[int]()
    for index in sorted(range(len(points)), key=lambda i: tuple(points[i]), reverse=True):  # none after it beats it
        others = values[kept]
        if not kept or not ((others >= values[index]).all(1) & (others > values[index]).any(1)).any():
            kept.append(index)
    return sorted(kept)


def dominated(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether the other is as good or better in all; larger is better."""
    return all(mine <= theirs for mine, theirs in zip(one, other, strict=True))


def hypervolume(points: Sequence[Sequence[float]]) -> float:
    """Share of the unit cube that some point dominates: Zitzler & Thiele 1999 (IEEE TEC 3(4)), reference point 0.

    Exact, by what each point adds to those after it (WFG; While et al. 2012, IEEE TEC 16(1)), which is quick for fronts
    of a hundred points in up to four objectives.

    Args:
        points: each objective in [0, 1], larger is better.

    >>> hypervolume([(0.5, 0.5), (1.0, 0.25)])
    0.375
    """
    kept: list[Sequence[float]] = []
    for point in sorted(map(tuple, points), reverse=True):
        if not any(dominated(point, other) for other in kept):
            kept.append(point)
    return sum(_alone(point, kept[place + 1 :]) for place, point in enumerate(kept))


def _alone(point: Sequence[float], others: Sequence[Sequence[float]]) -> float:
    """What a point dominates and others do not: its own volume less that of their parts within it."""
    return math.prod(point) - hypervolume([tuple(map(min, point, other)) for other in others])


def hypervolumes(points: Iterable[Sequence[float] | None]) -> list[float]:
    """What the points until each one dominate together; None adds nothing.

    >>> hypervolumes([(0.5, 0.5), None, (0.25, 0.25), (1.0, 0.25)])
    [0.25, 0.25, 0.25, 0.375]
    """
    best: list[Sequence[float]] = []
    found = [0.0]
    for point in points:
        if point is None or any(dominated(point, other) for other in best):
            found.append(found[-1])
            continue
        found.append(found[-1] + max(_alone(point, best), 0.0))  # a difference may be negative in the last digit
        best = [*(other for other in best if not dominated(other, point)), point]
    return found[1:]
