"""Two tables side by side, and two made one."""

import pytest

from latency_db.published import published_table
from latency_db.table import CalibrationNetwork, Row
from latency_db.table_compare import diff, merge
from profiling.errors import TableError


def with_rows(table, **changes):
    return table.model_copy(update=changes)


def test_diff_compares_row_by_row(table, conditions):
    keys = list(table.rows)
    rows = {**table.rows, keys[0]: Row(ms=0.15)}
    del rows[keys[1]]
    other = with_rows(table, rows=rows, fixed=Row(ms=2.0), conditions=conditions.model_copy(update={"threads": 4}))
    difference = diff(table, other)
    assert difference.same_space
    assert difference.conditions == {"threads": (1, 4)}
    found = {row.key: row for row in difference.rows}
    assert list(found) == [*keys, "fixed"]
    assert found[keys[0]].ratio == pytest.approx(1.5)
    assert (found[keys[1]].second_ms, found[keys[1]].ratio) == (None, None)
    assert found[keys[2]].ratio == 1
    assert (found["fixed"].first_ms, found["fixed"].second_ms) == (None, 2.0)


def test_merge_joins_halves_and_both_calibrations(table):
    keys = list(table.rows)
    halves = [{key: table.rows[key] for key in part} for part in (keys[:6], keys[5:])]
    networks = [CalibrationNetwork(key=name, sum_ms=1.0, measured_ms=1.1) for name in "ab"]
    merged = merge(
        with_rows(table, name="one", rows=halves[0], calibration=(networks[0],)),
        with_rows(table, name="two", rows=halves[1], calibration=(networks[1],)),
        name="both",
    )
    assert merged.rows == table.rows
    assert set(merged.calibration) == set(networks)
    assert merged.name == "both"
    merged.require_complete()


def test_merge_of_rows_that_differ_needs_a_word_and_keeps_rows_and_calibration_together(table):
    key = table.space.layers[3].key
    network = CalibrationNetwork(key="a", sum_ms=1.0, measured_ms=1.1)
    other = with_rows(table, rows={key: Row(ms=9.0)}, calibration=(network,))
    with pytest.raises(TableError, match=f"1 layers have different latencies.*{key}; choose which to keep: --prefer"):
        merge(table, other, name="both")
    first, second = (merge(table, other, name="both", prefer=side) for side in ("first", "second"))
    assert (first.rows, first.calibration) == (table.rows, ())
    assert (second.rows, second.calibration) == ({**table.rows, key: Row(ms=9.0)}, (network,))


def test_merge_refuses_other_conditions_and_spaces(table, conditions):
    foreign = with_rows(table, conditions=conditions.model_copy(update={"precision": "int8"}))
    with pytest.raises(TableError, match="precision is fp32 in one and int8 in the other"):
        merge(table, foreign, name="both")
    with pytest.raises(TableError, match="the space small, not to imagenet"):
        merge(table, published_table("pixel1"), name="both")
