"""Tables and predictions in words, the same for the terminal and the report."""

from __future__ import annotations

from latency_db.runtime_model import Prediction, RuntimeModel

Facts = list[tuple[str, str]]


def table_facts(model: RuntimeModel) -> Facts:
    """What a table covers, and how sure its figures are."""
    table, line = model.table, model.calibration
    noise = table.noise_pct
    calibration = "none: the prediction is the sum of the layers"
    if line.interval is not None:
        calibration = f"{_line(model)}, on {len(table.calibration)} networks, ±{line.interval.least_half_width_ms:.2g} ms"
    return [
        ("layers", f"{len(table.rows)}"),
        ("networks of the space", "{:.3f} to {:.3f} ms".format(*model.range_ms())),
        ("noise of a layer (median, worst)", "unknown" if noise is None else "{:.2f} %, {:.2f} %".format(*noise)),
        ("calibration", calibration),
    ]


def prediction_facts(model: RuntimeModel, prediction: Prediction) -> Facts:
    """The latency of a network, and where it comes from."""
    interval = model.calibration.interval
    line = "none: the prediction is the sum of the layers"
    if interval is not None:
        line = f"{_line(model)}, on {interval.networks} networks"
        if model.calibration.left_out:
            line += f", {len(model.calibration.left_out)} outliers left out"
    of_weights = ""
    if prediction.packed_mb:
        ms = model.calibration.packed_ms_per_mb * prediction.packed_mb
        of_weights = f", of which {ms:.4f} ms for {prediction.packed_mb:.2f} MB of packed weights"
    return [
        ("sum of layers", f"{prediction.sum_ms:.4f} ms{of_weights}"),
        ("calibration", line),
        ("predicted", f"{prediction.total_ms:.4f} ms"),
        ("95 % interval", interval_in_words(prediction) or "none (no calibration networks)"),
    ]


def interval_in_words(prediction: Prediction) -> str | None:
    """The 95 % interval of a prediction; None without calibration networks."""
    if prediction.interval_low_ms is None:
        return None
    return f"{prediction.interval_low_ms:.4f} to {prediction.interval_high_ms:.4f} ms"


def _line(model: RuntimeModel) -> str:
    line = model.calibration
    of_layers = f"(sum + {line.packed_ms_per_mb:.4f} ms/MB · packed weights)" if line.packed_ms_per_mb else "sum"
    return f"{line.scale:.4f} · {of_layers} {line.offset_ms:+.4f} ms"
