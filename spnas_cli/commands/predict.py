"""`spnas predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from spnas_cli.options import db_option, json_option, table_option
from spnas_cli.output import footprint_facts, print_facts, print_json, print_table

if TYPE_CHECKING:
    from latency_db.runtime_model import RuntimeModel
    from profiling.space import Architecture


@click.command()
@click.argument("network", metavar="NETWORK")
@table_option
@db_option
@json_option
def predict(network: str, table: str | None, db: Path, as_json: bool) -> None:
    """Predict the latency of a network from a table, in ms, and the memory and the file that it needs.

    No device is needed. NETWORK is an architecture file, the folder of a search, the name of a network that ships with spnas
    (single-path-nas), or a choice such as 3x3-6: the network of the table's space with that choice in every layer.

    \b
    Examples:
      spnas predict single-path-nas --table pixel1
      spnas predict run/architecture.json --table imagenet-host --json
    """
    from dataclasses import asdict

    from latency_db.runtime_model import RuntimeModel
    from latency_db.table_files import load_table
    from search.convnet.named import find_architecture

    model = RuntimeModel(load_table(table, db))
    architecture = find_architecture(network, model.space)
    prediction, needs = model.predict(architecture), model.limited.footprint(architecture)
    if as_json:
        print_json(
            {
                "total_ms": prediction.total_ms,
                "low_ms": prediction.interval_low_ms,
                "high_ms": prediction.interval_high_ms,
                "memory_mb": needs.memory_mb,
                "size_mb": needs.size_mb,
                "layers": [asdict(layer) for layer in prediction.layers],
            }
        )
    else:
        _show(network, model, architecture)


def _show(network: str, model: RuntimeModel, architecture: Architecture) -> None:
    from latency_db.facts import prediction_facts

    prediction = model.predict(architecture)
    rows = [
        (str(layer.position), layer.choice, layer.key, f"{layer.ms:#.5g}", f"{layer.ms / prediction.sum_ms * 100:.1f} %")
        for layer in prediction.layers
    ]
    print_table(f"{network} by the table {model.table.name}", ("place", "choice", "layer", "ms", "share"), rows, left=3)
    click.echo()
    print_facts([*prediction_facts(model, prediction), *footprint_facts(model.limited, architecture)])
