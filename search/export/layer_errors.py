"""Which layers of a network 8 bits are too few for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from torch import Tensor, nn

from profiling.models.operators import operators
from search.convnet.saved import SavedNetwork, deployed_spec
from search.export.card import Pixels
from search.export.tflite_file import without_notes

IMAGES = 16


@dataclass(frozen=True)
class LayerError:
    """What 8 bits in one layer change.

    Attributes:
        number: of the layer in the network, skipped ones counted.
        key: of the layer.
        error: root mean square of what they change of the logits, as a share of the spread of the logits.
    """

    number: int
    key: str
    error: float

    @property
    def name(self) -> str:
        """The layer in words."""
        return f"layer {self.number} ({self.key})"


@torch.no_grad()
def layer_errors(saved: SavedNetwork, content: bytes, pixels: Pixels) -> list[LayerError]:
    """What each layer of an int8 model changes of the logits.

    A layer's part is the difference that it makes to the logits when the layers before it are in 8 bits already and those behind
    it are still in 32: all parts together are what the model changes.

    Args:
        saved: the network.
        content: of its int8 TFLite file, as `convert` makes it.
        pixels: (images, height, width, channels).
    """
    blocks = [block for block in saved.build().blocks if not isinstance(block, nn.Identity)]
    values = _values(content, _ends(saved, content), pixels[:IMAGES])
    logits = [_centred(nn.Sequential(*blocks[done:])(value)) for done, value in enumerate(values)]
    # Without a spread every change is as bad as any.
    spread = max(_rms(logits[0]), torch.finfo(torch.float32).tiny)
    present = [(number, layer.key) for number, layer in enumerate(saved.layers) if layer is not None]
    changes = (_rms(after - before) for before, after in pairwise(logits))
    return [LayerError(number, key, change / spread) for (number, key), change in zip(present, changes, strict=True)]


def _centred(logits: Tensor) -> Tensor:
    """Logits (images, classes) without what all logits of an image share, which changes no probability."""
    return logits - logits.mean(1, keepdim=True)


def _rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


def _ends(saved: SavedNetwork, content: bytes) -> list[int]:
    """The tensors that enter the first layer and leave each layer."""
    first, *ops = operators(content)
    tensors = [first.outputs[0]]
    for layer in deployed_spec(saved).layers:
        *_, last = ops[: len(layer.ops)]
        ops = ops[len(layer.ops) :]
        tensors.append(last.outputs[0])
    return tensors


def _values(content: bytes, tensors: Sequence[int], pixels: Pixels) -> list[Tensor]:
    """What these tensors hold for all images, as a network computes with it: (images, channels, height, width), or classes."""
    with without_notes():
        model: Any = Interpreter(
            model_content=content,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=True,
        )
        model.allocate_tensors()
    details = {each["index"]: each["quantization"] for each in model.get_tensor_details()}
    rows: list[list[Tensor]] = []
    for image in pixels:
        model.set_tensor(model.get_input_details()[0]["index"], image[None])
        model.invoke()
        rows.append([_dequantized(model.get_tensor(tensor), *details[tensor]) for tensor in tensors])
    return [torch.cat(column) for column in zip(*rows, strict=True)]


def _dequantized(values: Any, scale: float, zero_point: int) -> Tensor:
    numbers = torch.from_numpy((values.astype(np.float32) - zero_point) * np.float32(scale))
    return numbers.permute(0, 3, 1, 2) if numbers.dim() == 4 else numbers
