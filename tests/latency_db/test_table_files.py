"""Tables as files and by name: nothing is lost, nothing bad is taken in."""

import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latency_db.published import published_table
from latency_db.store import Store
from latency_db.table import CalibrationNetwork, Row
from latency_db.table_files import load_table, read_table, to_csv, to_json, write_table
from profiling.errors import InputError, StoreError, TableError

milliseconds = st.floats(min_value=1e-9, max_value=1e6, exclude_max=True)
flags = st.none() | st.text(st.characters(exclude_categories=("C",)), min_size=1, max_size=20)
rows_strategy = st.builds(
    Row,
    ms=milliseconds,
    spread_ms=st.none() | st.floats(0, 1e6),
    visits=st.integers(1, 10**6),
    flag=flags,
    packed_bytes=st.none() | st.integers(0, 10**10),
)
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
        ("mbconv-r112-i16-o24-s2-k3-e3-x0,1,,1,", "not a layer of the space small"),
        ("{key}@1,1,,1,", "not a layer of the space small"),
        ("oops,1,,1,", "'oops' is not a layer"),
        (",1,,1,", "'' is not a layer"),
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


def test_a_table_is_found_by_file_by_name_and_as_the_only_one(tmp_path, table):
    database = tmp_path / "spnas.db"
    with Store(database) as store:
        store.save_table(table)
    write_table(table, tmp_path / "t.csv")
    assert load_table(str(tmp_path / "t.csv"), database) == table
    assert load_table("small-host", database) == load_table(None, database) == table
    assert load_table("pixel1", database).name == "pixel1"
    assert load_table("pixel1", tmp_path / "none.db").name == "pixel1"
    assert not (tmp_path / "none.db").exists()


def test_a_table_that_is_not_found_is_told_with_those_that_are(tmp_path, table):
    database = tmp_path / "spnas.db"
    with pytest.raises(TableError, match=r"no table was given.*no table; spnas profile makes one; pixel1, pixel3, raspi4 ship"):
        load_table(None, database)
    with Store(database) as store:
        store.save_table(table)
        store.save_table(table.model_copy(update={"name": "other"}))
    with pytest.raises(TableError, match=r"there is no table 'smal'.*holds other, small-host; pixel1, pixel3, raspi4 ship"):
        load_table("smal", database)
    with pytest.raises(TableError, match="no table was given"):
        load_table(None, database)
    with pytest.raises(InputError, match="No such file"):
        load_table("missing.json", database)
    database.write_text("not a database, and longer than the header of one, which is a hundred bytes " * 3)
    with pytest.raises(StoreError):
        load_table("small-host", database)


def test_finding_a_table_loads_neither_pandas_nor_numpy(tmp_path):
    script = (
        "import sys; from pathlib import Path; from latency_db.table_files import load_table; "
        "from latency_db.runtime_model import RuntimeModel; RuntimeModel(load_table('pixel1', Path('none.db'))).range_ms(); "
        "sys.exit(', '.join(m for m in ('numpy', 'pandas', 'sklearn', 'torch') if m in sys.modules) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"loaded {result.stderr}"
