"""A small space, and a table made from multiply-adds, not measured."""

import itertools

from latency_db.table import LatencyTable, Row
from profiling.conditions import Conditions
from profiling.layers import FBNetBlock, Head, LayerSpec, MBConv, Stem
from profiling.space import Architecture, SearchSpace

# Channels, layers, or both to choose from in each stage, as many or not, with squeeze-and-excitation in one; and a stage behind
# them that has but one number of each.
WIDE = {
    "resolution": 24,
    "kernels": [3, 5, 7],
    "expansions": [1, 2, 4],
    "stem": {"channels": 8},
    "stages": [
        {"layers": 1, "channels": 8, "kernel": 3, "expansion": 1},
        {"layers": 2, "channels": [8, 16]},
        {"layers": [1, 2, 4], "channels": [16, 24, 40], "stride": 2, "se_ratio": 0.25},
        {"layers": [2, 3], "channels": 16},
        {"layers": 1, "channels": [8, 24]},
    ],
    "head": {"channels": 32},
}


def small_space(**changes) -> SearchSpace:
    """Two stages of two layers, the first of each without a residual connection, on 12×12 grey images."""
    settings = {
        "name": "small",
        "resolution": 12,
        "image_channels": 1,
        "classes": 10,
        "kernels": [3, 5],
        "expansions": [3, 6],
        "stem": {"channels": 8},
        "stages": [{"layers": 2, "channels": 8, "stride": 2}, {"layers": 2, "channels": 16}],
        "head": {"channels": 32},
    }
    return SearchSpace.model_validate(settings | changes, strict=False)


def multiply_adds(layer: LayerSpec) -> float:
    """Of one image, depthwise ones counted four times, as their latency is bound by memory."""
    pixels = layer.resolution**2
    out_pixels = layer.out_resolution**2
    match layer:
        case Stem():
            return out_pixels * layer.kernel**2 * layer.in_channels * layer.out_channels
        case MBConv() | FBNetBlock():
            expand = pixels * layer.in_channels if layer.has_expansion else 0
            return layer.hidden_channels * (expand + out_pixels * (4 * layer.kernel**2 + layer.out_channels))
        case Head():
            return layer.out_channels * (pixels * layer.in_channels + layer.classes)
    raise AssertionError(layer)


def table_from_multiply_adds(space: SearchSpace) -> LatencyTable:
    """A plausible table, for tests only: 2 µs a layer and 10 multiply-adds a nanosecond."""
    conditions = Conditions(
        device="none", product="none", os_build="none", soc="none", runtime="none", tool="multiply-adds",
        threads=1, cores="any", precision="fp32", delegate="none",
    )  # fmt: skip
    return LatencyTable(
        name="multiply-adds",
        space=space,
        conditions=conditions,
        rows={layer.key: Row(ms=0.002 + multiply_adds(layer) / 1e7) for layer in space.layers},
        created_at="2026-01-01T00:00:00Z",
        source="computed from multiply-adds for tests, not measured",
    )


def every_architecture(space: SearchSpace) -> list[Architecture]:
    """All networks of a space that has few."""
    ways = {space.completed(names): None for names in itertools.product(*(slot.choices for slot in space.searchable))}
    return [Architecture(space=space, choices=names) for names in ways]
