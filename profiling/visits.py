"""The visits to models and what follows from them: figures, gaps, noise."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable

from profiling import stats
from profiling.measurement import Measurement


class Visits:
    """The latency of each model at each of its visits, in ms, in order.

    Failed measurements count for nothing; a model that was never measured has no visits.

    Args:
        measurements: initial measurements.
    """

    def __init__(self, measurements: Iterable[Measurement] = ()) -> None:
        self._ms: dict[str, dict[int, float]] = defaultdict(dict)
        self._order: list[tuple[str, float]] = []
        for measurement in measurements:
            self.add(measurement)

    def add(self, measurement: Measurement) -> None:
        """Adds one measurement; a failed one changes nothing."""
        if measurement.figures is not None:
            self._ms[measurement.model][measurement.visit] = measurement.figures.fastest_ms
            self._order.append((measurement.model, measurement.figures.fastest_ms))

    def ms(self, key: str) -> list[float]:
        """Every visit to a model, in ms."""
        return list(self._ms[key].values())

    def count(self, key: str) -> int:
        """How many visits to a model succeeded."""
        return len(self._ms[key])

    def next_visit(self, key: str) -> int:
        """The lowest number that no visit to this model has."""
        made = self._ms[key]
        return next(visit for visit in range(len(made) + 1) if visit not in made)

    def missing(self, keys: Iterable[str], visits: int) -> list[str]:
        """Those of the models that have fewer than so many visits."""
        return [key for key in keys if self.count(key) < visits]

    def noisy(self, keys: Iterable[str]) -> list[str]:
        """The models whose fastest visit is an outlier, see `stats.is_noisy`."""
        return [key for key in keys if self.is_noisy(key)]

    def is_noisy(self, key: str) -> bool:
        """Whether the fastest visit to a model is an outlier, see `stats.is_noisy`."""
        return stats.is_noisy(self.ms(key))

    def in_calm(self) -> set[str]:
        """The models that were visited at least once in calm, see `stats.visited_in_calm`."""
        return stats.visited_in_calm(self._order)

    def undisturbed_ms(self, key: str) -> float:
        """What a model takes when nothing disturbs it, in ms; it must have a visit. See `stats.undisturbed`."""
        return stats.undisturbed(self.ms(key))

    def spread_ms(self, key: str) -> float:
        """The scatter of the visits to a model, in ms; it must have a visit. See `stats.spread`."""
        return stats.spread(self.ms(key))

    def halves_ms(self, keys: Collection[str]) -> tuple[list[float], list[float]]:
        """For each model, undisturbed, its even visits alone and its odd visits alone, in ms: two separate measurements of it."""
        halves = [
            [stats.undisturbed([ms for visit, ms in self._ms[key].items() if visit % 2 == parity]) for key in keys]
            for parity in (0, 1)
        ]
        return halves[0], halves[1]
