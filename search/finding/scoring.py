"""Scores networks with the supernet's weights: cheap, and good for comparing them, but not a final accuracy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from latency_db.runtime_model import RuntimeModel
from profiling.space import Architecture
from search.config import TrainingConfig
from search.convnet.batch_norm import BN_MOMENTUM, BatchNorm
from search.convnet.network import Network
from search.images.batches import held_out_batches, on_device, training_batches
from search.images.data import Data
from search.supernet.supernet import Supernet, extract


@dataclass(frozen=True)
class Score:
    """The score of one network with the supernet's weights.

    Half of the held-out images are for choosing among networks. The best of many looks better on these than it is, so that the
    accuracy of whatever is chosen is that on the other half.

    Attributes:
        architecture: of the network.
        predicted_ms: by the runtime model.
        right: (images,) of bool: whether its first guess is right, for the held-out images in an order that is always the same.
        network: with the supernet's weights and batch norm re-estimated.
    """

    architecture: Architecture
    predicted_ms: float
    right: Tensor
    network: Network

    @property
    def choosing(self) -> Tensor:
        """`right` of the images to choose by: every second one."""
        return self.right[::2]

    @property
    def choosing_accuracy(self) -> float:
        """On the images to choose by, 0 to 1."""
        return float(self.choosing.double().mean())

    @property
    def accuracy(self) -> float:
        """On the images that take no part in choosing, 0 to 1."""
        return float(self.right[1::2].double().mean())


class SideBySide(nn.Module):
    """Networks that see the same images, which are loaded once: (batch, …) to logits (networks, batch, classes)."""

    def __init__(self, networks: Sequence[Network]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, images: Tensor) -> Tensor:
        """As above."""
        return torch.stack([network(images) for network in self.networks])


class Scorer:
    """Scores architectures with a trained supernet's weights, always on the same images.

    Args:
        model: predicts latencies.
        supernet: gives the weights, and says where to compute.
        data: its training images serve batch norm, its held-out images accuracy.
        config: of the run.
        steps: that the supernet was trained for; batch norm sees the batches that would have followed.
        batches: of them.
        most_images: how many held-out images at most; where there are more, they are taken evenly from all.
    """

    def __init__(
        self, model: RuntimeModel, supernet: Supernet, data: Data, config: TrainingConfig,
        *, steps: int, batches: int, most_images: int,
    ) -> None:  # fmt: skip
        self._model, self._supernet, self._data, self._config = model, supernet, data, config
        self._steps = range(steps, steps + batches)
        self._device = next(supernet.parameters()).device
        stride = -(-data.held_out_images // most_images)
        self._indices = range(0, data.held_out_images, stride)

    @property
    def images(self) -> int:
        """The number of held-out images used, for choosing and for the accuracy."""
        return len(self._indices)

    def score(self, architectures: Sequence[Architecture]) -> list[Score]:
        """One score per architecture, in the same order."""
        return self.score_networks(architectures, [extract(self._supernet, architecture) for architecture in architectures])

    def score_networks(self, architectures: Sequence[Architecture], networks: Sequence[Network]) -> list[Score]:
        """The same of networks of these architectures that have weights of their own; their batch norm is re-estimated."""
        if not architectures:
            return []
        together = SideBySide(networks)
        reestimate_batch_norm(together, (images for images, _ in self._training()))
        right = right_guesses(together, self._held_out())
        return [
            Score(architecture, self._model.predict(architecture).total_ms, mine, network)
            for architecture, mine, network in zip(architectures, right, networks, strict=True)
        ]

    def _training(self) -> Iterator[tuple[Tensor, Tensor]]:
        config, steps = self._config, self._steps
        batches = training_batches(self._data, config.batch_size, config.seed, steps.start, steps.stop, config.workers)
        return on_device(batches, self._device)

    def _held_out(self) -> Iterator[tuple[Tensor, Tensor]]:
        config = self._config
        batches = held_out_batches(self._data, config.batch_size, config.workers, self._indices, shared=False)
        return on_device(batches, self._device)


@torch.no_grad()
def reestimate_batch_norm(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replaces running statistics by the plain average over these batches of images.

    The supernet's statistics were gathered under changing decisions and do not fit any network that is derived from it.
    """
    norms = [module for module in network.modules() if isinstance(module, BatchNorm)]
    network.eval()
    for norm in norms:
        norm.train()
    for count, images in enumerate(batches, start=1):
        for norm in norms:
            norm.momentum = 1 / count  # makes the running statistics their plain average
        network(images)
    for norm in norms:
        norm.momentum = BN_MOMENTUM
    network.eval()


@torch.no_grad()
def right_guesses(network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """Whether the class of each image is the network's first guess (top-1).

    Args:
        network: gives logits (…, batch, classes).
        batches: images and labels, on the network's device.

    Returns:
        (…, images) of bool, in the order of the batches, on the CPU.
    """
    network.eval()
    return torch.cat([(network(images).argmax(-1) == labels).cpu() for images, labels in batches], dim=-1)
