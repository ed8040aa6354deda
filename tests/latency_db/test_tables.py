"""Latency tables: what is accepted, how they travel, how they are found, compared and merged."""

import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latency_db.published import published_table
from latency_db.runtime_model import RuntimeModel
from latency_db.store import Store
from latency_db.table import CalibrationNetwork, LatencyTable, Row
from latency_db.table_compare import diff, merge
from latency_db.table_files import find_table, read_table, to_csv, to_json, write_table
from profiling.errors import InputError, MissingRowsError, StoreError, TableError
from profiling.layers import MBConv, Stem
from profiling.space import SearchSpace, load_architecture, load_space

# --- the published table ---


@pytest.mark.parametrize(("choice", "sum_ms"), [("3x3-3", 65.6914), ("3x3-6", 110.6524), ("5x5-3", 76.3622), ("5x5-6", 131.4578)])
def test_pixel1_gives_the_sums_that_were_worked_out_from_the_authors_file(choice, sum_ms):
    model = RuntimeModel(published_table("pixel1"))
    assert model.predict(model.space.uniform(choice)).total_ms == pytest.approx(sum_ms, abs=1e-4)


def test_pixel1_gives_the_network_of_the_paper():
    """Figure 5; the phone itself took 79.48 ms."""
    prediction = RuntimeModel(published_table("pixel1")).predict(load_architecture("single-path-nas"))
    assert prediction.total_ms == pytest.approx(80.4411, abs=1e-4)
    assert (prediction.low_ms, prediction.high_ms) == (None, None)
    assert next(layer.ms for layer in prediction.layers if layer.choice == "skip") == 0


def test_pixel1_is_for_the_space_that_ships():
    published_table("pixel1").require_space(load_space("imagenet"))
    published_table("pixel1").require_complete()


# --- rows ---


def test_a_row_for_one_place_comes_before_the_row_of_the_layer(space, table):
    """Places 3 and 4 of the space hold the same layers."""
    layer = space.slots[3].layers["3x3-3"]
    assert layer == space.slots[4].layers["3x3-3"]
    rows = {**table.rows, f"{layer.key}@4": Row(ms=7.0)}
    told_apart = LatencyTable.model_validate({**dict(table), "rows": rows})
    assert told_apart.row(layer, 4).ms == 7.0
    assert told_apart.row(layer, 3) == told_apart.row(layer) == table.rows[layer.key]


def test_a_missing_row_is_never_guessed(space, table):
    with pytest.raises(MissingRowsError) as caught:
        table.row(Stem(224, 3, 32, 2, 3))
    assert caught.value.keys == ("stem-r224-i3-o32-s2-k3",)


def test_all_missing_rows_are_listed_with_the_command_that_measures_them(space, table, conditions):
    gone = [space.layers[1].key, space.layers[4].key, space.layers[-1].key]
    rows = {key: row for key, row in table.rows.items() if key not in gone}
    other = conditions.model_copy(update={"device": "my phone", "threads": 4, "precision": "int8", "cores": "f0"})
    holed = table.model_copy(update={"rows": rows, "conditions": other})
    with pytest.raises(MissingRowsError) as caught:
        RuntimeModel(holed)
    assert list(caught.value.keys) == gone
    assert caught.value.hint.endswith(
        "spnas profile --device 'my phone' --space small.yaml --threads 4 --cores f0 --precision int8 --delegate xnnpack"
    )


def test_the_command_names_the_parameters_of_a_space_that_ships(conditions):
    for changes, words in (
        ({}, "--space imagenet --threads"),
        ({"resolution": 192, "width_multiplier": 0.5}, "--space imagenet --resolution 192 --width 0.5 --threads"),
    ):
        space = load_space("imagenet").with_parameters(**changes)
        empty = LatencyTable(name="t", space=space, conditions=conditions, rows={}, created_at="2025", source="a test")
        with pytest.raises(MissingRowsError, match=words):
            empty.require_complete()


def test_another_space_is_named_with_its_first_difference(space, table):
    table.require_space(SearchSpace.model_validate(space.model_dump() | {"name": "renamed"}))
    with pytest.raises(TableError, match="the space small, not to imagenet: resolution is 16 there and 224 here"):
        table.require_space(load_space("imagenet"))
    wider = SearchSpace.model_validate(space.model_dump() | {"stages": space.stages[:-1]})
    with pytest.raises(TableError, match="their stages differ"):
        table.require_space(wider)


