"""`spnas profile`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spnas_cli.measuring import MeasuringOptions, measuring_options, on_each_device, outcome_facts
from spnas_cli.next_steps import db_words, note_next, search_command
from spnas_cli.options import MOST_CLASSES, MOST_PIXELS, MOST_WIDTH, Count, Number, db_option, json_option
from spnas_cli.output import duration, note, print_error, print_facts, print_json, shown_command, typed_words

if TYPE_CHECKING:
    from latency_db.campaign import Outcome
    from latency_db.table import LatencyTable
    from profiling.events import Watch

MOST_FLAGGED = 6  # that are named; on a noisy machine there are dozens


@click.command()
@click.option(
    "--device",
    "device_names",
    metavar="DEVICE",
    multiple=True,
    default=("host",),
    show_default=True,
    help="Device to measure on: host, a phone's serial number, HOST[:PORT], or ssh:USER@HOST for another Linux machine. Repeat "
    "it to measure on several at once.",
)
@click.option(
    "--space",
    "space_name",
    metavar="NAME|FILE",
    default="imagenet",
    show_default=True,
    help="Search space to measure, or its YAML file.",
)
@click.option(
    "--resolution", type=Count(1, MOST_PIXELS), metavar="PIXELS", help="Height and width of the input. [default: the space's]"
)
@click.option(
    "--width", type=Number(0, MOST_WIDTH, above=True), metavar="FACTOR", help="Width multiplier. [default: the space's]"
)
@click.option("--classes", type=Count(2, MOST_CLASSES), metavar="N", help="Outputs of the classifier. [default: the space's]")
@click.option(
    "--name", metavar="NAME", help="Name of the table. [default: SPACE-DEVICE, plus every setting that is not the default]"
)
@click.option(
    "--calibrate",
    type=Count(0, 10_000),
    metavar="N",
    default=20,
    show_default=True,
    help="Number of random whole networks to calibrate the runtime model on: 0, or at least 5.",
)
@click.option(
    "--sustained",
    is_flag=True,
    help="Also report how much slower the device is once it is warm, after 1 to 10 minutes of work without rest.",
)
@measuring_options(rounds=6)
@db_option
@json_option
def profile(
    device_names: tuple[str, ...],
    space_name: str,
    resolution: int | None,
    width: float | None,
    classes: int | None,
    name: str | None,
    calibrate: int,
    sustained: bool,
    measuring: MeasuringOptions,
    db: Path,
    as_json: bool,
) -> None:
    """Measure every layer of a search space into a latency table.

    Converts each distinct layer to TFLite once and measures it in several rounds, each time in a new process, together with
    some whole networks to calibrate the runtime model on. Every measurement is saved as soon as it is made: interrupt the
    command at any time and run it again to continue.

    \b
    Examples:
      spnas profile --device host --space digits --calibrate 10
      spnas profile --device host --space imagenet --precision int8 --threads 2
      spnas profile --device 8A2X0L1PQ --cores big --benchmark-tool ./benchmark_model
    """
    from dataclasses import asdict

    from latency_db.profile import require_enough
    from profiling.models.builder import TfliteBuilder
    from profiling.space import load_space

    if name is not None and len(device_names) > 1:
        raise click.BadParameter("works with a single --device only", param_hint="--name")
    require_enough(calibrate)
    space = load_space(space_name)
    size: dict[str, Any] = {"resolution": resolution, "width_multiplier": width, "classes": classes}
    layers = len(space.with_parameters(**size).layers)
    note(f"{layers} layers and {calibrate} networks of {space.name}, {measuring.rounds} rounds, on {', '.join(device_names)}")
    command = shown_command(typed_words() or ())

    def work(device_name: str, watch: Watch) -> tuple[str, LatencyTable, Outcome]:
        with measuring.bench(device_name, db, watch=watch, builder=builder) as bench:
            bench.source = command
            table = bench.profile(space, name=name, calibrate=calibrate, sustained=sustained, **size)
        return f"--device {shlex.quote(device_name)}{_tool_hint(measuring.benchmark_tool)}", table, bench.outcome

    with TfliteBuilder() as builder:
        profiled, errors = on_each_device(device_names, work)
    if as_json:
        summaries = [{"table": table.name, **asdict(outcome)} for _, table, outcome in profiled]
        print_json(summaries[0] if len(device_names) == 1 else summaries)
    else:
        for again, table, outcome in profiled:
            _show(table, outcome, db)
            _show_next(table, space.data, f"{space.name if len(profiled) == 1 else table.name}-run", again, db)
    for error in errors[1:]:
        print_error(error)
    if errors:
        raise errors[0]


def _show(table: LatencyTable, outcome: Outcome, db: Path) -> None:
    from latency_db.facts import table_facts
    from latency_db.runtime_model import RuntimeModel

    model = RuntimeModel(table)
    rows = [
        *table_facts(model),
        ("flagged", flagged(table, outcome.flagged, db)),
        ("measurements", f"{outcome.measured} made, {outcome.resumed} found from before"),
        *_sustained(outcome, *model.range_ms()),
        *outcome_facts(outcome),
    ]
    click.echo(f"Latency table {table.name} in {db}")
    print_facts(rows)


def _show_next(table: LatencyTable, data: str | None, run: str, again: str, db: Path) -> None:
    """The command that comes next; `data` is in the file of the space, and in no table."""
    validate = f"spnas validate --table {table.name} {again}{_db_hint(db)}"
    if data is None:
        note_next(validate)
        return
    note_next(search_command(table.name, data, run, db))
    note(f"How far the table can be trusted: {validate}")


def _sustained(outcome: Outcome, fastest_ms: float, slowest_ms: float) -> list[tuple[str, str]]:
    """The second figure where it was asked for: what the networks take on the warm device."""
    if (found := outcome.sustained) is None:
        return []
    when = f"after {duration(found.after_s)} of work" + ("" if found.settled else ", and still getting slower")
    networks = f"networks of the space {fastest_ms * found.factor:.3f} to {slowest_ms * found.factor:.3f} ms"
    return [("sustained", f"{found.factor:.2f} times as long {when}: {networks}")]


def flagged(table: LatencyTable, keys: Sequence[str], db: Path) -> str:
    """The first few models with doubtful figures, and what is wrong with these; networks have no row that says it.

    Args:
        table: of the figures; db: the database that it is in.
        keys: of the models.
    """
    named = [key if (row := table.rows.get(key)) is None else f"{key} ({row.flag})" for key in keys[:MOST_FLAGGED]]
    if more := len(keys) - len(named):
        named.append(f"and {more} more: spnas table show {shlex.quote(table.name)}{_db_hint(db)}")
    return ", ".join(named) or "none"


def _tool_hint(tool: str | None) -> str:
    return "" if tool is None else f" --benchmark-tool {tool}"


def _db_hint(db: Path) -> str:
    return "".join(f" {shlex.quote(word)}" for word in db_words(db))
