"""Distillation: a training learns what a larger network says about each image, besides the label (Hinton et al. 2015)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate, kl_div, log_softmax

from profiling.errors import InputError
from profiling.layers import LayerSpec
from search.convnet.inputs import require_classes
from search.convnet.saved import SavedNetwork
from search.training.recipe import Distillation


def soft_loss(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T² · KL(teacher ‖ network), both softened by T (Hinton et al. 2015, section 2): a mean over the images, in nats.

    Args:
        logits, teacher: of the network and of its teacher (batch, classes).
        temperature: T.
    """
    mine, theirs = (log_softmax(each.float() / temperature, dim=1) for each in (logits, teacher))
    return temperature**2 * kl_div(mine, theirs, reduction="batchmean", log_target=True)


class Teacher:
    """A trained network that another one learns from. It does not learn itself.

    Args:
        saved: the teacher.
        stem: first layer of the network that learns from it.
        classes: of the images.
        settings: α and T.
        device: where to compute.
        where: the teacher's file, for errors.

    Raises:
        InputError: it knows other classes, or takes images of other channels.
    """

    def __init__(
        self,
        saved: SavedNetwork,
        stem: LayerSpec,
        classes: tuple[str, ...],
        settings: Distillation,
        device: torch.device,
        where: str,
    ) -> None:
        require_classes(saved, classes, where)
        first = saved.present_layers[0]
        if first.in_channels != stem.in_channels:
            raise InputError(
                f"the teacher takes images of {first.in_channels} channels, the network those of {stem.in_channels}", where=where
            )
        self._resolution, self._settings = first.resolution, settings
        self._network = saved.build().requires_grad_(False).to(device)

    def teach(self, label_loss: Tensor, logits: Tensor, images: Tensor) -> Tensor:
        """(1 − α) · `label_loss` + α · `soft_loss`.

        Args:
            label_loss: cross-entropy with the labels.
            logits: what the network says (batch, classes) about
            images: as the network saw them (batch, channels, height, width); resized to the teacher's resolution.
        """
        with torch.no_grad():
            if images.shape[-1] != self._resolution:
                images = interpolate(images, size=self._resolution, mode="bilinear", antialias=True)
            theirs = self._network(images)
        weight = self._settings.weight
        return (1 - weight) * label_loss + weight * soft_loss(logits, theirs, self._settings.temperature)
