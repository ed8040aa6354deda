"""CPU masks are read as taskset and the kernel write them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from profiling.cpu_masks import cores_of, mask_of


@given(st.sets(st.integers(0, 40), min_size=1))
def test_masks_and_cores_are_inverse(cores: set[int]) -> None:
    assert cores_of(mask_of(cores)) == sorted(cores)


def test_the_kernels_masks_have_commas() -> None:
    assert cores_of("00000001,00000003") == [0, 1, 32]
