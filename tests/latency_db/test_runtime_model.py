"""The runtime model: sums, calibration, intervals, range."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import t as student

from latency_db.facts import prediction_facts
from latency_db.runtime_model import RuntimeModel, fit_calibration
from latency_db.table import CalibrationNetwork, LatencyTable, Row
from profiling.errors import MissingRowsError, TableError
from profiling.layers import Stem
from profiling.space import Architecture, SearchSpace, load_space


def networks(sums, measured, packed_mb=None) -> tuple[CalibrationNetwork, ...]:
    packed = [None] * len(sums) if packed_mb is None else [round(1e6 * mb) for mb in packed_mb]
    return tuple(
        CalibrationNetwork(key=f"network-{index}", sum_ms=float(x), measured_ms=float(y), packed_bytes=of_weights)
        for index, (x, y, of_weights) in enumerate(zip(sums, measured, packed, strict=True))
    )


def calibrated(table, sums, measured, packed_mb=None) -> LatencyTable:
    return table.model_copy(update={"calibration": networks(sums, measured, packed_mb)})


def packed(table) -> LatencyTable:
    """The table with weights that have nothing to do with the latency: 0.5, 1.5, 2.5, 0.5 MB and so on."""
    rows = {
        key: row.model_copy(update={"packed_bytes": 500_000 + 1_000_000 * (index % 3)})
        for index, (key, row) in enumerate(table.rows.items())
    }
    return table.model_copy(update={"rows": rows})


def test_eq10_is_the_sum_of_the_rows_and_a_skipped_layer_costs_nothing(table, architecture):
    prediction = RuntimeModel(table).predict(architecture)
    by_hand = sum(table.rows[layer.key].ms for layer in architecture.network.layers)
    assert prediction.total_ms == prediction.sum_ms == pytest.approx(by_hand)
    assert (prediction.interval_low_ms, prediction.interval_high_ms) == (None, None)
    assert [layer.choice for layer in prediction.layers] == ["fixed", "fixed", *architecture.choices, "fixed"]
    assert [layer.ms for layer in prediction.layers if layer.choice == "skip"] == [0, 0]


def test_costs_and_fixed_layers_are_what_search_needs_to_make_the_same_sum(table, architecture):
    model = RuntimeModel(table)
    total = model.fixed_ms + sum(costs[choice] for costs, choice in zip(model.costs, architecture.choices, strict=True))
    assert total == pytest.approx(model.predict(architecture).sum_ms)
    assert [list(costs) for costs in model.costs] == [list(slot.choices) for slot in table.space.searchable]


def test_fixed_layers_given_as_one_figure_take_the_place_of_their_rows(table, architecture):
    whole, together = RuntimeModel(table), RuntimeModel(table.model_copy(update={"fixed": Row(ms=50.0)}))
    difference = together.predict(architecture).sum_ms - whole.predict(architecture).sum_ms
    assert difference == pytest.approx(50.0 - whole.fixed_ms)


def test_a_network_without_places_is_predicted_from_the_same_rows(table, architecture):
    model = RuntimeModel(calibrated(table, range(1, 11), np.arange(1, 11) * 1.1 + 0.2))
    by_places, by_layers = model.predict(architecture), model.predict_network(architecture.network)
    assert by_layers.total_ms == pytest.approx(by_places.total_ms)
    assert by_layers.interval_low_ms == pytest.approx(by_places.interval_low_ms)
    with pytest.raises(MissingRowsError, match="stem-r224"):
        model.predict_network(type(architecture.network).of(Stem(224, 3, 32, 2, 3)))


def test_the_range_is_that_of_all_networks_tried_one_by_one(table):
    """1,600 networks, with rows that are not in the order of the choices."""
    keys = list(table.rows)
    table = table.model_copy(update={"rows": {key: Row(ms=1 + (7 * index) % 15) for index, key in enumerate(keys)}})
    model = RuntimeModel(table)
    totals = {
        choices: model.fixed_ms + sum(costs[choice] for costs, choice in zip(model.costs, choices, strict=True))
        for choices in product(*(slot.choices for slot in table.space.searchable))
    }
    assert len(totals) == 5**3 * 4 * 5
    assert model.range_ms() == pytest.approx((min(totals.values()), max(totals.values())))
    fastest, slowest = model.extremes()
    assert totals[fastest.choices] == pytest.approx(min(totals.values()))
    assert totals[slowest.choices] == pytest.approx(max(totals.values()))


def test_an_architecture_of_another_space_is_refused(table):
    with pytest.raises(TableError, match="the space small, not to imagenet"):
        RuntimeModel(table).predict(load_space("imagenet").uniform("3x3-3"))


def test_an_architecture_of_the_same_space_under_another_name_is_taken(table, architecture):
    renamed = SearchSpace.model_validate(table.space.model_dump() | {"name": "renamed"})
    model = RuntimeModel(table)
    assert model.predict(Architecture(space=renamed, choices=architecture.choices)) == model.predict(architecture)


# --- calibration ---


def test_calibration_finds_the_line_that_the_networks_lie_on(table, architecture):
    sums = np.linspace(1, 9, 12)
    model = RuntimeModel(calibrated(table, sums, 1.07 * sums + 0.3))
    assert (model.calibration.scale, model.calibration.offset_ms) == (pytest.approx(1.07), pytest.approx(0.3))
    assert model.calibration.left_out == ()
    prediction = model.predict(architecture)
    assert prediction.total_ms == pytest.approx(1.07 * prediction.sum_ms + 0.3)
    assert prediction.interval_high_ms - prediction.interval_low_ms < 1e-9


def test_without_calibration_networks_there_is_no_interval(table):
    calibration = fit_calibration(())
    assert (calibration.scale, calibration.offset_ms, calibration.interval) == (1.0, 0.0, None)


def test_the_interval_is_that_of_linear_regression():
    """Against the textbook's matrix form: t · s · √(1 + x₀ᵀ (XᵀX)⁻¹ x₀)."""
    generator = np.random.default_rng(4)
    x = generator.uniform(5, 11, 9)
    y = 1.06 * x + 0.05 + generator.normal(0, 0.05, 9)
    calibration = fit_calibration(networks(x, y))
    design = np.column_stack([np.ones(9), x])
    (offset, scale), [squares], *_ = np.linalg.lstsq(design, y)
    assert (calibration.scale, calibration.offset_ms) == (pytest.approx(scale), pytest.approx(offset))
    for sum_ms in (5.0, 8.0, 20.0):
        at = np.array([1.0, sum_ms])
        variance = squares / 7 * (1 + at @ np.linalg.inv(design.T @ design) @ at)
        assert calibration.interval.half_width_ms(sum_ms) == pytest.approx(student.ppf(0.975, 7) * variance**0.5)


