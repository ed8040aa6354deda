"""`spnas compare`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spnas_cli.measuring import MeasuringOptions, measuring_options
from spnas_cli.options import MOST_CLASSES, MOST_PIXELS, MOST_WIDTH, Count, complete_tables, db_option, json_option
from spnas_cli.output import duration, note, print_facts, print_json, print_table, printable
from spnas_cli.runs import write_command

if TYPE_CHECKING:
    from latency_db.campaign import Outcome
    from latency_db.comparison import Comparison
    from search.run_folder import RunFolder


def _widths(context: click.Context, parameter: click.Parameter, text: str) -> tuple[float, ...]:
    try:
        widths = tuple(float(word) for word in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a list of factors such as 0.5,0.75,1.0") from None
    if not all(0 < width <= MOST_WIDTH for width in widths):
        raise click.BadParameter(f"factors must be above 0 and at most {MOST_WIDTH}")
    if len(set(widths)) < len(widths):
        raise click.BadParameter("a factor is given twice")
    return widths


def _accuracies(context: click.Context, parameter: click.Parameter, words: tuple[str, ...]) -> dict[str, float]:
    accuracies = {}
    for word in words:
        name, _, value = word.rpartition("=")
        try:
            accuracies[name] = float(value)
        except ValueError:
            raise click.BadParameter(f"{word!r} is not of the form NAME=0.7496") from None
        if not name or not 0 <= accuracies[name] <= 1:
            raise click.BadParameter(f"{word!r} is not of the form NAME=0.7496, with an accuracy from 0 to 1")
    return accuracies


@click.command()
@click.argument("networks", nargs=-1, metavar="[NETWORK]...")
@click.option(
    "--zoo",
    is_flag=True,
    help="Add all networks of the zoo: those of Table 1, mobilenet-v3-large, mobilenet-v4-conv-small, efficientnet-lite0.",
)
@click.option(
    "--table",
    metavar="TABLE",
    shell_complete=complete_tables,
    help="Latency table to predict from, as for spnas predict. [default: no predictions]",
)
@click.option("--device", "device_name", metavar="DEVICE", default="host", show_default=True, help="Device to measure on.")
@click.option(
    "--width",
    "widths",
    metavar="FACTOR[,FACTOR]...",
    default="1.0",
    show_default=True,
    callback=_widths,
    help="Width multipliers, such as 0.5,0.75,1.0,1.25; each network is measured at each of them.",
)
@click.option(
    "--resolution",
    type=Count(1, MOST_PIXELS),
    metavar="PIXELS",
    help="Input height and width of zoo networks and architectures. [default: the architecture's own; 224 for the zoo]",
)
@click.option(
    "--classes",
    type=Count(2, MOST_CLASSES),
    metavar="N",
    help="Classes of zoo networks and architectures. [default: those of the trained networks and .tflite files beside them; "
    "otherwise the architectures' own, and 1000 for the zoo alone]",
)
@click.option(
    "--top1",
    multiple=True,
    metavar="NAME=SHARE",
    callback=_accuracies,
    help="Known top-1 accuracy of a network, from 0 to 1; may be repeated.",
)
@click.option(
    "--published", is_flag=True, help="Show the paper's ImageNet top-1 for the networks of Table 1, marked as published."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Folder for compare.csv, compare.json, advantages.json and figures; spnas report can show it.",
)
@measuring_options(rounds=20)
@db_option
@json_option
def compare(
    networks: tuple[str, ...],
    zoo: bool,
    table: str | None,
    device_name: str,
    widths: tuple[float, ...],
    resolution: int | None,
    classes: int | None,
    top1: dict[str, float],
    published: bool,
    output: Path | None,
    measuring: MeasuringOptions,
    db: Path,
    as_json: bool,
) -> None:
    """Measure networks side by side, as in the paper's Table 1.

    NETWORK is a network of the zoo, an architecture file, the folder of a search or a training, its network.pt, or a .tflite
    file. Without a network, measures those of Table 1: mobilenet-v1, mobilenet-v2, mnasnet, proxylessnas-mobile, fbnet-b and
    single-path-nas. All networks are measured in the same shuffled rounds. Every measurement is saved: an interrupted command
    continues when you run it again, and a finished one shows the same figures; a different --seed measures again.

    Nine in ten measurements of a network lie between "low" and "high", in this run and in every earlier one under the same
    conditions in the database: clocks and caches vary most from run to run.

    Given the folders of trainings (spnas train) of found, random and uniform networks (spnas random), with several seeds of each,
    it also reports how much more accurate the found network is than the mean of the random ones and than the best uniform one,
    with a 95 % interval, and whether that is beyond chance. Roles are recognised by the names of the files and runs that spnas
    search and spnas random leave.

    \b
    Examples:
      spnas compare --device host --published -o table1
      spnas compare run/architecture.json mobilenet-v2 model.tflite --table imagenet-host
      spnas compare trained random-1 random-2 random-3 uniform-1 -o compared
      spnas compare single-path-nas mobilenet-v2 --width 0.5,0.75,1.0,1.25 -o figure8
    """
    from latency_db.comparison import require_comparable
    from latency_db.table_files import load_table
    from search.convnet.entrants import Scaling, arguments_with_zoo, read_entrants
    from search.report.comparison import write_comparison

    wanted = arguments_with_zoo(networks, whole=zoo)
    latency_table = None if table is None else load_table(table, db)
    space = None if latency_table is None else latency_table.space
    scaling = Scaling(widths, resolution, classes)
    entrants = read_entrants(wanted, scaling, top1=top1, published=published, space=space, say=note)
    require_comparable(entrants)
    note(f"{len(entrants)} networks, {measuring.rounds} rounds, on {device_name}")
    with _folder_of(output) as folder, measuring.bench(device_name, db) as bench:
        comparison = bench.compare(entrants, latency_table)
        if folder is not None:
            write_comparison(comparison, folder)
            write_command(folder)
    if as_json:
        print_json([row.to_json() for row in comparison.rows])
    else:
        _show(comparison, bench.outcome, output)


@contextmanager
def _folder_of(output: Path | None) -> Iterator[RunFolder | None]:
    """The folder for the comparison, while nobody else may write there; None where none is wanted."""
    from search.run_folder import RunFolder

    if output is None:
        yield None
        return
    folder = RunFolder(output)
    with folder.held():
        folder.prepare_comparison()
        yield folder


def _show(comparison: Comparison, outcome: Outcome, output: Path | None) -> None:
    from search.report.advantage import advantages
    from search.results import ComparedRow

    conditions = comparison.conditions
    rows = [row.to_json() for row in comparison.rows]
    cells = [ComparedRow.model_validate(row).cells for row in rows]
    print_table(f"Networks on {conditions.device}", list(cells[0]), [list(each.values()) for each in cells], left=2)
    better = advantages(rows)
    if better:
        click.echo()
        for advantage in better:
            click.echo(printable(advantage.words))
    remarks = [(row.name, row.note) for row in comparison.rows if row.note]
    remarks += [("top-1", source) for source in sorted({row.top1_from for row in comparison.rows if row.top1_from})]
    if remarks:
        click.echo()
        print_facts(remarks)
    click.echo()
    print_facts(
        [
            ("device", f"{conditions.product}, {conditions.threads} threads, {conditions.precision}, {conditions.delegate}"),
            ("measurements", f"{outcome.measured} made, {outcome.resumed} found from before, in {duration(outcome.wall_s)}"),
        ]
    )
    if output is not None:
        note(f"\n{output} contains compare.csv, compare.json, advantages.json and the figures.")
