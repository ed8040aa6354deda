"""`spnas report`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spnas_cli.options import complete_tables, db_option
from spnas_cli.output import note, printable
from spnas_cli.outputs import force_option, require_output

if TYPE_CHECKING:
    from latency_db.table import LatencyTable
    from latency_db.validate import Validation
    from search.report.sections import RunSection, TableSection

    Sections = tuple[list[TableSection], list[RunSection]]
    State = set[tuple[str, object, int]]

# How often a watched run is looked at, and how often a browser loads the page.
LOOK_S = 2.0
REFRESH_S = 5


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
@click.option("--title", metavar="TITLE", help="Heading of the page. [default: Latency tables, searches and networks]")
@click.option(
    "--watch",
    is_flag=True,
    help="Write the page again whenever something changed, and have the browser reload it, until every run is finished or Ctrl-C "
    "is pressed.",
)
@force_option
@db_option
def report(
    folders: tuple[Path, ...], table_names: tuple[str, ...], output: Path, title: str | None, watch: bool, force: bool, db: Path
) -> None:
    """Put tables, validations and runs on one web page.

    RUN is a folder that spnas search, train or compare wrote (their -o); one that still runs or was interrupted is shown as far
    as it is. A table is shown with its latest validation, if the database has one. The page begins with a summary, is a single
    file that opens in any browser and loads nothing from the network.

    \b
    Examples:
      spnas report run -o report.html
      spnas report run trained compared --title "Birds on the Pixel 8"
      spnas report run --watch
      spnas report --table pixel1 -o pixel1.html
    """
    if not folders and not table_names:
        raise click.UsageError("give the folder of a run, or a --table")
    from profiling.files import write_text
    from search.report.page import TITLE, Heading, render

    require_output(output, [".html", ".htm"], force=force, view=("report", _is_report))

    def write(*, following: bool) -> Sections:
        tables, runs = _read(folders, table_names, db)
        refresh_s = REFRESH_S if following and any(run.is_live for run in runs) else None
        write_text(output, render(tables, runs, Heading(_now(), printable(title or TITLE), refresh_s)))
        return tables, runs

    seen = _state(folders, db, output)
    tables, runs = write(following=watch)
    if watch and any(run.is_live for run in runs):
        note(f"{output} follows {', '.join(run.name for run in runs if run.is_live)}; Ctrl-C ends this.")
        tables, runs = _follow(lambda: _state(folders, db, output), seen, write)
    click.echo(str(output))
    counted = " and ".join(
        f"{len(some)} {what}{'s' * (len(some) != 1)}" for some, what in ((runs, "run"), (tables, "table")) if some
    )
    note(f"{counted}, {output.stat().st_size / 1e6:.1f} MB; open it in any browser.")


def _follow(state: Callable[[], State], seen: State, write: Callable[..., Sections]) -> Sections:
    """Writes the page again whenever the state is another, until every run is finished or Ctrl-C is pressed."""
    try:
        while True:
            time.sleep(LOOK_S)
            if (now := state()) != seen:
                seen, shown = now, write(following=True)
                if not any(run.is_live for run in shown[1]):
                    return shown
    except KeyboardInterrupt:
        return write(following=False)


def _state(folders: Sequence[Path], db: Path, output: Path) -> State:
    """Something that changes with all that the page is made from; to find out costs next to nothing."""
    from search.run_folder import RunFolder

    found: State = {(str(folder), RunFolder(folder).holder, 0) for folder in folders}
    files = {db, *(file for folder in folders if folder.is_dir() for file in folder.iterdir())}
    for file in (each for each in files if each.absolute() != output.absolute()):
        with suppress(OSError):  # gone, or a link in a circle
            status = file.stat()
            found.add((str(file), status.st_mtime_ns, status.st_size))
    return found


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _read(folders: Sequence[Path], table_names: Sequence[str], db: Path) -> Sections:
    from latency_db.table_files import load_table
    from search.report.sections import describe_table, read_runs

    runs = read_runs(folders)
    named = [load_table(name, db) for name in table_names]
    kept = [run.table for run in runs if run.table is not None]
    tables = {(table.name, table.created_at): table for table in (*named, *kept)}.values()
    return [describe_table(table, _latest_validation(table, db), runs) for table in tables], runs


def _is_report(file: Path) -> bool:
    from search.report.page import MARK

    with file.open("rb") as content:
        start = content.read(500)
    return MARK.encode() in start or b"<title>spnas report</title>" in start


def _latest_validation(table: LatencyTable, db: Path) -> Validation | None:
    from latency_db.store import Store
    from latency_db.validate import latest_validation

    if not db.exists():
        return None
    with Store(db, read_only=True) as store:
        return latest_validation(table, store)
