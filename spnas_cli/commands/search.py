"""`spnas search`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from spnas_cli.next_steps import next_commands, note_next
from spnas_cli.options import Count, Number, db_option, json_option, limit_options, tables_option, target_option
from spnas_cli.output import footprint_facts, is_main_process, print_doubts, print_facts, print_json, printable
from spnas_cli.runs import DATA_HELP, folder_option, training_options

if TYPE_CHECKING:
    from latency_db.limits import Limits
    from latency_db.table import LatencyTable
    from latency_db.targets import Target
    from search.config import SearchConfig, TrainingOptions
    from search.finding.explore import Way
    from search.finding.search import Found
    from search.runs.run import SearchRun

NOT_WITH = {
    "--supernet": {"target_ms", "runtime_weight", "max_memory", "max_size", "explore", "explore_networks"},
    "--from": {"supernet", "runtime_weight", "explore", "explore_networks"},
}


@click.command()
@tables_option
@click.option("--data", "data_name", metavar="NAME|FOLDER", help=f"{DATA_HELP} [default with --from: where they were]")
@target_option("Target latency, in ms", multiple=True)
@click.option(
    "--runtime-weight",
    type=Number(0, 10**6),
    metavar="λ",
    help="Fixed weight of the runtime term, as in the paper (Eq. 9), instead of a target.",
)
@limit_options
@click.option(
    "--supernet",
    is_flag=True,
    help="Train a supernet for all latencies of one or more --table, for use with --from, instead of finding one network.",
)
@click.option(
    "--from",
    "source",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="RUN",
    help="Cut networks out of the supernet that this run has trained, without training: one for each --table and --target-ms, "
    "which may be repeated.",
)
@click.option("--finetune", is_flag=True, help="After --from: train each network for a short while, in FOLDER/finetuned.")
@folder_option
@click.option("--space", metavar="NAME|FILE", help="Check that the table is for this search space. [default: not checked]")
@training_options(
    epochs="8, more on small data",
    learning_rate="0.016 at batches of 1024, twice that at 256 or in fewer than 1,000 steps, and 0.064 at 64 or less",
    precision="int8 in a search whose table is, otherwise fp32",
)
@click.option(
    "--explore",
    type=click.Choice(["random", "evolution"]),
    help="After training, score more networks with the supernet's weights: within 3 % of the target or, without one, of any "
    "latency.",
)
@click.option(
    "--explore-networks", type=Count(1, 10**6), default=100, show_default=True, help="How many networks --explore scores."
)
@db_option
@json_option
def search(
    tables: tuple[str, ...],
    data_name: str | None,
    target_ms: tuple[Target, ...],
    runtime_weight: float | None,
    limits: Limits,
    supernet: bool,
    source: Path | None,
    finetune: bool,
    folder: Path,
    space: str | None,
    training: TrainingOptions,
    explore: Way | None,
    explore_networks: int,
    db: Path,
    as_json: bool,
) -> None:
    """Search for a network that meets a target latency.

    Trains the supernet against a latency table, chooses the network, and trains that alone for the rest of the run, so that
    network.pt is ready to use. The network found is never slower than --target-ms, and within 1 % below it if the space has such
    a network. With --runtime-weight, the weight λ of the runtime term is fixed, as in the paper. --max-memory and --max-size
    apply to the network found and to those that --explore scores; they may leave no network as slow as the target.

    The run's folder contains the architecture, its weights, the settings, the metrics, a checkpoint and figures; candidates.csv
    has the best of the other networks near the target. --explore scores many networks of the space with the supernet's weights
    and draws the Pareto front of accuracy against latency (front.csv, front.png, front/); with --resume it explores a finished
    run without training again.

    --supernet and --from are for several devices or targets, which one training serves (docs/many-devices.md).

    \b
    Examples:
      spnas search --table digits-host --data digits --target-ms 50% -o run
      spnas search --table pixel1 --data path/to/imagenet --target-ms 80 --workers 8 --mixed-precision bf16 -o run
      spnas search --table digits-host --data digits --target-ms 50% --max-memory 0.3 --max-size 0.5 -o small
      spnas search --table digits-host --data digits --target-ms 50% --resume --explore evolution -o run
      spnas search --supernet --table phone-a --table phone-b --data images -o all
      spnas search --from all --table phone-a --table phone-b --target-ms 30% --finetune -o found
    """
    _require_one_way(click.get_current_context())
    from spnas_cli import showing, supernets

    latency_tables = _load_tables(tables, db, space)
    if source is not None:
        wanted, further = supernets.wanted(latency_tables, target_ms, folder, limits), training if finetune else None
        supernets.cut_networks(source, wanted, data_name, further, resume=training.resume, as_json=as_json)
        return
    if supernet:
        supernets.train(tables, latency_tables, str(data_name), folder, training, as_json=as_json)
        return
    target = target_ms[0] if target_ms else None
    run = showing.search(
        latency_tables[0], str(data_name), folder,
        target_ms=target, runtime_weight=runtime_weight, limits=limits, options=training,
    )  # fmt: skip
    if explore is not None:
        showing.explore(run, explore, explore_networks)
    _show(run, as_json)


def _load_tables(tables: Sequence[str], db: Path, space: str | None) -> list[LatencyTable]:
    from latency_db.table_files import load_table
    from profiling.space import load_space

    loaded = [load_table(table, db) for table in tables or (None,)]
    if space is not None:
        for table in loaded:
            table.require_space(load_space(space))
    return loaded


def _require_one_way(context: click.Context) -> None:
    """Checks that the options given are those of one way to use the command: a search, `--supernet` or `--from`."""
    from search.config import TrainingOptions
    from search.runs.explore import require_one_process

    given = {name for name in context.params if context.get_parameter_source(name) is not ParameterSource.DEFAULT}
    names = {str(option.name): option.opts[0] for option in context.command.params}
    way = "--from" if "source" in given else "--supernet" if "supernet" in given else None
    for name in names if way else ():
        if name in given & NOT_WITH[way or ""]:
            raise click.UsageError(f"{names[name]} has no meaning with {way}")
    if way == "--from":
        if "target_ms" not in given:
            raise click.UsageError("--from needs a --target-ms")
        unused = [name for name in TrainingOptions.__dataclass_fields__ if name in given - {"resume"}]
        if unused and "finetune" not in given:
            raise click.UsageError(f"{names[unused[0]]} has no meaning with --from, unless --finetune trains")
        return
    if "finetune" in given:
        raise click.UsageError("--finetune goes with --from; spnas train RUN trains the network of a search further")
    if "data_name" not in given:
        raise click.UsageError("Missing option '--data'.")
    if way is None and ("target_ms" in given) == ("runtime_weight" in given):
        raise click.UsageError("give either --target-ms or --runtime-weight")
    if way is None and max(len(context.params[name]) for name in ("tables", "target_ms")) > 1:
        raise click.UsageError("a search is for one --table and one --target-ms; for several see --supernet and --from")
    if "explore" in given:
        require_one_process()


def _show(run: SearchRun, as_json: bool) -> None:
    if not is_main_process():
        return
    if as_json:
        print_json(run.result.model_dump(mode="json"))
        return
    found, config, folder = run.found, run.config, run.folder
    assert found is not None
    assert run.search is not None
    network, predicted, (name, accuracy) = run.result.facts
    figures = (folder.figure(name) for name in ("progress", "decisions", "network", "kernels"))
    rows = [
        network,
        predicted,
        (name, f"{accuracy}, with the weights in {folder.network.name}"),
        *footprint_facts(run.search.model.limited, run.architecture),
        ("chosen", _why(found, config, run.search.aim_ms)),
        ("thresholds that moved", f"{found.moved:.0%}"),
        ("figures", ", ".join(map(str, figures))),
    ]
    print_doubts(run.result.doubts)
    click.echo(f"Network found, in {printable(folder.architecture)}")
    print_facts(rows)
    note_next(*next_commands(run))


def _why(found: Found, config: SearchConfig, aim_ms: float | None) -> str:
    """Why this network and none of the others near it, and how far it is what the indicators decided."""
    latency = "the latency that was decided" if aim_ms is None else "the target"
    if aim_ms != config.target_ms:
        latency = f"{aim_ms:.4g} ms, which the slowest network within the limits takes"
    best = f"the best rated within 1 % below {latency}"
    decided = next((each for each in found.candidates if each.origin == "decided"), None)
    if decided is None:
        return f"{best}, and the one that the indicators decided"
    mine, theirs = found.architecture.choices, decided.score.architecture.choices
    differ = sum(one != other for one, other in zip(mine, theirs, strict=True))
    return f"{best}; the indicators alone would have decided {differ} of {len(mine)} layers otherwise (candidates.csv)"
