"""The figures of a search: its progress, the network found and what became of the superkernels (paper, Fig. 4, 5 and 6)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from latency_db.runtime_model import LayerLatency, RuntimeModel
from profiling.layers import Head, LayerSpec, MBConv, Stem
from profiling.space import SKIP, Architecture, SearchSpace
from search.supernet import Supernet

if TYPE_CHECKING:
    from search.loop import Step

DPI = 150
PHASES = {"dropout": "subsets dropped at random", "search": "decisions learned"}
GREY = "0.75"
KERNELS_A_ROW = 7


def draw_progress(steps: Sequence[Step], target_ms: float | None, path: Path) -> None:
    """Draws cross-entropy (nats) and R (ms) over the steps, with the phases marked, into a PNG file (Fig. 4)."""
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    at = [step.step for step in steps]
    entropies = [step.cross_entropy for step in steps]
    left.plot(at, entropies, color="C0", linewidth=0.8, alpha=0.35)
    left.plot(at, smoothed(entropies), color="C0", linewidth=1.8)
    left.set_ylabel("cross-entropy CE (nats)")
    right.plot(at, [step.runtime_ms for step in steps], color="C1", linewidth=1.8, label="R of the supernet")
    right.set_ylabel("runtime R (ms)")
    right.set_ylim(bottom=0)
    if target_ms is not None:
        right.axhline(target_ms, color="0.3", linestyle="--", linewidth=1, label=f"target {target_ms:.4g} ms")
    right.legend(frameon=False, loc="lower left")
    for axes in (left, right):
        axes.set_xlabel("step")
        axes.set_xlim(0, at[-1])
        axes.spines[["top", "right"]].set_visible(False)
        _mark_phases(axes, steps)
    figure.savefig(path, dpi=DPI)


def smoothed(values: Sequence[float]) -> list[float]:
    """A moving average over about a twentieth of the run."""
    weight, mean, smooth = 1 / max(1.0, len(values) / 20), values[0], []
    for value in values:
        mean += weight * (value - mean)
        smooth.append(mean)
    return smooth


def _mark_phases(axes: Axes, steps: Sequence[Step]) -> None:
    start = 0
    for index, (phase, members) in enumerate(groupby(steps, key=lambda step: step.phase)):
        end = list(members)[-1].step
        if index % 2:
            axes.axvspan(start, end, color="0.95", zorder=0)
        axes.text(
            (start + end) / 2, 1.01, PHASES[phase], transform=axes.get_xaxis_transform(), ha="center", fontsize=8, color="0.4"
        )
        start = end


def draw_network(model: RuntimeModel, architecture: Architecture, path: Path) -> None:
    """Draws the network layer by layer, with the ms of each (before calibration) and in all, into a PNG file (Fig. 5)."""
    prediction = model.predict(architecture)
    latencies = {layer.position: layer for layer in prediction.layers}
    placed = list(architecture.placed_layers())
    figure = Figure(figsize=(max(7.0, 0.55 * len(placed) + 1), 5.2), layout="constrained")
    boxes, bars = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    for slot, layer in placed:
        _draw_box(boxes, architecture.space, slot.position, layer)
        _draw_bar(bars, architecture.space, slot.position, layer, latencies.get(slot.position))
    boxes.set_ylim(0, 1)
    boxes.axis("off")
    boxes.set_title(_network_title(architecture, prediction.total_ms, prediction.low_ms, prediction.high_ms), fontsize=11)
    bars.set_ylabel("ms of the layer")
    bars.set_xlabel("layer")
    bars.set_xticks(range(len(placed)))
    bars.set_xlim(-0.7, len(placed) - 0.3)
    bars.margins(y=0.15)
    bars.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=DPI)


def _network_title(architecture: Architecture, total_ms: float, low_ms: float | None, high_ms: float | None) -> str:
    interval = "" if low_ms is None else f" (95 %: {low_ms:.4g} to {high_ms:.4g})"
    return f"{architecture.space.name}: predicted {total_ms:.4g} ms{interval}"


def _draw_box(axes: Axes, space: SearchSpace, position: int, layer: LayerSpec | None) -> None:
    """A box as high as the layer is wide in channels, with its kind and the size of what it gives to the next."""
    if layer is None:
        axes.add_patch(Rectangle((position - 0.38, 0.42), 0.76, 0.16, fill=False, edgecolor=GREY, linestyle="--"))
        axes.text(position, 0.5, SKIP.name, ha="center", va="center", fontsize=7, color="0.5")
        return
    height = 0.34 + 0.3 * (_ratio(layer) / space.expansions[-1])
    axes.add_patch(
        Rectangle(
            (position - 0.38, 0.5 - height / 2), 0.76, height, facecolor=_colour(space, layer), edgecolor="0.2", linewidth=0.6
        )
    )
    axes.text(position, 0.5, _name(layer), ha="center", va="center", fontsize=8, rotation=90)
    size = "1×1" if isinstance(layer, Head) else f"{layer.out_resolution}²"
    outputs = layer.classes if isinstance(layer, Head) else layer.out_channels
    axes.text(position, 0.1, f"{size}\n×{outputs}", ha="center", va="center", fontsize=7, color="0.35")


def _draw_bar(axes: Axes, space: SearchSpace, position: int, layer: LayerSpec | None, latency: LayerLatency | None) -> None:
    if layer is None or latency is None:
        return
    axes.bar(position, latency.ms, width=0.76, color=_colour(space, layer), edgecolor="0.2", linewidth=0.6)
    axes.annotate(f"{latency.ms:.3g}", (position, latency.ms), (0, 2), textcoords="offset points", ha="center", fontsize=7)


def _ratio(layer: LayerSpec) -> int:
    return layer.expansion if isinstance(layer, MBConv) else 1


def _name(layer: LayerSpec) -> str:
    match layer:
        case Stem():
            return f"stem {layer.kernel}×{layer.kernel}"
        case MBConv():
            return f"MB {layer.kernel}×{layer.kernel}-{layer.expansion}" + (" ↓2" if layer.stride == 2 else "")
        case _:
            return layer.KIND


def _colour(space: SearchSpace, layer: LayerSpec) -> tuple[float, float, float, float]:
    """A hue for each kernel, stronger with the expansion ratio; grey for what is no MBConv of the space's choices."""
    if not isinstance(layer, MBConv) or layer.kernel not in space.kernels or layer.expansion not in space.expansions:
        return to_rgba(GREY)
    hue = colormaps["Set2"](space.kernels.index(layer.kernel))
    return to_rgba(hue, 0.45 + 0.55 * (space.expansions.index(layer.expansion) + 1) / len(space.expansions))


