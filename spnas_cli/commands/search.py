"""`spnas search`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spnas_cli.options import db_option, json_option, table_option
from spnas_cli.output import is_main_process, note, print_facts, print_json
from spnas_cli.runs import (
    data_option,
    explore_options,
    explore_space,
    folder_option,
    prepare_folder,
    showing_progress,
    stopping_between_steps,
    training_options,
    write_config,
    write_result,
)

if TYPE_CHECKING:
    from latency_db.runtime_model import RuntimeModel
    from search.config import SearchConfig, Tracker
    from search.finding.explore import Way
    from search.finding.search import Found
    from search.images.data import Data


@click.command()
@table_option
@data_option
@click.option("--target-ms", type=click.FloatRange(0, min_open=True), metavar="MS", help="Latency to end at, in ms.")
@click.option(
    "--runtime-weight", type=click.FloatRange(0), metavar="λ", help="Fixed weight of the runtime term, as in the paper (Eq. 9)."
)
@folder_option
@click.option("--space", metavar="NAME|FILE", help="Make sure that the table is for this search space. [default: the table's]")
@training_options(epochs="8, more on small data", learning_rate="0.016")
@explore_options
@db_option
@json_option
def search(
    table: str | None,
    data_name: str,
    target_ms: float | None,
    runtime_weight: float | None,
    folder: Path,
    space: str | None,
    epochs: int | None,
    batch_size: int | None,
    accumulate: int,
    learning_rate: float | None,
    seed: int,
    workers: int,
    mixed_precision: str,
    track: Tracker | None,
    resume: bool,
    explore: Way | None,
    explore_networks: int,
    db: Path,
    as_json: bool,
) -> None:
    """Train the supernet against a latency table and find the network that meets a latency.

    Weights and decisions are learned together in one run. With --target-ms the weight of the runtime term follows the distance
    to the target, and the network found is at most so slow; with --runtime-weight it is fixed, as in the paper. The folder of the
    run holds the architecture, its weights, the settings, the metrics, a checkpoint and the figures; candidates.csv ranks the
    other networks near the target that the search came by.

    --explore scores many networks of the space with the trained supernet's weights and draws the front of accuracy against
    milliseconds (front.csv, front.png, front/); with --resume on a finished run too, without training again.

    \b
    Examples:
      spnas search --table digits-host --data digits --target-ms 0.24 -o run
      spnas search --table pixel1 --data path/to/imagenet --target-ms 80 --workers 8 --mixed-precision bf16 -o run
      spnas search --table digits-host --data digits --target-ms 0.24 --resume --explore evolution -o run
    """
    if (target_ms is None) == (runtime_weight is None):
        raise click.UsageError("give either --target-ms or --runtime-weight")
    from latency_db.runtime_model import RuntimeModel
    from latency_db.table_files import find_table
    from profiling.errors import InputError
    from profiling.space import load_space
    from search import processes
    from search.config import SearchConfig, sensible_schedule
    from search.finding.search import check_target, table_digest
    from search.images.data import load_data

    if explore is not None and processes.state().num_processes > 1:
        raise InputError(
            "one process explores",
            where="--explore",
            hint="search without it, then give the same command with it and --resume, alone",
        )
    latency_table = find_table(table, db)
    if space is not None:
        latency_table.require_space(load_space(space))
    model = RuntimeModel(latency_table)
    if target_ms is not None:
        check_target(model, target_ms)
    data = processes.one_first(lambda: load_data(data_name, model.space, seed))
    sensible_batch, sensible_epochs = sensible_schedule(data.train_images, batch_size)
    given: dict[str, Any] = {"learning_rate": learning_rate}
    config = SearchConfig(
        table=latency_table.name,
        space_digest=model.space.digest,
        table_digest=table_digest(latency_table),
        data=data_name,
        target_ms=target_ms,
        runtime_weight=runtime_weight,
        epochs=epochs or sensible_epochs,
        batch_size=sensible_batch,
        accumulate=accumulate,
        seed=seed,
        workers=workers,
        precision=mixed_precision,
        track=track,
        **{name: value for name, value in given.items() if value is not None},
    )
    processes.from_main(lambda: prepare_folder(folder, resume))
    if len(data.classes) != model.space.classes:
        have, head = len(data.classes), model.space.classes
        note(f"The data has {have} classes, the table a head of {head}: the network gets {have}, its ms are those of {head}.")
    found = _train(model, data, config, folder)
    result = {
        "architecture": list(found.architecture.choices),
        "predicted_ms": found.predicted_ms,
        "target_ms": config.target_ms,
        "accuracy": found.accuracy,
    }
    if is_main_process():
        _leave(found, model, config, data.classes, folder)
        write_result(folder, result)
    if explore is not None:
        explore_space(explore, explore_networks, found, model, data, config, folder)
    if not is_main_process():
        return
    if as_json:
        print_json(result)
    else:
        _show(found, config, folder)


def _train(model: RuntimeModel, data: Data, config: SearchConfig, folder: Path) -> Found:
    from search import processes
    from search.finding.collapse import CollapseWatch
    from search.finding.search import Search, SearchStep

    run = Search(model, data, config, folder)
    processes.from_main(lambda: write_config(config, folder))
    aim = f"λ = {config.runtime_weight:g}" if config.target_ms is None else f"{config.target_ms:g} ms"
    note(
        f"{data.train_images} training and {data.held_out_images} held-out images in {len(data.classes)} classes; "
        f"{run.steps} steps of {config.batch_size}, aiming at {aim}" + (f"; from step {run.resumed_at}" if run.resumed_at else "")
    )
    watch = CollapseWatch(model, config.target_ms, run.deciding_steps)
    with showing_progress("search", run.resumed_at) as show, stopping_between_steps() as stop:

        def on_step(step: SearchStep) -> None:
            terms = f"CE {step.cross_entropy:.3f}, R {step.runtime_ms:.4g} ms, λ {step.runtime_weight:.3f}"
            show(step.step, step.steps, f"{step.phase}: {terms}, {_brief(step.choices)}")
            collapse = watch.look(step.choices, step.runtime_ms) if step.phase == "search" else None
            if collapse is not None:
                note(collapse)

        return run.run(on_step, stop)


def _brief(choices: tuple[str, ...]) -> str:
    """How often each choice is taken, e.g. `3 5x5-6, 2 skip`."""
    from collections import Counter

    return ", ".join(f"{count} {name}" for name, count in Counter(choices).most_common())


def _leave(found: Found, model: RuntimeModel, config: SearchConfig, classes: tuple[str, ...], folder: Path) -> None:
    from latency_db.table_files import write_table
    from search.convnet.saved import SavedNetwork
    from search.finding.selection import write_candidates
    from search.report.figures import draw_decisions, draw_kernels, draw_network, draw_progress

    write_candidates(found.candidates, folder)
    write_table(model.table, folder / "table.json")
    SavedNetwork(
        name=folder.resolve().name,
        layers=tuple(layer for _, layer in found.architecture.placed_layers()),
        classes=classes,
        state=found.network.state_dict(),
        top1=found.accuracy,
        origin="weights of the supernet, batch norm re-estimated",
    ).save(folder / "network.pt")
    draw_progress(found.metrics, config.target_ms, folder / "progress.png")
    draw_decisions(model.space, found.metrics, config.target_ms, folder / "decisions.png")
    draw_network(model, found.architecture, folder / "network.png")
    draw_kernels(found.supernet, found.architecture, folder / "kernels.png")


def _show(found: Found, config: SearchConfig, folder: Path) -> None:
    target = (
        "" if config.target_ms is None else f" (target {config.target_ms:g} ms, {found.predicted_ms / config.target_ms - 1:+.2%})"
    )
    images = len(found.chosen.score.right) // 2
    figures = ("progress", "decisions", "network", "kernels")
    rows = [
        ("network", " ".join(found.architecture.choices)),
        ("predicted", f"{found.predicted_ms:.4g} ms{target}"),
        (
            "accuracy",
            f"{found.accuracy:.2%} with the supernet's weights, on {images} held-out images that did not choose it",
        ),
        ("chosen", _why(found)),
        ("thresholds that moved", f"{found.moved:.0%}"),
        ("figures", ", ".join(str(folder / f"{name}.png") for name in figures)),
    ]
    click.echo(f"Network found, in {folder / 'architecture.json'}")
    print_facts(rows)
    note(f"\nNext: spnas predict {folder / 'architecture.json'} --table {config.table}")


def _why(found: Found) -> str:
    """Why this network and none of the others near it."""
    origin, images = found.chosen.origin, len(found.chosen.score.choosing)
    if len(found.candidates) == 1:
        return "as decided; there is no other network near it"
    compared = f"{len(found.candidates) - 1} others near it, compared on {images} held-out images (candidates.csv)"
    if origin == "decided":
        return f"as decided; none of {compared} was better beyond chance"
    return f"better beyond chance than the decided network and the best of {compared}"
