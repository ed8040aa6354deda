"""What a phone reports about itself, text in and values out. Unreadable values are None: unknown, which does not mean fine."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from profiling.cpu_masks import chosen_cores, cores_of, mask_of
from profiling.errors import InputError
from profiling.measurement import DeviceState
from profiling.phone.core_kinds import Kind, by_core
from profiling.phone.sensors import Reading, is_cpu, is_skin, warmest
from profiling.phone.text_files import parse_files
from profiling.phone.watch import Watched

# Commands whose output the functions below read. Each is one process on the phone, however many files it reads.
STAT_PROBE = "head -n 1 /proc/stat"
_CPU = "/sys/devices/system/cpu"
_POLICY = f"{_CPU}/cpufreq/policy*"
_CLOCK_FILES = ("related_cpus", "scaling_cur_freq", "scaling_max_freq", "scaling_governor")
CORES_PROBES = {
    "online": f"cat {_CPU}/online",
    "present": f"cat {_CPU}/present",
    "possible": f"cat {_CPU}/possible",
    "speeds": f"grep -H . {_CPU}/cpu[0-9]*/cpufreq/cpuinfo_max_freq",
    "capacities": f"grep -H . {_CPU}/cpu[0-9]*/cpu_capacity",
    "parts": "grep -e ^processor -e '^CPU part' -e '^CPU implementer' /proc/cpuinfo",
    "policies": f"grep -H . {_POLICY}/related_cpus",
    "allowed": "grep Cpus_allowed_list: /proc/self/status",
}
IDENTITY_PROBES = {
    "properties": "getprop",
    "boot_id": "cat /proc/sys/kernel/random/boot_id",
    **CORES_PROBES,
    "features": "grep -m 1 -E '^(Features|flags)' /proc/cpuinfo",
    "stat": STAT_PROBE,
    "pages": "getconf PAGE_SIZE 2>/dev/null || grep -m 1 KernelPageSize /proc/self/smaps",
    "taskset": "command -v taskset",
}
STATE_PROBES = {
    "thermal": "dumpsys thermalservice",
    "clocks": "grep -H . " + " ".join(f"{_POLICY}/{name}" for name in _CLOCK_FILES),
    "load": "cat /proc/loadavg",
    "power": "dumpsys power | grep -m 1 mWakefulness=",
    "online": CORES_PROBES["online"],
}
# For phones whose thermal service shows no temperatures; many more refuse these files to the shell.
ZONE_PROBE = "grep -H . /sys/class/thermal/thermal_zone*/type /sys/class/thermal/thermal_zone*/temp"
READINESS_PROBES = {
    "battery": "dumpsys battery",
    "saver": "settings get global low_power",
    "uptime": "cat /proc/uptime",
    "stat": STAT_PROBE,
}

UNKNOWN = "unknown"
# `ro.hardware` of the emulators of the Android SDK, of Cuttlefish, and of VirtualBox.
_EMULATED = ("goldfish", "ranchu", "cutf_cvm", "cutf", "vbox86")
_TEMPERATURE = re.compile(r"Temperature\{(?P<fields>[^}]*)\}|(?P<old>Type: .*CurrentValue: .*)")
_VALUE = re.compile(r"(?:mValue=|CurrentValue: )(-?\d+(?:\.\d+)?)")
_TYPE = re.compile(r"(?:mType=|Type: )(\d+)")
_NAME = re.compile(r"(?:mName=|Name: )([^,}\s]+)")


@dataclass(frozen=True)
class Thermal:
    """What the thermal service reports.

    Attributes:
        status: 0 none, 1 light, 2 moderate, 3 severe, 4 critical, 5 emergency, 6 shutdown.
        skin_c, cpu_c: the warmest sensor of each kind, in °C.
    """

    status: int | None = None
    skin_c: float | None = None
    cpu_c: float | None = None

    @property
    def warmest_c(self) -> float | None:
        """The warmest sensor of skin or CPU."""
        return max((value for value in (self.skin_c, self.cpu_c) if value is not None), default=None)


@dataclass(frozen=True)
class Clock:
    """The clock of one core: now, the highest that is allowed now, who governs it, and its policy of cpufreq, e.g. `policy4`."""

    now_khz: int | None = None
    allowed_khz: int | None = None
    governor: str | None = None
    policy: str = field(default="", compare=False)


@dataclass(frozen=True)
class PhoneState:
    """A phone's state at one moment; the clocks by core, the cores that are on (none where that is unknown), and the screen."""

    thermal: Thermal = field(default_factory=Thermal)
    clocks: Mapping[int, Clock] = field(default_factory=dict)
    load: float | None = None
    online: tuple[int, ...] = ()
    awake: bool | None = None

    @classmethod
    def parse(cls, texts: Mapping[str, str]) -> PhoneState:
        """From the output of STATE_PROBES, and of `zones` (ZONE_PROBE) where that was asked for."""
        thermal = parse_thermal(texts["thermal"])
        if thermal.warmest_c is None and "zones" in texts:
            thermal = replace(parse_zones(texts["zones"]), status=thermal.status)
        online, awake = tuple(core_list(texts["online"])), parse_awake(texts["power"])
        return cls(thermal, parse_clocks(texts["clocks"]), parse_load(texts["load"]), online, awake)

    def beside(self, mask: str, full_khz: Mapping[int, int], watched: Watched | None = None) -> DeviceState:
        """The same as it is kept beside a measurement.

        Args:
            mask: of the cores in use, in hexadecimal, or `any`.
            full_khz: by core, the clock that is allowed when nothing holds it back.
            watched: what was seen of the run, whose clocks are not those after its end; None without a run.
        """
        cores = self._cores(mask)
        used = [self.clocks[core] for core in cores if core in self.clocks]
        if watched is None:
            now = [clock.now_khz for clock in used if clock.now_khz is not None]
            clock_khz: float | None = max(now, default=None)
        else:
            ran_on = watched.ran_on if mask == "any" else cores
            policies = [clock.policy for core, clock in self.clocks.items() if core in ran_on]
            clock_khz = watched.mean_clock_khz(policies)
        status = self.thermal.status
        return DeviceState(
            temperature_c=self.thermal.warmest_c,
            thermal_status=status,
            clock_mhz=None if clock_khz is None else clock_khz / 1000,
            governor=" ".join(sorted({clock.governor for clock in used if clock.governor})) or None,
            throttled=True if self.held_back(mask, full_khz) else None if status is None else status > 0,
            load=self.load,
        )

    def held_back(self, mask: str, full_khz: Mapping[int, int]) -> dict[int, int]:
        """Those of the cores in use that are allowed less than their full clock, with what they are allowed in kHz."""
        clocks = {core: self.clocks[core] for core in self._cores(mask) if core in self.clocks}
        allowed = {core: clock.allowed_khz for core, clock in clocks.items() if clock.allowed_khz is not None}
        return {core: khz for core, khz in allowed.items() if khz < full_khz.get(core, khz)}

    def _cores(self, mask: str) -> list[int]:
        return list(self.clocks) if mask == "any" else cores_of(mask)


