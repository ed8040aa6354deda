"""Spaces and architectures: the paper's numbers, the round trip of choices, and files that people get wrong."""

import json
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profiling.draws import random_architectures
from profiling.errors import InputError
from profiling.layers import Head, MBConv
from profiling.space import (
    Architecture,
    SearchSpace,
    built_in_names,
    load_architecture,
    load_space,
)
from profiling.specfile import parse_spec

IMAGENET = load_space("imagenet")


def space_of(**changes) -> SearchSpace:
    values = load_space("digits").model_dump() | changes
    return parse_spec(json.dumps(values), SearchSpace, where="test", is_json=True)


def test_the_space_of_the_paper():
    """22 MBConv layers, 20 of them searchable, 44 distinct models (design), skip only where there is a residual."""
    mbconvs = [layer for slot in IMAGENET.slots for layer in list(slot.layers.values())[:1] if isinstance(layer, MBConv)]
    assert len(mbconvs) == 22
    assert len(IMAGENET.searchable) == 20
    assert len(IMAGENET.layers) == 44
    assert [slot.position for slot in IMAGENET.slots] == list(range(24))
    for slot in IMAGENET.searchable:
        residual = next(iter(slot.layers.values())).residual
        assert ("skip" in slot.choices) == residual
        assert slot.position % 4 != 2 or not residual, "the first layer of a stage changes the shape"


@given(st.data())
@settings(deadline=None)
def test_choices_survive_the_way_through_a_file(data):
    """One table of choices serves both directions, for nested lists of any length."""
    kernels = data.draw(st.lists(st.sampled_from([3, 5, 7, 9, 11]), min_size=1, unique=True).map(sorted))
    expansions = data.draw(st.lists(st.integers(1, 8), min_size=1, unique=True).map(sorted))
    space = space_of(name="mine", kernels=kernels, expansions=expansions, skip=data.draw(st.booleans()))
    choices = tuple(data.draw(st.sampled_from(slot.choices)) for slot in space.searchable)
    architecture = Architecture(space=space, choices=choices)
    assert parse_spec(architecture.to_json(), Architecture, where="test", is_json=True) == architecture
    for name, (_, layer) in zip(choices, [p for p in architecture.placed_layers() if p[0].is_searchable], strict=True):
        choice = space.choices_by_name[name]
        assert (layer is None) if name == "skip" else ((layer.kernel, layer.expansion) == (choice.kernel, choice.expansion))


def test_spaces_that_ship_are_named_in_architecture_files_and_others_stand_in_full():
    assert json.loads(IMAGENET.uniform("3x3-3").to_json())["space"] == "imagenet"
    half = IMAGENET.with_parameters(width_multiplier=0.5)
    assert json.loads(half.uniform("3x3-3").to_json())["space"]["width_multiplier"] == 0.5


def test_width_multiplier_rounds_to_multiples_of_eight_and_leaves_the_head():
    half = IMAGENET.with_parameters(width_multiplier=0.5)
    assert [slot.layers["fixed" if not slot.is_searchable else "3x3-3"].out_channels for slot in half.slots][:3] == [16, 8, 16]
    assert half.slots[-1].layers["fixed"] == Head(7, 160, 1280, 1000)
    assert IMAGENET.scaled(24) == 24


