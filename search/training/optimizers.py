"""How weights and thresholds are trained, and the weight λ of the runtime term."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import nn


def make_optimizer(
    name: Literal["rmsprop", "sgd", "adamw"], weights: Iterable[nn.Parameter], learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """An optimizer by name; batch norm and biases do not decay."""
    weights = list(weights)
    groups: list[dict[str, Any]] = [
        {"params": [parameter for parameter in weights if parameter.dim() > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in weights if parameter.dim() <= 1], "weight_decay": 0.0},
    ]
    match name:
        case "rmsprop":
            # TensorFlow adds its ε of 0.001 below the root, PyTorch beside it.
            return torch.optim.RMSprop(groups, lr=learning_rate, alpha=0.9, momentum=0.9, eps=math.sqrt(1e-3))
        case "sgd":
            return torch.optim.SGD(groups, lr=learning_rate, momentum=0.9, nesterov=True)
        case "adamw":
            return torch.optim.AdamW(groups, lr=learning_rate)
