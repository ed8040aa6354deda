"""Fixtures that tests of every package share."""

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from phone.adb import adb_port
from phone.fixture import make_phone, phone, phone_root

from profiling.host.lock import FOLDER_VARIABLE
from profiling.models.builder import TfliteBuilder

__all__ = ["adb_port", "make_phone", "phone", "phone_root"]

# PyTorch reads it when it is imported. Several tests at a time, each with a thread for every core, take many times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell that starts tests in the background has them ignore Ctrl-C, and all that they start would inherit it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says nothing on a machine that does other things as well.
settings.register_profile("spnas", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("spnas")


@pytest.fixture(scope="session", autouse=True)
def own_lock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests that measure on this machine do so at the same time: none looks at how long anything took."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(tmp_path_factory.mktemp("lock")))
        yield


@pytest.fixture(scope="session", autouse=True)
def no_width() -> Iterator[None]:
    """Readline, which pytest loads, sets the width of the terminal for all processes that it starts: those of xdist too."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("COLUMNS", "LINES"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TfliteBuilder]:
    """Builds models for tests of what comes after: starting TensorFlow takes longer than most of them."""
    with TfliteBuilder(tmp_path_factory.mktemp("models"), workers=1) as builder:
        yield builder
