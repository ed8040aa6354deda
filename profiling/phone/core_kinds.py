"""Which cores of a phone are alike, and which are faster: by capacity and clock, or by the design of the core."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from profiling.phone.text_files import parse_files


class _Design(NamedTuple):
    """A design of a core, and its class: 0 the small ones, 1 the large ones, 2 the largest."""

    name: str
    size: int


# By implementer and part number of /proc/cpuinfo (Arm's technical reference manuals, "MIDR_EL1"; Linux, arch/arm64/include/asm/
# cputype.h). Needed only where two kinds share a clock and the kernel gives no capacity: mostly phones with a Cortex-A53 or A55.
_DESIGNS = {
    (0x41, 0xD03): _Design("Cortex-A53", 0),
    (0x41, 0xD04): _Design("Cortex-A35", 0),
    (0x41, 0xD05): _Design("Cortex-A55", 0),
    (0x41, 0xD46): _Design("Cortex-A510", 0),
    (0x41, 0xD80): _Design("Cortex-A520", 0),
    (0x41, 0xD07): _Design("Cortex-A57", 1),
    (0x41, 0xD08): _Design("Cortex-A72", 1),
    (0x41, 0xD09): _Design("Cortex-A73", 1),
    (0x41, 0xD0A): _Design("Cortex-A75", 1),
    (0x41, 0xD0B): _Design("Cortex-A76", 1),
    (0x41, 0xD0D): _Design("Cortex-A77", 1),
    (0x41, 0xD41): _Design("Cortex-A78", 1),
    (0x41, 0xD47): _Design("Cortex-A710", 1),
    (0x41, 0xD4D): _Design("Cortex-A715", 1),
    (0x41, 0xD81): _Design("Cortex-A720", 1),
    (0x41, 0xD44): _Design("Cortex-X1", 2),
    (0x41, 0xD48): _Design("Cortex-X2", 2),
    (0x41, 0xD4E): _Design("Cortex-X3", 2),
    (0x41, 0xD82): _Design("Cortex-X4", 2),
    (0x51, 0x800): _Design("Kryo Gold", 1),
    (0x51, 0x801): _Design("Kryo Silver", 0),
    (0x51, 0x802): _Design("Kryo Gold", 1),
    (0x51, 0x803): _Design("Kryo Silver", 0),
    (0x51, 0x804): _Design("Kryo Gold", 1),
    (0x51, 0x805): _Design("Kryo Silver", 0),
}


# A core of unknown design beside known ones may be faster than all of them.
_UNKNOWN_DESIGN = 3


@dataclass(frozen=True, order=True)
class Kind:
    """What cores of one kind have in common; the greater, the faster.

    Attributes:
        capacity: work per second at the highest clock, of 1024 for the fastest core; 0 where the kernel does not report it.
        khz: highest clock; 0 where it is unknown.
        size, part: class of the design, and its number, in which later designs are mostly greater; 0 beside a capacity.
        design: its name; empty where it is unknown.
    """

    capacity: int = 0
    khz: int = 0
    size: int = 0
    part: int = 0
    design: str = field(default="", compare=False)


def parse_kinds(texts: Mapping[str, str]) -> dict[int, Kind]:
    """The kind of each core, from the answers to `probes.CORES_PROBES`; without those of which nothing says how fast they are."""
    speeds, capacities, parts = by_core(texts["speeds"]), by_core(texts["capacities"]), _parse_parts(texts)
    if not speeds.keys() <= capacities.keys():
        capacities = {}
    khz_of = {capacity: speeds[core] for core, capacity in capacities.items() if core in speeds}
    kinds = {}
    for core in sorted(speeds.keys() | capacities.keys()):
        part = parts.get(core, (0, 0))
        # A design that is not in the table is most likely newer, and a large one.
        name, size = _DESIGNS.get(part, _Design("", 1 if core in parts else _UNKNOWN_DESIGN if parts else 0))
        if core in capacities:
            khz = speeds.get(core, khz_of.get(capacities[core], 0))
            kinds[core] = Kind(capacities[core], khz, design=name)
        else:
            kinds[core] = Kind(0, speeds[core], size, part[1], name)
    return kinds


def by_core(text: str) -> dict[int, int]:
    """Numbers in a file of each core below /sys/devices/system/cpu, by core: many phones remove files of a core that is off."""
    return {
        int(found[1]): int(value)
        for path, value in parse_files(text).items()
        if value.isdecimal() and (found := re.search(r"/cpu(\d+)/", path))
    }


def _parse_parts(texts: Mapping[str, str]) -> dict[int, tuple[int, int]]:
    """Implementer and part number by core, from /proc/cpuinfo; that has no paragraph for a core that is off, but others of its
    policy of cpufreq are like it."""
    parts = {}
    core, implementer = None, 0
    for name, value in re.findall(r"^([\w ]+?)\s*:\s*(\S+)", texts["parts"], re.MULTILINE):
        if name == "processor" and value.isdecimal():
            core = int(value)
        elif name == "CPU implementer":
            implementer = _hexadecimal(value)
        elif name == "CPU part" and core is not None:
            parts[core] = implementer, _hexadecimal(value)
    for listed in parse_files(texts["policies"]).values():
        alike = [int(each) for each in listed.split() if each.isdecimal()]
        known = [parts[each] for each in alike if each in parts]
        parts |= {each: known[0] for each in alike if known and each not in parts}
    return parts


def _hexadecimal(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        return 0
