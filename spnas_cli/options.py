"""Options that several commands share, so that one thing has one name and one help text."""

from __future__ import annotations

from pathlib import Path

import click

db_option = click.option(
    "--db",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("spnas.db"),
    show_default=True,
    envvar="SPNAS_DB",
    show_envvar=True,
    help="Database file for measurements and tables.",
)

table_option = click.option(
    "--table",
    metavar="TABLE",
    help="Latency table: a name in the database, a .json or .csv file, or `pixel1`. [default: the only one in the database]",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
