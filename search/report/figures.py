"""The figures of a search: its progress and the network found (paper, Fig. 4 and 5); none of them needs PyTorch.

Beyond those of the paper: the decisions over time, and the front that an exploration found.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from latency_db.figures import save_figure
from latency_db.runtime_model import LayerLatency, RuntimeModel
from profiling.layers import Bottleneck, Head, LayerSpec, Stem
from profiling.places import SKIP, Choice
from profiling.space import Architecture, SearchSpace

if TYPE_CHECKING:
    from search.finding.explore import Explored
    from search.finding.scoring import Score
    from search.steps import SearchStep

Colour = tuple[float, float, float, float]

PHASES = {"dropout": "dropout", "search": "decisions", "final": "the network found, alone"}
GREY = "0.75"


def draw_progress(steps: Sequence[SearchStep], target_ms: float | None, path: Path) -> None:
    """Draws cross-entropy (nats) and R (ms) over the steps, with the phases marked, into a PNG file (Fig. 4)."""
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    at = [step.step for step in steps]
    entropies = [step.cross_entropy for step in steps]
    left.plot(at, entropies, color="C0", linewidth=0.8, alpha=0.35)
    left.plot(at, smoothed(entropies), color="C0", linewidth=1.8)
    left.set_ylabel("cross-entropy CE (nats)")
    _draw_runtime(right, steps, target_ms)
    for axes in (left, right):
        axes.set_xlabel("step")
        axes.set_xlim(0, at[-1])
        axes.spines[["top", "right"]].set_visible(False)
        _mark_phases(axes, steps)
    save_figure(figure, path)


def smoothed(values: Sequence[float]) -> list[float]:
    """A moving average over about a twentieth of the run."""
    weight, mean, smooth = 1 / max(1.0, len(values) / 20), values[0], []
    for value in values:
        mean += weight * (value - mean)
        smooth.append(mean)
    return smooth


def draw_decisions(space: SearchSpace, steps: Sequence[SearchStep], target_ms: float | None, path: Path) -> None:
    """Draws each layer's decision over the steps as a heat map, above R (ms), with the phases marked, into a PNG file."""
    slots, end = space.searchable, steps[-1].step
    figure = Figure(figsize=(10, 2.6 + 0.26 * len(slots)), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[max(2.0, 0.26 * len(slots)), 1.6])
    named = {name: choice for slot in slots for name, choice in slot.choices_by_name.items()}
    colours = {name: choice_colour(space, choice) for name, choice in named.items()}
    # One row of cells for each layer, one column for each step that was kept, wide enough for the steps since the one before.
    cells = np.array([[colours[name] for name in step.choices] for step in steps]).swapaxes(0, 1)
    columns = np.array([0, *(step.step for step in steps)])
    top.pcolormesh(columns, np.arange(len(slots) + 1) - 0.5, cells, rasterized=True)
    top.set_yticks(range(len(slots)), [str(slot.position) for slot in slots], fontsize=8)
    top.invert_yaxis()
    top.set_ylabel("place in the network")
    shown = [choice for choice in space.choices if choice in {each.shape for each in named.values()}]
    boxes = [Patch(facecolor=choice_colour(space, choice), edgecolor="0.4", label=choice.name) for choice in shown]
    top.legend(handles=boxes, loc="center left", bbox_to_anchor=(1.005, 0.5), frameon=False, title="decision")
    for axes in (top, bottom):
        axes.spines[["top", "right"]].set_visible(False)
    _draw_runtime(bottom, steps, target_ms)
    bottom.set_xlabel("step")
    bottom.set_xlim(0, end)
    _mark_phases(bottom, steps, words=False)
    _mark_phases(top, steps, shade=False)
    if steps[0].phase != steps[-1].phase:
        last = max(step.step for step in steps if step.phase == steps[0].phase)
        top.axvline(last, color="0.2", linestyle=":", linewidth=1.2)
    save_figure(figure, path)


def _draw_runtime(axes: Axes, steps: Sequence[SearchStep], target_ms: float | None) -> None:
    axes.plot([step.step for step in steps], [step.runtime_ms for step in steps], color="C1", linewidth=1.8, label="supernet")
    axes.set_ylabel("runtime R (ms)")
    axes.set_ylim(0, 1.08 * max(target_ms or 0.0, *(step.runtime_ms for step in steps)))
    if target_ms is not None:
        axes.axhline(target_ms, color="0.3", linestyle="--", linewidth=1, label=f"target {target_ms:.4g} ms")
    axes.legend(frameon=False, loc="lower left")


