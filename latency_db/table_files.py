"""Tables as files that people keep: JSON, or CSV for a spreadsheet; both hold everything and are validated when read."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from latency_db.published import published_names, published_table
from latency_db.store import Store
from latency_db.table import LatencyTable, TableSummary
from profiling.errors import InputError, TableError
from profiling.files import write_text
from profiling.specfile import MAX_BYTES, parse_spec, read_text
from profiling.syntax import MAX_DIGITS

ENDINGS = (".json", ".csv")
CSV_MARK = "# spnas latency table: "
CSV_COLUMNS = ("layer", "ms", "spread_ms", "visits", "flag", "packed_bytes")
NEEDED_COLUMNS = {"layer", "ms"}
WORDS = {"layer", "flag"}
MAX_ROWS = 50_000
MOST_NAMED = 10


def to_json(table: LatencyTable) -> str:
    """The text of a JSON file; latencies in ms."""
    return json.dumps(table.model_dump(mode="json"), indent=1) + "\n"


def to_csv(table: LatencyTable) -> str:
    """The text of a CSV file: one cell with all but the rows, as JSON, then the rows; latencies in ms.

    The first cell is quoted like any other, so that it survives being saved by a spreadsheet.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow([CSV_MARK + json.dumps(table.model_dump(mode="json", exclude={"rows"}))])
    tells_of_weights = any(row.packed_bytes is not None for row in table.rows.values())
    columns = [name for name in CSV_COLUMNS if name != "packed_bytes" or tells_of_weights]
    rows = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    rows.writeheader()
    rows.writerows({"layer": key, **row.model_dump()} for key, row in table.rows.items())
    return text.getvalue()


def write_table(table: LatencyTable, path: Path) -> None:
    """Writes a `.json` or `.csv` file.

    Raises:
        InputError: the name ends otherwise, or the file cannot be written; DiskFullError: there is no room.
    """
    forms = {".json": to_json, ".csv": to_csv}
    if path.suffix not in forms:
        raise InputError("the name of a table file ends in .json or .csv", where=str(path))
    write_text(path, forms[path.suffix](table))


def read_table(path: Path) -> LatencyTable:
    """A table from a `.json` or `.csv` file.

    Raises:
        InputError: the file cannot be read or does not hold a table in milliseconds; names the line.
    """
    text = read_text(path)
    if path.suffix == ".csv":
        text = _json_of_csv(text, str(path))
    table = parse_spec(text, LatencyTable, where=str(path), is_json=True)
    if "unit" not in table.model_fields_set:
        raise InputError("the file does not state its unit", where=str(path), hint='if it is milliseconds, add "unit": "ms"')
    return table


def _json_of_csv(text: str, where: str) -> str:
    """The table as JSON, each row on its line of the CSV file, so that one validation serves both and names the line."""
    csv.field_size_limit(MAX_BYTES)  # the first cell holds the calibration
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        head = "".join(next(reader, [])[:1])
        if not head.startswith(CSV_MARK):
            problem = f"the first cell must begin with {CSV_MARK!r} and hold the conditions, as `spnas table export` writes it"
            raise InputError(problem, where=f"{where}:1")
        columns = next(reader, [])
        if not NEEDED_COLUMNS <= set(columns) <= set(CSV_COLUMNS) or len(set(columns)) < len(columns):
            raise InputError(f"the columns must be {', '.join(CSV_COLUMNS)}; layer and ms are needed", where=f"{where}:2")
        rows: list[str] = []
        for cells in reader:
            if len(cells) != len(columns):
                raise InputError(f"{len(cells)} cells for {len(columns)} columns", where=f"{where}:{reader.line_num}")
            if len(rows) == MAX_ROWS:
                raise InputError(f"more than the {MAX_ROWS} rows that a table may have", where=f"{where}:{reader.line_num}")
            rows.append(_json_of_row(dict(zip(columns, cells, strict=True))))
    except csv.Error as error:
        raise InputError(f"not valid CSV: {error}", where=f"{where}:{reader.line_num}") from error
    return f'{head.removeprefix(CSV_MARK).rstrip().removesuffix("}")}, "rows": {{\n\n' + ",\n".join(rows) + "}}"


def _json_of_row(cells: dict[str, str]) -> str:
    row = {name: cell if name in WORDS else _number(cell) for name, cell in cells.items() if cell != "" and name != "layer"}
    return f"{json.dumps(cells['layer'])}: {json.dumps(row)}"


def _number(cell: str) -> Any:
    """The number in a cell; anything else is left for the validation to refuse."""
    try:
        return json.loads(cell) if len(cell) <= MAX_DIGITS else cell
    except ValueError:
        return cell


def load_table(name_or_file: str | os.PathLike[str] | None = None, db: str | os.PathLike[str] = "spnas.db") -> LatencyTable:
    """Loads a table from a file, by its name in a database, or from those that ship with spnas.

    Args:
        name_or_file: ends in `.json` or `.csv` if it is a file; None means the only table in the database.
        db: the database; it does not have to exist.

    Raises:
        TableError: there is no such table, or none was given and the database does not have exactly one; lists the tables.
        InputError: the file does not contain a table.
        StoreError: the database cannot be read.
    """
    name = None if name_or_file is None else os.fspath(name_or_file)
    if name is not None and Path(name).suffix in ENDINGS:
        return read_table(Path(name))
    names: list[str] = []
    # First: a database may be older than the table of this name that ships with spnas.
    if Path(db).exists():
        with Store(Path(db), read_only=True) as store:
            names = store.table_names()
            wanted = names[0] if name is None and len(names) == 1 else name
            table = None if wanted is None else store.table(wanted)
            if table is not None:
                return table
    if name in published_names():
        return published_table(name)
    problem = "no table was given" if name is None else f"there is no table {name!r}"
    raise TableError(problem, hint=f"{db} holds {_in_words(names, name)}; {', '.join(published_names())} ship with spnas")


def _in_words(names: Sequence[str], wanted: str | None) -> str:
    if not names:
        return "no table; spnas profile makes one"
    if len(names) <= MOST_NAMED:
        return ", ".join(names)
    some = get_close_matches(wanted or "", names) or names[:MOST_NAMED]
    return f"{len(names)} tables, among them {', '.join(some)} (spnas table list shows all)"


def table_summaries(database: Path) -> list[TableSummary]:
    """What a list shows of the tables of a database, by name; none where there is no database.

    Raises:
        StoreError: it cannot be read.
    """
    if not database.exists():
        return []
    with Store(database, read_only=True) as store:
        return store.table_summaries()
