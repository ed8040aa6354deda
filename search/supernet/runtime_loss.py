"""The runtime term of the loss: Eq. 9 to 12 on a latency table."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from latency_db.runtime_model import RuntimeModel
from profiling.space import SearchSpace
from search.supernet.supernet import Decisions


def eq11_eq12_layer_runtimes(differences: Tensor, decisions: Decisions) -> Tensor:
    """R^i of each layer in ms, differentiable in its indicators. (layers,).

    Eq. 11 and 12 of the paper scale the runtime of the largest kernel by one ratio per layer, which misses the table for small
    ratios with small kernels. This is the same construction in both directions at once: each subset adds the difference that it
    makes to the table, so that R of hard decisions is exactly the table's entry.

    Args:
        differences: (layers, expansions, kernels), see `telescope`.
        decisions: the indicators of Eq. 2 and 3.
    """
    uses = decisions.use_expansion[:, :, None] * decisions.use_kernel[:, None, :]
    return decisions.use_layer * (differences * uses).sum((1, 2))


def eq10_runtime(layer_runtimes: Tensor, fixed_ms: float) -> Tensor:
    """Eq. 10: R = Σ R^i, plus the layers that are the same in every network. In ms, a scalar."""
    return fixed_ms + layer_runtimes.sum()


def telescope(costs: Tensor) -> Tensor:
    """What each subset adds: the second differences of a layer's latencies in ms, (expansions, kernels) to the same shape."""
    zero_row, zero_column = costs.new_zeros(1, costs.shape[1]), costs.new_zeros(costs.shape[0], 1)
    by_expansion = torch.diff(costs, dim=0, prepend=zero_row)
    return torch.diff(by_expansion, dim=1, prepend=zero_column)


def cost_matrix(space: SearchSpace, costs: Mapping[str, float]) -> Tensor:
    """The latencies of one layer's choices in ms: (expansions, kernels)."""
    matrix = torch.zeros(len(space.expansions), len(space.kernels), dtype=torch.float64)
    for name, ms in costs.items():
        choice = space.choices_by_name[name]
        if choice.expansion:
            matrix[space.expansions.index(choice.expansion), space.kernels.index(choice.kernel)] = ms
    return matrix


class RuntimeTerm(nn.Module):
    """R of Eq. 10, calibrated, as a function of the indicators of all layers."""

    differences: Tensor

    def __init__(self, model: RuntimeModel) -> None:
        super().__init__()
        matrices = [telescope(cost_matrix(model.space, costs)) for costs in model.costs]
        self.register_buffer("differences", torch.stack(matrices).float())
        self._fixed_ms = model.fixed_ms
        self._calibrated = model.calibration

    def forward(self, decisions: Decisions) -> Tensor:
        """R in ms: Eq. 10, calibrated."""
        sum_ms = eq10_runtime(eq11_eq12_layer_runtimes(self.differences, decisions), self._fixed_ms)
        return self._calibrated.scale * sum_ms + self._calibrated.offset_ms


def eq9_loss(cross_entropy: Tensor, runtime_ms: Tensor, runtime_weight: float) -> Tensor:
    """Eq. 9: CE + λ · log R."""
    return cross_entropy + runtime_weight * torch.log(runtime_ms)
