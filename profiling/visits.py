"""The visits to models and what follows from them: figures, gaps, noise."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable

import numpy as np

from profiling import stats
from profiling.drift import Floats, slowdowns
from profiling.measurement import Measurement

# Stands for the canary among the models; no key of a model is empty.
_CANARY = ""
# A figure whose grid is coarser than this share of it is flagged.
COARSE_FLAG = 0.02


class Visits:
    """The latency of each model at each of its visits, in ms, in order.

    Failed measurements count for nothing, and figures that the device flagged only where a model has no others. A model that was
    never measured has no visits. The figures of the canary beside the visits count where the speed of the device is judged.

    Args:
        measurements: initial measurements.
        heats: whether the device slows itself down with heat, so that visits made while it was slower are put back to its full
            speed, see `drift.slowdowns`. Not so for this machine, where other programs disturb each model in its own way.
    """

    def __init__(self, measurements: Iterable[Measurement] = (), *, heats: bool = True) -> None:
        self._heats = heats
        self._models: list[str] = []
        self._values_ms: list[float] = []
        # Where each visit to a model stands in these.
        self._places: dict[str, dict[int, int]] = defaultdict(dict)
        self._flags: dict[int, str] = {}
        self._resolutions_ms: dict[int, float] = {}
        self._canary_ms: float | None = None
        self._known_slowdowns: Floats | None = None
        for measurement in measurements:
            self.add(measurement)

    def add(self, measurement: Measurement) -> None:
        """Adds one measurement; a failed one changes nothing."""
        if measurement.figures is None:
            return
        if measurement.canary_ms not in (None, self._canary_ms):
            self._canary_ms = measurement.canary_ms
            self._append(_CANARY, measurement.canary_ms)
        self._places[measurement.model][measurement.visit] = len(self._models)
        self._resolutions_ms[len(self._models)] = measurement.figures.fastest_resolution_ms
        if measurement.state.flag:
            self._flags[len(self._models)] = measurement.state.flag
        self._append(measurement.model, measurement.figures.fastest_ms)

    def _append(self, model: str, ms: float) -> None:
        self._models.append(model)
        self._values_ms.append(ms)
        self._known_slowdowns = None

    @property
    def slowdowns(self) -> Floats:
        """By how much heat slowed the device at each visit, the canary's among them, in the order in which they were made."""
        if self._known_slowdowns is None:
            none = np.zeros(len(self._models))
            self._known_slowdowns = slowdowns(self._models, self._values_ms) if self._heats else none
        return self._known_slowdowns

    @property
    def slowed_down(self) -> bool:
        """Whether heat slowed the device, so that figures are put back to its full speed."""
        return bool(self.slowdowns.any())

    def ms(self, key: str) -> list[float]:
        """Every visit to a model as it was measured, in ms."""
        return [self._values_ms[place] for place in self._used(self._places[key].values())]

    def _corrected_ms(self, key: str) -> list[float]:
        return [self._values_ms[place] / (1 + self.slowdowns[place]) for place in self._used(self._places[key].values())]

    def _used(self, places: Collection[int]) -> list[int]:
        """Of some visits to a model, those that were not flagged; all of them, where all were."""
        return [place for place in places if place not in self._flags] or list(places)

    @property
    def canary_ms(self) -> float | None:
        """What the canary takes on the cool device, in ms; None without one."""
        places = [place for place, model in enumerate(self._models) if model == _CANARY]
        return self._undisturbed_ms(places) if places else None

    def count(self, key: str) -> int:
        """How many visits to a model succeeded."""
        return len(self._places[key])

    def next_visit(self, key: str) -> int:
        """The lowest number that no visit to this model has."""
        made = self._places[key]
        return next(visit for visit in range(len(made) + 1) if visit not in made)

    def missing(self, keys: Iterable[str], visits: int) -> list[str]:
        """Those of the models that have fewer than so many visits."""
        return [key for key in keys if self.count(key) < visits]

    def is_noisy(self, key: str) -> bool:
        """Whether the fastest visit to a model is an outlier, as measured and also at full speed, see `stats.is_noisy`."""
        return stats.is_noisy(self.ms(key)) and stats.is_noisy(self._corrected_ms(key))

    def flag(self, key: str) -> str | None:
        """What is wrong with a model: the device's flag, where all visits have one, `coarse` or `noisy`, or None."""
        flags = [self._flags.get(place) for place in self._places[key].values()]
        if flags and all(flags):
            return flags[-1]
        if flags and self.resolution_ms(key) > COARSE_FLAG * self.undisturbed_ms(key):
            return "coarse"
        return "noisy" if self.is_noisy(key) else None

    def in_calm(self) -> set[str]:
        """The models that were visited at least once in calm, see `stats.visited_in_calm`."""
        visits = zip(self._models, self._values_ms, strict=True)
        return stats.visited_in_calm([visit for visit in visits if visit[0] != _CANARY])

    def undisturbed_ms(self, key: str) -> float:
        """What a model takes when nothing disturbs it, in ms; it must have a visit. See `stats.undisturbed`."""
        return self._undisturbed_ms(list(self._places[key].values()))

    def spread_ms(self, key: str) -> float:
        """The scatter of the visits to a model, in ms; it must have a visit. See `stats.spread`.

        It is at least that of the grid which figures are printed on: visits that agree on a coarse one are not without noise.
        """
        return max(stats.spread(self._corrected_ms(key)), self.resolution_ms(key) / math.sqrt(12))

    def resolution_ms(self, key: str) -> float:
        """The grid that the figures of a model are printed on, in ms; 0 where it is finer than matters, and without a visit."""
        used = self._used(self._places[key].values())
        return max((self._resolutions_ms[place] for place in used), default=0.0)

    def halves_ms(self, keys: Collection[str]) -> tuple[list[float], list[float]]:
        """For each model, undisturbed, its even visits alone and its odd visits alone, in ms: two separate measurements of it."""
        halves = [
            [self._undisturbed_ms([place for visit, place in self._places[key].items() if visit % 2 == parity]) for key in keys]
            for parity in (0, 1)
        ]
        return halves[0], halves[1]

    def _undisturbed_ms(self, places: list[int]) -> float:
        used = self._used(places)
        return stats.undisturbed([self._values_ms[place] for place in used], self.slowdowns[used].tolist())
