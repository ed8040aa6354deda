"""Temperature sensors of a phone by the names that makers give them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

TYPE_CPU, TYPE_SKIN = 0, 3
# Of the thermal service, or a zone of the kernel: its name, its type where it has one, and its value in any unit.
Reading = tuple[str, int | None, float]

# MediaTek's thermal HAL takes the sensor on the board beside the processor (AP) for the skin; Qualcomm's reference phones have
# `quiet-therm` there, and Kirin its sensors on the shell.
_SKIN = re.compile(r"(?i)skin|^mtkts_?ap$|^ap_ntc$|^quiet[-_]?therm|^shell[-_]|^case[-_]?therm")
# "soc" alone is the state of charge of a battery. Samsung's AP is its processor.
_CPU = re.compile(
    r"(?i)(?<!g)cpu|^ap$|^(?:big|mid|medium|little|gold|silver|prime|kryo)(?:$|[-_\d]|core)|^soc[-_](?:max|therm|thm|top|dts)"
    r"|^cluster\d|^tsens_tz_sensor|^exynos[-_]therm|^x86_pkg_temp"
)
# Absent sensors report -99.9 °C or 0 K, at which no phone works, or exactly 0 °C.
_POSSIBLE_C = (-30.0, 130.0)
_TENTHS_UP_TO = 2000.0


def celsius(value: float) -> float:
    """A temperature in °C, of a value in degrees, tenths or thousandths of one: the unit in which a phone could work."""
    if abs(value) > _TENTHS_UP_TO:
        return value / 1000
    return value / 10 if value > _POSSIBLE_C[1] else value


def is_skin(name: str, kind: int | None) -> bool:
    """Whether a sensor is that of the skin."""
    return kind == TYPE_SKIN or _SKIN.search(name) is not None


def is_cpu(name: str, kind: int | None) -> bool:
    """Whether a sensor is one of the CPU."""
    return not is_skin(name, kind) and (kind == TYPE_CPU or _CPU.search(name) is not None)


def warmest(readings: Iterable[Reading], of_kind: Callable[[str, int | None], bool]) -> float | None:
    """The warmest sensor of a kind in °C; None where there is none that can be believed."""
    low, high = _POSSIBLE_C
    values = (celsius(value) for name, kind, value in readings if of_kind(name, kind))
    return max((value for value in values if low < value < high and value != 0), default=None)
