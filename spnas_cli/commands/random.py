"""`spnas random`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spnas_cli.options import db_option, json_option, table_option
from spnas_cli.output import note, print_json, print_table

if TYPE_CHECKING:
    from profiling.space import Architecture


@click.command()
@table_option
@click.option("--between", nargs=2, type=float, metavar="LOW HIGH", required=True, help="Range of predicted latency, in ms.")
@click.option("--networks", type=click.IntRange(1), default=10, show_default=True, help="How many networks to draw.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed for the draws; the same seed gives the same networks.")
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder for the architecture files.",
)
@db_option
@json_option
def random(
    table: str | None, between: tuple[float, float], networks: int, seed: int, folder: Path, db: Path, as_json: bool
) -> None:
    """Draw random networks within a range of predicted latency.

    They are the baseline that a search has to beat. Each network is drawn with its own random proportions of the choices, and
    drawn again if its latency is out of range, so the networks are as varied as the range allows. Each one is written as an
    architecture file, which spnas predict, train and compare take.

    \b
    Examples:
      spnas random --table pixel1 --between 75 80 --networks 10 -o baseline
      spnas random --table digits-host --between 0.19 0.21 --seed 1 -o more --json
    """
    from itertools import islice

    from latency_db.runtime_model import RuntimeModel
    from latency_db.sampling import networks_between
    from latency_db.table_files import load_table

    model = RuntimeModel(load_table(table, db))
    drawn = list(islice(networks_between(model, *between, seed), networks))
    files = _write(drawn, folder)
    latencies = [model.predict(architecture).total_ms for architecture in drawn]
    if as_json:
        rows = [
            {"file": str(file), "predicted_ms": ms, "choices": architecture.choices}
            for file, ms, architecture in zip(files, latencies, drawn, strict=True)
        ]
        print_json({"table": model.table.name, "seed": seed, "networks": rows})
        return
    shown = [
        (file.name, " ".join(architecture.choices), f"{ms:#.5g}")
        for file, ms, architecture in zip(files, latencies, drawn, strict=True)
    ]
    print_table(f"{len(drawn)} networks in {folder}", ("file", "choices", "predicted ms"), shown, left=2)
    note(f"\nNext: spnas predict {files[0]} --table {model.table.name}")


def _write(drawn: Sequence[Architecture], folder: Path) -> list[Path]:
    """Writes a file for each, or none at all if one of the files already exists."""
    from profiling.errors import InputError
    from profiling.files import write_text

    width = max(2, len(str(len(drawn))))
    files = [folder / f"random-{number:0{width}}.json" for number in range(1, len(drawn) + 1)]
    there = next((file for file in files if file.exists()), None)
    if there is not None:
        raise InputError("the file already exists and is not overwritten", where=str(there), hint="choose another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, architecture in zip(files, drawn, strict=True):
            write_text(file, architecture.to_json())
    except OSError as error:
        raise InputError(f"cannot write there: {error.strerror}", where=str(folder)) from error
    return files
