"""Turns a network into a TFLite model. The only user of TensorFlow; runs in worker processes of `builder`.

The graph is written straight into a `GraphDef`, over constant weights with batch norm already folded. A Keras model handed to
`from_concrete_functions` would leave its weights as resource variables, which converts silently and then runs several times
slower; the list of operators is therefore checked after every conversion. A `tf.function` gives the same model, tensor by tensor,
but is traced, frozen and lifted into a second graph on the way, which makes a network take 1.7 times as long.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator, Sequence

# Before TensorFlow is loaded: no banner on stderr, and no look for a GPU that conversion would not use.
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np
import tensorflow as tf

from profiling.conditions import Precision
from profiling.convolutions import Convolution
from profiling.errors import ConversionError
from profiling.layers import Bottleneck, FinalLayer, LayerSpec, Separable, Stem
from profiling.models.operators import operators
from profiling.network import NetworkSpec

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
tf.get_logger().setLevel("ERROR")

Array = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
LayerWeights = Sequence[tuple[Array, Array]]

REPRESENTATIVE_INPUTS = 2
CONVERSION_OPS: dict[Precision, frozenset[str]] = {
    "fp32": frozenset(),
    # Half-precision weights are widened at the model's start-up, one operator per tensor.
    "fp16": frozenset({"DEQUANTIZE"}),
    "int8": frozenset(),
}


def weight_shapes(layer: LayerSpec) -> list[tuple[tuple[int, ...], int]]:
    """For each convolution of a layer in order the shape of its kernel, as TensorFlow lays it out, and the length of its bias.

    A kernel is (height, width, in, out), a depthwise one (height, width, channels, 1), a dense one (in, out).
    """
    return [(_kernel_shape(convolution), convolution.out_channels) for convolution in layer.convolutions]


def _kernel_shape(convolution: Convolution) -> tuple[int, ...]:
    if convolution.kind == "dense":
        return (convolution.in_channels, convolution.out_channels)
    if convolution.kind == "depthwise":
        return (convolution.kernel, convolution.kernel, convolution.in_channels, 1)
    return (convolution.kernel, convolution.kernel, convolution.in_channels, convolution.out_channels)


def random_weights(layer: LayerSpec) -> LayerWeights:
    """He-scaled weights that depend only on the layer's key, so that the same layer always gives the same file."""
    generator = np.random.default_rng(zlib.crc32(layer.key.encode()))
    weights = []
    for shape, outputs in weight_shapes(layer):
        scale = np.float32(np.sqrt(2 * outputs / np.prod(shape)))
        bias = generator.standard_normal(outputs, dtype=np.float32) * np.float32(0.1)
        weights.append((generator.standard_normal(shape, dtype=np.float32) * scale, bias))
    return weights


def apply_layer(layer: LayerSpec, weights: LayerWeights, x: tf.Tensor) -> tf.Tensor:
    """The layer as TensorFlow operations on x of shape (1, height, width, channels).

    Raises:
        ConversionError: this kind of layer has no TFLite form here.
    """
    given = iter(weights)
    match layer:
        case Stem() | Separable():
            return _applied(layer.convolutions, given, x)
        case Bottleneck():
            y = _applied(layer.features, given, x)
            if layer.squeeze:
                y = y * _applied(layer.excitation, given, tf.reduce_mean(y, axis=(1, 2), keepdims=True))
            y = _applied([layer.projection], given, y)
            return x + y if layer.residual else y
        case FinalLayer():
            y = _applied(layer.features, given, x)
            return _applied(layer.pooled, given, tf.reduce_mean(y, axis=(1, 2)))
    raise ConversionError("no TFLite graph is known for this kind of layer", where=layer.key)


def _applied(convolutions: Iterable[Convolution], weights: Iterator[tuple[Array, Array]], x: tf.Tensor) -> tf.Tensor:
    """One convolution after the other, with as many of the weights as they have."""
    for each in convolutions:
        kernel, bias = next(weights)
        match each.kind:
            case "full":
                x = tf.nn.conv2d(x, kernel, each.stride, "SAME")
            case "depthwise":
                x = tf.nn.depthwise_conv2d(x, kernel, (1, each.stride, each.stride, 1), "SAME")
            case "dense":
                x = tf.matmul(x, kernel)
        x = _activated(tf.nn.bias_add(x, bias), each.activation)
    return x


