"""The last phase of a search: the network that was chosen learns alone, at a learning rate that falls to 0."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from profiling.layers import LayerSpec
from search.config import SearchConfig, falling_rate
from search.convnet.network import Network
from search.fitting import require_weights
from search.training.optimizers import make_optimizer, require_fitting, set_learning_rate
from search.training.simulated_int8 import SimulatedInt8


class Finish:
    """Trains the network found from the supernet's weights.

    Cut out, it costs what it costs alone; and as nothing else is trained with it, its weights end fitted to it.

    Args:
        config: settings of the search.
        steps: of the phase.

    Attributes:
        steps: as given.
        network: that is trained; None before the phase has begun.
        choices: of the network; None before the phase has begun in this run or the one that it continues.
    """

    def __init__(self, config: SearchConfig, steps: int) -> None:
        self._config, self.steps = config, steps
        self._state: dict[str, Any] = {}
        self.network: Network | None = None
        self.choices: tuple[str, ...] | None = None
        self._optimizer: torch.optim.Optimizer | None = None
        self._int8: SimulatedInt8 | None = None

    def begin(self, choices: tuple[str, ...], network: Network) -> None:
        """Takes the network, cut out of the supernet, and continues from a checkpoint if one of this phase was loaded."""
        self.choices, self.network = choices, network
        self._optimizer = self._optimizer_of(network)
        if self._config.trained_for == "int8":
            self._int8 = SimulatedInt8(network)
        if self._state:
            network.load_state_dict(self._state["network"])
            self._optimizer.load_state_dict(self._state["optimizer"])

    def _optimizer_of(self, network: Network) -> torch.optim.Optimizer:
        return make_optimizer("rmsprop", network.parameters(), self._config.rate_at(0), self._config.weight_decay)

    def require_fitting(self, layers: Sequence[LayerSpec | None], classes: int) -> None:
        """Checks that the state of a checkpoint is one of this network.

        Raises:
            ValueError and others of `search.checkpoint.MISFITS`: it is not.
        """
        with torch.device("meta"):
            network = Network(layers, classes)
        require_weights(self._state["network"], network.state_dict())
        require_fitting(self._optimizer_of(network), self._state["optimizer"])

    def loss(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy in nats, for `Engine.backward`; of images (batch, channels, height, width) and labels (batch,)."""
        assert self.network is not None
        self.network.train()
        logits = self.network(images) if self._int8 is None else self._int8(images)
        entropy = cross_entropy(logits.float(), labels, label_smoothing=self._config.label_smoothing)
        return entropy, entropy

    def train_step(self, backward: Callable[[], float], step: int) -> float:
        """One step, the gradients computed by `backward`; returns what that reports."""
        assert self._optimizer is not None
        set_learning_rate(self._optimizer, falling_rate(self._config.rate_at(0), step, self.steps))
        entropy = backward()
        self._optimizer.step()
        return entropy

    def state_dict(self) -> dict[str, Any]:
        """The state for a checkpoint; nothing before the phase has begun."""
        if self.network is None or self.choices is None or self._optimizer is None:
            return self._state
        return {
            "choices": list(self.choices),
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Keeps the state of a checkpoint for `begin`."""
        self._state = state
        self.choices = tuple(state["choices"]) if state else None
