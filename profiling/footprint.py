"""What a network needs besides time: bytes of its TFLite file, and of the memory that TFLite plans for its activations.

Both are computed from the layers. A file is the sum of its layers, up to what names and padding vary by. Memory is not a sum, and
not quite a maximum, so TFLite's planner is followed tensor by tensor. A MB is 10^6 bytes everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from profiling.conditions import UNKNOWN, Precision, Unknown
from profiling.convolutions import Convolution
from profiling.errors import ConversionError
from profiling.layers import Bottleneck, FinalLayer, LayerSpec, Separable, Stem
from profiling.network import NetworkSpec

MB = 1e6
WEIGHT_BYTES: dict[Precision, int] = {"fp32": 4, "fp16": 2, "int8": 1}
BIAS_BYTES: dict[Precision, int] = {"fp32": 4, "fp16": 2, "int8": 4}
# Half-precision weights are widened; activations stay in single precision.
ACTIVATION_BYTES: dict[Precision, int] = {"fp32": 4, "fp16": 4, "int8": 1}
# Scale and zero point of each output channel, for the weights and for the bias.
CHANNEL_BYTES: dict[Precision, int] = {"fp32": 0, "fp16": 0, "int8": 24}
# In the graph an operator has a node, tensors with their names and, if quantised, ranges. Fitted to the converter's files for 51
# networks with weights of their own: shipped spaces, the zoo, and spaces drawn at random. None is off by more than 0.3 % or
# 200 bytes, and none of more than 0.5 MB by more than 0.02 %.
GRAPH_BYTES: dict[Precision, int] = {"fp32": 745, "fp16": 809, "int8": 799}
OPERATOR_BYTES: dict[str, dict[Precision, int]] = {
    "CONV_2D": {"fp32": 359, "fp16": 605, "int8": 449},
    "DEPTHWISE_CONV_2D": {"fp32": 385, "fp16": 646, "int8": 456},
    "FULLY_CONNECTED": {"fp32": 352, "fp16": 564, "int8": 454},
    "ADD": {"fp32": 105, "fp16": 96, "int8": 135},
    "MUL": {"fp32": 167, "fp16": 182, "int8": 207},
    "HARD_SWISH": {"fp32": 109, "fp16": 99, "int8": 142},
    "MEAN": {"fp32": 84, "fp16": 91, "int8": 104},
}
FILE_ALIGNMENT, ARENA_ALIGNMENT = 16, 64


@dataclass(frozen=True)
class Footprint:
    """What a network needs besides time.

    Attributes:
        memory_bytes: see `arena_bytes`.
        size_bytes: see `file_bytes`.
    """

    memory_bytes: int
    size_bytes: int

    @property
    def memory_mb(self) -> float:
        """In MB."""
        return self.memory_bytes / MB

    @property
    def size_mb(self) -> float:
        """In MB."""
        return self.size_bytes / MB


def footprint(network: NetworkSpec, precision: Precision | Unknown) -> Footprint:
    """Of a network in a precision; where that is unknown, in single precision."""
    known = "fp32" if precision == UNKNOWN else precision
    return Footprint(arena_bytes(network, known), file_bytes(network, known))


def file_bytes(network: NetworkSpec, precision: Precision) -> int:
    """Bytes of the TFLite file of a network, without the metadata and class names that an export adds."""
    return GRAPH_BYTES[precision] + sum(layer_file_bytes(layer, precision) for layer in network.layers)


def layer_file_bytes(layer: LayerSpec, precision: Precision) -> int:
    """What a layer adds to the file."""
    weights = sum(_weight_bytes(each, precision) for each in layer.convolutions)
    return weights + sum(OPERATOR_BYTES[name][precision] for name in layer.ops)


def _weight_bytes(convolution: Convolution, precision: Precision) -> int:
    kernel = _aligned(convolution.weights * WEIGHT_BYTES[precision], FILE_ALIGNMENT)
    bias = _aligned(convolution.out_channels * BIAS_BYTES[precision], FILE_ALIGNMENT)
    return kernel + bias + convolution.out_channels * CHANNEL_BYTES[precision]


def _aligned(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment


def arena_bytes(network: NetworkSpec, precision: Precision) -> int:
    """Bytes of the arena: input, activations and scratch space of a network, as TFLite's planner lays them out.

    That of an interpreter with one thread and no delegate, for one image. Weights are not in it.

    Raises:
        ConversionError: a kind of layer whose TFLite form is not known.
    """
    graph = _Graph(ACTIVATION_BYTES[precision])
    x = graph.given(math.prod(network.input_shape))
    for layer in network.layers:
        x = _apply(layer, graph, x)
    return _planned(graph, x)


def least_arena_bytes(layer: LayerSpec, image_bytes: int, precision: Precision) -> int:
    """What any network with this layer needs at least: the most that is alive at once in it, with the image.

    Args:
        layer: as above; in a network, its arena may be larger, for what surrounds the layer and for gaps between tensors.
        image_bytes: of the input of the network, which stays throughout.
        precision: of the network.
    """
    graph = _Graph(ACTIVATION_BYTES[precision])
    _apply(layer, graph, graph.given(math.prod(layer.input_shape)))
    alive = [sum(each.size for each in graph.tensors if each.first <= index <= each.last) for index in range(graph.operators)]
    return max(alive) + (0 if isinstance(layer, Stem) else image_bytes)


@dataclass
class _Tensor:
    """One tensor of the arena: its bytes, and the operators from the one that makes it to the last one that reads it."""

    size: int
    first: int
    last: int


class _Graph:
    """The tensors of a graph while its operators are added one after the other.

    Args:
        element: bytes of an activation.
    """

    def __init__(self, element: int) -> None:
        self.element = element
        self.tensors: list[_Tensor] = []
        self.operators = 0

    def given(self, elements: int) -> _Tensor:
        """The input of the graph, which is never overwritten."""
        self.tensors.append(_Tensor(elements * self.element, 0, 0))
        return self.tensors[-1]

    def add(self, inputs: Iterable[_Tensor], elements: int, scratch: Iterable[int] = ()) -> _Tensor:
        """An operator with a new output; `scratch` are the bytes of what it needs only while it runs."""
        index = self.operators
        self.operators += 1
        for each in inputs:
            each.last = index
        output = _Tensor(elements * self.element, index, index)
        self.tensors.append(output)
        self.tensors += [_Tensor(size, index, index) for size in scratch]
        return output

    def add_mean(self, x: _Tensor, channels: int) -> _Tensor:
        """The mean of each channel over all pixels; it needs its axes, their number and 32-bit sums meanwhile."""
        return self.add([x], channels, (16, 8, 4 * channels))

    def add_in_place(self, inputs: Iterable[_Tensor], output: _Tensor) -> _Tensor:
        """An operator that writes over one of its inputs."""
        for each in inputs:
            each.last = self.operators
        self.operators += 1
        return output


def _apply(layer: LayerSpec, graph: _Graph, x: _Tensor) -> _Tensor:
    """Adds the operators of a layer, as `profiling.models.convert.apply_layer` does; returns its output."""
    match layer:
        case Stem() | Separable():
            return _convolved(layer.convolutions, graph, x)
        case Bottleneck():
            y = _convolved(layer.features, graph, x)
            if layer.squeeze:
                factor = _convolved(layer.excitation, graph, graph.add_mean(y, layer.hidden_channels))
                y = graph.add([y, factor], y.size // graph.element)
            y = _convolved([layer.projection], graph, y)
            return graph.add_in_place([x, y], y) if layer.residual else y
        case FinalLayer():
            y = _convolved(layer.features, graph, x)
            return _convolved(layer.pooled, graph, graph.add_mean(y, layer.out_channels))
    raise ConversionError("no TFLite graph is known for this kind of layer", where=layer.key)


def _convolved(convolutions: Iterable[Convolution], graph: _Graph, x: _Tensor) -> _Tensor:
    for each in convolutions:
        pixels = each.out_resolution**2
        # A full convolution of more than one pixel first copies the window of every output.
        windows = each.kind == "full" and (each.kernel > 1 or each.stride > 1)
        scratch = (pixels * each.kernel**2 * each.in_channels * graph.element,) if windows else ()
        x = graph.add([x], pixels * each.out_channels, scratch)
        for _ in each.ops[1:]:
            x = graph.add([x], pixels * each.out_channels)
    return x


def _planned(graph: _Graph, output: _Tensor) -> int:
    """The high-water mark of TFLite's planner (`arena_planner.cc`, `simple_memory_arena.cc`).

    What lives throughout comes first, then the largest; each goes into the tightest gap between those alive at the same time.
    """
    given, *others = graph.tensors
    given.last = output.last = graph.operators
    placed: list[set[tuple[int, int]]] = [set() for _ in range(graph.operators + 1)]
    for tensor in [given, *sorted(others, key=lambda each: (-each.size, each.first))]:
        life = placed[tensor.first : tensor.last + 1]
        offset, tightest, end = None, math.inf, 0
        for start, stop in sorted(set[tuple[int, int]]().union(*life)):
            aligned = _aligned(end, ARENA_ALIGNMENT)
            if aligned + tensor.size <= start and start - end < tightest:
                offset, tightest = aligned, start - end
            end = max(end, stop)
        if offset is None:
            offset = _aligned(end, ARENA_ALIGNMENT)
        for those in life:
            those.add((offset, offset + tensor.size))
    return max(stop for those in placed for _, stop in those)
