"""The runtime model R: the sum of the layers' latencies (paper, Eq. 10), calibrated on whole networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from latency_db.limits import UNLIMITED, LimitedSpace, Limits
from profiling.errors import MissingRowsError, TableError
from profiling.footprint import MB
from profiling.network import NetworkSpec
from profiling.places import SKIP, Slot, State
from profiling.space import Architecture, SearchSpace

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from latency_db.table import CalibrationNetwork, LatencyTable, Row

CONFIDENCE = 0.95
FEWEST_NETWORKS = 5
# With fewer networks the usual distance from the line is too uncertain to call one an outlier, or to fit a third unknown.
ENOUGH_NETWORKS = 10
OUT_OF_LINE = 6.0
CALIBRATE_HINT = "measure them again: spnas profile --calibrate 20"


@dataclass(frozen=True)
class Interval:
    """What the prediction interval of a linear regression is made from.

    Attributes:
        width_ms: the t-quantile times the standard deviation of the residuals.
        networks: how many the regression is of.
        means: of their sums of layers in ms and, where it is one of the regressors, of their packed weights in MB.
        inverse: of the matrix of the sums of squares and products of deviations from these means.
    """

    width_ms: float
    networks: int
    means: tuple[float, ...]
    inverse: tuple[tuple[float, ...], ...]

    def half_width_ms(self, sum_ms: float, packed_mb: float = 0.0) -> float:
        """Half of the 95 % interval for one new network: the wider, the farther it is from those of the regression."""
        away = [value - mean for value, mean in zip((sum_ms, packed_mb), self.means, strict=False)]
        far = sum(
            one * share * other
            for one, row in zip(away, self.inverse, strict=True)
            for share, other in zip(row, away, strict=True)
        )
        return float(self.width_ms * (1 + 1 / self.networks + far) ** 0.5)

    @property
    def least_half_width_ms(self) -> float:
        """The same for a network in the middle of those of the regression."""
        return self.half_width_ms(*self.means)


@dataclass(frozen=True)
class Calibration:
    """The regression over the calibration networks: whole network = scale · (sum of layers + packed weights) + offset.

    A layer that runs alone, again and again, finds its weights in the caches. In a network every run fetches them anew, which
    takes a time in proportion to the memory that they are packed into.

    Attributes:
        scale: without a unit; isolated layers run with warm caches, so it is usually above 1.
        offset_ms: the constant cost of a network.
        packed_ms_per_mb: what fetching a MB of packed weights adds to the sum of layers, in ms; 0 where the networks do not show
            it.
        interval: None without calibration networks.
        left_out: keys of outliers, which the fit does not use.
    """

    scale: float = 1.0
    offset_ms: float = 0.0
    packed_ms_per_mb: float = 0.0
    interval: Interval | None = None
    left_out: tuple[str, ...] = ()

    def in_network_ms(self, row: Row) -> float:
        """What a layer adds to the sum of its network, in ms: its latency alone, and what its weights take to be fetched."""
        return row.ms + (self.packed_ms_per_mb * row.packed_bytes / MB if row.packed_bytes else 0.0)


def fit_calibration(networks: Sequence[CalibrationNetwork]) -> Calibration:
    """Fits scale and offset by least squares; without any network there is nothing to correct, and no interval.

    A single bad measurement would tilt a line of least squares, so networks that lie farther than six robust standard deviations
    from the line of Theil and Sen are left out first, where there are at least ten. Clean data lose almost nothing. With at least
    ten, the packed weights are the second regressor where they explain the networks beyond chance: where the 95 % interval of
    their share is above 0.

    Raises:
        TableError: there are one to four networks, all have the same sum, or the line does not rise.
    """
    if not networks:
        return Calibration()
    if len(networks) < FEWEST_NETWORKS:
        raise TableError(f"a calibration needs at least {FEWEST_NETWORKS} networks, not {len(networks)}", hint=CALIBRATE_HINT)
    import numpy as np

    from profiling.stats import spread

    sums = np.array([network.sum_ms for network in networks])
    measured = np.array([network.measured_ms for network in networks])
    if np.ptp(sums) == 0:
        raise TableError("the calibration networks all have the same sum of layers", hint=CALIBRATE_HINT)
    keep = np.ones(len(networks), dtype=bool)
    if len(networks) >= ENOUGH_NETWORKS:
        first, second = np.triu_indices(len(networks), 1)
        runs, rises = sums[second] - sums[first], measured[second] - measured[first]
        around = measured - np.median(rises[runs != 0] / runs[runs != 0]) * sums
        # Figures on a line to the last digit must not differ by rounding.
        usual = max(spread(around.tolist()), 1e-6 * float(np.median(measured)))
        keep = np.abs(around - np.median(around)) <= OUT_OF_LINE * usual
    x, y, per_mb = sums[keep], measured[keep], 0.0
    (scale,), offset_ms, interval = _regression(x[:, None], y)
    packed = [network.packed_bytes for network in networks]
    if len(networks) >= ENOUGH_NETWORKS and None not in packed:
        both = np.column_stack([x, np.array(packed, dtype=float)[keep] / MB])
        if np.linalg.matrix_rank(both - both.mean(axis=0)) == 2:
            (of_sum, of_mb), _, of_both = _regression(both, y)
            if of_sum > 0 and of_mb > of_both.width_ms * of_both.inverse[1][1] ** 0.5:
                # With the weights in the sum, the regression is the same, and what is left to them is nothing.
                per_mb = of_mb / of_sum
                both[:, 0] += per_mb * both[:, 1]
                (scale, _), offset_ms, interval = _regression(both, y)
    if scale <= 0:
        raise TableError("according to the calibration networks, more layers take less time", hint=CALIBRATE_HINT)
    left_out = tuple(network.key for network, kept in zip(networks, keep, strict=True) if not kept)
    return Calibration(scale, offset_ms, per_mb, interval, left_out)


def _regression(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> tuple[list[float], float, Interval]:
    """Least squares of (networks,) `y` on the columns of (networks, regressors) `x`: slopes, constant, interval."""
    import numpy as np

    from latency_db.student import two_sided_quantile

    means = x.mean(axis=0)
    inverse = np.linalg.inv((x - means).T @ (x - means))
    slopes = inverse @ (x - means).T @ (y - y.mean())
    constant = float(y.mean() - slopes @ means)
    residuals = y - (x @ slopes + constant)
    degrees = len(y) - x.shape[1] - 1
    width = two_sided_quantile(CONFIDENCE, degrees) * (residuals @ residuals / degrees) ** 0.5
    interval = Interval(float(width), len(y), tuple(means.tolist()), tuple(map(tuple, inverse.tolist())))
    return slopes.tolist(), constant, interval


@dataclass(frozen=True)
class LayerLatency:
    """One place of a network: its position, choice (`fixed` where there is none), layer key and ms in the sum of layers."""

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
        sum_ms: of the layers, before scale and offset, see `Calibration.in_network_ms`.
        packed_mb: memory for the packed weights of the layers, where the calibration knows what they cost, otherwise 0.
        layers: what it is made of; a skipped layer has 0 ms.
    """

    total_ms: float
    interval_low_ms: float | None
    interval_high_ms: float | None
    sum_ms: float
    packed_mb: float
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
        rows = [*table.rows.values(), *([table.fixed] if table.fixed else [])]
        known = all(row.packed_bytes is not None for row in rows)
        self.calibration = fit_calibration((table if known else table.without_packed_weights).calibration)

    @property
    def space(self) -> SearchSpace:
        """The space of the table."""
        return self.table.space

    @cached_property
    def fixed_ms(self) -> float:
        """The layers that every network of the space has, in ms before scale and offset."""
        if self.table.fixed is not None:
            return self.calibration.in_network_ms(self.table.fixed)
        return sum(self._step_ms(slot, name) for slot in self.space.slots if not slot.varies for name in slot.steps)

    @cached_property
    def costs(self) -> tuple[Mapping[str, float], ...]:
        """For each varying place the ms of each step before scale and offset; a skipped layer costs nothing."""
        return tuple({name: self._step_ms(slot, name) for name in slot.steps} for slot in self.space.varying)

    def _step_ms(self, slot: Slot, name: str) -> float:
        layer = slot.steps[name].layer
        return 0.0 if layer is None else self.calibration.in_network_ms(self.table.row(layer, slot.position))

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
        places: list[tuple[int, str, str, Row | None]] = []
        if self.table.fixed is not None:
            places.append((0, "fixed", "stem, fixed layers and head", self.table.fixed))
        for slot, name in self.space.way(architecture.choices):
            step = slot.steps[name]
            if self.table.fixed is not None and not slot.is_searchable:
                continue
            if step.layer is None:
                places.append((slot.position, step.choice_name, SKIP.name, None))
            else:
                places.append((slot.position, step.choice_name, step.layer.key, self.table.row(step.layer, slot.position)))
        return self._prediction(places)

    def predict_network(self, network: NetworkSpec) -> Prediction:
        """The latency of layers that need not belong to a space.

        Raises:
            MissingRowsError: layers without a row, all of them.
        """
        missing = tuple(layer.key for layer in network.layers if layer.key not in self.table.rows)
        if missing:
            raise MissingRowsError(missing, where=f"table {self.table.name}")
        return self._prediction(
            [(index, "fixed", layer.key, self.table.row(layer)) for index, layer in enumerate(network.layers)]
        )

    def _prediction(self, places: Sequence[tuple[int, str, str, Row | None]]) -> Prediction:
        """For places of these positions, choices, keys and rows; without a row nothing is there."""
        line = self.calibration
        layers = tuple(
            LayerLatency(position, choice, key, line.in_network_ms(row) if row else 0.0) for position, choice, key, row in places
        )
        sum_ms = sum(layer.ms for layer in layers)
        packed_mb = sum(row.packed_bytes or 0 for *_, row in places if row) / MB if line.packed_ms_per_mb else 0.0
        total, low, high = self.calibrated(sum_ms), None, None
        if line.interval is not None:
            half = line.interval.half_width_ms(sum_ms, packed_mb)
            low, high = max(0.0, total - half), total + half
        return Prediction(total, low, high, sum_ms, packed_mb, layers)

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
