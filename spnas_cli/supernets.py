"""What `spnas search --supernet` and `--from` do."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spnas_cli import showing
from spnas_cli.next_steps import HALFWAY, note_next
from spnas_cli.output import is_main_process, print_doubts, print_facts, print_json, print_table, printable

if TYPE_CHECKING:
    from latency_db.limits import Limits
    from latency_db.table import LatencyTable
    from latency_db.targets import Target
    from search.config import TrainingOptions
    from search.runs.run import SearchRun, TrainRun
    from search.runs.supernet import Wanted

FINETUNED = "finetuned"


def train(
    names: Sequence[str], tables: Sequence[LatencyTable], data: str, folder: Path, training: TrainingOptions, *, as_json: bool
) -> None:
    """Trains a supernet and says how accurate its largest and fastest network are; `names` of the tables, as they were typed."""
    result = showing.train_supernet(tables, data, folder, options=training)
    if not is_main_process():
        return
    if as_json:
        print_json(result.model_dump(mode="json"))
        return
    print_doubts(result.doubts)
    click.echo(f"Supernet for {', '.join(printable(table.name) for table in tables)}, in {printable(folder)}")
    print_facts(result.facts)
    named = [word for name in names[:1] for word in ("--table", name)]
    note_next(shlex.join(["spnas", "search", "--from", str(folder), *named, "--target-ms", HALFWAY, "-o", f"{folder}-network"]))


def wanted(tables: Sequence[LatencyTable], targets: Sequence[Target], folder: Path, limits: Limits) -> list[Wanted]:
    """Tables and targets in pairs, in the order given; a single one of either goes with all of the other.

    Each has a folder of its own in the one given, which is the only network's folder itself.
    """
    from search.runs.supernet import Wanted

    count = max(len(tables), len(targets))
    if {len(tables), len(targets)} - {1, count}:
        raise click.UsageError(
            f"{len(tables)} --table and {len(targets)} --target-ms make no pairs: give as many of both, or one of either"
        )
    pairs = list(zip(list(tables) * (count // len(tables)), list(targets) * (count // len(targets)), strict=True))
    if len({(table.name, str(target)) for table, target in pairs}) < count:
        raise click.UsageError("the same --table and --target-ms are given twice")
    if count == 1:
        return [Wanted(*pairs[0], folder, limits)]
    return [Wanted(table, target, folder / f"{table.name}-{_in_words(target)}", limits) for table, target in pairs]


def _in_words(target: Target) -> str:
    return f"{target:g}ms" if isinstance(target, float) else str(target).replace("%", "pct")


def cut_networks(
    source: Path, wanted: Sequence[Wanted], data: str | None, finetune: TrainingOptions | None, *, resume: bool, as_json: bool
) -> None:
    """Cuts networks out of a supernet, trains them further if asked to, and shows them."""
    runs = showing.networks_from(source, wanted, data=data, resume=resume)
    tuned: list[TrainRun | None] = [
        None if finetune is None else showing.train(run, data or run.config.data, run.folder.path / FINETUNED, options=finetune)
        for run in runs
    ]
    if as_json:
        print_json([_fields(run, after) for run, after in zip(runs, tuned, strict=True)])
        return
    for run in runs:
        print_doubts(run.result.doubts)
    rows = [
        [
            str(run.folder.path),
            run.config.table,
            f"{run.config.target_ms:.4g}",
            f"{run.predicted_ms:.4g}",
            f"{run.accuracy:.2%}",
            *([] if after is None else [f"{after.accuracy:.2%}"]),
        ]
        for run, after in zip(runs, tuned, strict=True)
    ]
    columns = ["folder", "table", "target ms", "predicted ms", "accuracy", *([] if finetune is None else ["after finetune"])]
    print_table(f"Networks of the supernet in {source}", columns, rows, left=2)
    best = runs[0].folder.path if finetune is None else runs[0].folder.path / FINETUNED
    note_next(shlex.join(["spnas", "export", str(best), "--to", "tflite", "--data", data or runs[0].config.data]))


def _fields(run: SearchRun, after: TrainRun | None) -> dict[str, object]:
    fields = {"folder": str(run.folder.path), "table": run.config.table, **run.result.model_dump(mode="json")}
    return fields | {"top1_after_finetune": None if after is None else after.accuracy}
