"""Training of the thresholds, and the weight λ of the runtime term."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from search.fitting import require_number

# Weight of the past in the common scale of the thresholds' gradients.
SCALE_DECAY = 0.98
SMALLEST_SCALE = 1e-30


class ThresholdDescent:
    """Gradient descent on the thresholds with one scale for all: the running root mean square of all their gradients.

    Each threshold moves in proportion to its own gradient, so the benefit and the cost of a subset add up over the
    steps; an optimizer with a scale for each parameter would move all of them alike. The common scale makes the step size
    independent of network, data and batch.
    """

    def __init__(self, thresholds: Sequence[nn.Parameter], learning_rate: float) -> None:
        self._thresholds = [threshold for threshold in thresholds if threshold.numel()]
        self._learning_rate = learning_rate
        self._mean_square = 0.0

    @torch.no_grad()
    def step(self) -> None:
        """Moves every threshold down its gradient."""
        gradients = {threshold: threshold.grad for threshold in self._thresholds if threshold.grad is not None}
        present = torch.cat([gradient.flatten() for gradient in gradients.values()]).square().mean().item()
        self._mean_square = SCALE_DECAY * (self._mean_square or present) + (1 - SCALE_DECAY) * present
        rate = self._learning_rate / max(math.sqrt(self._mean_square), SMALLEST_SCALE)
        for threshold, gradient in gradients.items():
            threshold.sub_(gradient, alpha=rate)

    def state_dict(self) -> dict[str, Any]:
        """The state for a checkpoint."""
        return {"mean_square": self._mean_square}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a checkpoint."""
        require_number(state["mean_square"], 0)
        self._mean_square = state["mean_square"]


class RuntimeWeight:
    """λ of Eq. 9: fixed, or adapted so that R reaches the target.

    With a target, Eq. 9 becomes the augmented Lagrangian of "least CE with log R = log target": λ = μ + ρ · log(R / target),
    with the multiplier μ growing by a share of the distance at every step.

    Args:
        fixed: λ; or
        target_ms: latency to reach, in ms.
    """

    PENALTY = 1.0
    GAIN = 0.02

    def __init__(self, fixed: float | None, target_ms: float | None) -> None:
        self._target_ms = target_ms
        self._multiplier = fixed or 0.0

    def at(self, runtime_ms: float) -> float:
        """λ at this R, in ms; with a target, it also updates μ."""
        if self._target_ms is None:
            return self._multiplier
        distance = math.log(runtime_ms / self._target_ms)
        self._multiplier += self.GAIN * distance
        return self._multiplier + self.PENALTY * distance

    def state_dict(self) -> dict[str, Any]:
        """The state for a checkpoint."""
        return {"multiplier": self._multiplier}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a checkpoint."""
        require_number(state["multiplier"])
        if self._target_ms is None and state["multiplier"] != self._multiplier:
            raise ValueError(f"λ is {state['multiplier']:g}, not the {self._multiplier:g} of the settings")
        self._multiplier = state["multiplier"]