def test_a_stage_may_have_squeeze_and_excitation_and_another_activation():
    """The shapes of MobileNetV3: a quarter of the hidden channels, rounded to a multiple of 8, never by more than 10 % down."""
    stages = [
        {"layers": 1, "channels": 24, "kernel": 3, "expansion": 3, "activation": "relu"},
        {"layers": 2, "channels": 40, "stride": 2, "se_ratio": 0.25, "activation": "hswish"},
    ]
    space = space_of(stages=stages, stem={"channels": 16, "activation": "hswish"}, head={"channels": 256, "activation": "hswish"})
    stem, fixed, first, second, head = (slot.layers for slot in space.slots)
    assert (stem["fixed"].key, fixed["fixed"].key, head["fixed"].key) == (
        "stem-r32-i1-o16-s2-k3-hswish", "mbconv-r16-i16-o24-s1-k3-e3-x0-relu", "head-r8-i40-o256-c10-hswish"
    )  # fmt: skip
    assert [first[name].squeeze for name in ("3x3-3", "3x3-6")] == [24, 40]
    assert second["5x5-6"].key == "mbconv-r8-i40-o40-s1-k5-e6-x1-se64-hswish"
    assert "skip" in space.slots[3].choices
    half = space.with_parameters(width_multiplier=0.5)
    assert half.slots[3].layers["5x5-6"].squeeze == 40, "a quarter of 6 times 24"


def test_what_a_space_was_before_these_fields_it_still_is():
    """Databases and checkpoints hold digests, and files hold spaces, of before."""
    digests = {"digits": "d818f2b2acab48f2", "fashion-mnist": "e3abb30ed585e881", "imagenet": "7dccfbc1e196d951"}
    assert {name: load_space(name).digest for name in digests} == digests
    assert IMAGENET.model_dump()["stages"][1] == {
        "layers": 4, "channels": 24, "stride": 2, "kernel": None, "expansion": None
    }  # fmt: skip
    hswish = space_of(stem={"channels": 16, "activation": "hswish"})
    assert hswish.digest != load_space("digits").digest
    assert hswish.model_dump()["stem"]["activation"] == "hswish"


def test_resolution_changes_every_layer():
    assert IMAGENET.with_parameters(resolution=96).slots[-1].layers["fixed"].resolution == 3


def test_random_architectures_are_distinct_and_the_same_for_the_same_seed():
    first, again, other = (list(islice(random_architectures(IMAGENET, seed), 50)) for seed in (1, 1, 2))
    assert first == again
    assert len(set(first)) == 50
    assert not set(first) & set(other)


def test_a_space_of_few_architectures_runs_out_of_them_instead_of_running_forever():
    tiny = space_of(name="tiny", kernels=[3], expansions=[3, 6], skip=False, stages=[{"layers": 2, "channels": 8}])
    assert len(list(random_architectures(tiny, 0))) == 4


def test_every_shipped_file_is_valid():
    assert {"imagenet", "digits"} <= {load_space(name).name for name in built_in_names("spaces")}
    assert load_architecture("single-path-nas").choices.count("skip") == 1


