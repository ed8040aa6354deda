"""An export, from the name of a trained network to a file for an app."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import get_args

from profiling.conditions import Precision
from profiling.errors import InputError
from profiling.files import require_file
from profiling.models.builder import TfliteBuilder
from search.convnet.inputs import load_known_images
from search.convnet.named import Name, find_trained
from search.convnet.saved import SavedNetwork
from search.export.export import DEFAULTS, Export, ExportOptions, Format, write_export
from search.images.options import ImageOptions
from search.listener import SILENT, Listener
from search.runs.framing import compare_framings


def export(
    network: SavedNetwork | Name,
    target: str | os.PathLike[str],
    data: str | os.PathLike[str] | None = None,
    *,
    precision: Precision = "fp32",
    to: Format | None = None,
    options: ExportOptions = DEFAULTS,
    listener: Listener = SILENT,
) -> Export:
    """Writes a trained network as a TFLite or ONNX file, which is kept only if it agrees with the network.

    Args:
        network: a network in memory, its file, or the run it comes from.
        target: the file to write; an existing one is replaced.
        data: the data set that it was trained on, to compare file and network on, and to estimate int8 ranges on; None takes
            random pixels.
        precision: of the weights, `fp32` for ONNX; `int8` also quantises activations, input and output.
        to: the format; None takes it from the suffix of the file.
        options: of the comparison and of the ranges.
        listener: follows the progress.

    Raises:
        InputError: this network cannot be exported, or not in this form, or the file cannot be written.
        ConversionError: it could not be converted, or the result does not agree with the network.
    """
    target = Path(target)
    to = _format(target) if to is None else to
    require_file(target, [f".{to}"])
    saved = network if isinstance(network, SavedNetwork) else find_trained(network)
    using = ImageOptions(framing=options.framing)
    images = None if data is None else load_known_images(saved, os.fspath(data), options.seed, using)
    with TfliteBuilder(workers=1) as builder:
        written = write_export(saved, target, to, precision, builder, images, options, listener)
    if images is None:
        return written
    return replace(written, framings=compare_framings(saved, images, options.check_images, options.workers, listener))


def _format(target: Path) -> Format:
    for known in get_args(Format):
        if target.suffix == f".{known}":
            return known  # type: ignore[no-any-return]
    raise InputError("the name of an exported file ends in .tflite or .onnx", where=str(target))
