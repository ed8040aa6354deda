"""Networks: layers one after the other."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Self

from profiling.errors import InputError
from profiling.layers import FinalLayer, LayerSpec


@dataclass(frozen=True)
class NetworkSpec:
    """The layers of a whole network in order, each fed by the one before it.

    Raises:
        InputError: there is no layer, or a layer does not fit the one before it.
    """

    layers: tuple[LayerSpec, ...]

    def __post_init__(self) -> None:
        if not self.layers:
            raise InputError("a network needs at least one layer")
        for before, after in zip(self.layers, self.layers[1:], strict=False):
            if (before.out_resolution, before.out_channels) != (after.resolution, after.in_channels):
                raise InputError(
                    f"gives {before.out_resolution}×{before.out_resolution}×{before.out_channels}, "
                    f"which does not fit the next layer {after.key}",
                    where=before.key,
                )

    @classmethod
    def of(cls, *layers: LayerSpec) -> Self:
        """A network of these layers, for instance of a single one."""
        return cls(layers)

    @property
    def key(self) -> str:
        """The key of the only layer, or a digest of the keys of all layers."""
        if len(self.layers) == 1:
            return self.layers[0].key
        text = "\n".join(layer.key for layer in self.layers)
        return f"network-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """(1, height, width, channels)."""
        return self.layers[0].input_shape

    @property
    def ops(self) -> tuple[str, ...]:
        """The TFLite operators that the network must become, in order."""
        return tuple(op for layer in self.layers for op in layer.ops)

    @property
    def parameters(self) -> int:
        """Trained parameters; batch norm has two a channel, as PyTorch counts them."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        """Of one image; see `Convolution.multiply_adds`."""
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def classes(self) -> int | None:
        """Outputs of the classifier, None where the last layer has none."""
        last = self.layers[-1]
        return last.classes if isinstance(last, FinalLayer) else None

    def with_classes(self, classes: int) -> Self:
        """The same network with another number of outputs."""
        *before, last = self.layers
        return type(self)((*before, replace(last, classes=classes) if isinstance(last, FinalLayer) else last))