@pytest.mark.parametrize(("count", "outlier"), [(6, False), (10, True), (20, False), (20, True)])
def test_95_of_100_new_networks_lie_within_the_interval(count, outlier):
    """By simulation: 300 calibrations, 20 new networks each, also where one calibration network was measured 40 % too slow."""
    generator = np.random.default_rng(11)
    inside = []
    for _ in range(300):
        x = generator.uniform(5, 11, count)
        y = 1.06 * x + 0.05 + generator.normal(0, 0.05, count)
        if outlier:
            y[generator.integers(count)] *= 1.4
        calibration = fit_calibration(networks(x, y))
        for sum_ms in generator.uniform(5, 11, 20):
            measured = 1.06 * sum_ms + 0.05 + generator.normal(0, 0.05)
            predicted = calibration.scale * sum_ms + calibration.offset_ms
            inside.append(abs(measured - predicted) <= calibration.interval.half_width_ms(sum_ms))
    assert np.mean(inside) == pytest.approx(0.95, abs=0.02)


def test_one_bad_network_does_not_spoil_the_calibration_and_is_named():
    """A line of least squares through all twenty would be off by more than 2 % on average."""
    generator = np.random.default_rng(5)
    x = np.linspace(5, 11, 20)
    y = 1.06 * x + generator.normal(0, 0.04, 20)
    y[17] *= 1.5
    calibration = fit_calibration(networks(x, y))
    assert calibration.left_out == ("network-17",)
    assert np.abs(calibration.scale * x + calibration.offset_ms - 1.06 * x).max() / 8 < 0.006
    plain = np.polyval(np.polyfit(x, y, 1), x)
    assert np.mean(np.abs(plain / (1.06 * x) - 1)) > 0.02


@pytest.mark.parametrize(
    ("sums", "measured", "words"),
    [
        ([1, 2, 3, 4], [1, 2, 3, 4], "at least 5 networks, not 4"),
        ([2] * 6, [1, 2, 3, 4, 5, 6], "all have the same sum"),
        ([1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1], "more layers take less time"),
    ],
)
def test_networks_that_make_no_calibration_are_refused(table, sums, measured, words):
    with pytest.raises(TableError, match=words):
        RuntimeModel(calibrated(table, sums, measured))


def test_a_calibration_that_makes_a_latency_negative_is_refused(table, space):
    model = RuntimeModel(calibrated(table, range(20, 30), np.arange(20, 30) * 5 - 99))
    with pytest.raises(TableError, match=r"gives -.* ms for a network whose layers take .* ms"):
        model.predict(space.uniform("3x3-3"))


# --- packed weights ---


def drawn(generator, count, noise=0.05, ms_per_mb=0.05):
    """Sums of layers, packed weights in MB, measured latencies: weights that the sums say only half of."""
    x = generator.uniform(5, 25, count)
    mb = x + generator.uniform(0, 20, count)
    return x, mb, 1.06 * x + ms_per_mb * mb - 0.4 + generator.normal(0, noise, count)


