"""A trained network as an ONNX file."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import torch

from profiling.errors import ConversionError
from search.convnet.saved import SavedNetwork, deployed_spec
from search.export.card import CARD_NAME, Logits, ModelCard, Pixels, card_of

INPUT, OUTPUT = "images", "logits"


def to_onnx(saved: SavedNetwork, centre_crop: float) -> tuple[bytes, ModelCard]:
    """The content of an ONNX file for any number of images at a time, and the card that stands in it.

    Args:
        saved: the network.
        centre_crop: as in `ModelCard`.

    Raises:
        InputError: this network cannot be exported.
        ConversionError: PyTorch could not convert it, or the result is not valid ONNX.
    """
    import onnx

    deployed_spec(saved)
    card = card_of(saved, "fp32", "NCHW", centre_crop)
    # Two images: a batch of one would become a constant.
    images = torch.zeros(2, card.channels, card.resolution, card.resolution)
    model = _exported(saved, images)
    # Drops the source location of each operator, which includes paths of this machine.
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output, model.graph):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {CARD_NAME: card.to_json()})
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ConversionError(f"not valid ONNX: {error}".splitlines()[0], where=saved.name) from error
    content: bytes = model.SerializeToString(deterministic=True)
    return content, card


def _exported(saved: SavedNetwork, images: torch.Tensor) -> Any:
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    try:
        logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                saved.build(),
                (images,),
                dynamo=True,
                dynamic_shapes=[{0: torch.export.Dim("batch")}],
                input_names=[INPUT],
                output_names=[OUTPUT],
                verbose=False,
            )
    except Exception as error:
        raise ConversionError(f"PyTorch could not convert it: {error}".splitlines()[0], where=saved.name) from error
    finally:
        logger.setLevel(level)
    assert program is not None
    return program.model_proto


class OnnxModel:
    """An ONNX file that is run by ONNX Runtime, many images at a time."""

    def __init__(self, path: Path, card: ModelCard) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        self._card = card
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def logits(self, pixels: Pixels) -> Logits:
        """Of images (images, height, width, channels): (images, classes)."""
        [output] = self._session.run([OUTPUT], {INPUT: self._card.prepare(pixels)})
        return self._card.logits(output)
