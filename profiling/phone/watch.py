"""What a process met while it ran: the cores of its threads and the clocks, read beside it several times a second.

A reading taken after the end says nothing of the run: by then a phone has its clocks down and its processes elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import fmean

from profiling.cpu_masks import cores_of

POLICIES = "/sys/devices/system/cpu/cpufreq/policy*"
# Ticks of each clock since the start of the phone. Many phones let the shell read it; where not, readings beside the run must do.
TICKS_PROBE = f"grep -H . {POLICIES}/stats/time_in_state"
# Often at first, for most runs are short. Sleep takes whole seconds only on phones before Android 6.
_OFTEN = 50
WATCH_SCRIPT = f"""n=0
    until read -r it <tool; do sleep 0.05 || sleep 1; done
    while [ -e /proc/$it ]; do
        grep -H -e ^Cpus_allowed: -e ^[0-9] /proc/$it/task/*/status /proc/$it/task/*/stat {POLICIES}/scaling_cur_freq
        n=$((n + 1))
        [ $n -gt {_OFTEN} ] && sleep 1 || sleep 0.1 || sleep 1
    done >seen"""

_LINE = re.compile(
    r"^/.*/(?:(?P<policy>policy\d+)/(?:stats/)?|task/\d+/)(?P<name>status|stat|scaling_cur_freq|time_in_state):(?P<value>.*)$"
)
# Behind the name of the thread, which may hold anything, the fields of /proc/PID/stat begin with the third.
_PROCESSOR = 39 - 3


@dataclass(frozen=True)
class Watched:
    """What was seen of a process.

    Attributes:
        allowed: all cores that any of its threads was ever allowed.
        ran_on: all cores that any of them was seen on.
        clocks_khz: mean clock of each policy of cpufreq by its name, e.g. `policy4`.
    """

    allowed: frozenset[int] = frozenset()
    ran_on: frozenset[int] = frozenset()
    clocks_khz: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def parse(cls, seen: str, ticks_before: str, ticks_after: str) -> Watched:
        """From what WATCH_SCRIPT wrote, and the answers to TICKS_PROBE right before and right after the run."""
        allowed: set[int] = set()
        ran_on: set[int] = set()
        readings: dict[str, list[int]] = {}
        for line in _lines(seen):
            value = line["value"]
            if line["name"] == "status":
                allowed.update(_mask(value.partition(":")[2].strip()))
            elif line["name"] == "scaling_cur_freq" and value.isdecimal():
                readings.setdefault(line["policy"], []).append(int(value))
            elif line["name"] == "stat":
                fields = value.rpartition(")")[2].split()
                ran_on.update(int(core) for core in fields[_PROCESSOR : _PROCESSOR + 1] if core.isdecimal())
        clocks = {policy: sum(values) / len(values) for policy, values in readings.items()}
        return cls(frozenset(allowed), frozenset(ran_on), clocks | _mean_clocks(ticks_before, ticks_after))

    def mean_clock_khz(self, policies: Iterable[str]) -> float | None:
        """Over cores of these policies; None where no clock of theirs was read."""
        known = [self.clocks_khz[policy] for policy in policies if policy in self.clocks_khz]
        return fmean(known) if known else None

    def left(self, cores: Iterable[int]) -> frozenset[int]:
        """The cores that it was allowed or seen on, and that are none of these."""
        return (self.allowed | self.ran_on) - frozenset(cores)


def _mean_clocks(before: str, after: str) -> dict[str, float]:
    """By policy, over the ticks that passed; policies in which none did are not there."""
    first, then = _ticks(before), _ticks(after)
    means = {}
    for policy, counts in then.items():
        passed = {khz: count - first.get(policy, {}).get(khz, count) for khz, count in counts.items()}
        total = sum(passed.values())
        if total > 0 and min(passed.values()) >= 0:
            means[policy] = sum(khz * ticks for khz, ticks in passed.items()) / total
    return means


def _ticks(text: str) -> dict[str, dict[int, int]]:
    """Ticks by policy and clock in kHz."""
    ticks: dict[str, dict[int, int]] = {}
    for line in _lines(text):
        words = line["value"].split()
        if len(words) == 2 and words[0].isdecimal() and words[1].isdecimal():
            ticks.setdefault(line["policy"], {})[int(words[0])] = int(words[1])
    return ticks


def _lines(text: str) -> list[re.Match[str]]:
    return [found for line in text.splitlines() if (found := _LINE.match(line))]


def _mask(text: str) -> list[int]:
    try:
        return cores_of(text)
    except ValueError:
        return []
