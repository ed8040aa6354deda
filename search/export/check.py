"""Whether an exported file computes what the network computes, on the same images."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from profiling.conditions import Precision
from profiling.errors import InputError
from search.convnet.saved import MEAN, STD, SavedNetwork
from search.export.card import WHITE, ModelCard, Outputs, Pixels
from search.listener import SILENT, Listener
from search.paired import Paired

# Two classes are equally likely to a network that gives them probabilities no further apart: which comes first is rounding.
TIE = 1e-3
# Of logits, beyond which the spread does not matter: it moves no probability by more than half of it.
NEGLIGIBLE = 1e-4
# Log-probabilities below it are taken as this one: 32 bits hold no much smaller probability.
LEAST = -69.0


@dataclass(frozen=True)
class Bound:
    """Bounds for an exported model. A share of the images is at least one image, unless it is 0.

    Attributes:
        logit: difference of any logit, as a share of the spread of the logits.
        probability: difference of the probabilities of an image, on average over the images.
        other_guesses: share of images with another first guess than the network's, 0 to 1.
        top1_drop: points of accuracy that it may lose.
    """

    logit: float
    probability: float
    other_guesses: float
    top1_drop: float


BOUNDS: dict[Precision, Bound] = {
    "fp32": Bound(1e-3, 1e-3, 0.0, 0.0),
    "fp16": Bound(0.1, 0.03, 0.01, 0.5),
    # In 8 bits single logits move far; what counts is the predicted class.
    "int8": Bound(math.inf, 0.1, 0.1, 1.0),
}


def bound_for(precision: Precision, accept_drop: float | None) -> Bound:
    """The bounds of a precision; a drop in accuracy that the user accepts, in points, takes the place of those on guesses.

    In 8 bits it also takes that of the bound on probabilities, which move with the guesses.
    """
    bound = BOUNDS[precision]
    if accept_drop is None:
        return bound
    probability = math.inf if precision == "int8" else bound.probability
    return replace(bound, probability=probability, other_guesses=1.0, top1_drop=accept_drop)


@dataclass(frozen=True)
class ExportCheck:
    """The network and its export on the same images.

    Attributes:
        images: how many.
        spread: of the network's logits: their standard deviation within an image.
        largest_difference: of any logit, but for what all logits of an image share, which changes no probability; None
            for probabilities in 8 bits, which are too coarse.
        probability_difference: of the class whose probability differs most, on average over the images.
        top1_agreement: share of images with the same first guess, or another that the network finds as likely, 0 to 1.
        guesses: which of them are right; None for images without labels.
    """

    images: int
    spread: float
    largest_difference: float | None
    probability_difference: float
    top1_agreement: float
    guesses: Paired | None

    @property
    def top1(self) -> float | None:
        """Accuracy of the network, 0 to 1; None for images without labels."""
        return None if self.guesses is None else self.guesses.first

    @property
    def top1_exported(self) -> float | None:
        """Accuracy of the export, 0 to 1; None for images without labels."""
        return None if self.guesses is None else self.guesses.second

    def faults(self, bound: Bound) -> list[str]:
        """What lies outside the bounds, in words with figures; empty where the export agrees with the network."""
        found = []
        # Written with `not` so that NaN is a fault too.
        most = max(bound.logit * self.spread, NEGLIGIBLE)
        if self.largest_difference is not None and not self.largest_difference <= most:
            of_what = f"{bound.logit:.2g} of the spread of the logits, {self.spread:.3g}"
            found.append(f"a logit differs by {self.largest_difference:.3g}, more than {most:.3g} ({of_what})")
        if not self.probability_difference <= bound.probability:
            figures = f"{self.probability_difference:.2g} on average, more than {bound.probability:g}"
            found.append(f"the probabilities of an image differ by {figures}")
        if self._exceeds(1 - self.top1_agreement, bound.other_guesses):
            found.append(f"{self.top1_agreement:.2%} of the top-1 classes agree, less than {1 - bound.other_guesses:.0%}")
        if self.guesses is not None and self._exceeds(self.guesses.drop / 100, bound.top1_drop / 100):
            drop = f"{self.guesses.drop:.2f} points, more than {bound.top1_drop:g}"
            found.append(f"top-1 falls by {drop} ({self.guesses.interval_in_words})")
        return found

    def _exceeds(self, share: float, bound: float) -> bool:
        return round(share * self.images) > (max(1.0, bound * self.images) if bound else 0)


class Model(Protocol):
    """An exported file that can be run."""

    def outputs(self, pixels: Pixels) -> Outputs:
        """Of images (images, height, width, channels): logits or probabilities (images, classes)."""


@torch.no_grad()
def check_export(
    saved: SavedNetwork,
    model: Model,
    card: ModelCard,
    total: int,
    batches: Iterator[tuple[Pixels, Tensor | None]],
    listener: Listener = SILENT,
) -> ExportCheck:
    """Runs the network and its export on the same 8-bit pixels.

    Args:
        saved: the network.
        model: its export.
        card: of the export.
        total: how many images there are.
        batches: of them, with their labels, if any.
        listener: told how many have been compared.

    Raises:
        InputError: the network itself gives no finite numbers.
    """
    network = saved.build().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    parts: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    right: list[tuple[Tensor, Tensor]] = []
    listener.begin(0, total)
    for pixels, labels in batches:
        x = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / WHITE - MEAN) / STD
        expected, exported = network(x), torch.from_numpy(model.outputs(pixels))
        if not expected.isfinite().all():
            raise InputError("the network's own outputs are not finite numbers: its training failed", where=saved.name)
        parts.append(_compared(expected, exported, card))
        if labels is not None:
            right.append((expected.argmax(1) == labels, exported.argmax(1) == labels))
        listener.progress(sum(len(part[0]) for part in parts), total, "")
    listener.end()
    variance, logit, probability, same = (torch.cat(each) for each in zip(*parts, strict=True))
    return ExportCheck(
        images=len(same),
        spread=float(variance.mean().sqrt()),
        largest_difference=None if card.use.gives == "probabilities" and card.precision == "int8" else float(logit.max()),
        probability_difference=float(probability.mean()),
        top1_agreement=float(same.double().mean()),
        guesses=paired(*(torch.cat(each) for each in zip(*right, strict=True))) if right else None,
    )


def _compared(expected: Tensor, exported: Tensor, card: ModelCard) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of each image: variance of its logits, largest difference of a logit and of a probability, and whether the guess agrees."""
    expected, exported = expected.double(), exported.double()
    exported = exported.where(exported.isfinite(), math.nan)
    logs = expected.log_softmax(1)
    if card.use.gives == "probabilities":
        others, logs = exported.clamp_min(math.exp(LEAST)).log(), logs.clamp_min(LEAST)
    else:
        others = exported.log_softmax(1)
    difference, probabilities = others - logs, logs.exp()
    likely = probabilities.gather(1, exported.argmax(1, keepdim=True))[:, 0]
    return (
        expected.var(1, correction=0),
        # The least that the largest one can be made by adding something to all of them.
        (difference.amax(1) - difference.amin(1)) / 2,
        (others.exp() - probabilities).abs().amax(1),
        probabilities.amax(1) - likely <= TIE,
    )


def paired(first: Tensor, second: Tensor) -> Paired:
    """Two ways of guessing, from whether each guesses each image right, (images,) of bool."""
    lost, gained = first & ~second, second & ~first
    return Paired(len(first), int(first.sum()), int(lost.sum()), int(gained.sum()))
