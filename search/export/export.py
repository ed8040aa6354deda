"""From a trained network to a file for an app, which is kept only if it agrees with the network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from profiling.conditions import Precision
from profiling.errors import InputError
from profiling.files import written_whole
from profiling.models.builder import TfliteBuilder
from search.convnet.saved import SavedNetwork
from search.export.card import ModelCard, Use
from search.export.check import ExportCheck, bound_for, check_export
from search.export.onnx_file import OnnxModel, to_onnx
from search.export.pixels import held_out_pixels, random_pixels, representative_pixels
from search.export.refusal import Attempt, refusal
from search.export.tflite_file import TfliteModel, to_tflite
from search.images.data import Data
from search.images.framing import Framing, centre_crop
from search.listener import SILENT, Listener
from search.paired import Paired

Format = Literal["tflite", "onnx"]


@dataclass(frozen=True)
class Export:
    """The result of an export.

    Attributes:
        file: where it is.
        size_bytes: of the file.
        card: its description for an app.
        check: of the file against the network.
        framings: the network's guesses in the framing of the file and, second, in the other one; None where they do not differ.
    """

    file: Path
    size_bytes: int
    card: ModelCard
    check: ExportCheck
    framings: Paired | None = None


@dataclass(frozen=True)
class ExportOptions:
    """The options of an export.

    Attributes:
        representative_images: how many to estimate ranges on for `int8`, from the training images, as many of each class.
        check_images: at most so many held-out (or random) images to compare on.
        seed: of the split of the images, of the order in which representative ones are taken, and of random pixels.
        workers: processes that load images; 0 loads them in the main process.
        framing: of photos, in the comparison and in the app; None for that of the network.
        softmax: whether the file gives probabilities in place of logits.
        accept_drop: points of accuracy that the file may lose, 0 to 100; None for the bound of its precision.
    """

    representative_images: int = 200
    check_images: int = 1000
    seed: int = 0
    workers: int = 0
    framing: Framing | None = None
    softmax: bool = False
    accept_drop: float | None = None


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
        data: images to compare on, and for `int8` to estimate ranges on, framed as the options say; random pixels to compare on
            when None.
        options: of the comparison, of the ranges, and of the file.
        listener: told the current stage, and how many images have been compared.

    Raises:
        InputError: this network cannot be exported, or not in this form, or the file cannot be written.
        ConversionError: it could not be converted, or the result does not agree with the network.
    """
    _check_options(saved, to, precision, data, options)
    use = _use(saved, data, options)
    with written_whole(target) as partial:
        pixels = None
        if precision == "int8" and data is not None:
            if saved.trained_for == "int8":
                listener.note("The network was trained for int8.")
            listener.note("Loading images to estimate ranges on …")
            pixels = representative_pixels(data, options.representative_images, options.seed, options.workers)
        ranges = "" if pixels is None else f", ranges from {len(pixels)} images"
        listener.note(f"Converting to {to}, {precision}{ranges} …")
        content, card = to_onnx(saved, use) if to == "onnx" else to_tflite(saved, builder, precision, use, pixels)
        partial.write_bytes(content)
        listener.note("Comparing with the network …")
        model = OnnxModel(partial, card) if to == "onnx" else TfliteModel(partial, card)
        check = _check(saved, model, card, data, options, listener)
        bound = bound_for(precision, options.accept_drop)
        if faults := check.faults(bound):
            raise refusal(faults, check, bound, Attempt(saved, target, precision, content, data, pixels), listener)
    return Export(target, len(content), card, check)


def _check_options(saved: SavedNetwork, to: Format, precision: Precision, data: Data | None, options: ExportOptions) -> None:
    if to == "onnx" and precision != "fp32":
        raise InputError(f"ONNX is written in fp32 only, not in {precision}", where=saved.name)
    if precision == "int8" and data is None:
        raise InputError("int8 needs images to estimate ranges on", where=saved.name, hint="add --data NAME|FOLDER")
    if options.accept_drop is not None and not 0 <= options.accept_drop <= 100:
        raise InputError("the points of accuracy that a file may lose are from 0 to 100", where=f"{options.accept_drop:g}")
    if options.accept_drop is not None and data is None:
        hint = "add --data NAME|FOLDER"
        raise InputError("without images nobody knows how far the accuracy falls", where="--accept-drop", hint=hint)


def _use(saved: SavedNetwork, data: Data | None, options: ExportOptions) -> Use:
    framing = options.framing or saved.framing
    if data is not None:
        crop = data.framed(framing).centre_crop
    elif framing == saved.framing:
        crop = saved.centre_crop or 1.0
    else:
        crop = centre_crop(framing, saved.present_layers[0].resolution)
    return Use(framing, crop, "probabilities" if options.softmax else "logits")


def _check(
    saved: SavedNetwork,
    model: OnnxModel | TfliteModel,
    card: ModelCard,
    data: Data | None,
    options: ExportOptions,
    listener: Listener,
) -> ExportCheck:
    most = options.check_images
    if data is None:
        return check_export(saved, model, card, most, random_pixels(card, most, options.seed), listener)
    batches = held_out_pixels(data.framed(card.use.framing), most, options.workers)
    return check_export(saved, model, card, min(most, data.held_out_images), batches, listener)
