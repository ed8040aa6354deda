"""Cores of one clock are told apart by their capacity, or by their design."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiling.phone.core_kinds import Kind, parse_kinds
from profiling.phone.probes import choose_cores, describe_cores, parse_cores

CPU = "/sys/devices/system/cpu"
A53, A55, A73, A75, X1 = (0x41, 0xD03), (0x41, 0xD05), (0x41, 0xD09), (0x41, 0xD0A), (0x41, 0xD44)
NEW = (0x41, 0xDFF)


def answers(
    speeds: dict[int, int], *, capacities: dict[int, int] | None = None, parts: dict[int, tuple[int, int]] | None = None,
    policies: tuple[str, ...] = (), online: str = "0-7",
) -> dict[str, str]:  # fmt: skip
    """What a phone answers to `probes.CORES_PROBES`."""
    paragraphs = [
        f"processor\t: {core}\nCPU implementer\t: {made_by:#x}\nCPU part\t: {part:#x}\n"
        for core, (made_by, part) in (parts or {}).items()
    ]
    return {
        "online": online,
        "speeds": "".join(f"{CPU}/cpu{core}/cpufreq/cpuinfo_max_freq:{khz}\n" for core, khz in speeds.items()),
        "capacities": "".join(f"{CPU}/cpu{core}/cpu_capacity:{each}\n" for core, each in (capacities or {}).items()),
        "parts": "".join(paragraphs),
        "policies": "".join(f"{CPU}/cpufreq/policy{each.split()[0]}/related_cpus:{each}\n" for each in policies),
    }


def chosen(wanted: str, texts: dict[str, str]) -> str:
    return choose_cores(wanted, parse_cores(texts["online"], texts["speeds"]), where="phone", kinds=parse_kinds(texts))


ONE_CLOCK = dict.fromkeys(range(8), 2_000_000)


@pytest.mark.parametrize(
    "texts",
    [
        answers(ONE_CLOCK, capacities=dict.fromkeys(range(6), 380) | {6: 1024, 7: 1024}),
        answers(ONE_CLOCK, parts=dict.fromkeys(range(6), A55) | {6: A75, 7: A75}),
        answers(ONE_CLOCK, parts=dict.fromkeys(range(6), A53) | {6: NEW, 7: NEW}),  # a design that came later
        answers(ONE_CLOCK, parts=dict.fromkeys(range(6), (0x51, 0x803)) | {6: (0x51, 0x802), 7: (0x51, 0x802)}),
        # The kernel knows better than the clock: a small core may have the higher one.
        answers(ONE_CLOCK | {6: 1_900_000, 7: 1_900_000}, capacities=dict.fromkeys(range(6), 420) | {6: 1024, 7: 1024}),
        # A capacity that only some report says nothing.
        answers(ONE_CLOCK, capacities={0: 1024}, parts=dict.fromkeys(range(6), A53) | {6: A73, 7: A73}),
    ],
)
def test_the_large_cores_are_chosen_where_clocks_do_not_tell(texts: dict[str, str]):
    assert chosen("prime", texts) == "80"
    assert chosen("big", texts) == "c0"


def test_large_cores_may_come_first():
    parts = {0: A75, 1: A75} | dict.fromkeys(range(2, 8), A55)
    assert chosen("prime", answers(ONE_CLOCK, parts=parts)) == "2"
    assert chosen("big", answers(ONE_CLOCK, parts=parts)) == "3"


def test_three_kinds_of_two_clocks():
    speeds = dict.fromkeys(range(4), 1_800_000) | dict.fromkeys(range(4, 8), 2_400_000)
    texts = answers(speeds, parts=dict.fromkeys(range(4), A55) | dict.fromkeys(range(4, 7), A75) | {7: X1})
    assert (chosen("prime", texts), chosen("big", texts)) == ("80", "70")


def test_without_either_the_clock_decides_as_before():
    speeds = dict.fromkeys(range(4), 1_800_000) | dict.fromkeys(range(4, 8), 2_300_000)
    assert chosen("prime", answers(speeds)) == "80"
    assert parse_kinds(answers({})) == {}
    # A design alone does not say at which clock it runs.
    assert parse_kinds(answers({}, parts=dict.fromkeys(range(8), A53))) == {}


class TestCoresThatAreOff:
    def test_they_are_of_the_kind_of_their_capacity(self):
        kinds = parse_kinds(answers({0: 1_800_000, 1: 2_400_000}, capacities={0: 400, 1: 1024, 2: 400, 3: 1024}))
        assert (kinds[2], kinds[3]) == (kinds[0], kinds[1])

    def test_they_are_of_the_design_of_their_policy(self):
        texts = answers(dict.fromkeys(range(4), 2_000_000), parts={0: A55, 2: A75}, policies=("0 1", "2 3"))
        kinds = parse_kinds(texts)
        assert kinds[0] == kinds[1] < kinds[2] == kinds[3]

    def test_one_of_which_nothing_is_known_may_be_the_fastest_of_its_clock(self):
        kinds = parse_kinds(answers({0: 2_000_000, 1: 2_000_000, 2: 1_000_000}, parts={0: X1}))
        assert kinds[2] < kinds[0] < kinds[1]


def test_kinds_of_one_clock_are_named():
    texts = answers(ONE_CLOCK, parts=dict.fromkeys(range(6), A55) | {6: NEW, 7: NEW})
    words = describe_cores(parse_cores(texts["online"], texts["speeds"]), parse_kinds(texts))
    assert words == "6 at 2000 MHz (Cortex-A55), 2 at 2000 MHz (part 0xdff)"


@given(st.dictionaries(st.sampled_from(["speeds", "capacities", "parts", "policies"]), st.text(max_size=200)))
def test_no_text_is_fatal(texts: dict[str, str]):
    parse_kinds({name: texts.get(name, "") for name in ("speeds", "capacities", "parts", "policies")})


def test_kinds_are_ordered_by_what_says_most():
    assert Kind(1024, 1) > Kind(400, 2_000_000) > Kind(400, 1_000_000)
    assert Kind(0, 2, 0, 5) > Kind(0, 1, 2, 9)
