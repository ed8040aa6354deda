"""Accuracy of networks: top-1 and top-5, on all images and on each class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from search import processes

MANY = 5


@dataclass(frozen=True)
class Accuracy:
    """A network's accuracy on some images, as counts.

    Attributes:
        images: of each class.
        first: those of them whose class is the network's first guess.
        five: those of them whose class is among its first five.
    """

    images: tuple[int, ...]
    first: tuple[int, ...]
    five: tuple[int, ...]

    @property
    def top1(self) -> float:
        """Share of images whose class is the first guess, 0 to 1."""
        return sum(self.first) / sum(self.images)

    @property
    def top5(self) -> float | None:
        """Share of images whose class is among the first five guesses, 0 to 1; None for five classes or fewer."""
        return sum(self.five) / sum(self.images) if len(self.images) > MANY else None

    @property
    def top1_by_class(self) -> tuple[float | None, ...]:
        """`top1` of the images of each class, None where there are none."""
        return tuple(right / total if total else None for right, total in zip(self.first, self.images, strict=True))


@torch.no_grad()
def accuracies(networks: Sequence[nn.Module], batches: Iterable[tuple[Tensor, Tensor]], classes: int) -> tuple[Accuracy, ...]:
    """The accuracy of several networks on the same images, which are read once; over the images of all processes.

    Args:
        networks: to logits (batch, classes); they are left in evaluation mode.
        batches: images and labels, where the networks are.
        classes: how many.
    """
    counts = torch.zeros(len(networks), 3, classes, dtype=torch.long, device=processes.state().device)
    for network in networks:
        network.eval()
    for images, labels in batches:
        for index, network in enumerate(networks):
            guessed = network(images).topk(min(MANY, classes)).indices == labels[:, None]
            rows = torch.stack([torch.ones_like(labels), guessed[:, 0].long(), guessed.any(1).long()])
            counts[index].index_add_(1, labels.to(counts.device), rows.to(counts.device))
    processes.add_up([counts])
    return tuple(Accuracy(*(tuple(row) for row in count)) for count in counts.tolist())
