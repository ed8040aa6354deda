"""Activations by their names in `profiling.convolutions`."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from search.convnet.relu6 import relu6_in_place


def activated(x: Tensor, activation: str | None) -> Tensor:
    """Any shape to the same; x may be overwritten, so nothing else may need it. None is linear."""
    match activation:
        case "relu6":
            return relu6_in_place(x)
        case "relu":
            return F.relu(x)
        case "hswish":
            return F.hardswish(x)
        case "hsigmoid":
            return F.hardsigmoid(x)
        case None:
            return x
    raise ValueError(f"no activation is called {activation}")