@dataclass(frozen=True)
class Battery:
    """The battery: level in percent, temperature in °C, whether it is being charged; `absent` on boards and televisions."""

    level: float | None = None
    temperature_c: float | None = None
    charging: bool | None = None
    absent: bool = False


def parse_properties(text: str) -> dict[str, str]:
    """`getprop` without arguments: `[name]: [value]`, where a value may span lines."""
    return {found[1]: found[2] for found in re.finditer(r"^\[([^\]\n]+)\]: \[(.*?)\]\r?$", text, re.MULTILINE | re.DOTALL)}


def is_emulator(properties: Mapping[str, str]) -> bool:
    """Whether this is Android in a virtual machine, whose CPU and clocks are those of the computer that it runs on."""
    marked = any(properties.get(name) == "1" for name in ("ro.kernel.qemu", "ro.boot.qemu"))
    return marked or properties.get("ro.hardware", "") in _EMULATED


def describe_product(properties: Mapping[str, str]) -> str:
    """What its maker calls it; an emulator is named as one."""
    model = properties.get("ro.product.model") or UNKNOWN
    return f"{model} (emulator)" if is_emulator(properties) else model


def parse_thermal(text: str) -> Thermal:
    """`dumpsys thermalservice`. Only the block that comes from the HAL is read: the cached one may be hours old."""
    ready = re.search(r"^HAL Ready: true", text, re.MULTILINE)
    if ready is None:
        return Thermal()
    status = re.search(r"^Thermal Status: (\d)", text, re.MULTILINE)
    overridden = re.search(r"^IsStatusOverride: true", text, re.MULTILINE)
    _, _, after = text.partition("Current temperatures from HAL:")
    block = re.split(r"^\S", after, maxsplit=1, flags=re.MULTILINE)[0]
    sensors = [found["fields"] or found["old"] for found in _TEMPERATURE.finditer(block)]
    readings = []
    for sensor in sensors:
        value, kind, name = _VALUE.search(sensor), _TYPE.search(sensor), _NAME.search(sensor)
        if value and name:
            readings.append((name[1], int(kind[1]) if kind else None, float(value[1])))
    return Thermal(
        status=int(status[1]) if status and not overridden else None,
        skin_c=warmest(readings, is_skin),
        cpu_c=warmest(readings, is_cpu),
    )


