"""First guesses of a network, after its batch-norm statistics have been estimated anew."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from search.network import BN_MOMENTUM, BatchNorm


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