def _mark_phases(axes: Axes, steps: Sequence[SearchStep], *, words: bool = True, shade: bool = True) -> None:
    start = 0
    for index, (phase, members) in enumerate(groupby(steps, key=lambda step: step.phase)):
        end = list(members)[-1].step
        if index % 2 and shade:
            axes.axvspan(start, end, color="0.95", zorder=0)
        if words:
            middle, above = (start + end) / 2, axes.get_xaxis_transform()
            axes.text(middle, 1.01, PHASES[phase], transform=above, ha="center", va="bottom", fontsize=8, color="0.4")
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
    interval_ms = prediction.interval_low_ms, prediction.interval_high_ms
    boxes.set_title(_network_title(architecture, prediction.total_ms, *interval_ms), fontsize=11)
    bars.set_ylabel("latency of the layer (ms)")
    bars.set_xlabel("layer")
    bars.set_xticks(range(len(placed)))
    bars.set_xlim(-0.7, len(placed) - 0.3)
    bars.margins(y=0.15)
    bars.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)


def _network_title(
    architecture: Architecture, total_ms: float, interval_low_ms: float | None, interval_high_ms: float | None
) -> str:
    interval = "" if interval_low_ms is None else f" (95 %: {interval_low_ms:.4g} to {interval_high_ms:.4g})"
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
    return layer.expansion if isinstance(layer, Bottleneck) else 1


def _name(layer: LayerSpec) -> str:
    match layer:
        case Stem():
            return f"stem {layer.kernel}×{layer.kernel}"
        case Bottleneck():
            return f"MB {layer.kernel}×{layer.kernel}-{layer.expansion}" + (" ↓2" if layer.stride == 2 else "")
        case _:
            return layer.KIND


def _colour(space: SearchSpace, layer: LayerSpec) -> Colour:
    """The colour of its choice; grey for layers that are none of the space's choices."""
    if not isinstance(layer, Bottleneck):
        return to_rgba(GREY)
    return choice_colour(space, Choice(layer.kernel, layer.expansion))


def choice_colour(space: SearchSpace, choice: Choice) -> Colour:
    """A hue for each kernel, stronger with the expansion ratio; nearly white for `skip`, grey for anything else."""
    if choice == SKIP:
        return to_rgba("0.94")
    if choice.shape not in space.choices:
        return to_rgba(GREY)
    red, green, blue, _ = colormaps["Set2"](space.kernels.index(choice.kernel))
    strength = 0.45 + 0.55 * (space.expansions.index(choice.expansion) + 1) / len(space.expansions)
    return 1 - strength * (1 - red), 1 - strength * (1 - green), 1 - strength * (1 - blue), 1.0


def draw_front(networks: Sequence[Explored], best: Sequence[Explored], found: Score, target_ms: float | None, path: Path) -> None:
    """Draws the accuracy of explored networks against their predicted ms, with their front, into a PNG file.

    Args:
        networks: all of them.
        best: their front; filled by the images that it was chosen by, hollow by those that took no part in that.
        found: the network that the search ended with.
        target_ms: if there was one.
        path: of the file.
    """
    figure = Figure(figsize=(8, 4.8), layout="constrained")
    axes = figure.subplots()
    for way, marker, colour in (("random", "o", "0.6"), ("evolution", "^", "C0")):
        mine = [network for network in networks if network.found_by == way]
        if mine:
            xs, ys = [network.predicted_ms for network in mine], [100 * network.choosing_accuracy for network in mine]
            axes.scatter(xs, ys, s=22, marker=marker, color=colour, alpha=0.6, linewidths=0, label=f"{way}, {len(mine)} networks")
    xs = [network.predicted_ms for network in best]
    axes.step(xs, [100 * network.choosing_accuracy for network in best], where="post", color="C3", linewidth=1.6, zorder=3)
    axes.scatter(xs, [100 * network.choosing_accuracy for network in best], s=34, color="C3", zorder=4, label="front")
    others = [100 * network.accuracy for network in best]
    axes.scatter(xs, others, s=40, facecolors="none", edgecolors="C3", zorder=3, label="the same, on images not used to choose")
    axes.scatter(found.predicted_ms, 100 * found.choosing_accuracy, s=170, marker="*", color="k", zorder=5, label="network found")
    axes.scatter(found.predicted_ms, 100 * found.accuracy, s=170, marker="*", facecolors="none", edgecolors="k", zorder=5)
    if target_ms is not None:
        axes.axvline(target_ms, color="0.3", linestyle="--", linewidth=1, label=f"target {target_ms:.4g} ms")
    axes.set_xlabel("predicted latency (ms)")
    axes.set_ylabel("accuracy with the supernet's weights (%)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    save_figure(figure, path)
