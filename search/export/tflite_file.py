"""A trained network as a TFLite file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from torch import Tensor, nn

from profiling.conditions import Precision
from profiling.convolutions import Convolution
from profiling.errors import ConversionError
from profiling.models.builder import TfliteBuilder
from search.convnet.batch_norm import BN_EPSILON
from search.convnet.excitation import BiasedConvolution
from search.convnet.network import ConvBN, Network
from search.convnet.saved import MEAN, STD, SavedNetwork, deployed_spec
from search.export.card import WHITE, ModelCard, Outputs, Pixels, Use, card_of
from search.export.tflite_metadata import with_metadata

Array = NDArray[np.float32]


def to_tflite(
    saved: SavedNetwork, builder: TfliteBuilder, precision: Precision, use: Use, representative: Pixels | None
) -> tuple[bytes, ModelCard]:
    """The content of a TFLite file, and the card that stands in it.

    Args:
        saved: the network.
        builder: converts.
        precision: of the weights; with `int8` activations, input and output are of 8 bits too.
        use: of the model.
        representative: (images, height, width, channels), for `int8` alone.

    Raises:
        InputError: this network cannot be exported.
        ConversionError: it could not be converted.
    """
    spec = deployed_spec(saved)
    card = card_of(saved, precision, "NHWC", use)
    inputs = None if representative is None else _calibration_inputs(representative)
    softmax = use.gives == "probabilities"
    content = builder.convert(spec, precision, folded_weights(saved.build()), inputs, softmax=softmax)
    if precision == "int8":
        scale, zero_point = _check_pixels_go_in(content, saved.name)
        card = replace(card, scale=scale, zero_point=zero_point)
    return with_metadata(content, card), card


def folded_weights(network: Network) -> list[list[tuple[Array, Array]]]:
    """Kernel and bias of each convolution of each layer, batch norm folded in, in TensorFlow's layout.

    The modules of a block stand in the order in which they are applied.
    """
    blocks = [block for block in network.blocks if not isinstance(block, nn.Identity)]
    kinds = ConvBN | BiasedConvolution | nn.Linear
    return [[_folded(module) for module in block.modules() if isinstance(module, kinds)] for block in blocks]


@torch.no_grad()
def _folded(module: ConvBN | BiasedConvolution | nn.Linear) -> tuple[Array, Array]:
    if isinstance(module, nn.Linear):
        return _array(module.weight.T), _array(module.bias)
    if isinstance(module, BiasedConvolution):
        return _laid_out(module.weight, module.spec), _array(module.bias)
    bn = module.bn
    scale = bn.gamma.double() / (bn.running_var.double() + BN_EPSILON).sqrt()
    kernel = module.weight.double() * scale[:, None, None, None]
    return _laid_out(kernel, module.spec), _array(bn.beta.double() - bn.running_mean.double() * scale)


def _laid_out(kernel: Tensor, spec: Convolution) -> Array:
    """From (out, in, k, k), of a depthwise one (channels, 1, k, k), to what `convert.weight_shapes` says."""
    if spec.kind == "dense":
        return _array(kernel.flatten(1).T)
    return _array(kernel.permute((2, 3, 0, 1) if spec.kind == "depthwise" else (2, 3, 1, 0)))


def _array(values: Tensor) -> Array:
    return np.ascontiguousarray(values.detach().cpu().numpy(), np.float32)


def _calibration_inputs(pixels: Pixels) -> Array:
    """Images as the network sees them; one black and one white pixel make the range of the input that of all pixels."""
    marked = pixels.copy()
    marked[0, 0, 0], marked[0, -1, -1] = 0, WHITE
    return ((marked / WHITE - MEAN) / STD).astype(np.float32)


def _check_pixels_go_in(content: bytes, where: str) -> tuple[float, int]:
    """Makes sure that an 8-bit model takes pixels as they are; returns scale and zero point of its output."""
    interpreter = Interpreter(model_content=content)
    [given], [result] = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero_point = given["quantization"]
    black, white = ((pixel - zero_point) * scale for pixel in (0, WHITE))
    half_a_step = 0.51 / WHITE / STD
    if abs(black + MEAN / STD) > half_a_step or abs(white - (1 - MEAN) / STD) > half_a_step:
        raise ConversionError(f"the input of the 8-bit model goes from {black:.3f} to {white:.3f}", where=where)
    return float(result["quantization"][0]), int(result["quantization"][1])


@contextmanager
def without_notes() -> Iterator[None]:
    """Without what the runtime's C++ side writes to stderr when it loads a model; errors come as exceptions as well."""
    kept = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


class TfliteModel:
    """A TFLite file that is run image by image, as on a phone."""

    def __init__(self, path: Path, card: ModelCard) -> None:
        self._card = card
        with without_notes():
            self._interpreter: Any = Interpreter(str(path))
            self._interpreter.allocate_tensors()
        [given], [result] = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        self._given, self._result = given["index"], result["index"]

    def outputs(self, pixels: Pixels) -> Outputs:
        """Of images (images, height, width, channels): logits or probabilities (images, classes)."""
        rows = []
        for image in self._card.prepare(pixels):
            self._interpreter.set_tensor(self._given, image[None])
            self._interpreter.invoke()
            rows.append(self._interpreter.get_tensor(self._result)[0])
        return self._card.outputs(np.stack(rows))
