"""`spnas table`: work with latency tables, one function per subcommand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from spnas_cli.help import Group
from spnas_cli.options import complete_tables, db_option, json_option, table_argument
from spnas_cli.output import note, print_facts, print_json, print_table
from spnas_cli.outputs import force_option, require_output

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.text import Text

    from latency_db.store import Store
    from latency_db.table import LatencyTable, Row
    from profiling.layers import LayerSpec
    from profiling.places import Slot

# From the fastest to the slowest of a table's layers.
COLOURS = ("#1a9850", "#66bd63", "#a6d96a", "#fee08b", "#fdae61", "#f46d43", "#d73027")


@click.group(cls=Group)
def table() -> None:
    """List, show, compare, merge, import and export latency tables.

    TABLE is a name in the database, a .json or .csv file, or one that ships with spnas: pixel1, the Pixel 1 figures of the
    paper's authors; pixel3 and raspi4, a Pixel 3 and a Raspberry Pi 4 on the space fbnet, recovered from published sums. If you
    leave it out, the only table in the database is used. All latencies are in ms.

    \b
    Examples:
      spnas table list
      spnas table show pixel1
    """


@table.command("list")
@db_option
@json_option
def list_tables(db: Path, as_json: bool) -> None:
    """List the tables in the database and those that ship with spnas.

    \b
    Example:
      spnas table list --db spnas.db
    """
    from dataclasses import asdict

    from latency_db.published import published_names, published_table
    from latency_db.table_files import table_summaries

    stored = table_summaries(db)
    # A database may be older than a table of the same name that ships with spnas.
    names = set(published_names()) - {item.name for item in stored}
    rows = [asdict(item) for item in (*stored, *(published_table(name).summary for name in sorted(names)))]
    if as_json:
        print_json(rows)
        return
    columns = ("name", "space", "device", "precision", "threads", "rows", "calibration networks", "created")
    print_table("Latency tables", columns, [[str(value) for value in row.values()] for row in rows], left=4)


@table.command()
@table_argument
@db_option
@json_option
def show(name: str | None, db: Path, as_json: bool) -> None:
    """Show a table's latencies in ms, its noise and its conditions.

    There is one row for each place in the network, with the latency of every choice, coloured from fast to slow; several where
    channels are left to choose.

    \b
    Example:
      spnas table show pixel1
    """
    from latency_db.table_files import load_table
    from profiling.footprint import MB

    found = load_table(name, db)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    choices = [choice.name for choice in found.space.choices]
    columns = ("place", "input", "fixed", *choices, "spread")
    places = [_place(found, slot, layers, choices) for slot in found.space.slots for layers in slot.by_shape.values()]
    print_table(f"Latency table {found.name}, in ms", columns, places, left=2)
    flagged = [f"{key}: {row.flag}" for key, row in found.rows.items() if row.flag]
    packed = [row.packed_bytes for row in found.rows.values() if row.packed_bytes is not None]
    facts = [(field.replace("_", " "), value) for field, value in found.conditions.model_dump().items()]
    facts += [
        ("space", found.space.name),
        ("fixed layers", "one by one" if found.fixed is None else f"{found.fixed.ms:#.4g} ms together"),
        ("calibration", f"on {len(found.calibration)} networks" if found.calibration else "none"),
        *([("packed weights", f"up to {max(packed) / MB:.3g} MB a layer")] if packed else []),
        ("flagged (*)", "; ".join(flagged) or "none"),
        ("created", found.created_at),
        ("source", found.source),
    ]
    click.echo()
    print_facts(facts)


def _place(table: LatencyTable, slot: Slot, layers: Mapping[str, LayerSpec], choices: Sequence[str]) -> list[str | Text]:
    rows = {choice: _row_at(table, slot, layer) for choice, layer in layers.items()}
    everything = [row.ms for row in table.rows.values()]
    cells: dict[str, str | Text] = {
        choice: _cell(row, min(everything), max(everything)) if row else "?" for choice, row in rows.items()
    }
    if slot.can_skip:
        cells["skip"] = "0"
    if not slot.is_searchable and table.fixed is not None:
        cells["fixed"] = "in sum"
    spreads = [row.spread_ms / row.ms for row in rows.values() if row and row.spread_ms is not None]
    layer = next(iter(layers.values()))
    return [
        str(slot.position),
        f"{layer.resolution}² × {layer.in_channels}" + (f" → {layer.out_channels}" if slot.widths else ""),
        *(cells.get(name, "") for name in ("fixed", *choices)),
        f"±{max(spreads) * 100:.1f} %" if spreads else "",
    ]


def _row_at(table: LatencyTable, slot: Slot, layer: LayerSpec) -> Row | None:
    from profiling.errors import MissingRowsError

    try:
        return table.row(layer, slot.position)
    except MissingRowsError:
        return None


def _cell(row: Row, least_ms: float, most_ms: float) -> Text:
    """The ms, coloured on a logarithmic scale from the table's fastest to its slowest layer."""
    from math import log

    from rich.text import Text

    share = log(row.ms / least_ms) / log(most_ms / least_ms) if most_ms > least_ms else 0.0
    return Text(row.text, COLOURS[round(share * (len(COLOURS) - 1))])


