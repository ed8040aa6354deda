"""Layers and networks: keys spell everything, and what does not fit together is refused."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiling.convolutions import ACTIVATIONS
from profiling.errors import InputError
from profiling.layers import FBNetBlock, Head, LayerSpec, MBConv, MlpHead, PoolHead, Separable, Stem, UniversalBottleneck
from profiling.network import NetworkSpec

sizes = st.integers(1, 2000)
stems = st.builds(Stem, sizes, sizes, sizes, st.integers(1, 2), st.integers(1, 9))
heads = st.builds(Head, sizes, sizes, sizes, sizes)
plain = st.builds(MBConv, sizes, sizes, sizes, st.integers(1, 2), st.integers(1, 9), st.integers(1, 9), st.just(False))
residual = st.builds(lambda r, c, k, e: MBConv(r, c, c, 1, k, e, True), sizes, sizes, st.integers(1, 9), st.integers(1, 9))
separable = st.builds(Separable, sizes, sizes, sizes, st.integers(1, 2), st.integers(1, 9))
fbnet = st.builds(
    FBNetBlock, sizes, sizes, sizes, st.integers(1, 2), st.integers(1, 9), st.integers(1, 9), st.just(False), st.integers(1, 3)
)
pools = st.builds(lambda r, c, classes: PoolHead(r, c, c, classes), sizes, sizes, sizes)
activations = st.sampled_from(ACTIVATIONS)
squeezes = st.integers(0, 100)
newer = st.one_of(
    st.builds(lambda layer, activation: replace(layer, activation=activation), st.one_of(stems, heads, separable), activations),
    st.builds(
        lambda layer, squeeze, activation: replace(layer, squeeze=squeeze, activation=activation),
        st.one_of(plain, residual, fbnet), squeezes, activations,
    ),
    st.builds(
        lambda c, e, rest: MBConv(14, c, 8, 1, 3, e, False, hidden=c * e + 1 + rest % (c - 1)), st.integers(2, 99), sizes, sizes
    ),
    st.builds(
        UniversalBottleneck, sizes, sizes, sizes, st.just(1), st.integers(0, 9), st.integers(1, 9), st.just(False),
        st.integers(0, 9), squeeze=squeezes, activation=activations,
    ),
    st.builds(MlpHead, sizes, sizes, sizes, sizes, sizes, st.booleans(), activation=activations),
)  # fmt: skip
layers = st.one_of(stems, heads, plain, residual, separable, fbnet, pools, newer)


@given(layers)
def test_a_key_is_read_back_as_the_same_layer(layer):
    assert LayerSpec.from_key(layer.key) == layer


@given(layers, layers)
def test_different_layers_have_different_keys(one, other):
    assert (one.key == other.key) == (one == other)


@pytest.mark.parametrize(
    "key",
    ["", "stem", "conv-r1-i1-o1", "stem-r224-i3-o32-s2", "stem-r224-i3-s2-o32-k3", "stem-r0224-i3-o32-s2-k3",
     "mbconv-r7-i8-o8-s1-k3-e3-x2", "head-r7-i320-o1280-c", "stem-r224-i3-o32-s2-k3-k3", "stem-r224-i3-o32-s2-k3-relu6",
     "mbconv-r7-i8-o8-s1-k3-e3-x1-se0", "mbconv-r7-i8-o8-s1-k3-e3-x1-hswish-se8", "mbconv-r7-i8-o8-s1-k3-e3-x1-gelu",
     "mbconv-r7-i8-o8-s1-k3-e3-x1-h24", "mbconv-r7-i8-o8-s1-k3-e3-x1-h32", "pool-r7-i8-o8-c10-hswish",
     "stem-r224-i3-o32-s2-k3-se8", f"stem-r{'9' * 5000}-i3-o32-s2-k3", "stem-r٣-i3-o32-s2-k3", "uib-r7-i8-o8-s2-k0-e3-x0-j0"],
)  # fmt: skip
def test_what_is_no_key_is_refused(key):
    with pytest.raises(InputError, match="not a layer key"):
        LayerSpec.from_key(key)


def test_keys_that_databases_hold_stay_what_they_are():
    """They name measurements: a layer whose key changed would be measured anew, or worse, read as another one."""
    keys = {
        Stem(224, 3, 32, 2, 3): "stem-r224-i3-o32-s2-k3",
        MBConv(112, 16, 24, 2, 3, 6, False): "mbconv-r112-i16-o24-s2-k3-e6-x0",
        Head(7, 320, 1280, 1000): "head-r7-i320-o1280-c1000",
        Separable(112, 32, 64, 1, 3): "separable-r112-i32-o64-s1-k3",
        FBNetBlock(28, 32, 32, 1, 3, 6, True, 2): "fbnet-r28-i32-o32-s1-k3-e6-x1-d2",
        PoolHead(7, 1024, 1024, 1000): "pool-r7-i1024-o1024-c1000",
        Stem(224, 3, 16, 2, 3, activation="hswish"): "stem-r224-i3-o16-s2-k3-hswish",
        MBConv(14, 80, 80, 1, 3, 2, True, hidden=184, activation="hswish"): "mbconv-r14-i80-o80-s1-k3-e2-x1-h184-hswish",
        MBConv(28, 40, 40, 1, 5, 3, True, squeeze=32, activation="relu"): "mbconv-r28-i40-o40-s1-k5-e3-x1-se32-relu",
        UniversalBottleneck(28, 64, 96, 2, 5, 3, False, 5, activation="relu"): "uib-r28-i64-o96-s2-k5-e3-x0-j5-relu",
        MlpHead(7, 160, 960, 1000, 1280, False, activation="hswish"): "mlphead-r7-i160-o960-c1000-h1280-n0-hswish",
    }
    assert {layer: layer.key for layer in keys} == keys


def test_impossible_layers_are_refused():
    with pytest.raises(InputError, match="at least 1"):
        Stem(224, 3, 0, 2, 3)
    with pytest.raises(InputError, match="residual"):
        MBConv(56, 24, 24, 2, 3, 6, True)
    with pytest.raises(InputError, match="as many output"):
        PoolHead(7, 320, 1280, 10)
    with pytest.raises(InputError, match="relu6, relu, hswish"):
        Stem(224, 3, 8, 2, 3, activation="swish")
    with pytest.raises(InputError, match="100 is not between 3 times the input channels"):
        MBConv(14, 24, 24, 1, 3, 3, True, hidden=100)
    with pytest.raises(InputError, match="kernel of a mbconv layer must be at least 1"):
        MBConv(14, 24, 24, 1, 0, 3, True)


def test_the_parts_of_a_layer_are_those_of_its_paper():
    """Squeeze-and-excitation of MobileNetV3's fourth bottleneck, and strides where MobileNetV4 has two depthwise ones."""
    layer = MBConv(56, 24, 40, 2, 5, 3, False, squeeze=24, activation="relu")
    ops = ("CONV_2D", "DEPTHWISE_CONV_2D", "MEAN", "CONV_2D", "CONV_2D", "MUL", "MUL", "CONV_2D")
    assert layer.ops == ops
    assert replace(layer, activation="hswish").ops == (ops[0], "HARD_SWISH", ops[1], "HARD_SWISH", *ops[2:])
    assert layer.parameters - replace(layer, squeeze=0).parameters == 2 * 72 * 24 + 24 + 72
    assert layer.multiply_adds - replace(layer, squeeze=0).multiply_adds == 2 * 72 * 24
    both, only = UniversalBottleneck(28, 64, 96, 2, 3, 4, False, 5), UniversalBottleneck(28, 64, 96, 2, 0, 4, False, 5)
    assert [(part.stride, part.out_resolution) for part in both.convolutions] == [(1, 28), (1, 28), (2, 14), (1, 14)]
    assert [(part.stride, part.out_resolution) for part in only.convolutions] == [(2, 14), (1, 14), (1, 14)]


def test_a_network_whose_layers_do_not_fit_is_refused():
    with pytest.raises(InputError, match="does not fit"):
        NetworkSpec((Stem(32, 3, 16, 2, 3), Head(32, 16, 64, 10)))
    with pytest.raises(InputError, match="at least one"):
        NetworkSpec(())


def test_odd_resolutions_round_up_as_tensorflow_does():
    assert Stem(225, 3, 8, 2, 3).out_resolution == 113