def draw_kernels(supernet: Supernet, architecture: Architecture, path: Path) -> None:
    """Draws the standard deviation of each superkernel over its channels, in log scale, into a PNG file (Fig. 6).

    Blue frames are the kernels that the network kept; where it kept the small one, the shell outside should be pale.
    """
    slots = architecture.space.searchable
    deviations = [block.depthwise.weight.detach().float().cpu().std(dim=0)[0] for block in supernet.searchable]
    columns = min(KERNELS_A_ROW, len(slots))
    rows = math.ceil(len(slots) / columns)
    figure = Figure(figsize=(1.45 * columns + 1.2, 1.75 * rows + 0.5), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).flatten()
    flat = torch.cat([deviation.flatten() for deviation in deviations])
    norm = LogNorm(float(flat.min()), float(flat.max()))
    image = None
    for axes, slot, deviation, name in zip(grid, slots, deviations, architecture.choices, strict=False):
        image = axes.imshow(deviation.numpy(), norm=norm, cmap="YlOrRd")
        axes.set_title(f"{slot.position}: {name}", fontsize=8)
        kernel = architecture.space.choices_by_name[name].kernel
        if kernel:
            corner = (len(deviation) - kernel) / 2 - 0.5
            axes.add_patch(Rectangle((corner, corner), kernel, kernel, fill=False, edgecolor="C0", linewidth=2))
    for axes in grid:
        axes.axis("off")
    if image is not None:
        figure.colorbar(image, ax=list(grid), label="std over channels", shrink=0.8)
    figure.savefig(path, dpi=DPI)