def parse_zones(text: str) -> Thermal:
    """Temperatures from `/sys/class/thermal`, in thousandths of a degree, tenths or degrees; the status stays unknown."""
    files = parse_files(text)
    readings: list[Reading] = []
    for path, kind in files.items():
        zone, _, name = path.rpartition("/")
        raw = _number(files.get(f"{zone}/temp"))
        if name == "type" and raw is not None:
            readings.append((kind, None, raw))
    return Thermal(skin_c=warmest(readings, is_skin), cpu_c=warmest(readings, is_cpu))


def parse_clocks(text: str) -> dict[int, Clock]:
    """Clocks by core, from the files of cpufreq."""
    files = parse_files(text)
    clocks = {}
    for path, cores in files.items():
        policy, _, name = path.rpartition("/")
        if name == "related_cpus":
            now, allowed = _number(files.get(f"{policy}/scaling_cur_freq")), _number(files.get(f"{policy}/scaling_max_freq"))
            clock = Clock(
                now_khz=None if now is None else int(now),
                allowed_khz=None if allowed is None else int(allowed),
                governor=files.get(f"{policy}/scaling_governor"),
                policy=policy.rpartition("/")[2],
            )
            clocks.update({int(core): clock for core in cores.split() if core.isdecimal()})
    return clocks


def parse_load(text: str) -> float | None:
    """The first figure of `/proc/loadavg` or `/proc/uptime`."""
    return _number(text.split()[0]) if text.split() else None


def parse_busy(before: str, after: str) -> float | None:
    """The share of all cores' time that was spent working between two readings of the first line of `/proc/stat`."""
    first, then = _cpu_time(before), _cpu_time(after)
    if first is None or then is None:
        return None
    worked, passed = then[0] - first[0], then[1] - first[1]
    return worked / passed if 0 <= worked <= passed and passed > 0 else None


def parse_page_bytes(text: str) -> int | None:
    """The size of a memory page: a number of bytes, or `KernelPageSize: 16 kB`."""
    found = re.fullmatch(r"\s*(?:KernelPageSize:\s*(?P<kib>\d+) kB|(?P<bytes>\d+))\s*", text, re.ASCII)
    if found is None:
        return None
    return int(found["kib"]) * 1024 if found["kib"] else int(found["bytes"])


def parse_battery(text: str) -> Battery:
    """`dumpsys battery`, which counts the temperature in tenths of a degree.

    Devices without a battery say so, or have no such service, or report a battery of 0 % and 0 V.
    """
    fields = dict(re.findall(r"^\s*([\w ]+): (\S+)", text, re.MULTILINE))
    level, scale, voltage = (_number(fields.get(name)) for name in ("level", "scale", "voltage"))
    empty = level is not None and level <= 0 and voltage is not None and voltage <= 0
    if empty or fields.get("present") == "false" or "find service: battery" in text:
        return Battery(absent=True)
    temperature = _number(fields.get("temperature"))
    powered = [value == "true" for name, value in fields.items() if name.endswith("powered")]
    return Battery(
        level=None if level is None or level < 0 or not scale else 100 * level / scale,
        temperature_c=None if temperature is None else temperature / 10,
        charging=any(powered) if powered else None,
    )


def parse_awake(text: str) -> bool | None:
    """Whether the screen is on, from `dumpsys power`."""
    found = re.search(r"mWakefulness=(\w+)", text)
    return found[1] == "Awake" if found else None


