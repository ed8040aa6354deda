"""The runtime model R: the sum of the layers' latencies (paper, Eq. 10), calibrated on whole networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from latency_db.limits import UNLIMITED, LimitedSpace, Limits
from profiling.errors import MissingRowsError, TableError
from profiling.network import NetworkSpec
from profiling.places import SKIP, Slot, State
from profiling.space import Architecture, SearchSpace

if TYPE_CHECKING:
    from latency_db.table import CalibrationNetwork, LatencyTable

CONFIDENCE = 0.95
FEWEST_NETWORKS = 5
# With fewer networks the usual distance from the line is too uncertain to call one of them an outlier.
FEWEST_TO_LEAVE_OUT_FROM = 10
OUT_OF_LINE = 6.0
CALIBRATE_HINT = "measure them again: spnas profile --calibrate 20"


@dataclass(frozen=True)
class Interval:
    """What the prediction interval of a linear regression is made from.

    Attributes:
        width_ms: the t-quantile times the standard deviation of the residuals.
        networks: how many the line was fitted on.
        mean_ms: of their sums of layers.
        squares: the sum of squared deviations from that mean, in ms².
    """

    width_ms: float
    networks: int
    mean_ms: float
    squares: float

    def half_width_ms(self, sum_ms: float) -> float:
        """Half of the 95 % interval for one new network of this sum of layers: the wider, the farther from those fitted."""
        return float(self.width_ms * (1 + 1 / self.networks + (sum_ms - self.mean_ms) ** 2 / self.squares) ** 0.5)


@dataclass(frozen=True)
class Calibration:
    """The line through the calibration networks: whole network = scale · sum of layers + offset.

    Attributes:
        scale: without a unit; isolated layers run with warm caches, so it is usually above 1.
        offset_ms: the constant cost of a network.
        interval: None without calibration networks.
        left_out: keys of outliers, which the fit does not use.
    """

    scale: float = 1.0
    offset_ms: float = 0.0
    interval: Interval | None = None
    left_out: tuple[str, ...] = ()

    def half_width_ms(self, sum_ms: float) -> float | None:
        """Half of the 95 % prediction interval for one new network of this sum of layers, None without calibration networks."""
        return None if self.interval is None else self.interval.half_width_ms(sum_ms)


def fit_calibration(networks: Sequence[CalibrationNetwork]) -> Calibration:
    """Fits the line by least squares; without any network it is the identity and there is no interval.

    A single bad measurement would tilt a line of least squares, so networks that lie farther than six robust standard deviations
    from the line of Theil and Sen are left out first, where there are at least ten. Clean data lose almost nothing.

    Raises:
        TableError: there are one to four networks, all have the same sum, or the line does not rise.
    """
    if not networks:
        return Calibration()
    if len(networks) < FEWEST_NETWORKS:
        raise TableError(f"a calibration needs at least {FEWEST_NETWORKS} networks, not {len(networks)}", hint=CALIBRATE_HINT)
    import numpy as np

    from latency_db.student import two_sided_quantile
    from profiling.stats import spread

    sums = np.array([network.sum_ms for network in networks])
    measured = np.array([network.measured_ms for network in networks])
    if np.ptp(sums) == 0:
        raise TableError("the calibration networks all have the same sum of layers", hint=CALIBRATE_HINT)
    keep = np.ones(len(networks), dtype=bool)
    if len(networks) >= FEWEST_TO_LEAVE_OUT_FROM:
        first, second = np.triu_indices(len(networks), 1)
        runs, rises = sums[second] - sums[first], measured[second] - measured[first]
        around = measured - np.median(rises[runs != 0] / runs[runs != 0]) * sums
        # Figures on a line to the last digit must not differ by rounding.
        usual = max(spread(around.tolist()), 1e-6 * float(np.median(measured)))
        keep = np.abs(around - np.median(around)) <= OUT_OF_LINE * usual
    x, y = sums[keep], measured[keep]
    squares = float(((x - x.mean()) ** 2).sum())
    scale = float((x - x.mean()) @ (y - y.mean())) / squares
    offset_ms = float(y.mean()) - scale * float(x.mean())
    if scale <= 0:
        raise TableError("according to the calibration networks, more layers take less time", hint=CALIBRATE_HINT)
    residuals = y - (scale * x + offset_ms)
    degrees = len(x) - 2
    width = two_sided_quantile(CONFIDENCE, degrees) * (residuals @ residuals / degrees) ** 0.5
    interval = Interval(float(width), len(x), float(x.mean()), squares)
    left_out = tuple(network.key for network, kept in zip(networks, keep, strict=True) if not kept)
    return Calibration(scale, offset_ms, interval, left_out)


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
        interval_low_ms, interval_high_ms: the 95 % prediction interval; None without calibration.
        sum_ms: of the layers, before calibration.
        layers: what it is made of; a skipped layer has 0 ms.
    """

    total_ms: float
    interval_low_ms: float | None
    interval_high_ms: float | None
    sum_ms: float
    layers: tuple[LayerLatency, ...]


