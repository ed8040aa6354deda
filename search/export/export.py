"""From a trained network to a file for an app, which is kept only if it agrees with the network."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from profiling.conditions import Precision
from profiling.errors import ConversionError, InputError
from profiling.files import written_whole
from profiling.models.builder import TfliteBuilder
from search.convnet.saved import MEAN, STD, SavedNetwork
from search.export.card import WHITE, Logits, ModelCard, Pixels
from search.export.onnx_file import OnnxModel, to_onnx
from search.export.tflite_file import TfliteModel, to_tflite
from search.images.batches import held_out_batches, training_batches
from search.images.data import Data
from search.listener import SILENT, Listener

Format = Literal["tflite", "onnx"]
BATCH = 64
# A rare class is searched for among this many times the images needed, no further.
SEARCH_FACTOR = 20


@dataclass(frozen=True)
class Bound:
    """Bounds for an exported model. A share of the images is at least one image, unless it is 0.

    Attributes:
        largest_difference: of any logit.
        other_guesses: share of images with another first guess than the network's, 0 to 1.
        top1_loss: by how much its accuracy may fall, as a share of the images.
    """

    largest_difference: float
    other_guesses: float
    top1_loss: float


BOUNDS: dict[Precision, Bound] = {
    "fp32": Bound(1e-3, 0.0, 0.0),
    "fp16": Bound(0.1, 0.01, 0.005),
    # In 8 bits single logits move far; what counts is the predicted class.
    "int8": Bound(math.inf, 0.1, 0.01),
}


@dataclass(frozen=True)
class ExportCheck:
    """The network and its export on the same images.

    Attributes:
        images: how many.
        largest_difference: of any logit.
        top1_agreement: share of images with the same first guess, 0 to 1.
        top1, top1_exported: accuracy of each, 0 to 1; None for images without labels.
    """

    images: int
    largest_difference: float
    top1_agreement: float
    top1: float | None
    top1_exported: float | None

    def require(self, precision: Precision, where: str) -> None:
        """Checks that the export agrees with the network.

        Raises:
            ConversionError: it does not agree within the bounds of its precision.
        """
        bound = BOUNDS[precision]
        faults = []
        # Written with `not` so that NaN is a fault too.
        if not self.largest_difference <= bound.largest_difference:
            faults.append(f"a logit differs by {self.largest_difference:.3g}, more than {bound.largest_difference:g}")
        if self._exceeds(1 - self.top1_agreement, bound.other_guesses):
            faults.append(f"{self.top1_agreement:.2%} of the top-1 classes agree, less than {1 - bound.other_guesses:.0%}")
        if self.top1 is not None and self.top1_exported is not None:
            loss = self.top1 - self.top1_exported
            if self._exceeds(loss, bound.top1_loss):
                faults.append(f"top-1 falls by {loss * 100:.2f} points, more than {bound.top1_loss * 100:g}")
        if faults:
            problem = f"the {precision} model does not agree with the network: {'; '.join(faults)}"
            raise ConversionError(problem, where=where, hint="nothing was written")

    def _exceeds(self, share: float, bound: float) -> bool:
        return round(share * self.images) > (max(1.0, bound * self.images) if bound else 0)


class Model(Protocol):
    """An exported file that can be run."""

    def logits(self, pixels: Pixels) -> Logits:
        """Of images (images, height, width, channels): (images, classes)."""


@dataclass(frozen=True)
class Export:
    """The result of an export.

    Attributes:
        file: where it is.
        size_bytes: of the file.
        card: its description for an app.
        check: of the file against the network.
    """

    file: Path
    size_bytes: int
    card: ModelCard
    check: ExportCheck


@dataclass(frozen=True)
class ExportOptions:
    """The options of an export.

    Attributes:
        representative_images: how many to estimate ranges on for `int8`, from the training images, as many of each class.
        check_images: at most so many held-out (or random) images to compare on.
        seed: of the split of the images, of the order in which representative ones are taken, and of random pixels.
        workers: processes that load images; 0 loads them in the main process.
    """

    representative_images: int = 200
    check_images: int = 1000
    seed: int = 0
    workers: int = 0


DEFAULTS = ExportOptions()


def write_export(
    saved: SavedNetwork,
    target: Path,
    to: Format,
    precision: Precision,
    builder: TfliteBuilder,
    data: Data | None,
    options: ExportOptions = DEFAULTS,
    listener: Listener = SILENT,
) -> Export:
    """Writes a network as a file for an app, after comparing the two.

    Args:
        saved: the network.
        target: the file; one that is there is replaced.
        to: the format.
        precision: of the weights, `fp32` for ONNX; `int8` has activations, input and output in 8 bits too.
        builder: converts to TFLite.
        data: images to compare on, and for `int8` to estimate ranges on; random pixels to compare on when None.
        options: of the comparison and of the ranges.
        listener: told the current stage, and how many images have been compared.

    Raises:
        InputError: this network cannot be exported, or not in this form, or the file cannot be written.
        ConversionError: it could not be converted, or the result does not agree with the network.
    """
    if to == "onnx" and precision != "fp32":
        raise InputError(f"ONNX is written in fp32 only, not in {precision}", where=saved.name)
    if precision == "int8" and data is None:
        raise InputError("int8 needs images to estimate ranges on", where=saved.name, hint="add --data NAME|FOLDER")
    crop = 1.0 if data is None else data.centre_crop
    with written_whole(target) as partial:
        pixels = None
        if precision == "int8" and data is not None:
            listener.note("Loading images to estimate ranges on …")
            pixels = representative_pixels(data, options.representative_images, options.seed, options.workers)
        ranges = "" if pixels is None else f", ranges from {len(pixels)} images"
        listener.note(f"Converting to {to}, {precision}{ranges} …")
        content, card = to_onnx(saved, crop) if to == "onnx" else to_tflite(saved, builder, precision, crop, pixels)
        partial.write_bytes(content)
        listener.note("Comparing with the network …")
        model = OnnxModel(partial, card) if to == "onnx" else TfliteModel(partial, card)
        check = check_export(saved, model, *_check_batches(card, data, options), listener)
        check.require(precision, where=str(target))
    return Export(target, len(content), card, check)


def representative_pixels(data: Data, count: int, seed: int, workers: int = 0) -> Pixels:
    """Training images (images, height, width, channels), as many of each class as far as the data allows.

    Raises:
        InputError: an image cannot be read.
    """
    count = min(count, data.train_images)
    batch = min(BATCH, data.train_images)
    steps = min(data.train_images // batch, math.ceil(count * SEARCH_FACTOR / batch))
    quota = math.ceil(count / len(data.classes))
    taken: list[Pixels] = []
    spare: list[Pixels] = []
    of_class: Counter[int] = Counter()
    for images, labels in training_batches(data, batch, seed, 0, steps, workers):
        for image, label in zip(_pixels(images), labels.tolist(), strict=True):
            fits = of_class[label] < quota
            of_class[label] += fits
            # The list is never longer than what it may have to fill up.
            (taken if fits else spare).append(image)
            del spare[count:]
        if len(taken) >= count:
            break
    return np.stack((taken + spare)[:count])


def _check_batches(
    card: ModelCard, data: Data | None, options: ExportOptions
) -> tuple[int, Iterator[tuple[Pixels, Tensor | None]]]:
    """How many images, and batches of them with their labels."""
    count = options.check_images
    if data is not None:
        # The classes follow one another.
        most = min(count, data.held_out_images)
        batches = held_out_batches(data, BATCH, options.workers, [index * data.held_out_images // most for index in range(most)])
        return most, ((_pixels(images), labels) for images, labels in batches)
    generator = np.random.default_rng(options.seed % 2**64)
    shape = (card.resolution, card.resolution, card.channels)
    sizes = [min(BATCH, count - first) for first in range(0, count, BATCH)]
    return count, ((generator.integers(0, WHITE + 1, (size, *shape), np.uint8), None) for size in sizes)


def _pixels(images: Tensor) -> Pixels:
    """Images as networks are trained on, (images, channels, height, width), as the 8-bit pixels that they were made from."""
    values = (images * STD + MEAN) * WHITE
    pixels: Pixels = values.round().clamp(0, WHITE).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    return pixels


@torch.no_grad()
def check_export(
    saved: SavedNetwork,
    model: Model,
    total: int,
    batches: Iterator[tuple[Pixels, Tensor | None]],
    listener: Listener = SILENT,
) -> ExportCheck:
    """Runs the network and its export on the same 8-bit pixels.

    Args:
        saved: the network.
        model: its export.
        total: how many images there are.
        batches: of them, with their labels, if any.
        listener: told how many have been compared.
    """
    network = saved.build().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = agree = right = right_exported = 0
    labelled = True
    largest = 0.0
    listener.begin(0, total)
    for pixels, labels in batches:
        x = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / WHITE - MEAN) / STD
        expected, exported = network(x), torch.from_numpy(model.logits(pixels))
        difference = float((expected - exported).abs().max())
        largest = difference if math.isnan(difference) else max(largest, difference)
        guess, guess_exported = expected.argmax(1), exported.argmax(1)
        agree += int((guess == guess_exported).sum())
        if labels is None:
            labelled = False
        else:
            right += int((guess == labels).sum())
            right_exported += int((guess_exported == labels).sum())
        images += len(pixels)
        listener.progress(images, total, "")
    listener.end()
    return ExportCheck(
        images=images,
        largest_difference=largest,
        top1_agreement=agree / images,
        top1=right / images if labelled else None,
        top1_exported=right_exported / images if labelled else None,
    )
