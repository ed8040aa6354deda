"""The moving average of a network's weights, more accurate than the weights of any single step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def average_decay(decay: float, steps: int) -> float:
    """Weight of the past after this many averaged steps: `decay`, but less at first, so that a short run is averaged too."""
    return min(decay, (1 + steps) / (10 + steps))


def averaged_model(network: nn.Module, decay: float) -> AveragedModel:
    """The average of a network over its training, updated after every step by `update_parameters`.

    Batch-norm statistics are averaged with their weights, as the authors do.
    """

    def move(average: Any, present: Any, steps: Tensor | int) -> None:
        torch._foreach_lerp_(average, present, 1 - average_decay(decay, int(steps)))

    return AveragedModel(network, multi_avg_fn=torch.no_grad()(move), use_buffers=True)
