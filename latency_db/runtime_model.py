"""The runtime model R: the sum of the layers' latencies (paper, Eq. 10), calibrated on whole networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from latency_db.table import CalibrationNetwork, LatencyTable
from profiling.errors import InputError, MissingRowsError
from profiling.layers import NetworkSpec
from profiling.space import SKIP, Architecture, SearchSpace, Slot

CONFIDENCE = 0.95
FEWEST_NETWORKS = 5


@dataclass(frozen=True)
class Calibration:
    """The line through the calibration networks: whole network = scale · sum of layers + offset.

    Attributes:
        scale: without a unit; isolated layers run with warm caches, so it is usually above 1.
        offset_ms: the constant cost of a network.
        half_widths: what the interval of a new prediction is made from: the t-quantile times the residual standard deviation in
            ms, the number of networks, the mean of their sums in ms and the sum of squared deviations from it; None without
            calibration networks.
    """

    scale: float = 1.0
    offset_ms: float = 0.0
    half_widths: tuple[float, int, float, float] | None = None

    def half_width_ms(self, sum_ms: float) -> float | None:
        """Half of the 95 % prediction interval for one new network of this sum of layers (linear regression, t-distribution)."""
        if self.half_widths is None:
            return None
        width, networks, mean, squares = self.half_widths
        return float(width * (1 + 1 / networks + (sum_ms - mean) ** 2 / squares) ** 0.5)


def fit_calibration(networks: Sequence[CalibrationNetwork]) -> Calibration:
    """Fits the line; without any network it is the identity and there is no interval.

    Raises:
        InputError: there are fewer than five networks, or all have the same sum.
    """
    if not networks:
        return Calibration()
    if len(networks) < FEWEST_NETWORKS:
        raise InputError(f"a calibration needs at least {FEWEST_NETWORKS} networks, not {len(networks)}")
    import numpy as np
    from scipy.stats import t
    from sklearn.linear_model import LinearRegression

    sums = np.array([network.sum_ms for network in networks])
    measured = np.array([network.measured_ms for network in networks])
    squares = float(((sums - sums.mean()) ** 2).sum())
    if squares == 0:
        raise InputError("the calibration networks all have the same sum of layers")
    line = LinearRegression().fit(sums[:, None], measured)
    residuals = measured - line.predict(sums[:, None])
    degrees = len(networks) - 2
    deviation = float((residuals @ residuals / degrees) ** 0.5)
    width = float(t.ppf((1 + CONFIDENCE) / 2, degrees)) * deviation
    return Calibration(float(line.coef_[0]), float(line.intercept_), (width, len(networks), float(sums.mean()), squares))


@dataclass(frozen=True)
class LayerLatency:
    """One place of a network: its position, choice (`fixed` where there is none), layer key and ms before calibration."""

    position: int
    choice: str
    key: str
    ms: float


@dataclass(frozen=True)
class Prediction:
    """The latency of a network.

    Attributes:
        total_ms: calibrated.
        low_ms, high_ms: the 95 % prediction interval; None without calibration.
        sum_ms: of the layers, before calibration.
        layers: what it is made of; a skipped layer has 0 ms.
    """

    total_ms: float
    low_ms: float | None
    high_ms: float | None
    sum_ms: float
    layers: tuple[LayerLatency, ...]


class RuntimeModel:
    """Predicts the latency of any architecture of a table's space.

    Args:
        table: with a row for each layer of the space.

    Attributes:
        table: as given.
        calibration: fitted on the table's calibration networks.

    Raises:
        MissingRowsError: layers without a row, all of them, with the command that measures them.
        InputError: the calibration networks do not make a calibration.
    """

    def __init__(self, table: LatencyTable) -> None:
        missing = table.missing_keys()
        if missing:
            conditions = table.conditions
            raise MissingRowsError(
                missing,
                where=f"table {table.name}",
                hint=f"measure them with: spnas profile --device {conditions.device} --space {table.space.name}"
                f" --threads {conditions.threads} --precision {conditions.precision} --delegate {conditions.delegate}",
            )
        self.table = table
        self.calibration = fit_calibration(table.calibration)

    @property
    def space(self) -> SearchSpace:
        """The space of the table."""
        return self.table.space

    @cached_property
    def fixed_ms(self) -> float:
        """The layers that every network of the space has, in ms before calibration."""
        if self.table.fixed is not None:
            return self.table.fixed.ms
        return sum(self._slot_ms(slot, "fixed") for slot in self.space.slots if not slot.is_searchable)

    @cached_property
    def costs(self) -> tuple[Mapping[str, float], ...]:
        """For each searchable place the ms of each choice before calibration; `skip` costs nothing."""
        return tuple({choice: self._slot_ms(slot, choice) for choice in slot.choices} for slot in self.space.searchable)

    def _slot_ms(self, slot: Slot, choice: str) -> float:
        return 0.0 if choice == SKIP.name else self.table.row(slot.layers[choice], slot.position).ms

    def calibrated(self, sum_ms: float) -> float:
        """R for a sum of layers, in ms."""
        return self.calibration.scale * sum_ms + self.calibration.offset_ms

    def predict(self, architecture: Architecture) -> Prediction:
        """The latency of an architecture.

        Raises:
            InputError: it belongs to another space.
        """
        if architecture.space.digest != self.space.digest:
            theirs, ours = architecture.space.name, self.space.name
            same_name = " (same name, other settings)" if theirs == ours else ""
            raise InputError(f"the architecture belongs to the space {theirs}, the table {self.table.name} to {ours}{same_name}")
        layers = []
        choices = iter(architecture.choices)
        for slot, layer in architecture.placed_layers():
            choice = next(choices) if slot.is_searchable else "fixed"
            if self.table.fixed is None or slot.is_searchable:
                layers.append(LayerLatency(slot.position, choice, layer.key if layer else SKIP.name, self._slot_ms(slot, choice)))
        if self.table.fixed is not None:
            layers.insert(0, LayerLatency(0, "fixed", "stem, fixed layers and head", self.table.fixed.ms))
        return self._prediction(sum(layer.ms for layer in layers), tuple(layers))

    def predict_network(self, network: NetworkSpec) -> Prediction:
        """The latency of layers that need not belong to a space.

        Raises:
            MissingRowsError: layers without a row, all of them.
        """
        missing = tuple(layer.key for layer in network.layers if layer.key not in self.table.rows)
        if missing:
            raise MissingRowsError(missing, where=f"table {self.table.name}")
        rows = [(layer, self.table.row(layer)) for layer in network.layers]
        layers = tuple(LayerLatency(index, "fixed", layer.key, row.ms) for index, (layer, row) in enumerate(rows))
        return self._prediction(sum(layer.ms for layer in layers), layers)

    def _prediction(self, sum_ms: float, layers: tuple[LayerLatency, ...]) -> Prediction:
        total, half = self.calibrated(sum_ms), self.calibration.half_width_ms(sum_ms)
        low, high = (None, None) if half is None else (max(0.0, total - half), total + half)
        return Prediction(total, low, high, sum_ms, layers)

    def extremes(self) -> tuple[Architecture, Architecture]:
        """The fastest and the slowest architecture of the space; additive, so each place decides for itself."""
        fastest = tuple(min(costs, key=lambda choice: costs[choice]) for costs in self.costs)
        slowest = tuple(max(costs, key=lambda choice: costs[choice]) for costs in self.costs)
        return Architecture(space=self.space, choices=fastest), Architecture(space=self.space, choices=slowest)

    def range_ms(self) -> tuple[float, float]:
        """The latencies of the fastest and the slowest architecture, in ms."""
        fastest, slowest = self.extremes()
        return self.predict(fastest).total_ms, self.predict(slowest).total_ms
