"""The runtime term of the loss: Eq. 9 to 12 on a latency table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from latency_db.runtime_model import RuntimeModel
from profiling.places import Slot
from profiling.space import SearchSpace
from search.supernet.decisions import Decisions, links
from search.supernet.superkernel import telescope


def eq11_eq12_layer_runtimes(differences: Tensor, uses: Sequence[Tensor]) -> Tensor:
    """R^i of each place in ms, differentiable in its indicators. (places,).

    Eq. 11 and 12 of the paper scale the runtime of the largest kernel by one ratio per layer, which misses the table for small
    ratios with small kernels. This is the same construction in all directions at once: each subset adds the difference that it
    makes to the table, so that R of hard decisions is exactly the table's entry.

    Args:
        differences: (places, widths before, widths decided, expansions, kernels), see `superkernel.telescope`.
        uses: the indicators in each of these directions, (places, …).
    """
    left = differences
    for use in reversed(uses):
        left = (left * use.reshape(len(use), *[1] * (left.dim() - 2), -1)).sum(-1)
    return left


def eq10_runtime(layer_runtimes: Tensor, fixed_ms: float) -> Tensor:
    """Eq. 10: R = Σ R^i, plus the layers that are the same in every network. In ms, a scalar."""
    return fixed_ms + layer_runtimes.sum()


def cost_array(space: SearchSpace, slot: Slot, costs: Mapping[str, float], resolution: int) -> Tensor:
    """The latencies of one place in ms: (widths before, widths decided, expansions, kernels), 0 where there is no such step.

    Args:
        space: the space.
        slot: the place.
        costs: by step.
        resolution: of the network's input, in pixels.
    """
    array = torch.zeros(space.most_widths, space.most_widths, len(space.expansions), len(space.kernels), dtype=torch.float64)
    channels, sizes = sorted({state.channels for state in slot.before}), space.sizes(resolution)
    for name, step in slot.steps.items():
        if step.layer is None or step.layer.resolution != sizes[slot.position]:
            continue
        before = channels.index(step.before.channels)
        if step.choice is None or not slot.is_decided:
            array[before, 0, 0, 0] = costs[name]
        else:
            decided = slot.widths.index(step.choice.channels) if slot.widths else 0
            expansion, kernel = space.expansions.index(step.choice.expansion), space.kernels.index(step.choice.kernel)
            array[before, decided, expansion, kernel] = costs[name]
    return array


class RuntimeTerm(nn.Module):
    """R of Eq. 10, calibrated, as a function of the indicators of all layers."""

    differences: Tensor
    decided: Tensor
    before: Tensor
    decides: Tensor

    def __init__(self, model: RuntimeModel) -> None:
        super().__init__()
        self._space = space = model.space
        places = list(zip(space.varying, model.costs, strict=True))
        arrays = [
            torch.stack([telescope(cost_array(space, slot, ms, resolution), 4) for slot, ms in places])
            for resolution in space.resolutions
        ]
        of_places = links(space)
        self.register_buffer("differences", torch.stack(arrays).float())
        self.register_buffer("before", torch.tensor([link.before for link in of_places]))
        self.register_buffer("decides", torch.tensor([link.decides for link in of_places]))
        self.register_buffer("decided", torch.tensor([slot.is_decided for slot in space.varying]))
        self._fixed_ms = model.fixed_ms
        self._calibrated = model.calibration

    def forward(self, decisions: Decisions, resolution: int | None = None) -> Tensor:
        """R in ms: Eq. 10, calibrated; at a resolution (pixels), by default the largest."""
        uses = [decisions.use_width[self.before], decisions.use_width[self.decides]]
        uses += [self._of_all(decisions.use_expansion * decisions.use_layer[:, None]), self._of_all(decisions.use_kernel)]
        differences = self.differences[self._space.resolutions.index(resolution) if resolution else -1]
        sum_ms = eq10_runtime(eq11_eq12_layer_runtimes(differences, uses), self._fixed_ms)
        return self._calibrated.scale * sum_ms + self._calibrated.offset_ms

    def _of_all(self, of_decided: Tensor) -> Tensor:
        """Indicators of all varying places, from those of the decided ones: the others have the first subset alone."""
        if len(of_decided) == len(self.decided):
            return of_decided
        others = of_decided.new_zeros(len(self.decided), of_decided.shape[1])
        others[:, 0] = 1
        return others.masked_scatter(self.decided[:, None], of_decided)


def eq9_loss(cross_entropy: Tensor, runtime_ms: Tensor, runtime_weight: float) -> Tensor:
    """Eq. 9: CE + λ · log R."""
    return cross_entropy + runtime_weight * torch.log(runtime_ms)
