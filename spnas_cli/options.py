"""Options that several commands share, and the types of numbers, so that one thing has one name, one help text and one range."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem
from typing_extensions import override

from latency_db.targets import Percent, Target
from profiling.errors import InputError, SpnasError
from profiling.outside import require_file_or_nothing
from spnas_cli.next_steps import DATABASE

F = TypeVar("F", bound=Callable[..., Any])

NUMBER = "N"
MOST_PIXELS, MOST_CLASSES, MOST_WIDTH = 65536, 10**6, 16
MOST_MS = 10**6
MOST_SECONDS = 10**6
MOST_MB = 10**6


class Count(click.IntRange):
    """A whole number within bounds, both of them included."""

    def __init__(self, least: int, most: int) -> None:
        super().__init__(least, most)

    @override
    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return NUMBER

    @override
    def _describe_range(self) -> str:
        return f"{self.min} to {self.max}"


class Number(click.FloatRange):
    """A finite number within bounds; `above` leaves out the lower one."""

    def __init__(self, least: float, most: float, *, above: bool = False) -> None:
        super().__init__(least, most, min_open=above)

    @override
    def _describe_range(self) -> str:
        return f"above {self.min:g}, at most {self.max:.15g}" if self.min_open else f"{self.min:g} to {self.max:.15g}"

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{number} is not in the range {self._describe_range()}.", param, ctx)
        return number


class Latency(Number):
    """A latency in ms, or a share of the range of a table such as `50%`; `latency_db.targets.in_ms` makes ms of either."""

    def __init__(self, *, above: bool = False) -> None:
        super().__init__(0, MOST_MS, above=above)

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Target:  # type: ignore[override]
        if not isinstance(value, str) or "%" not in value:
            return super().convert(value, param, ctx)
        try:
            return Percent.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Seed(click.types.IntParamType):
    """Any whole number of 64 bits, which is what PyTorch can start from."""

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        seed: int = super().convert(value, param, ctx)
        if not -(2**63) <= seed < 2**63:
            self.fail("a seed is a whole number of 64 bits", param, ctx)
        return seed

    @override
    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return NUMBER


class Database(click.Path):
    """A file that can be a database, or is not there yet."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False)

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        try:
            require_file_or_nothing(path)
        except InputError as error:
            self.fail(f"{path}: {error.problem}", param, ctx)
        return path


def complete_tables(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Tables whose names begin so, for the shell; files where there are none."""
    from latency_db.published import published_names
    from latency_db.table_files import table_summaries

    try:
        stored = [item.name for item in table_summaries(Path(ctx.params.get("db") or DATABASE))]
    except SpnasError:
        stored = []
    names = sorted({*stored, *published_names()})
    return [CompletionItem(name) for name in names if name.startswith(incomplete)] or [CompletionItem(incomplete, type="file")]


class Renamed(click.Option):
    """An option that scripts may still give by its former names; `--help` shows the new one."""

    def __init__(self, *args: Any, formerly: Sequence[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.formerly = tuple(formerly)

    @override
    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        names, self.opts = self.opts, [*self.opts, *self.formerly]
        super().add_to_parser(parser, ctx)
        self.opts = names


db_option = click.option(
    "--db",
    type=Database(),
    metavar="FILE",
    default=DATABASE,
    show_default=True,
    envvar="SPNAS_DB",
    show_envvar=True,
    help="Database file for measurements and tables.",
)

TABLE_HELP = (
    "Latency table: a name in the database, a .json or .csv file, or one that ships with spnas: `pixel1`, `pixel3`, "
    "`raspi4`. [default: the only one in the database]"
)
table_option = click.option("--table", metavar="TABLE", shell_complete=complete_tables, help=TABLE_HELP)
tables_option = click.option("--table", "tables", metavar="TABLE", multiple=True, shell_complete=complete_tables, help=TABLE_HELP)

table_argument = click.argument("name", metavar="[TABLE]", required=False, shell_complete=complete_tables)


def target_option(help_text: str, **settings: Any) -> Callable[[F], F]:
    """`--target-ms`, which means this; `settings` as for `click.option`."""
    return click.option(
        "--target-ms",
        type=Latency(above=True),
        metavar="MS|%",
        help=f"{help_text}. 50% is halfway from the table's fastest network to its slowest.",
        **settings,
    )


def limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--max-memory` and `--max-size`, for networks that are searched or drawn; the command takes them as `limits`."""

    @wraps(command)
    def with_limits(*, max_memory: float | None, max_size: float | None, **others: Any) -> Any:
        from latency_db.limits import Limits

        return command(limits=Limits(max_memory, max_size), **others)

    size = click.option(
        "--max-size",
        type=Number(0, MOST_MB, above=True),
        metavar="MB",
        help="Limit to the TFLite file of a network in the precision of the table, in MB of 10^6 bytes, without metadata and "
        "class names. [default: none]",
    )
    memory = click.option(
        "--max-memory",
        type=Number(0, MOST_MB, above=True),
        metavar="MB",
        help="Limit to the memory that TFLite plans for input and activations (its arena), in MB of 10^6 bytes. [default: none]",
    )
    return memory(size(with_limits))


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of words; docs/json.md lists the fields.")
