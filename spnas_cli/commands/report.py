"""`spnas report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from spnas_cli.options import complete_tables, db_option
from spnas_cli.output import note
from spnas_cli.outputs import force_option, require_output

if TYPE_CHECKING:
    from latency_db.table import LatencyTable
    from latency_db.validate import Validation


@click.command()
@click.argument("folders", metavar="[RUN]...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--table",
    "table_names",
    metavar="TABLE",
    shell_complete=complete_tables,
    multiple=True,
    help="Latency table to show: a name in the database, a .json or .csv file, or one that ships with spnas; may be repeated. "
    "[default: the tables in the folders of the searches]",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    default=Path("report.html"),
    show_default=True,
    help="File to write, .html; an earlier report is replaced.",
)
@force_option
@db_option
def report(folders: tuple[Path, ...], table_names: tuple[str, ...], output: Path, force: bool, db: Path) -> None:
    """Put tables, validations and runs on one web page.

    RUN is a folder that spnas search, train or compare wrote (their -o). A table is shown with its latest validation, if the
    database has one. The page is a single file that opens in any browser and loads nothing from the network.

    \b
    Examples:
      spnas report run -o report.html
      spnas report --table pixel1 -o pixel1.html
    """
    if not folders and not table_names:
        raise click.UsageError("give the folder of a run, or a --table")
    from datetime import UTC, datetime

    from latency_db.table_files import load_table
    from profiling.files import write_text
    from search.report.page import describe_table, read_run, render
    from search.run_folder import RunFolder

    require_output(output, [".html", ".htm"], force=force, view=("report", _is_report))
    run_folders = [RunFolder(folder) for folder in folders]
    runs = [read_run(folder) for folder in run_folders]
    named = [load_table(name, db) for name in table_names]
    kept = [table for folder in run_folders if (table := folder.read_table()) is not None]
    tables = {(table.name, table.created_at): table for table in (*named, *kept)}.values()
    sections = [describe_table(table, _latest_validation(table, db)) for table in tables]
    page = render(sections, runs, made_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))
    write_text(output, page)
    click.echo(str(output))
    note(f"{len(sections)} tables and {len(runs)} runs, {output.stat().st_size / 1e6:.1f} MB; open it in any browser.")


def _is_report(file: Path) -> bool:
    with file.open("rb") as content:
        return b"<title>spnas report</title>" in content.read(500)


def _latest_validation(table: LatencyTable, db: Path) -> Validation | None:
    from latency_db.store import Store
    from latency_db.validate import latest_validation

    if not db.exists():
        return None
    with Store(db, read_only=True) as store:
        return latest_validation(table, store)
