"""Places where channels, layers or the resolution are left to choose: every step through them, and what stands before it."""

from itertools import islice

import pytest
from small import WIDE, every_architecture, small_space

from profiling.draws import random_architectures
from profiling.places import SKIP
from profiling.space import Architecture, load_space

SPACE = small_space(
    resolution=16,
    kernels=[3],
    expansions=[2],
    skip=False,
    stages=[{"layers": [1, 3], "channels": [8, 16]}, {"layers": 2, "channels": [8, 24], "stride": 2}],
)


def test_every_pair_of_channels_that_can_occur_is_a_layer_of_its_own():
    """The first layer of a stage has each number before it with each behind it; the others have the same on both sides."""
    keys = [[layer.key.removeprefix("mbconv-") for layer in slot.layers.values()] for slot in SPACE.slots[1:-1]]
    assert keys == [
        ["r8-i8-o8-s1-k3-e2-x0", "r8-i8-o16-s1-k3-e2-x0"],
        ["r8-i8-o8-s1-k3-e2-x1", "r8-i16-o16-s1-k3-e2-x1"],
        ["r8-i8-o8-s1-k3-e2-x1", "r8-i16-o16-s1-k3-e2-x1"],
        ["r8-i8-o8-s2-k3-e2-x0", "r8-i8-o24-s2-k3-e2-x0", "r8-i16-o8-s2-k3-e2-x0", "r8-i16-o24-s2-k3-e2-x0"],
        ["r4-i8-o8-s1-k3-e2-x1", "r4-i24-o24-s1-k3-e2-x1"],
    ]
    assert [layer.in_channels for layer in SPACE.slots[-1].layers.values()] == [8, 24]
    assert len(SPACE.layers) == 1 + 2 + 2 + 4 + 2 + 2, "equal layers are measured once"


def test_layers_of_a_list_end_their_stage_together():
    depths = {tuple(name == SKIP.name for name in network.choices[:3]) for network in every_architecture(SPACE)}
    assert depths == {(False, False, False), (False, True, True)}, "one or three layers"
    assert len(every_architecture(SPACE)) == 2 * 2 * 2


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        (
            ("3x3-2-8", "skip", "3x3-2", "3x3-2-8", "3x3-2"),
            "'3x3-2' cannot stand behind the layers before it; allowed: skip",
        ),
        (("3x3-2-8", "3x3-2", "skip", "3x3-2-8", "3x3-2"), "'skip' cannot stand behind the layers before it; allowed: 3x3-2"),
        (("3x3-2", "skip", "skip", "3x3-2-8", "3x3-2"), "'3x3-2' is not a choice of this layer; allowed: 3x3-2-8, 3x3-2-16"),
        (("3x3-2-8", "skip", "skip", "3x3-2-8"), "4 choices given, but the space small has 5 searchable layers"),
    ],
)
def test_a_network_that_cannot_be_says_which_choice_and_what_is_allowed(choices, words):
    with pytest.raises(ValueError, match="Architecture") as error:
        Architecture(space=SPACE, choices=choices)
    assert words in str(error.value)


def test_a_network_knows_its_layers_from_its_choices():
    network = Architecture(space=SPACE, choices=("3x3-2-16", "skip", "skip", "3x3-2-24", "3x3-2"))
    assert [layer.key for layer in network.network.layers[1:]] == [
        "mbconv-r8-i8-o16-s1-k3-e2-x0",
        "mbconv-r8-i16-o24-s2-k3-e2-x0",
        "mbconv-r4-i24-o24-s1-k3-e2-x1",
        "head-r4-i24-o32-c10",
    ]
    double = network.scaled(2.0)
    assert [layer.out_channels for layer in double.network.layers[:3]] == [16, 32, 48], "names say the channels at width 1"
    assert Architecture.model_validate_json(network.to_json()) == network


def test_random_networks_are_valid_and_have_every_number_of_channels_and_layers():
    space = small_space(**WIDE)
    drawn = list(islice(random_architectures(space, 0), 300))
    for slot, names in zip(space.searchable, zip(*(each.choices for each in drawn), strict=True), strict=True):
        assert set(names) == set(slot.choices)
    depths = {sum(name != "skip" for name in each.choices[2:6]) for each in drawn}
    assert depths == {1, 2, 4}


def test_resolutions_are_a_choice_of_the_stem_and_every_layer_follows():
    space = small_space(resolution=[12, 16, 24], stages=[{"layers": 2, "channels": 8, "stride": 2}])
    assert (space.resolution, space.resolutions) == (24, (12, 16, 24))
    assert space.searchable[0].choices == ("r12", "r16", "r24")
    small = Architecture(space=space, choices=("r12", "3x3-3", "skip"))
    assert [layer.resolution for layer in small.network.layers] == [12, 6, 3]
    assert small.resolution == 12
    assert small.scaled(resolution=20).network.input_shape == (1, 20, 20, 1), "a given resolution takes the place of all"
    again = type(space).model_validate(space.model_dump(mode="json"))
    assert again.digest == space.digest != small_space(stages=[{"layers": 2, "channels": 8, "stride": 2}], resolution=24).digest
    assert space.sizes(16) == (16, 8, 4, 4)


def test_the_space_wide_holds_the_widest_and_the_narrowest_network():
    wide = load_space("wide")
    assert len(wide.layers) == 287
    assert [stage.widths for stage in wide.stages][1:3] == [(24, 32), (32, 40, 48)]
    assert wide.uniform("7x7-6").choices == wide.largest.choices
    assert wide.largest.network.multiply_adds > 7 * 100e6
