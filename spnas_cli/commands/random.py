"""`spnas random`."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from spnas_cli.options import Count, Latency, Seed, db_option, json_option, limit_options, table_option, target_option
from spnas_cli.output import note, print_json, print_table
from spnas_cli.outputs import force_option, require_output

if TYPE_CHECKING:
    from latency_db.limits import Limits
    from latency_db.runtime_model import RuntimeModel
    from latency_db.targets import Target
    from profiling.space import Architecture


@click.command()
@table_option
@click.option(
    "--between",
    nargs=2,
    type=Latency(),
    metavar="MS|% MS|%",
    help="Range of predicted latency, in ms, or as shares of the range of the table's networks: 40% 60%.",
)
@target_option("Latency that no network exceeds, in ms, instead of a range: random networks are within 1 % below it")
@limit_options
@click.option("--uniform", is_flag=True, help="Write the uniform networks of --target-ms instead: one for each kernel and ratio.")
@click.option("--networks", type=Count(1, 10**6), default=10, show_default=True, help="How many networks to draw.")
@click.option(
    "--seed", type=Seed(), default=0, show_default=True, help="Seed for the draws; the same one gives the same networks."
)
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    required=True,
    help="Folder for the architecture files.",
)
@force_option
@db_option
@json_option
def random(
    table: str | None,
    between: tuple[Target, Target] | None,
    target_ms: Target | None,
    limits: Limits,
    uniform: bool,
    networks: int,
    seed: int,
    folder: Path,
    force: bool,
    db: Path,
    as_json: bool,
) -> None:
    """Draw random networks within a range of predicted latency.

    They are the baseline that a search has to beat. Each network is drawn with its own random proportions of the choices, and
    drawn again if its latency is out of range, so the networks are as varied as the range allows. Each one is written as an
    architecture file, which spnas predict, train and compare take.

    --uniform writes the other baseline: for each kernel and ratio the network with that choice in every layer. If it is slower
    than --target-ms, layers are skipped, spread evenly over the depth, until it is not; within 1 % below the target if the space
    has such a network, and the nearest below otherwise.

    \b
    Examples:
      spnas random --table pixel1 --between 75 80 --networks 10 -o baseline
      spnas random --table digits-host --target-ms 50% --max-size 0.5 --seed 1 -o more --json
      spnas random --table pixel1 --uniform --target-ms 80 -o uniform
    """
    _check(between, target_ms, uniform)
    from latency_db.runtime_model import RuntimeModel
    from latency_db.sampling import just_below
    from latency_db.table_files import load_table
    from latency_db.targets import in_ms
    from profiling.files import require_folder

    require_folder(folder)
    model = RuntimeModel(load_table(table, db), limits)
    ms = None if target_ms is None else in_ms(target_ms, model, note)
    if uniform and ms is not None:
        drawn = _uniform(model, ms)
    else:
        drawn = _random(model, just_below(ms) if ms is not None else _range(between, model), networks, seed)
    _write(drawn, folder, force=force)
    latencies = [model.predict(architecture).total_ms for architecture in drawn.values()]
    if as_json:
        rows = [
            {"file": str(folder / name), "predicted_ms": each, "choices": architecture.choices}
            for (name, architecture), each in zip(drawn.items(), latencies, strict=True)
        ]
        made_for = {"target_ms": ms} if uniform else {"seed": seed}
        print_json({"table": model.table.name, **made_for, "networks": rows})
        return
    shown = [
        (name, " ".join(architecture.choices), f"{each:#.5g}", "" if ms is None else f"{each / ms - 1:+.1%}")
        for (name, architecture), each in zip(drawn.items(), latencies, strict=True)
    ]
    columns = ("file", "choices", "predicted ms", "from the target")[: 3 if ms is None else 4]
    print_table(f"{len(drawn)} networks in {folder}", columns, [row[: len(columns)] for row in shown], left=2)
    note(f"\nNext: spnas predict {folder / next(iter(drawn))} --table {model.table.name}")


def _check(between: tuple[Target, Target] | None, target_ms: Target | None, uniform: bool) -> None:
    if (between is None) == (target_ms is None):
        raise click.UsageError("give either --between or --target-ms")
    if not uniform:
        return
    if target_ms is None:
        raise click.UsageError("--uniform needs --target-ms instead of --between")
    context = click.get_current_context()
    for name in ("networks", "seed"):
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(f"--{name} is for random networks; leave it out with --uniform")


def _range(between: tuple[Target, Target] | None, model: RuntimeModel) -> tuple[float, float]:
    """The bounds of `--between`, in ms."""
    from latency_db.targets import in_ms

    assert between is not None
    low, high = (in_ms(bound, model, note) for bound in between)
    if low >= high:
        raise click.BadParameter(f"LOW must be below HIGH, not {low:g} and {high:g} ms", param_hint="--between")
    return low, high


def _random(model: RuntimeModel, bounds: tuple[float, float], networks: int, seed: int) -> dict[str, Architecture]:
    """By file name."""
    from latency_db.sampling import networks_between

    width = max(2, len(str(networks)))
    some = enumerate(islice(networks_between(model, *bounds, seed), networks), start=1)
    return {f"random-{number:0{width}}.json": architecture for number, architecture in some}


def _uniform(model: RuntimeModel, target_ms: float) -> dict[str, Architecture]:
    """By file name; notes which choices are too slow or too large."""
    from latency_db.uniform import uniform_networks
    from profiling.errors import InputError
    from profiling.places import SKIP

    networks = uniform_networks(model, target_ms)
    by_choice = {name.partition(",")[0]: architecture for name, architecture in networks.items()}
    too_slow = [choice.name for choice in model.space.choices if choice != SKIP and choice.name not in by_choice]
    if not networks:
        raise InputError(
            f"every uniform network of {model.space.name} is slower than {target_ms:g} ms, with every layer skipped that can be",
            where="--target-ms",
            hint="its networks take {:.4g} to {:.4g} ms".format(*model.range_ms()),
        )
    if too_slow:
        note(f"Left out, as slower than {target_ms:g} ms with every layer skipped that can be: {', '.join(too_slow)}")
    kept = {choice: architecture for choice, architecture in by_choice.items() if model.limited.fits(architecture)}
    words = model.limited.limits.words
    if not kept:
        problem = f"no uniform network of {model.space.name} within {target_ms:g} ms makes do with {words}"
        raise InputError(problem, where="--uniform", hint="draw random networks instead, or allow more")
    if len(kept) < len(by_choice):
        note(f"Left out, as they need more than {words}: {', '.join(choice for choice in by_choice if choice not in kept)}")
    return {f"uniform-{choice}.json": architecture for choice, architecture in kept.items()}


def _write(drawn: Mapping[str, Architecture], folder: Path, *, force: bool) -> None:
    """Writes a file for each, or none at all if one of the files already exists."""
    from profiling.files import make_folder, write_text

    make_folder(folder)
    for name in drawn:
        require_output(folder / name, [".json"], force=force)
    for name, architecture in drawn.items():
        write_text(folder / name, architecture.to_json())
