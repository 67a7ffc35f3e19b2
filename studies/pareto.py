"""Which trials no other beats, accuracy up and a cost down, and how much of all that there is they dominate."""

from __future__ import annotations

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


def dominated(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether the other is as good or better in all; larger is better."""
    return all(mine <= theirs for mine, theirs in zip(one, other, strict=True))


def hypervolume(points: Sequence[Sequence[float]]) -> float:
    """Share of the unit cube that some point dominates: Zitzler & Thiele 1999 (IEEE TEC 3(4)), reference point 0.

    By slices along the last objective (While et al. 2006, IEEE TEC 10(1)); exact, and quick for fronts of tens of
    points in two or three objectives.

    Args:
        points: each objective in [0, 1], larger is better.

    >>> hypervolume([(0.5, 0.5), (1.0, 0.25)])
    0.375
    """
    if not points:
        return 0.0
    if len(points[0]) == 1:
        return max(point[0] for point in points)
    volume, below = 0.0, 0.0
    for level in sorted({point[-1] for point in points}):
        volume += (level - below) * hypervolume([point[:-1] for point in points if point[-1] >= level])
        below = level
    return volume


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
        best = [*(other for other in best if not dominated(other, point)), point]
        found.append(max(found[-1], hypervolume(best)))  # sums in another order may be less in the last digit
    return found[1:]
