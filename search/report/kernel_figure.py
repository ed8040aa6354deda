"""The figure of what became of the superkernels in a search (paper, Fig. 6)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from latency_db.figures import save_figure
from profiling.space import Architecture, SearchSpace
from search.supernet.superkernel import shell_masks
from search.supernet.supernet import Supernet

KERNELS_A_ROW = 7


def draw_kernels(supernet: Supernet, architecture: Architecture, path: Path) -> None:
    """Draws the standard deviation of each superkernel over its channels, in log scale, into a PNG file (Fig. 6).

    Blue frames are the kernels that the network kept, dotted ones the borders of the others. Below each kernel stands what is
    outside its innermost core relative to that; where the network kept the core alone, it should be the less.
    """
    space, slots = architecture.space, architecture.space.decided
    deviations = [block.depthwise.weight.detach().float().cpu().std(dim=0)[0] for block in supernet.decided]
    columns = min(KERNELS_A_ROW, len(slots))
    rows = math.ceil(len(slots) / columns)
    figure = Figure(figsize=(1.35 * columns + 1.3, 1.75 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).flatten()
    flat = torch.cat([deviation.flatten() for deviation in deviations])
    least, most = float(flat.min()), float(flat.max())
    norm = LogNorm(least, most)
    names = [step.choice_name for step in architecture.decided]
    for axes, slot, deviation, name in zip(grid, slots, deviations, names, strict=False):
        axes.imshow(deviation.numpy(), norm=norm, cmap="YlOrRd")
        axes.set_title(f"{slot.position}: {name}", fontsize=8)
        kept = slot.choices_by_name[name].kernel
        for kernel in space.kernels:
            if kernel != kept:
                axes.add_patch(_frame(deviation, kernel, edgecolor="0.25", linestyle=":", linewidth=1))
        if kept:
            axes.add_patch(_frame(deviation, kept, edgecolor="C0", linewidth=2))
        axes.text(0.5, -0.04, _shell_to_core(deviation, space), transform=axes.transAxes, ha="center", va="top", fontsize=7)
    for axes in grid:
        axes.axis("off")
    bar = figure.colorbar(ScalarMappable(norm, "YlOrRd"), ax=list(grid), label="standard deviation over channels", shrink=0.9)
    ticks = np.geomspace(least, most, 5).tolist()
    bar.set_ticks(ticks, labels=[f"{tick:.2g}" for tick in ticks])
    bar.minorticks_off()
    save_figure(figure, path)


def _frame(deviation: torch.Tensor, kernel: int, **style: Any) -> Rectangle:
    """Around the kernel of this size in the middle of the superkernel."""
    corner = (len(deviation) - kernel) / 2 - 0.5
    return Rectangle((corner, corner), kernel, kernel, fill=False, **style)


def _shell_to_core(deviation: torch.Tensor, space: SearchSpace) -> str:
    """The mean outside the innermost core as a share of that inside; nothing where there is only one kernel."""
    core = shell_masks(space.kernels)[0].bool()
    if bool(core.all()):
        return ""
    return f"shell / core {float(deviation[~core].mean() / deviation[core].mean()):.2f}"
