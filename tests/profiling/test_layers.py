"""Layers and networks: keys spell everything, and what does not fit together is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiling.errors import InputError
from profiling.layers import FBNetBlock, Head, LayerSpec, MBConv, NetworkSpec, PoolHead, Separable, Stem

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
layers = st.one_of(stems, heads, plain, residual, separable, fbnet, pools)


@given(layers)
def test_a_key_is_read_back_as_the_same_layer(layer):
    assert LayerSpec.from_key(layer.key) == layer


@given(layers, layers)
def test_different_layers_have_different_keys(one, other):
    assert (one.key == other.key) == (one == other)


@pytest.mark.parametrize(
    "key",
    ["", "stem", "conv-r1-i1-o1", "stem-r224-i3-o32-s2", "stem-r224-i3-s2-o32-k3", "stem-r0224-i3-o32-s2-k3",
     "mbconv-r7-i8-o8-s1-k3-e3-x2", "head-r7-i320-o1280-c", "stem-r224-i3-o32-s2-k3-k3"],
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
    }
    assert {layer: layer.key for layer in keys} == keys


def test_impossible_layers_are_refused():
    with pytest.raises(InputError, match="at least 1"):
        Stem(224, 3, 0, 2, 3)
    with pytest.raises(InputError, match="residual"):
        MBConv(56, 24, 24, 2, 3, 6, True)
    with pytest.raises(InputError, match="as many output"):
        PoolHead(7, 320, 1280, 10)


def test_a_network_whose_layers_do_not_fit_is_refused():
    with pytest.raises(InputError, match="does not fit"):
        NetworkSpec((Stem(32, 3, 16, 2, 3), Head(32, 16, 64, 10)))
    with pytest.raises(InputError, match="at least one"):
        NetworkSpec(())


def test_odd_resolutions_round_up_as_tensorflow_does():
    assert Stem(225, 3, 8, 2, 3).out_resolution == 113
