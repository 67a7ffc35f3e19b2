"""Which trials no other beats: accuracy up, a cost down."""

from __future__ import annotations

from collections.abc import Sequence


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


def hypervolume(points: Sequence[tuple[float, float]], limit: float) -> float:
    """Share of all that could be had up to a cost: the area under the front as a step line, divided by `limit`; in [0,
    1].

    Args:
        points: cost and accuracy in [0, 1] of each; those above the limit count nothing.
        limit: the largest cost, above 0.

    >>> hypervolume([(50, 0.5), (75, 1.0)], limit=100)  # 25 * 0.5 + 25 * 1.0 of 100
    0.375
    """
    inside = [point for point in points if point[0] <= limit]
    steps = [inside[index] for index in front(inside)]
    ends = [cost for cost, _ in steps[1:]] + [limit]
    return (
        sum((end - cost) * accuracy for (cost, accuracy), end in zip(steps, ends, strict=True)) / limit
        if steps
        else 0.0
    )
