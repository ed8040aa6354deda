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
@click.argument("arch", metavar="ARCH")
@table_option
@db_option
@json_option
def predict(arch: str, table: str | None, db: Path, as_json: bool) -> None:
    """Predict the latency of a network from a table, in ms, and the memory and the file that it needs.

    No device is needed. ARCH is an architecture file, the folder of a search, the name of a network that ships with spnas
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
    architecture = find_architecture(arch, model.space)
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
        _show(arch, model, architecture)


def _show(arch: str, model: RuntimeModel, architecture: Architecture) -> None:
    prediction = model.predict(architecture)
    rows = [
        (str(layer.position), layer.choice, layer.key, f"{layer.ms:#.5g}", f"{layer.ms / prediction.sum_ms * 100:.1f} %")
        for layer in prediction.layers
    ]
    print_table(f"{arch} by the table {model.table.name}", ("place", "choice", "layer", "ms", "share"), rows, left=3)
    calibration = model.calibration
    if calibration.interval is None:
        line, interval = "none: the prediction is the sum of the layers", "none (no calibration networks)"
    else:
        line = f"{calibration.scale:.4f} · sum {calibration.offset_ms:+.4f} ms, on {calibration.interval.networks} networks"
        if calibration.left_out:
            line += f", {len(calibration.left_out)} outliers left out"
        interval = f"{prediction.interval_low_ms:.4f} to {prediction.interval_high_ms:.4f} ms"
    click.echo()
    print_facts(
        [
            ("sum of layers", f"{prediction.sum_ms:.4f} ms"),
            ("calibration", line),
            ("predicted", f"{prediction.total_ms:.4f} ms"),
            ("95 % interval", interval),
            *footprint_facts(model.limited, architecture),
        ]
    )
