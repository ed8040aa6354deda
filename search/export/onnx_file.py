"""A trained network as an ONNX file."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from profiling.errors import ConversionError
from search.convnet.saved import SavedNetwork, deployed_spec
from search.export.card import CARD_NAME, ModelCard, Outputs, Pixels, Use, card_of

INPUT = "images"


def to_onnx(saved: SavedNetwork, use: Use) -> tuple[bytes, ModelCard]:
    """The content of an ONNX file for any number of images at a time, and the card that stands in it.

    Args:
        saved: the network.
        use: of the model.

    Raises:
        InputError: this network cannot be exported.
        ConversionError: PyTorch could not convert it, or the result is not valid ONNX.
    """
    import onnx

    deployed_spec(saved)
    card = card_of(saved, "fp32", "NCHW", use)
    # Two images: a batch of one would become a constant.
    images = torch.zeros(2, card.channels, card.resolution, card.resolution)
    model = _exported(saved, images, use)
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


def _exported(saved: SavedNetwork, images: torch.Tensor, use: Use) -> Any:
    network = saved.build()
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    try:
        logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                network if use.gives == "logits" else nn.Sequential(network, nn.Softmax(1)).eval(),
                (images,),
                dynamo=True,
                dynamic_shapes=[{0: torch.export.Dim("batch")}],
                input_names=[INPUT],
                output_names=[use.gives],
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

    def outputs(self, pixels: Pixels) -> Outputs:
        """Of images (images, height, width, channels): logits or probabilities (images, classes)."""
        [output] = self._session.run(None, {INPUT: self._card.prepare(pixels)})
        return self._card.outputs(output)
