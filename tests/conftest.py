"""Fixtures that tests of every package share, and which tests run in one process."""

import signal

import pytest
from hypothesis import HealthCheck, settings
from phone.adb import adb_port
from phone.fixture import make_phone, phone, phone_root

__all__ = ["adb_port", "make_phone", "phone", "phone_root"]

# A shell that starts tests in the background has them ignore Ctrl-C, and all that they start would inherit it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says nothing on a machine that does other things as well.
settings.register_profile("spnas", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("spnas")

PHONES = {"adb_port", "make_phone", "phone", "phone_root"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Two processes share the tests: a file stays in one of them, and so do all phones, which share a root and an adb server."""
    for item in items:
        uses_phone = PHONES & set(getattr(item, "fixturenames", ()))
        item.add_marker(pytest.mark.xdist_group("phones" if uses_phone else item.path.name))
