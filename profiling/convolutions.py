"""What layers are made of: convolutions, with what stands behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Activation = Literal["relu6", "relu", "hswish"]
ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)
# h-swish is an operator of its own; a hard sigmoid is a ReLU6, which like ReLU is part of the convolution, and a division by 6.
OPS = {"full": "CONV_2D", "depthwise": "DEPTHWISE_CONV_2D", "dense": "FULLY_CONNECTED"}
ACTIVATION_OPS = {"hswish": ("HARD_SWISH",), "hsigmoid": ("MUL",)}


@dataclass(frozen=True)
class Convolution:
    """One convolution of a layer, with batch norm, or else a bias, and its activation.

    Attributes:
        kernel: height and width of the kernel.
        in_channels, out_channels: of its input and output; each depthwise output has one input.
        out_resolution: height and width of the output in pixels.
        stride: of both axes.
        kind: `dense` is one of 1×1 on a single pixel that has become a vector.
        activation: None for a linear one.
        has_norm: whether batch norm follows; if not, it has a bias.
    """

    kernel: int
    in_channels: int
    out_channels: int
    out_resolution: int
    stride: int = 1
    kind: Literal["full", "depthwise", "dense"] = "full"
    activation: Activation | Literal["hsigmoid"] | None = None
    has_norm: bool = True

    @property
    def weights(self) -> int:
        """How many weights the kernel has."""
        return self.kernel**2 * self.out_channels * (1 if self.kind == "depthwise" else self.in_channels)

    @property
    def parameters(self) -> int:
        """The weights, with the scale and the bias of batch norm for each output, or the bias alone."""
        return self.weights + self.out_channels * (2 if self.has_norm else 1)

    @property
    def multiply_adds(self) -> int:
        """Of one image; biases, activations, pooling and additions are not counted, as in the papers of these networks."""
        return self.weights * self.out_resolution**2

    @property
    def ops(self) -> tuple[str, ...]:
        """The TFLite operators that it must become, in order."""
        return (OPS[self.kind], *ACTIVATION_OPS.get(self.activation or "", ()))


def same_padding_resolution(resolution: int, stride: int) -> int:
    """Output pixels of a convolution with TensorFlow's `SAME` padding: ceil(resolution / stride)."""
    return -(-resolution // stride)
