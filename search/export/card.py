"""What an app must know to use an exported model, as stored in the file: the same JSON in TFLite and ONNX."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from profiling.conditions import Precision
from search.convnet.saved import MEAN, STD, SavedNetwork
from search.images.framing import Framing

FORMAT = "spnas-model-1"
# The name of the JSON in the metadata of an ONNX model; in a TFLite file it has this suffix too.
CARD_NAME = "spnas"
WHITE = 255

Pixels = NDArray[np.uint8]
Outputs = NDArray[np.float32]
Gives = Literal["logits", "probabilities"]


@dataclass(frozen=True)
class Use:
    """What an app gives a model, and what it gets.

    Attributes:
        framing: of photos.
        centre_crop: side of the central square crop, as a fraction of the image's shorter side; 1 for `stretch`, which has none.
        gives: logits, or probabilities by a softmax at the end of the model.
    """

    framing: Framing
    centre_crop: float
    gives: Gives = "logits"


@dataclass(frozen=True)
class ModelCard:
    """From 8-bit pixels to the model's input, and from its output to logits or probabilities.

    Attributes:
        name: a word for people.
        origin: where the weights come from, in words.
        labels: names of the classes, in the order of the output.
        precision: of the weights; `int8` takes and gives 8-bit numbers.
        layout: order of the axes of the input.
        resolution: height and width of the input in pixels.
        channels: 3 for red, green, blue, 1 for grey.
        use: how photos are framed, and what the output is.
        mean, std: `(pixels − mean) / std` is the input.
        scale, zero_point: `(output − zero_point) · scale` are the logits or probabilities.
    """

    name: str
    origin: str
    labels: tuple[str, ...]
    precision: Precision
    layout: Literal["NHWC", "NCHW"]
    resolution: int
    channels: int
    use: Use
    mean: float
    std: float
    scale: float = 1.0
    zero_point: int = 0

    @property
    def tensor_type(self) -> Literal["float32", "uint8"]:
        """Of input and output."""
        return "uint8" if self.precision == "int8" else "float32"

    def prepare(self, pixels: Pixels) -> NDArray[Any]:
        """Pixels (images, height, width, channels) as the model takes them."""
        x = ((pixels.astype(np.float32) - self.mean) / self.std).astype(self.tensor_type)
        return x if self.layout == "NHWC" else x.transpose(0, 3, 1, 2)

    def outputs(self, output: NDArray[Any]) -> Outputs:
        """What the model gives, (images, classes), as logits or probabilities."""
        return (output.astype(np.float32) - self.zero_point) * np.float32(self.scale)

    def to_json(self) -> str:
        """The text in the file."""
        card = {
            "format": FORMAT,
            "name": self.name,
            "origin": self.origin,
            "precision": self.precision,
            "labels": self.labels,
            "input": {
                "type": self.tensor_type,
                "layout": self.layout,
                "height": self.resolution,
                "width": self.resolution,
                "channels": self.channels,
                "framing": self.use.framing,
                "centre_crop": self.use.centre_crop,
                "mean": self.mean,
                "std": self.std,
            },
            "output": {"gives": self.use.gives, "type": self.tensor_type, "scale": self.scale, "zero_point": self.zero_point},
        }
        return json.dumps(card, ensure_ascii=False, indent=2)


def card_of(saved: SavedNetwork, precision: Precision, layout: Literal["NHWC", "NCHW"], use: Use) -> ModelCard:
    """The card of a network's export, but for the scale of its output."""
    stem = saved.present_layers[0]
    as_pixels = precision == "int8"  # the model itself normalises them
    return ModelCard(
        name=saved.name,
        origin=saved.origin,
        labels=saved.classes,
        precision=precision,
        layout=layout,
        resolution=stem.resolution,
        channels=stem.in_channels,
        use=use,
        mean=0.0 if as_pixels else WHITE * MEAN,
        std=1.0 if as_pixels else WHITE * STD,
    )
