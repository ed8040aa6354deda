"""The fixtures `phone` and `make_phone`: freshly booted test phones (about 0.3 s each), gone when the test ends."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

import pytest

from . import root
from .machine import Phone, running


@pytest.fixture(scope="session")
def phone_root() -> None:
    """Skips where no phone can be built; with SPNAS_REQUIRE_PHONE=1, as in CI, that is a failure."""
    if reason := root.missing():
        if os.environ.get("SPNAS_REQUIRE_PHONE") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    root.build()


@pytest.fixture
def make_phone(phone_root: None) -> Iterator[Callable[..., Phone]]:
    """`make_phone(serial=..., data=MOUNT_OPTIONS)` boots one more phone."""
    with contextlib.ExitStack() as phones:
        yield lambda **options: phones.enter_context(running(**options))


@pytest.fixture
def phone(make_phone: Callable[..., Phone]) -> Phone:
    """A test phone in good health."""
    return make_phone()
