"""Opening the test phone as a device: what tests of the room `phone` share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from profiling.adb.server import AdbServer
from profiling.adb.tcp import connect_tcp
from profiling.adb.transport import Transport
from profiling.device import BuiltModel, RunSettings
from profiling.layers import MBConv
from profiling.models.builder import TfliteBuilder
from profiling.network import NetworkSpec
from profiling.phone.phone import AdbDevice, open_phone

from .machine import Phone

QUICK = RunSettings(runs=5, min_seconds=0, warmup_runs=1, warmup_seconds=0, timeout_s=120)
LOCK = "/data/local/tmp/spnas-lock"
NO_SERVER = AdbServer(("127.0.0.1", 9))
Open = Callable[..., AdbDevice]


@pytest.fixture(scope="session")
def models(builder: TfliteBuilder) -> list[BuiltModel]:
    """Four small models."""
    layers = [NetworkSpec.of(MBConv(8, 8, 8, 1, kernel, ratio, True)) for kernel in (3, 5) for ratio in (3, 6)]
    return list(builder.build(layers, "fp32").values())


@pytest.fixture
def notes() -> list[str]:
    """What the device told."""
    return []


@pytest.fixture
def open_device(phone: Phone, notes: list[str]) -> Iterator[Open]:
    """Opens the phone; closes it at the end."""
    opened: list[AdbDevice] = []

    def open_it(**options: object) -> AdbDevice:
        options = {"notify": notes.append, "tool": str(phone.tool)} | options
        opened.append(open_phone(phone.address, server=NO_SERVER, **options))  # type: ignore[arg-type]
        return opened[-1]

    yield open_it
    for device in opened:
        device.close()


def over_tcp(phone: Phone, kind: type[Transport] = Transport) -> Transport:
    """A connection to the phone."""
    return kind(connect_tcp(phone.address, notify=lambda text: None))


def own_folder(phone: Phone) -> str:
    """The folder that a device has on the phone."""
    return phone.run("ls -d /data/local/tmp/spnas-????????").strip()
