"""The zoo: each network is the published one by its counts, layer by layer where torchvision has it, and computes as trained."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import search.images.vision  # noqa: F401 (makes torchvision importable beside any build of PyTorch)
from profiling.convolutions import Convolution
from profiling.errors import InputError
from profiling.layers import FBNetBlock, Head, MBConv, MlpHead, PoolHead, Separable, Stem, UniversalBottleneck
from profiling.network import NetworkSpec
from search.convnet.network import Network
from search.convnet.saved import SavedNetwork, deployed_spec
from search.convnet.zoo import TABLE_1_TOP1, UNAVAILABLE, load_zoo_network, zoo_names
from search.export.tflite_file import folded_weights

# Parameters, and multiply-adds in millions, at 224 pixels and 1000 classes. Exact parameters: torchvision (MobileNetV2, MnasNet)
# and pytorchcv (MobileNetV1, ProxylessNAS, Single-Path). Multiply-adds: the papers; for MnasNet, whose paper later had another
# network, torchvision. FBNet-B: README of facebookresearch/mobile-vision, for the deployed network.
PUBLISHED = {
    "mobilenet-v1": (4_231_976, 569),
    "mobilenet-v2": (3_504_872, 300),
    "mnasnet": (4_383_312, 314),
    "proxylessnas-mobile": (4_080_512, 320),
    "single-path-nas": (4_421_616, None),
    "fbnet-b": (4.8e6, 295.6),
}
# Later networks as timm builds them, convolution by convolution, and the multiply-adds of the papers of two of them, in millions.
# Google's README of EfficientNet-Lite gives 407 M for the third, more than its convolutions have.
TIMM = json.loads(Path(__file__).with_name("timm.json").read_text(encoding="utf-8"))
LATER = {"mobilenet-v3-large": 219, "mobilenet-v4-conv-small": 190, "efficientnet-lite0": None}


def test_the_zoo_holds_the_networks_of_table_1_and_later_ones():
    assert set(zoo_names()) == {*PUBLISHED, *LATER}
    assert set(TABLE_1_TOP1) == set(PUBLISHED) | set(UNAVAILABLE)


@pytest.mark.parametrize("name", LATER)
def test_later_networks_are_timm_s_to_the_digit(name):
    network, theirs = load_zoo_network(name), TIMM[name]
    mine = [(*row, part.out_resolution) for row, part in zip(ours(network), parts_of(network), strict=True)]
    assert [list(row) for row in mine] == theirs["convolutions"]
    assert network.parameters == theirs["parameters"]
    assert network.multiply_adds == sum(
        kernel**2 * inputs // groups * outputs * size**2 for kernel, inputs, outputs, groups, _, size in theirs["convolutions"]
    )
    if LATER[name] is not None:
        assert network.multiply_adds / 1e6 == pytest.approx(LATER[name], rel=0.025)
    with torch.device("meta"):
        built = Network(network.layers, 1000)
    assert sum(parameter.numel() for parameter in built.parameters()) == network.parameters


def parts_of(network: NetworkSpec) -> list[Convolution]:
    return [part for layer in network.layers for part in layer.convolutions]


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_are_the_published_ones_and_those_of_the_built_network(name):
    parameters, millions = PUBLISHED[name]
    network = load_zoo_network(name)
    assert network.parameters == pytest.approx(parameters, rel=0.005)
    assert millions is None or network.multiply_adds / 1e6 == pytest.approx(millions, rel=0.005)
    with torch.device("meta"):
        built = Network(network.layers, 1000)
    assert sum(parameter.numel() for parameter in built.parameters()) == network.parameters


def convolutions(module: nn.Module) -> list[tuple[int, int, int, int, int]]:
    """Kernel, inputs, outputs, groups and stride of each convolution and linear layer, in order."""
    found = []
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            found.append((part.kernel_size[0], part.in_channels, part.out_channels, part.groups, part.stride[0]))
        if isinstance(part, nn.Linear):
            found.append((1, part.in_features, part.out_features, 1, 1))
    return found


def ours(network: NetworkSpec) -> list[tuple[int, int, int, int, int]]:
    return [
        (part.kernel, part.in_channels, part.out_channels, part.in_channels if part.kind == "depthwise" else 1, part.stride)
        for part in parts_of(network)
    ]


@pytest.mark.parametrize(
    ("name", "width", "theirs"),
    [
        ("mobilenet-v2", 1.0, "mobilenet_v2"),
        ("mnasnet", 1.0, "mnasnet1_0"),
        ("mnasnet", 0.75, "mnasnet0_75"),
        ("mnasnet", 0.5, "mnasnet0_5"),
        ("mobilenet-v2", 1.4, "mobilenet_v2"),
    ],
)
def test_every_convolution_is_torchvision_s(name, width, theirs):
    from torchvision import models

    options = {"width_mult": width} if theirs == "mobilenet_v2" else {}
    with torch.device("meta"):
        reference = getattr(models, theirs)(**options)
    network = load_zoo_network(name, width_multiplier=width)
    assert ours(network) == convolutions(reference)
    assert network.parameters == sum(parameter.numel() for parameter in reference.parameters())


def test_width_and_resolution_scale_as_in_mobilenet_v1_s_tables():
    """Howard et al., Tables 6 and 7: 2.6 M, 1.3 M and 0.5 M parameters; 418, 290 and 186 M multiply-adds."""
    for width, millions in ((0.75, 2.6), (0.5, 1.3), (0.25, 0.5)):
        assert load_zoo_network("mobilenet-v1", width_multiplier=width).parameters / 1e6 == pytest.approx(millions, abs=0.05)
    for resolution, millions in ((192, 418), (160, 290), (128, 186)):
        assert load_zoo_network("mobilenet-v1", resolution=resolution).multiply_adds / 1e6 == pytest.approx(millions, rel=0.005)


def tflite_output(path, image):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    [given], [result] = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.set_tensor(given["index"], image)
    interpreter.invoke()
    return interpreter.get_tensor(result["index"])


def fill(network: Network, spec: NetworkSpec) -> None:
    """Puts the weights of the TFLite model into the PyTorch network: in both, one convolution comes after the other.

    The model's have batch norm folded in; here it is made to add their biases and nothing else.
    """
    from profiling.models.convert import random_weights
    from search.convnet.batch_norm import BN_EPSILON
    from search.convnet.excitation import BiasedConvolution
    from search.convnet.network import ConvBN

    for block, layer in zip(network.blocks, spec.layers, strict=True):
        parts = [part for part in block.modules() if isinstance(part, ConvBN | BiasedConvolution | nn.Linear)]
        for part, convolution, (kernel, bias) in zip(parts, layer.convolutions, random_weights(layer), strict=True):
            order = {"full": (3, 2, 0, 1), "depthwise": (2, 3, 0, 1), "dense": (1, 0)}[convolution.kind]
            part.weight.data = torch.tensor(kernel).permute(order).reshape(part.weight.shape)
            if isinstance(part, ConvBN):
                part.bn.running_var.fill_(1 - BN_EPSILON)
                part.bn.beta.data = torch.tensor(bias)
            else:
                part.bias.data = torch.tensor(bias)


EVERY_KIND = NetworkSpec.of(
    Stem(17, 3, 8, 2, 3),
    Separable(9, 8, 16, 2, 5),
    FBNetBlock(5, 16, 16, 1, 5, 1, True, 1),
    FBNetBlock(5, 16, 16, 2, 3, 6, False, 2),
    MBConv(3, 16, 16, 1, 7, 1, True),
    PoolHead(3, 16, 16, 5),
)
EVERY_LATER_KIND = NetworkSpec.of(
    Stem(17, 3, 8, 2, 3, activation="hswish"),
    MBConv(9, 8, 8, 1, 3, 1, True, squeeze=8, activation="hswish"),
    MBConv(9, 8, 16, 2, 5, 3, False, hidden=28, squeeze=16, activation="relu"),
    FBNetBlock(5, 16, 16, 1, 3, 1, True, 2, squeeze=8),
    UniversalBottleneck(5, 16, 16, 1, 3, 2, True, 5, squeeze=8, activation="relu"),
    UniversalBottleneck(5, 16, 24, 2, 0, 4, False, 3, activation="hswish"),
    UniversalBottleneck(3, 24, 24, 1, 0, 2, True, 0),
    MlpHead(3, 24, 40, 5, 48, True, activation="relu"),
)
KINDS = {"every kind of layer": EVERY_KIND, "every later kind of layer": EVERY_LATER_KIND}


@pytest.fixture(scope="module")
def models(builder):
    """Models of a small version of every network; the check of the operators runs on each conversion."""
    networks = {name: load_zoo_network(name, width_multiplier=0.25, resolution=64, classes=10) for name in zoo_names()}
    networks |= KINDS
    built = builder.build(networks.values(), "fp32")
    return {name: (network, built[network.key]) for name, network in networks.items()}


@pytest.mark.parametrize("name", [*PUBLISHED, *LATER, *KINDS])
def test_the_tflite_model_computes_what_the_trainable_network_does(models, name):
    spec, model = models[name]
    network = Network(spec.layers, spec.classes).eval()
    fill(network, spec)
    image = np.random.default_rng(0).standard_normal(spec.input_shape, dtype=np.float32)
    with torch.no_grad():
        expected = network(torch.tensor(image).permute(0, 3, 1, 2)).numpy()
    assert np.abs(tflite_output(model.path, image) - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("kinds", KINDS.values(), ids=KINDS)
def test_trained_weights_of_every_kind_are_exported_in_the_shapes_of_the_model(kinds):
    """Down to the number of classes that the network was trained on, whatever its spec says."""
    from profiling.models.convert import weight_shapes

    network = Network(kinds.layers, 7)
    saved = SavedNetwork("every kind", kinds.layers, tuple("abcdefg"), network.state_dict(), None, "a test")
    spec = deployed_spec(saved)
    assert spec == kinds.with_classes(7)
    found = [[(kernel.shape, len(bias)) for kernel, bias in weights] for weights in folded_weights(saved.build())]
    assert found == [weight_shapes(layer) for layer in spec.layers]


@pytest.mark.parametrize("kinds", KINDS.values(), ids=KINDS)
def test_new_kinds_of_layers_train(kinds):
    """Every parameter of every kind of block gets a gradient, in batches of other classes than the spec's too."""
    torch.manual_seed(0)
    network = Network(kinds.layers, 7)
    nn.functional.cross_entropy(network(torch.randn(4, 3, 17, 17)), torch.arange(4)).backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_what_cannot_be_had_is_refused_in_words():
    with pytest.raises(InputError, match="efficientnet-lite0, fbnet-b, mnasnet, mobilenet-v1"):
        load_zoo_network("mobilenet-v5")
    with pytest.raises(InputError, match="does not give the architecture"):
        load_zoo_network("chamnet-b")
    for value in ({"width_multiplier": 0.0}, {"resolution": 0}, {"classes": 0}):
        for name in ("mobilenet-v2", "single-path-nas"):
            with pytest.raises(InputError):
                load_zoo_network(name, **value)


def test_the_head_of_a_network_takes_other_classes():
    for name in ("mobilenet-v1", "mobilenet-v2"):
        network = load_zoo_network(name)
        assert network.with_classes(10) == load_zoo_network(name, classes=10)
        assert network.with_classes(10).classes == 10
    assert NetworkSpec.of(Stem(8, 3, 8, 2, 3)).classes is None
    assert isinstance(load_zoo_network("mobilenet-v2").layers[-1], Head)
