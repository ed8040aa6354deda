"""The Pareto front of networks: none faster is as accurate."""

from __future__ import annotations

from collections.abc import Sequence


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points (ms, accuracy) for which no other is faster and as accurate, or as fast and more accurate.

    The fastest comes first; of equal points only the first is kept.
    """
    front: list[int] = []
    for index in sorted(range(len(points)), key=lambda index: (points[index][0], -points[index][1])):
        if not front or points[index][1] > points[front[-1]][1]:
            front.append(index)
    return front