GOOD = "name: x\nresolution: 32\nclasses: 10\nkernels: [3, 5]\nexpansions: [3, 6]\nstem: {channels: 8}\n"
GOOD += "stages:\n  - {layers: 2, channels: 8}\nhead: {channels: 16}\n"


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("resolution: 32", "resolution: on", 2, "valid integer"),
        ("resolution: 32", "resolution: -1", 2, "greater than or equal to 1"),
        ("kernels: [3, 5]", "kernels: [3, 4]", 4, "odd and increasing"),
        ("kernels: [3, 5]", "kernels: [5, 3]", 4, "odd and increasing"),
        ("classes: 10", "clases: 10", 3, "unknown field clases; allowed fields: name, resolution"),
        ("{channels: 16}", "{channel: 16}", 9, "unknown field head.channel; allowed fields: channels"),
        ("{layers: 2, channels: 8}", "{layers: 2, channels: 8, kernel: 3}", 8, "both kernel and expansion"),
        ("{layers: 2, channels: 8}", "{layers: 2, channels: 8, se_ratio: 0}", 8, "should be greater than 0"),
        ("{layers: 2, channels: 8}", "{layers: 2, channels: 8, se_ratio: .nan}", 8, "stages.0.se_ratio"),
        ("{layers: 2, channels: 8}", "{layers: 2, channels: 8, activation: swish}", 8, "or 'hswish', not 'swish'"),
        ("{layers: 2, channels: 8}", "{layers: 2, channels: 8, kernel: 3, expansion: 3}", 1, "nothing to search"),
        ("{layers: 2, channels: 8}", "{layers: 2, channels: [16, 8]}", 8, "must be rising, such as [16, 24, 32], not [16, 8]"),
        ("{layers: 2, channels: 8}", "{layers: [], channels: 8}", 8, "or a list of rising ones to choose from, not []"),
        ("{layers: 2, channels: 8}", "{layers: [0, 2], channels: 8}", 8, "stages.0.layers: give a whole number from 1"),
        ("{layers: 2, channels: 8}", "{layers: two, channels: 8}", 8, "stages.0.layers: give a whole number from 1 to 65536"),
        ("{layers: 2, channels: 8}", "{layers: 2, channels: [8, 12.5]}", 8, "stages.0.channels"),
        ("{layers: 2, channels: 8}", "{layers: [1, 2], channels: 8, kernel: 3, expansion: 3}", 8, "one number of layers"),
        (
            "{layers: 2, channels: 8}",
            "{layers: 2, channels: [16, 17]}",
            1,
            "become [16, 16], as multiples of 8, at width 1: give",
        ),
        (
            "{layers: 2, channels: 8}",
            "{layers: 2, channels: [8, 16]}\n  - {layers: 1, channels: 8, kernel: 3, expansion: 3}",
            1,
            "a fixed stage cannot follow one with a choice of channels",
        ),
        ("resolution: 32", "resolution: [48, 32]", 2, "whole numbers that rise, such as [160, 192, 224], not [48, 32]"),
        ("resolution: 32", "resolution: [32, 48.5]", 2, "whole numbers that rise"),
        ("resolution: 32", "resolution: []", 2, "at least"),
        ("resolution: 32", "resolution: [0, 32]", None, "greater than or equal to 1"),
        ("classes: 10", "classes: 10\nclasses: 10", 4, "given twice"),
        ("resolution: 32", "resolution:\t32", 2, "YAML"),
        ("[3, 5]", "&a [3, 5]\nx: *a", None, "aliases"),
    ],
)
def test_a_wrong_space_file_names_the_line_and_what_is_allowed(tmp_path, old, new, line, words):
    path = tmp_path / "space.yaml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(InputError) as error:
        load_space(str(path))
    assert words in str(error.value)
    assert str(error.value).startswith(f"{path}:{line}:" if line else f"{path}:")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('{"space": "imagenet",\n "choices": ["3x3-3"]}', 2, "1 choices given, but the space imagenet has 20"),
        ('{"space": "imagnet",\n "choices": []}', 1, "unknown space 'imagnet'; spaces: digits, fashion-mnist, fbnet, imagenet"),
        ('{"space": "digits", "choices": ["3x3-3", "3x3-3",\n"4x4-3"' + ', "3x3-3"' * 6 + "]}", 2, "allowed: skip, 3x3-3"),
        ('{"space": "digits", "choices": [\n"skip"' + ', "3x3-3"' * 8 + "]}", 2, "'skip' is not a choice of this layer"),
        ('{"space": "digits",\n', 2, "not valid JSON"),
        ("", 1, "not valid JSON"),
    ],
)
def test_a_wrong_architecture_file_names_the_line_and_what_is_allowed(tmp_path, text, line, words):
    path = tmp_path / "architecture.json"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        load_architecture(str(path))
    assert words in str(error.value)
    assert str(error.value).startswith(f"{path}:{line}:")


def test_unknown_names_say_what_there_is():
    with pytest.raises(InputError, match="digits, fashion-mnist, fbnet, imagenet"):
        load_space("cifar")
    with pytest.raises(InputError, match="single-path-nas"):
        load_architecture("resnet")


def test_a_file_that_is_no_text_or_too_large_is_refused(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="UTF-8"):
        load_space(str(path))
    with path.open("wb") as file:
        file.truncate(17 * 2**20)
    with pytest.raises(InputError, match="larger than 16 MiB"):
        load_space(str(path))