def parse_cores(online: str, speeds: str) -> dict[int, int | None]:
    """The cores that are on, each with its highest clock in kHz."""
    highest, cores = by_core(speeds), core_list(online)
    return {core: highest.get(core) for core in sorted(cores or highest)}


def parse_off(texts: Mapping[str, str]) -> list[int]:
    """The cores that are there and off, from the answers to CORES_PROBES; none where the phone does not report which are on."""
    there = core_list(texts["present"]) or core_list(texts["possible"])
    online = core_list(texts["online"])
    return [core for core in there if core not in online] if online else []


def parse_barred(texts: Mapping[str, str]) -> list[int]:
    """The cores that are on and that the shell may not use (its cpuset), from the answers to CORES_PROBES."""
    allowed = core_list(texts["allowed"].rpartition(":")[2])
    return [core for core in core_list(texts["online"]) if core not in allowed] if allowed else []


def describe_cores(cores: Mapping[int, int | None], kinds: Mapping[int, Kind] | None = None) -> str:
    """How many cores of each speed, e.g. `4 at 1803 MHz, 4 at 2850 MHz`; kinds of one speed are named."""
    kind_of = {core: (kinds or {}).get(core, Kind(khz=speed or 0)) for core, speed in cores.items()}
    count = Counter(sorted(kind_of.values()))
    speeds = Counter(kind.khz for kind in count)
    words = []
    for kind, number in count.items():
        which = kind.design or (f"capacity {kind.capacity}" if kind.capacity else f"part {kind.part:#x}")
        speed = f"{number} at {kind.khz / 1000:.0f} MHz" if kind.khz else f"{number}, speed unknown"
        words.append(f"{speed} ({which})" if speeds[kind.khz] > 1 else speed)
    return ", ".join(words) or "unknown"


def choose_cores(wanted: str, cores: Mapping[int, int | None], *, where: str, kinds: Mapping[int, Kind] | None = None) -> str:
    """The CPU mask in hexadecimal for `any` (which stays `any`), `big`, `prime`, or a mask.

    `prime` is one core of the fastest kind. `big` is all cores of the fastest kind; where that is a single core and there are
    three kinds, as with 1 + 3 + 4 cores, it is those of the second: cores in use together should be alike.

    Args:
        wanted: what a person asked for.
        cores: those that may be used, with their highest clocks.
        where: the phone, for messages.
        kinds: of cores, see `core_kinds.parse_kinds`; by their clocks where it is left out.

    Raises:
        InputError: not a mask, a core that is not there or off, or speeds that the phone does not report.
    """
    if wanted == "any":
        return wanted
    if wanted in ("big", "prime"):
        if kinds is None:
            kinds = {core: Kind(khz=speed) for core, speed in cores.items() if speed is not None}
        fastest = sorted({kinds[core] for core in cores if core in kinds}, reverse=True)
        if not fastest:
            raise InputError("the phone does not report the speed of its cores; give a mask such as `--cores f0`", where=where)
        of_kind = [[core for core in cores if kinds.get(core) == kind] for kind in fastest]
        if wanted == "prime":
            return mask_of(of_kind[0][-1:])
        return mask_of(of_kind[1] if len(of_kind[0]) == 1 and len(fastest) > 2 else of_kind[0])
    return mask_of(chosen_cores(wanted, cores, where=where))


def parse_free_kib(text: str) -> int | None:
    """The column `Available` of `df -k`, in KiB. A long name of the file system puts its figures on a line of their own."""
    found = re.search(r"^\S+\s+\d+\s+\d+\s+(\d+)\s+\S+%", text, re.MULTILINE)
    return int(found[1]) if found else None


def _cpu_time(line: str) -> tuple[int, int] | None:
    """Time that all cores worked, and in all: user, nice, system, idle, waiting for I/O, interrupts (2), stolen."""
    words = line.split()
    if len(words) < 6 or words[0] != "cpu" or not all(word.isdecimal() for word in words[1:]):
        return None
    times = [int(word) for word in words[1:9]]
    return sum(times) - times[3] - times[4], sum(times)


def core_list(text: str) -> list[int]:
    """`0-3,6` as the kernel writes it."""
    cores: list[int] = []
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        if not first.isdecimal() or (last and not last.isdecimal()):
            return []
        cores += range(int(first), int(last or first) + 1)
    return cores


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
