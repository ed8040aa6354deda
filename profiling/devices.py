"""Finding devices: all that there are, and one by the name that a person gives it."""

from __future__ import annotations

import platform
from collections import Counter

from profiling.device import Device
from profiling.errors import NoDeviceError
from profiling.host import NAME, HostDevice, cpu_model, cpu_speeds_mhz
from profiling.specfile import SpecModel


class DeviceSummary(SpecModel):
    """One line of `spnas devices`.

    Attributes:
        name: what `--device` takes.
        model, soc: what it is.
        state: `ready`, or why it is not, in a word.
        cores: how many of each speed, e.g. `2 at 1593 MHz`.
        temperature_c: of the warmest sensor, in °C; None is unknown.
        missing: what must be done before it can be profiled, in words; None when nothing is missing.
    """

    name: str
    model: str
    soc: str
    state: str
    cores: str
    temperature_c: float | None = None
    missing: str | None = None


def list_devices() -> list[DeviceSummary]:
    """Every device that can be seen from here."""
    speeds = Counter(cpu_speeds_mhz().values())
    cores = ", ".join(f"{count} at {speed:.0f} MHz" if speed else f"{count}, speed unknown" for speed, count in speeds.items())
    temperature = HostDevice().state().temperature_c
    return [
        DeviceSummary(name=NAME, model=cpu_model(), soc=platform.machine(), state="ready", cores=cores, temperature_c=temperature)
    ]


def open_device(name: str) -> Device:
    """The device of this name.

    Raises:
        NoDeviceError: there is none; says which there are.
    """
    if name == NAME:
        return HostDevice()
    raise NoDeviceError("no such device; this version measures on: host", where=name)