def _activated(x: tf.Tensor, activation: str | None) -> tf.Tensor:
    match activation:
        case "relu6":
            return tf.nn.relu6(x)
        case "relu":
            return tf.nn.relu(x)
        case "hswish":
            return x * (tf.nn.relu6(x + 3.0) * (1 / 6))
        case "hsigmoid":
            return tf.nn.relu6(x + 3.0) * (1 / 6)
        case _:
            return x


def convert(
    network: NetworkSpec,
    precision: Precision,
    weights: Sequence[LayerWeights] | None = None,
    representative: Array | None = None,
    *,
    softmax: bool = False,
) -> bytes:
    """A network as a TFLite file.

    Args:
        network: its layers.
        precision: `fp32`; `fp16`, half-precision weights; or `int8`, weights, activations, input and output in 8 bits.
        weights: one entry per layer; random ones when None, which is enough for measuring latency.
        representative: (images, height, width, channels), what ranges of `int8` are estimated on; input and output of the model
            are then uint8, so that pixels go in as they are. Noise, and int8, when None.
        softmax: whether the model ends with one, and gives probabilities.

    Raises:
        ConversionError: TensorFlow failed, the weights are not those of the layers, or the operators of the model are not those
            of the network.
    """
    filled = [random_weights(layer) for layer in network.layers] if weights is None else weights
    for layer, layer_weights in zip(network.layers, filled, strict=True):
        if [(kernel.shape, len(bias)) for kernel, bias in layer_weights] != weight_shapes(layer):
            raise ConversionError("the weights do not match the shapes of this layer", where=layer.key)

    with tf.Graph().as_default() as graph:
        given = x = tf.compat.v1.placeholder(tf.float32, network.input_shape)
        for layer, layer_weights in zip(network.layers, filled, strict=True):
            x = apply_layer(layer, layer_weights, x)
        x = tf.nn.softmax(x) if softmax else x
    converter = tf.compat.v1.lite.TFLiteConverter(graph.as_graph_def(), [given], [x])
    if precision != "fp32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "fp16":
        converter.target_spec.supported_types = [tf.float16]
    if precision == "int8":
        inputs = _noise(network.input_shape) if representative is None else representative
        converter.representative_dataset = lambda: ([image[None]] for image in inputs)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8 if representative is None else tf.uint8
    try:
        model: bytes = converter.convert()
    except Exception as error:
        raise ConversionError(f"TensorFlow could not convert it: {error}".splitlines()[0], where=network.key) from error
    end = ("SOFTMAX",) if softmax else ()
    check_ops(model, network, precision, end, from_pixels=precision == "int8" and representative is not None)
    return model


def _noise(shape: tuple[int, ...]) -> Array:
    return np.random.default_rng(0).standard_normal((REPRESENTATIVE_INPUTS, *shape[1:]), dtype=np.float32)


def check_ops(
    model: bytes, network: NetworkSpec, precision: Precision, end: tuple[str, ...] = (), *, from_pixels: bool = False
) -> None:
    """Checks that a model has the operators of its network.

    Args:
        model: the content of the file.
        network: what it was made from.
        precision: of the model.
        end: what follows the network.
        from_pixels: whether it takes and gives uint8, which one operator at each end makes int8 of, and int8 that.

    Raises:
        ConversionError: an operator is missing or there is one too many; a latency measured on such a model would be wrong.
    """
    names = (op.name for op in operators(model))
    found = tuple(op for op in names if op not in CONVERSION_OPS[precision])
    expected = (*network.ops, *end)
    if from_pixels:
        expected = ("QUANTIZE", *expected, "QUANTIZE")
    if found != expected:
        raise ConversionError(
            f"the model has the operators {', '.join(found)} where {', '.join(expected)} were expected", where=network.key
        )
