"""A target as a share of what the networks of a table take."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_db.published import published_table
from latency_db.runtime_model import RuntimeModel
from latency_db.targets import Percent, in_ms
from profiling.errors import InputError

MODEL = RuntimeModel(published_table("pixel1"))
FASTEST, SLOWEST = MODEL.range_ms()


def test_the_ends_are_the_fastest_and_the_slowest_network_and_ms_stay_ms():
    assert (in_ms("0%", MODEL), in_ms("100%", MODEL), in_ms(80, MODEL)) == (FASTEST, SLOWEST, 80)


@given(st.floats(0, 100))
def test_a_share_lies_within_the_range_and_what_is_printed_of_it_is_the_target(percent):
    said = []
    ms = in_ms(Percent(percent), MODEL, said.append)
    assert FASTEST <= ms <= SLOWEST
    assert ms == pytest.approx(FASTEST + percent / 100 * (SLOWEST - FASTEST), rel=1e-3)
    assert f"{ms:.4g} ms." in said[0]
    assert ms in (FASTEST, SLOWEST) or float(f"{ms:.4g}") == ms


@pytest.mark.parametrize("text", ["50%", " 50 % ", "50.0%", "050%", "50.%"])
def test_ways_to_write_a_half(text):
    assert Percent.parse(text) == Percent(50)


@pytest.mark.parametrize(
    "text", ["%", "101%", "100.0001%", "-1%", "+5%", "50%%", "5 0%", "nan%", "inf%", "1e1%", "1_0%", "٥%", "50", ""]
)
def test_what_is_no_share(text):
    with pytest.raises(InputError, match="neither a latency in ms nor"):
        in_ms(text, MODEL)