def test_weights_that_must_be_fetched_are_the_second_regressor(table, architecture):
    """Against numpy's least squares over both, and the textbook's interval of it."""
    x, mb, y = drawn(np.random.default_rng(2), 14)
    model = RuntimeModel(calibrated(packed(table), x, y, mb))
    line = model.calibration
    design = np.column_stack([np.ones(14), x, mb.round(6)])
    coefficients, [squares], *_ = np.linalg.lstsq(design, y)
    assert [line.offset_ms, line.scale, line.scale * line.packed_ms_per_mb] == pytest.approx(coefficients)
    prediction = model.predict(architecture)
    rows = [model.table.rows[layer.key] for layer in architecture.network.layers]
    at = np.array([1.0, sum(row.ms for row in rows), sum(row.packed_bytes for row in rows) / 1e6])
    assert prediction.total_ms == pytest.approx(at @ coefficients)
    assert prediction.packed_mb == pytest.approx(at[2])
    half = student.ppf(0.975, 11) * (squares / 11 * (1 + at @ np.linalg.inv(design.T @ design) @ at)) ** 0.5
    assert prediction.interval_high_ms - prediction.total_ms == pytest.approx(half)


def test_search_and_prediction_count_the_same_weights(table, architecture):
    x, mb, y = drawn(np.random.default_rng(2), 14)
    model = RuntimeModel(calibrated(packed(table), x, y, mb))
    total = model.fixed_ms + sum(costs[choice] for costs, choice in zip(model.costs, architecture.choices, strict=True))
    assert total == pytest.approx(model.predict(architecture).sum_ms)
    assert total > RuntimeModel(table).predict(architecture).sum_ms + 0.1
    prediction = model.predict(architecture)
    assert model.predict_network(architecture.network).total_ms == pytest.approx(prediction.total_ms)
    [(_, words), (_, line), *_] = prediction_facts(model, prediction)
    alone_ms = RuntimeModel(table).predict(architecture).sum_ms
    assert words.startswith(f"{total:.4f} ms, of which {total - alone_ms:.4f} ms for {prediction.packed_mb:.2f} MB")
    assert f"(sum + {model.calibration.packed_ms_per_mb:.4f} ms/MB · packed weights)" in line


def test_weights_count_only_where_every_row_and_enough_networks_tell_of_them(table):
    x, mb, y = drawn(np.random.default_rng(2), 14)
    whole = packed(table)
    key = next(iter(whole.rows))
    in_part = whole.model_copy(update={"rows": whole.rows | {key: table.rows[key]}})
    for each in (calibrated(whole, x[:9], y[:9], mb[:9]), calibrated(whole, x, y), calibrated(in_part, x, y, mb)):
        assert RuntimeModel(each).calibration == fit_calibration(networks(x[: len(each.calibration)], y[: len(each.calibration)]))
    in_step = fit_calibration(networks(x.round(6), y, 2 * x.round(6)))
    assert in_step.packed_ms_per_mb == 0, "weights that say the same as the sums cannot be told from them"


def test_weights_that_cost_nothing_are_taken_for_nothing_and_cost_no_accuracy():
    """By simulation: noise passes for a cost in the one of forty calibrations that a 95 % interval leaves it above zero."""
    generator = np.random.default_rng(3)
    taken, errors = [], {True: [], False: []}
    for _ in range(400):
        x, mb, y = drawn(generator, 20, ms_per_mb=0)
        new_x, new_mb, new_y = drawn(generator, 20, ms_per_mb=0)
        for known in (True, False):
            line = fit_calibration(networks(x, y, mb if known else None))
            errors[known].append(np.abs(line.scale * (new_x + line.packed_ms_per_mb * new_mb) + line.offset_ms - new_y).mean())
        taken.append(fit_calibration(networks(x, y, mb)).packed_ms_per_mb > 0)
    assert 0.005 < np.mean(taken) < 0.05
    assert np.mean(errors[True]) < 1.01 * np.mean(errors[False])


def test_95_of_100_new_networks_lie_within_the_interval_with_weights():
    generator = np.random.default_rng(11)
    inside, widths = [], []
    for _ in range(300):
        x, mb, y = drawn(generator, 20)
        line = fit_calibration(networks(x, y, mb))
        for new_x, new_mb, new_y in zip(*drawn(generator, 20), strict=True):
            sum_ms = new_x + line.packed_ms_per_mb * new_mb
            half = line.interval.half_width_ms(sum_ms, new_mb)
            inside.append(abs(line.scale * sum_ms + line.offset_ms - new_y) <= half)
            widths.append(half)
    assert np.mean(inside) == pytest.approx(0.95, abs=0.02)
    assert np.mean(widths) < 0.13, "without the weights, half of an interval is 0.6 ms"