def test_other_conditions_are_named_all(table, conditions):
    table.require_conditions(conditions)
    with pytest.raises(TableError, match="device was host and is Pixel 4; precision was fp32 and is int8"):
        table.require_conditions(conditions.model_copy(update={"device": "Pixel 4", "precision": "int8"}))


# --- files ---

milliseconds = st.floats(min_value=1e-9, max_value=1e6, exclude_max=True)
flags = st.none() | st.text(st.characters(exclude_categories=("C",)), min_size=1, max_size=20)
rows_strategy = st.builds(Row, ms=milliseconds, spread_ms=st.none() | st.floats(0, 1e6), visits=st.integers(1, 10**6), flag=flags)
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)


@pytest.mark.parametrize("ending", [".json", ".csv"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_table_comes_back_from_a_file_as_it_was(tmp_path, table, ending, data):
    """To the last digit, whatever stands in flags, names and sources."""
    keys = data.draw(st.sets(st.sampled_from([*table.rows, f"{table.space.layers[2].key}@2"])))
    networks = st.builds(CalibrationNetwork, key=texts, sum_ms=milliseconds, measured_ms=milliseconds)
    written = table.model_copy(
        update={
            "rows": {key: data.draw(rows_strategy) for key in sorted(keys)},
            "fixed": data.draw(st.none() | rows_strategy),
            "calibration": tuple(data.draw(st.lists(networks, max_size=3))),
            "conditions": table.conditions.model_copy(update={"os_build": data.draw(texts)}),
            "source": data.draw(texts),
        }
    )
    path = tmp_path / f"table{ending}"
    write_table(written, path)
    assert read_table(path) == written


def test_the_published_table_comes_back_from_both_forms(tmp_path):
    pixel1 = published_table("pixel1")
    for name in ("t.json", "t.csv"):
        write_table(pixel1, tmp_path / name)
        assert read_table(tmp_path / name) == pixel1


def test_a_spreadsheet_may_pad_the_first_line_and_leave_columns_out(tmp_path, table):
    first, *rest = to_csv(table).splitlines()
    cells = [line.split(",")[:2] for line in rest]
    path = tmp_path / "saved.csv"
    path.write_text("\ufeff" + "\r\n".join([f"{first},", *(",".join(line) for line in cells)]) + "\r\n", encoding="utf-8")
    assert {key: row.ms for key, row in read_table(path).rows.items()} == {key: row.ms for key, row in table.rows.items()}


FIRST_ROW = 3


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ("{key},-4,,1,", "greater than 0"),
        ("{key},0,,1,", "greater than 0"),
        ("{key},NaN,,1,", "finite number"),
        ("{key},Infinity,,1,", "finite number"),
        ("{key},1e400,,1,", "finite number"),
        ("{key},2500000,,1,", "less than 1000000"),
        ("{key},4.5 ms,,1,", "valid number, not '4.5 ms'"),
        ("{key},true,,1,", "valid number"),
        ("{key},,,1,", "ms is missing"),
        ("{key},1,-1,1,", "greater than or equal to 0"),
        ("{key},1,,0,", "greater than or equal to 1"),
        ("{key},1,,1.5,", "valid integer"),
        ("mbconv-r112-i16-o24-s2-k3-e3-x0,1,,1,", "no layer of the space small"),
        ("{key}@1,1,,1,", "no layer of the space small"),
        ("oops,1,,1,", "'oops' is no layer"),
        (",1,,1,", "'' is no layer"),
        ("{last},1,,1,", "is given twice"),
    ],
)
def test_a_bad_row_is_refused_with_its_line(tmp_path, table, cells, words):
    """The same in CSV and JSON: each row of the CSV file stands on a line of its own."""
    lines = to_csv(table).splitlines()
    key, last = table.space.layers[2].key, table.space.layers[-1].key
    lines[FIRST_ROW + 1] = cells.format(key=key, last=last)
    path = tmp_path / "bad.csv"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=words) as caught:
        read_table(path)
    # Of two rows for one layer the second is the one too many.
    assert caught.value.where == f"{path}:{len(lines) if 'twice' in words else FIRST_ROW + 2}"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"unit": "ms",', "", "does not state its unit"),
        ('"unit": "ms"', '"unit": "us"', "unit: input should be 'ms'"),
        ('"ms": 0.1,', '"us": 0.1,', r"unknown field .*us"),
        ('"threads": 1', '"threads": 0', "greater than or equal to 1"),
        ('"precision": "fp32"', '"precision": "fp64"', "'fp32', 'fp16' or 'int8'"),
        ('"name": "small-host"', '"name": "../up"', "name: string should match"),
        ('"rows": {', 'rows": {', "not valid JSON"),
    ],
)
def test_a_bad_json_file_is_refused_with_its_line(tmp_path, table, old, new, words):
    path = tmp_path / "bad.json"
    text = to_json(table)
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=words) as caught:
        read_table(path)
    line = text[: text.index(old)].count("\n") + 1
    named = caught.value.where
    assert named == str(path) if "unit" in words and not new else named.startswith(f"{path}:{line}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "first cell must begin"),
        ("layer,ms\nx,1\n", "first cell must begin"),
        ('"# spnas latency table: {}', "not valid CSV: unexpected end of data"),
        ('"# spnas latency table: {}"\nlayer,us\nx,1\n', "columns must be layer, ms"),
        ('"# spnas latency table: {}"\nlayer,ms,ms\nx,1,1\n', "columns must be layer, ms"),
        ('"# spnas latency table: {}"\nlayer,ms\n\n', "3: 0 cells for 2 columns"),
        ('"# spnas latency table: {}"\nlayer,ms\nx,1\n', "not valid JSON|is missing"),
        ('"# spnas latency table: {}"\nlayer,ms\nx,1,2,3\n', "3: 4 cells for 2 columns"),
    ],
)
def test_a_csv_file_that_is_none_of_ours_is_refused(tmp_path, text, words):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        read_table(path)