@table.command()
@table_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    required=True,
    help="File to write; its suffix, .json or .csv, decides the format.",
)
@force_option
@db_option
def export(name: str | None, output: Path, force: bool, db: Path) -> None:
    """Write a table to a JSON or CSV file, without any loss.

    \b
    Example:
      spnas table export pixel1 -o pixel1.csv
    """
    from latency_db.table_files import ENDINGS, load_table, write_table

    require_output(output, ENDINGS, force=force)
    found = load_table(name, db)
    write_table(found, output)
    note(f"{output}: {len(found.rows)} rows of {found.name}")


@table.command("import")
@click.argument("file", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--name", metavar="NAME", help="Name of the table in the database. [default: the name in the file]")
@db_option
def import_table(file: Path, name: str | None, db: Path) -> None:
    """Import a JSON or CSV file into the database.

    Every row is checked first.

    \b
    Example:
      spnas table import phone.csv --name my-phone
    """
    from latency_db.table_files import read_table

    found = read_table(file)
    _save(found.model_copy(update={"name": name or found.name}), db)


@table.command()
@click.argument("first", metavar="FIRST_TABLE", shell_complete=complete_tables)
@click.argument("second", metavar="SECOND_TABLE", shell_complete=complete_tables)
@db_option
@json_option
def diff(first: str, second: str, db: Path, as_json: bool) -> None:
    """Compare two tables: each layer's latency, and the conditions.

    \b
    Example:
      spnas table diff imagenet-host pixel1
    """
    from statistics import median

    from latency_db import table_compare
    from latency_db.table_files import load_table

    one, other = load_table(first, db), load_table(second, db)
    difference = table_compare.diff(one, other)
    ratios = difference.ratios
    if as_json:
        rows = [
            {"key": row.key, "first_ms": row.first_ms, "second_ms": row.second_ms, "ratio": row.ratio} for row in difference.rows
        ]
        median_ratio = median(ratios) if ratios else None
        values = {"same_space": difference.same_space, "conditions": difference.conditions, "median_ratio": median_ratio}
        print_json({**values, "sums_ms": difference.sums_ms, "rows": rows})
        return
    cells = [
        (row.key, *("" if value is None else f"{value:.4f}" for value in (row.first_ms, row.second_ms, row.ratio)))
        for row in difference.rows
    ]
    print_table("Layers, in ms", ("layer", one.name, other.name, "ratio"), cells)
    conditions = [(name, f"{then}, {now}") for name, (then, now) in difference.conditions.items()]
    facts = [
        *conditions,
        ("space", "the same" if difference.same_space else f"{one.space.name}, {other.space.name}: different spaces"),
    ]
    if ratios:
        ours, theirs = difference.sums_ms
        facts.append(("sum of layers", f"{ours:.3f} ms, {theirs:.3f} ms: {(theirs / ours - 1) * 100:+.2f} %"))
        facts.append(("ratio", f"median {median(ratios):.4f}, from {min(ratios):.4f} to {max(ratios):.4f}, {len(ratios)} layers"))
    click.echo()
    print_facts(facts)


@table.command()
@click.argument("first", metavar="FIRST_TABLE", shell_complete=complete_tables)
@click.argument("second", metavar="SECOND_TABLE", shell_complete=complete_tables)
@click.option("--name", metavar="NAME", required=True, help="Name of the new table in the database.")
@click.option(
    "--prefer",
    type=click.Choice(["first", "second"]),
    help="Which table's latency to keep where the two differ. [default: refuse tables that differ]",
)
@db_option
def merge(first: str, second: str, name: str, prefer: Literal["first", "second"] | None, db: Path) -> None:
    """Merge two tables of the same space and the same conditions.

    \b
    Example:
      spnas table merge monday.json tuesday.json --name both --prefer second
    """
    from latency_db import table_compare
    from latency_db.table_files import load_table

    _save(table_compare.merge(load_table(first, db), load_table(second, db), name=name, prefer=prefer), db)


@table.command()
@click.argument("names", metavar="TABLE...", shell_complete=complete_tables, nargs=-1, required=True)
@db_option
def delete(names: tuple[str, ...], db: Path) -> None:
    """Delete tables from the database.

    Measurements are kept: spnas profile with the same settings makes a deleted table again without measuring.

    \b
    Example:
      spnas table delete imagenet-host
    """
    with _existing(db) as store:
        for name in names:
            measured = store.delete_table(name)
            note(f"{db}: table {name} deleted" + ("; its measurements are kept" if measured else ""))


@table.command()
@click.argument("name", metavar="TABLE", shell_complete=complete_tables)
@click.argument("new_name", metavar="NEW_NAME")
@db_option
def rename(name: str, new_name: str, db: Path) -> None:
    """Give a table in the database another name.

    Its validations stay with it. The name must be free.

    \b
    Example:
      spnas table rename imagenet-host pixel4-monday
    """
    with _existing(db) as store:
        store.rename_table(name, new_name)
    note(f"{db}: table {name} is now called {new_name}")


def _existing(db: Path) -> Store:
    """The database, opened to be changed; it is not made."""
    from latency_db.store import Store
    from profiling.errors import StoreError

    if not db.exists():
        raise StoreError("there is no such database", where=str(db), hint="give another file with --db")
    return Store(db)


def _save(table: LatencyTable, db: Path) -> None:
    from latency_db.store import Store

    with Store(db) as store:
        store.save_table(table)
    note(f"{db}: table {table.name} with {len(table.rows)} rows and {len(table.calibration)} calibration networks")
