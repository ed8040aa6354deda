"""`spnas validate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from spnas_cli.measuring import MeasuringOptions, measuring_options, outcome_facts
from spnas_cli.options import Count, Number, Renamed, db_option, json_option, table_option
from spnas_cli.output import note, print_facts, print_json, print_table
from spnas_cli.outputs import force_option, require_output

if TYPE_CHECKING:
    from latency_db.campaign import Outcome
    from latency_db.validate import Validation

DRIFT_WORTH_A_WORD_PCT = 2.0
PAPER = "the paper reports RMSE 1.32 ms at about 80 ms, mean error 1.76 %"


@click.command()
@table_option
@click.option("--networks", type=Count(2, 10_000), default=100, show_default=True, help="Random networks to measure.")
@click.option(
    "--also",
    "others",
    cls=Renamed,
    formerly=["--architecture"],
    multiple=True,
    metavar="NETWORK",
    help="Also measure this network, named as for spnas predict; may be repeated. The error does not include it.",
)
@click.option(
    "--max-error",
    type=Number(0, 10**6),
    metavar="PERCENT",
    help="Fail (exit code 5) if the mean error with the stored calibration is above so many %.",
)
@click.option(
    "--figure",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="PNG file for the figure of predicted against measured latency. [default: validation-TABLE.png beside the database]",
)
@force_option
@click.option("--device", "device_name", metavar="DEVICE", help="Device to measure on. [default: the table's device]")
@measuring_options(rounds=8, seed=1)
@db_option
@json_option
def validate(
    table: str | None,
    networks: int,
    others: tuple[str, ...],
    max_error: float | None,
    figure: Path | None,
    force: bool,
    device_name: str | None,
    measuring: MeasuringOptions,
    db: Path,
    as_json: bool,
) -> None:
    """Measure random networks to check the runtime model.

    The seed draws the networks; none of them took part in the calibration. Threads, cores, precision and delegate must be those
    of the table. The noise floor is the measurements' own error; no model can beat it except by luck.

    Devices drift, so the calibration networks are measured again in the same rounds. The report gives the model's error with
    that fresh calibration, then the drift since profiling, and the error with the stored calibration.

    \b
    Examples:
      spnas validate --table imagenet-host --device host --networks 100
      spnas validate --table imagenet-host --networks 30 --max-error 2 --json
    """
    from dataclasses import asdict

    from latency_db.figures import draw_validation, is_validation
    from latency_db.table_files import load_table
    from profiling.errors import MeasurementError

    latency_table = load_table(table, db)
    own = db.parent / f"validation-{latency_table.name}.png"
    drawn = figure or own
    # A file of the default name was drawn here, perhaps by an earlier version, which did not mark it.
    require_output(drawn, [".png"], force=force or drawn == own, view=("figure of a validation", is_validation))
    on = device_name or latency_table.conditions.device
    note(f"{networks} random networks of {latency_table.space.name}, {measuring.rounds} rounds, on {on}")
    with measuring.bench(on, db) as bench:
        validation = bench.validate(latency_table, networks=networks, others=others)
    draw_validation(validation, latency_table, drawn)
    if as_json:
        drift = {"drift_pct": validation.drift_pct, "as_stored": asdict(validation.as_stored)}
        print_json(asdict(validation.report) | drift)
    else:
        _show(validation, bench.outcome, latency_table.name, drawn)
    error = validation.as_stored.mean_error_pct
    if max_error is not None and error > max_error:
        raise MeasurementError(
            f"the mean error with the stored calibration is {error:.2f} %, above the {max_error:g} % allowed",
            where=f"table {latency_table.name}",
            hint="profile again, or allow more with --max-error",
        )


def _show(validation: Validation, outcome: Outcome, name: str, figure: Path) -> None:
    report = validation.report
    rows = [
        *report.facts,
        *validation.drift_facts,
        ("measurements", f"{outcome.measured} made, {outcome.resumed} found from before"),
        *outcome_facts(outcome),
    ]
    click.echo(f"Runtime model of {name} on {report.networks} networks it has not seen")
    print_facts(rows)
    if validation.others:
        columns = ("network", "predicted ms", "95 % interval", "measured ms", "error")
        print_table(
            "\nOther networks, predicted with the stored calibration",
            columns,
            [
                (
                    other.name,
                    f"{other.prediction.total_ms:.3f}",
                    "none"
                    if other.prediction.interval_low_ms is None
                    else f"{other.prediction.interval_low_ms:.3f} to {other.prediction.interval_high_ms:.3f}",
                    f"{other.measured_ms:.3f}",
                    f"{(other.prediction.total_ms / other.measured_ms - 1) * 100:+.2f} %",
                )
                for other in validation.others
            ],
        )
    note(f"\n{figure} shows predicted against measured; {PAPER}.")
    drift = validation.drift_pct or 0.0
    if abs(drift) > DRIFT_WORTH_A_WORD_PCT:
        change, remedy = ("slower", ", or let it cool down") if drift > 0 else ("faster", "")
        note(f"The device is {abs(drift):.1f} % {change} than when the table was measured: profile again{remedy}.")