# --- finding ---


def test_a_table_is_found_by_file_by_name_and_as_the_only_one(tmp_path, table):
    database = tmp_path / "spnas.db"
    with Store(database) as store:
        store.save_table(table)
    write_table(table, tmp_path / "t.csv")
    assert find_table(str(tmp_path / "t.csv"), database) == table
    assert find_table("small-host", database) == find_table(None, database) == table
    assert find_table("pixel1", database).name == "pixel1"
    assert find_table("pixel1", tmp_path / "none.db").name == "pixel1"
    assert not (tmp_path / "none.db").exists()


def test_a_table_that_is_not_found_is_told_with_those_that_are(tmp_path, table):
    database = tmp_path / "spnas.db"
    with pytest.raises(TableError, match=r"no table was named.*no table; spnas profile makes one; pixel1 ships with spnas"):
        find_table(None, database)
    with Store(database) as store:
        store.save_table(table)
        store.save_table(table.model_copy(update={"name": "other"}))
    with pytest.raises(TableError, match=r"there is no table 'smal'.*spnas.db holds other, small-host; pixel1 ships"):
        find_table("smal", database)
    with pytest.raises(TableError, match="no table was named"):
        find_table(None, database)
    with pytest.raises(InputError, match="No such file"):
        find_table("missing.json", database)
    database.write_text("not a database, and longer than the header of one, which is a hundred bytes " * 3)
    with pytest.raises(StoreError):
        find_table("small-host", database)


def test_finding_a_table_loads_neither_pandas_nor_numpy(tmp_path):
    script = (
        "import sys; from pathlib import Path; from latency_db.table_files import find_table; "
        "from latency_db.runtime_model import RuntimeModel; RuntimeModel(find_table('pixel1', Path('none.db'))).range_ms(); "
        "sys.exit(', '.join(m for m in ('numpy', 'pandas', 'sklearn', 'torch') if m in sys.modules) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"loaded {result.stderr}"


# --- two tables ---


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
    with pytest.raises(TableError, match=f"1 layers have different latencies.*{key}; say whose stay: --prefer"):
        merge(table, other, name="both")
    first, second = (merge(table, other, name="both", prefer=side) for side in ("first", "second"))
    assert (first.rows, first.calibration) == (table.rows, ())
    assert (second.rows, second.calibration) == ({**table.rows, key: Row(ms=9.0)}, (network,))


def test_merge_refuses_other_conditions_and_spaces(table, conditions):
    foreign = with_rows(table, conditions=conditions.model_copy(update={"precision": "int8"}))
    with pytest.raises(TableError, match="precision is fp32 and int8"):
        merge(table, foreign, name="both")
    with pytest.raises(TableError, match="the space small, not to imagenet"):
        merge(table, published_table("pixel1"), name="both")


def test_rows_must_be_of_the_space(table):
    with pytest.raises(ValueError, match="no layer of the space small"):
        LatencyTable.model_validate({**dict(table), "rows": {MBConv(112, 16, 24, 2, 3, 6, False).key: Row(ms=1.0)}})
