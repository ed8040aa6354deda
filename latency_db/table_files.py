"""Tables as files that people keep: JSON, or CSV for a spreadsheet; both hold everything and are validated when read."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

import pandas as pd

from latency_db.store import Store
from latency_db.table import LatencyTable
from profiling.errors import InputError, TableError
from profiling.specfile import parse_spec, read_spec

CSV_MARK = "# spnas latency table, ms: "
CSV_COLUMNS = ["layer", "ms", "spread_ms", "visits", "flag"]


def to_csv(table: LatencyTable) -> str:
    """The text of a CSV file: a first line with all but the rows, as JSON, then one line per row; latencies in ms."""
    head = table.model_dump_json(exclude={"rows"})
    rows = pd.DataFrame([{"layer": key, **row.model_dump()} for key, row in table.rows.items()], columns=CSV_COLUMNS)
    return CSV_MARK + head + "\n" + rows.to_csv(index=False, lineterminator="\n")


def read_table(path: Path) -> LatencyTable:
    """A table from a `.json` or `.csv` file.

    Raises:
        InputError: the file cannot be read or does not hold a table; names the line.
    """
    return _read_csv(path) if path.suffix == ".csv" else read_spec(path, LatencyTable)


def _read_csv(path: Path) -> LatencyTable:
    try:
        head, _, body = path.read_text(encoding="utf-8-sig").partition("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", where=str(path)) from error
    if not head.startswith(CSV_MARK):
        raise InputError(f"the first line must begin with {CSV_MARK!r}, as `spnas table export` writes it", where=f"{path}:1")
    try:
        content = json.loads(head.removeprefix(CSV_MARK))
        rows = pd.read_csv(io.StringIO(body), dtype={"layer": str, "flag": str})
    except (json.JSONDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"is not a table: {error}".splitlines()[0], where=str(path)) from error
    if list(rows.columns) != CSV_COLUMNS:
        raise InputError(f"the columns must be {', '.join(CSV_COLUMNS)}", where=f"{path}:2")
    twice = rows.index[rows["layer"].duplicated()]
    if len(twice):
        raise InputError(f"the layer {rows['layer'][twice[0]]} has a second row", where=f"{path}:{twice[0] + 3}")
    for name in ("ms", "spread_ms", "visits"):
        numbers = pd.to_numeric(rows[name], errors="coerce")
        wrong = rows.index[numbers.isna() & (rows[name].notna() | (name != "spread_ms"))]
        if len(wrong):
            raise InputError(f"{name} must be a number, not {rows[name][wrong[0]]!r}", where=f"{path}:{wrong[0] + 3}")
    records = rows.astype(object).where(rows.notna(), None).to_dict("records")
    # One row a line, so that the line of an error is the line of the file: the first two hold the head and the column names.
    lines = [json.dumps({str(record.pop("layer")): record})[1:-1] for record in records]
    content["rows"] = {}
    text = json.dumps(content)
    assert text.endswith('"rows": {}}')
    return parse_spec(text.removesuffix("}}") + "\n\n" + ",\n".join(lines) + "}}", LatencyTable, where=str(path), is_json=True)


def published_names() -> list[str]:
    """Names of the tables that ship with spnas."""
    return sorted(Path(entry.name).stem for entry in resources.files("latency_db").joinpath("published").iterdir())


def published_table(name: str) -> LatencyTable:
    """A table that ships with spnas."""
    file = resources.files("latency_db").joinpath("published", f"{name}.json")
    return parse_spec(file.read_text(encoding="utf-8"), LatencyTable, where=file.name, is_json=True)


def find_table(name_or_file: str | None, database: Path) -> LatencyTable:
    """A table by the file it is in, by its name in the database, or by the name under which it ships with spnas.

    Args:
        name_or_file: None stands for the only table of the database.
        database: need not exist.

    Raises:
        TableError: there is no such table, or none was named and there are several; says which there are.
    """
    if name_or_file is not None and Path(name_or_file).suffix in (".json", ".csv"):
        return read_table(Path(name_or_file))
    stored: Iterable[LatencyTable] = ()
    if database.exists():
        with Store(database) as store:
            stored = store.tables()
    tables = {table.name: table for table in stored}
    if name_or_file is None and len(tables) == 1:
        return next(iter(tables.values()))
    if name_or_file in tables:
        return tables[name_or_file]
    if name_or_file in published_names():
        return published_table(name_or_file)
    there_are = f"tables in {database}: {', '.join(tables) or 'none'}; shipped: {', '.join(published_names())}"
    if name_or_file is None:
        raise TableError("name a table with --table", hint=there_are)
    raise TableError(f"there is no table {name_or_file}", hint=there_are)


def merge(first: LatencyTable, second: LatencyTable) -> LatencyTable:
    """One table with the rows of both; where both have a row, that of `first` stays, and so does its calibration.

    Raises:
        TableError: they belong to different spaces or conditions; names the first difference.
    """
    if first.space.digest != second.space.digest:
        raise TableError(f"the spaces differ: {first.space.name} and {second.space.name}", where=f"{first.name}, {second.name}")
    for name, (mine, theirs) in first.conditions.differences(second.conditions).items():
        raise TableError(
            f"the conditions differ: {name} is {mine} in one and {theirs} in the other", where=f"{first.name}, {second.name}"
        )
    return first.model_copy(
        update={
            "rows": second.rows | first.rows,
            "fixed": first.fixed or second.fixed,
            "calibration": first.calibration or second.calibration,
            "source": f"{first.source}; merged with {second.source}",
        }
    )
