"""Activations by their names in `profiling.convolutions`."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from search.convnet.relu6 import relu6_in_place


class Activation(nn.Module):
    """An activation by its name; None is linear.

    Attributes:
        name: as above.
    """

    def __init__(self, name: str | None) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same; x may be overwritten, so nothing else may need it."""
        match self.name:
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
        raise ValueError(f"no activation is called {self.name}")