class RuntimeModel:
    """Predicts the latency of any architecture of a table's space.

    Args:
        table: with a row for each layer of the space.
        limits: to what networks may need besides time, for those that choose networks by this model.

    Attributes:
        table: as given.
        limited: the networks of the space that keep to the limits.
        calibration: fitted on the table's calibration networks.

    Raises:
        MissingRowsError: layers without a row, all of them, with the command that measures them.
        TableError: the calibration networks do not make a calibration.
    """

    def __init__(self, table: LatencyTable, limits: Limits = UNLIMITED) -> None:
        table.require_complete()
        self.table = table
        self.limited = LimitedSpace(table.space, limits, table.conditions.precision)
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
        return sum(self._step_ms(slot, name) for slot in self.space.slots if not slot.varies for name in slot.steps)

    @cached_property
    def costs(self) -> tuple[Mapping[str, float], ...]:
        """For each varying place the ms of each step before calibration; a skipped layer costs nothing."""
        return tuple({name: self._step_ms(slot, name) for name in slot.steps} for slot in self.space.varying)

    def _step_ms(self, slot: Slot, name: str) -> float:
        layer = slot.steps[name].layer
        return 0.0 if layer is None else self.table.row(layer, slot.position).ms

    def calibrated(self, sum_ms: float) -> float:
        """R for a sum of layers, in ms.

        Raises:
            TableError: the calibration makes it zero or less, so it does not reach down to so small a network.
        """
        total_ms = self.calibration.scale * sum_ms + self.calibration.offset_ms
        if total_ms <= 0:
            raise TableError(
                f"its calibration gives {total_ms:.4g} ms for a network whose layers take {sum_ms:.4g} ms", hint=CALIBRATE_HINT
            )
        return total_ms

    def predict(self, architecture: Architecture) -> Prediction:
        """The latency of an architecture.

        Raises:
            TableError: it belongs to another space than the table.
        """
        self.table.require_space(architecture.space)
        layers = []
        for slot, name in self.space.way(architecture.choices):
            step = slot.steps[name]
            if self.table.fixed is None or slot.is_searchable:
                key = step.layer.key if step.layer else SKIP.name
                layers.append(LayerLatency(slot.position, step.choice_name, key, self._step_ms(slot, name)))
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
        """The fastest and the slowest architecture of the space, exactly."""
        return self._least(1), self._least(-1)

    def _least(self, sign: int, resolution: int | None = None) -> Architecture:
        """The architecture of the least latency times this sign, by the best way to each state in turn."""
        costs = iter(self.costs)
        best: dict[State, tuple[float, tuple[str, ...]]] = {self.space.slots[0].before[0]: (0.0, ())}
        for slot in self.space.slots:
            reached: dict[State, tuple[float, tuple[str, ...]]] = {}
            layer = next(costs) if slot.varies else dict.fromkeys(slot.steps, 0.0)
            for name, step in slot.steps.items():
                if step.before not in best or (resolution and step.choice and step.choice.resolution not in (0, resolution)):
                    continue
                ms, choices = best[step.before]
                ms += sign * layer[name]
                if step.after not in reached or ms < reached[step.after][0]:
                    reached[step.after] = ms, choices if step.choice is None else (*choices, step.choice.name)
            best = reached
        [(_, choices)] = best.values()
        return Architecture(space=self.space, choices=choices)

    def range_ms(self, resolution: int | None = None) -> tuple[float, float]:
        """The latencies of the fastest and the slowest architecture, in ms; of one resolution (pixels), or of all."""
        fastest, slowest = self._least(1, resolution), self._least(-1, resolution)
        return self.predict(fastest).total_ms, self.predict(slowest).total_ms
