"""Finding devices: all of them, or one by name."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from profiling.adb.routes import Via
from profiling.device import Device, DeviceSummary
from profiling.host.host import NAME, HostDevice, cpu_product, cpu_speeds_mhz, machine_state
from profiling.phone.benchmark_binary import DEFAULT_VERSION
from profiling.phone.discovery import list_phones
from profiling.phone.phone import Limits, open_phone


def list_devices(addresses: Sequence[str] = (), *, notify: Callable[[str], None] = lambda text: None) -> list[DeviceSummary]:
    """Every visible device; phones on the network only at these addresses, or if an adb server has them."""
    speeds = Counter(cpu_speeds_mhz().values())
    cores = ", ".join(f"{count} at {speed:.0f} MHz" if speed else f"{count}, speed unknown" for speed, count in speeds.items())
    temperature = machine_state().temperature_c
    host = DeviceSummary(
        name=NAME, product=cpu_product(), soc=platform.machine(), state="ready", cores=cores, temperature_c=temperature
    )
    return [host, *list_phones(addresses, notify=notify)]


@dataclass(frozen=True)
class PhoneOptions:
    """How a phone is reached and treated.

    Attributes:
        via: the way to it.
        tool: file or LiteRT version of `benchmark_model`.
        max_temperature_c: of its skin, in °C: measuring waits until it is cooler; None for no limit.
        reconnect_limit_s: seconds that it may be away before a run ends.
    """

    via: Via = "auto"
    tool: str = DEFAULT_VERSION
    max_temperature_c: float | None = None
    reconnect_limit_s: float = Limits.reconnect_s


def open_device(name: str, phone: PhoneOptions, notify: Callable[[str], None] = lambda text: None) -> Device:
    """The device of this name: `host`, or a phone.

    Args:
        name: what `--device` takes.
        phone: for phones only.
        notify: called with one line for anything the user should know.

    Raises:
        NoDeviceError: there is none, or it is not fit for measuring.
        InputError: the benchmark tool does not fit it.
    """
    if name == NAME:
        return HostDevice()
    return open_phone(
        name,
        via=phone.via,
        tool=phone.tool,
        limits=Limits(max_temperature_c=phone.max_temperature_c, reconnect_s=phone.reconnect_limit_s),
        notify=notify,
    )
