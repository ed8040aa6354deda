"""Bytes of files and of memory, computed from layers, are those of real files and of LiteRT's own plan for them."""

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from profiling.draws import random_architectures
from profiling.footprint import arena_bytes, file_bytes
from profiling.layers import (
    FBNetBlock,
    MBConv,
    MlpHead,
    PoolHead,
    Separable,
    Stem,
    UniversalBottleneck,
)
from profiling.models.arena import planned_bytes
from profiling.models.foreign import read_tflite
from profiling.models.operators import operators
from profiling.network import NetworkSpec
from profiling.space import SearchSpace, load_space
from search.convnet.zoo import load_zoo_network

PRECISIONS = ("fp32", "fp16", "int8")
EXCITED = SearchSpace(
    name="excited",
    resolution=33,
    image_channels=1,
    classes=7,
    kernels=(3, 5, 7),
    expansions=(1, 3),
    stem={"channels": 12, "kernel": 5, "stride": 1, "activation": "hswish"},
    stages=[
        {"layers": 3, "channels": 17, "stride": 2, "se_ratio": 0.25, "activation": "hswish"},
        {"layers": 1, "channels": 24, "kernel": 3, "expansion": 6, "se_ratio": 1.0, "activation": "relu"},
        {"layers": 3, "channels": 40, "stride": 2, "activation": "relu"},
    ],
    head={"channels": 1280, "activation": "hswish"},
)
EVERY_BLOCK = NetworkSpec(
    (
        Stem(31, 3, 8, 2, 3),
        Separable(16, 8, 16, 1, 5),
        FBNetBlock(16, 16, 16, 1, 3, 1, True, 2),
        UniversalBottleneck(16, 16, 24, 2, 3, 2, False, 5, activation="relu"),
        UniversalBottleneck(8, 24, 24, 1, 0, 4, True, 0, squeeze=8),
        Stem(8, 24, 40, 1, 3, activation="hswish"),
        MBConv(8, 40, 40, 1, 7, 1, True),
        MlpHead(8, 40, 96, 10, 200, True, activation="hswish"),
    )
)
# The mean of so many channels needs more room than anything before it.
WIDE_END = NetworkSpec((Stem(4, 1, 2000, 2, 3), PoolHead(2, 2000, 2000, 2)))
NETWORKS = {
    **{
        f"{name} {index}": architecture.network
        for name, space in (("digits", load_space("digits")), ("excited", EXCITED))
        for index, architecture in zip(range(2 if name == "excited" else 1), random_architectures(space, 1), strict=False)
    },
    "imagenet": next(random_architectures(load_space("imagenet").with_parameters(resolution=64), 1)).network,
    "fbnet": next(random_architectures(load_space("fbnet").with_parameters(resolution=64), 1)).network,
    **{
        name: load_zoo_network(name, resolution=64, width_multiplier=0.5, classes=10)
        for name in ("mobilenet-v1", "mobilenet-v3-large", "mobilenet-v4-conv-small")
    },
    "every block": EVERY_BLOCK,
    "wide end": WIDE_END,
    "a layer": NetworkSpec.of(MBConv(15, 8, 8, 1, 5, 3, True, squeeze=8)),
}


def own_weights(network):
    """Of each convolution, none like another and of a usual scale: equal weights and biases that vanish are stored once."""
    generator = np.random.default_rng(0)

    def shape(convolution):
        kernel, given, made = convolution.kernel, convolution.in_channels, convolution.out_channels
        match convolution.kind:
            case "full":
                return (kernel, kernel, given, made)
            case "depthwise":
                return (kernel, kernel, given, 1)
            case "dense":
                return (given, made)

    def drawn(convolution):
        scale = np.float32((2 * convolution.out_channels / convolution.weights) ** 0.5)
        bias = generator.standard_normal(convolution.out_channels, np.float32)
        return generator.standard_normal(shape(convolution), np.float32) * scale, bias / 10

    return [[drawn(each) for each in layer.convolutions] for layer in network.layers]


@pytest.fixture(scope="module", params=[(name, precision) for name in NETWORKS for precision in PRECISIONS], ids=" ".join)
def converted(request, builder):
    name, precision = request.param
    network = NETWORKS[name]
    return network, precision, builder.convert(network, precision, own_weights(network), None)


def test_memory_is_what_litert_plans(converted):
    network, precision, content = converted
    interpreter = Interpreter(
        model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES, num_threads=1
    )
    interpreter.allocate_tensors()
    assert arena_bytes(network, precision) == planned_bytes(interpreter, operators(content))


def test_the_file_is_as_large_as_computed(converted):
    network, precision, content = converted
    within = 0.003 if len(content) < 500_000 else 0.0003
    assert file_bytes(network, precision) == pytest.approx(len(content), rel=within, abs=200)


def test_the_memory_of_a_file_from_elsewhere_is_that_of_its_network(builder, tmp_path):
    for precision in PRECISIONS:
        file = tmp_path / f"{precision}.tflite"
        file.write_bytes(builder.convert(EVERY_BLOCK, precision, own_weights(EVERY_BLOCK), None))
        assert read_tflite(file).memory_bytes == arena_bytes(EVERY_BLOCK, precision)


def test_a_skipped_layer_or_fewer_channels_never_need_a_larger_file():
    space = load_space("digits")
    whole = file_bytes(space.uniform("5x5-6").network, "int8")
    assert file_bytes(space.uniform("5x5-3").network, "int8") < whole
