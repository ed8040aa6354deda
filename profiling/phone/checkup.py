"""What spnas relies on and was never seen on a physical phone, looked at on one: for a person who has it, and to be sent on.

Nothing of what it finds is personal: no serial number, no name, no file of the phone's own.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from profiling.adb.connection import Connection
from profiling.adb.routes import Via, choose_route, connect, look_around
from profiling.adb.server import AdbServer
from profiling.cpu_masks import cores_of, mask_of
from profiling.errors import InputError
from profiling.phone import probes
from profiling.phone.cores import PhoneCores, describe_phone_cores, name_cores
from profiling.phone.lock import PhoneLock
from profiling.phone.screen import Wakefulness
from profiling.phone.watch import TICKS_PROBE, Watched

WORK_S = 15
_TOOLS = ("taskset", "setsid", "sha256sum", "stat", "grep", "pkill")
_PROBES = {
    "thermal": probes.STATE_PROBES["thermal"],
    "zones": probes.ZONE_PROBE,
    "clocks": probes.STATE_PROBES["clocks"],
    "ticks": TICKS_PROBE,
    "battery": probes.READINESS_PROBES["battery"],
    "power": probes.STATE_PROBES["power"],
    "tools": f"for tool in {' '.join(_TOOLS)}; do command -v $tool >/dev/null || echo $tool; done",
    "kernel": "uname -r",
}
# What a shell says of itself after some work, in the form that the watch beside every run reads.
_WORK_AND_LOOK = "n=0; while [ $n -lt 100000 ]; do n=$((n + 1)); done; grep -H -e ^Cpus_allowed: -e ^[0-9] /proc/$$/task/*/stat*"


@dataclass(frozen=True)
class Finding:
    """What one look at a phone gave.

    Attributes:
        what: was looked at; docs/phones.md lists the same.
        found: in words.
        as_expected: whether spnas can rely on it; None where there was nothing to see.
    """

    what: str
    found: str
    as_expected: bool | None


def check_phone(
    name: str,
    *,
    via: Via = "auto",
    server: AdbServer | None = None,
    work_s: int = WORK_S,
    notify: Callable[[str], None] = lambda text: None,
) -> list[Finding]:
    """Looks at a phone; see `Finding`. Its screen goes on meanwhile, its cores work for some seconds, and it is left as it was.

    Args:
        name: what `--device` takes.
        via: the way to it.
        server: the adb server to ask; the usual one by default.
        work_s: seconds of work by which its speed is watched.
        notify: called with one line for anything the user should know.

    Raises:
        NoDeviceError: there is no such phone, or another run measures on it.
        DeviceLostError: it went away.
    """
    server = server or AdbServer()
    route = choose_route(name, via, look_around(server))
    with contextlib.ExitStack() as undo:
        connection = Connection(lambda: connect(route, server, notify=notify), limit_s=60.0, notify=notify)
        undo.callback(connection.close)
        undo.callback(PhoneLock(connection).release)
        return list(_look(connection, undo, work_s, notify))


def _look(connection: Connection, undo: contextlib.ExitStack, work_s: int, notify: Callable[[str], None]) -> Iterator[Finding]:
    identity = connection.batch({**probes.IDENTITY_PROBES, "properties": connection.properties_command})
    texts = {name: reply.text for name, reply in (identity | connection.batch(_PROBES)).items()}
    yield _phone(texts)
    yield _tools(texts)
    yield _sensors(texts)
    yield _clocks(texts)
    yield _ticks(texts)
    yield _screen(connection, undo, texts)
    cores = PhoneCores(connection, texts, notify=notify)
    yield _cores_off(cores, texts)
    mask, problem = _prime(cores)
    yield _kept_on_core(connection, mask, problem)
    yield _speed(connection, mask, work_s)


def _phone(texts: dict[str, str]) -> Finding:
    properties = probes.parse_properties(texts["properties"])
    product = probes.describe_product(properties)
    soc = properties.get("ro.soc.model") or properties.get("ro.board.platform") or "unknown"
    version, abis = properties.get("ro.build.version.release"), properties.get("ro.product.cpu.abilist", "")
    system = f"Android {version}" if version else "not Android"
    found = f"{product}, {soc}, {system}, kernel {texts['kernel']}, {abis or 'no ABI'}; {describe_phone_cores(texts)}"
    return Finding("what it is", found, bool(abis))


def _tools(texts: dict[str, str]) -> Finding:
    missing = texts["tools"].split()
    return Finding("programs of its shell", f"it has no {', '.join(missing)}" if missing else "all are there", not missing)


def _sensors(texts: dict[str, str]) -> Finding:
    """Both ways to a temperature, and the thermal status."""
    service, zones = probes.parse_thermal(texts["thermal"]), probes.parse_zones(texts["zones"])
    status = "no thermal status" if service.status is None else f"thermal status {service.status}"
    words = [status, *(f"{name} {_celsius(thermal)}" for name, thermal in (("service", service), ("files", zones)))]
    if zones.warmest_c is None and (types := sorted(set(re.findall(r"/type:(\S+)", texts["zones"])))):
        words.append(f"zones {' '.join(types)}")
    return Finding(
        "thermal status and temperatures", ", ".join(words), None not in (service.status, service.warmest_c or zones.warmest_c)
    )


def _celsius(thermal: probes.Thermal) -> str:
    return "no temperature" if thermal.warmest_c is None else f"{thermal.warmest_c:.1f} °C"


def _clocks(texts: dict[str, str]) -> Finding:
    clocks = probes.parse_clocks(texts["clocks"])
    words = [f"core {core}: {_mhz(clock.now_khz)} of {_mhz(clock.allowed_khz)}" for core, clock in sorted(clocks.items())] or [
        "no clock can be read"
    ]
    return Finding("clocks (`scaling_cur_freq`, `scaling_max_freq`)", ", ".join(words), bool(clocks))


def _mhz(khz: int | None) -> str:
    return "unknown" if khz is None else f"{khz / 1000:.0f} MHz"


def _ticks(texts: dict[str, str]) -> Finding:
    policies = sorted(set(re.findall(r"(policy\d+)/stats/time_in_state:\d", texts["ticks"])))
    found = f"readable for {', '.join(policies)}" if policies else f"not readable: {_last_line(texts['ticks'])}"
    return Finding("time at each clock (`stats/time_in_state`)", found, bool(policies))


def _screen(connection: Connection, undo: contextlib.ExitStack, texts: dict[str, str]) -> Finding:
    what, before = "screen", probes.parse_awake(texts["power"])
    if before is None:
        return Finding(what, "not known whether it is on", None)
    screen = Wakefulness(connection)
    undo.callback(screen.restore)
    screen.keep()
    after = probes.parse_awake(connection.shell(f"sleep 1; {probes.STATE_PROBES['power']}").text)
    if before:
        return Finding(what, f"was on already; {'is on' if after else 'is off'} after KEYCODE_WAKEUP", after)
    return Finding(what, "KEYCODE_WAKEUP switches it on" if after else "stays off after KEYCODE_WAKEUP", after)


def _cores_off(cores: PhoneCores, texts: dict[str, str]) -> Finding:
    what, off = "cores that are off", probes.parse_off(texts)
    if not off:
        return Finding(what, "none is off", None)
    left = cores.wake(mask_of(off))
    woken = "all of them on" if not left else f"{name_cores(left)} still off"
    return Finding(what, f"{name_cores(off)}; after a second of work: {woken}", not left)


def _prime(cores: PhoneCores) -> tuple[str, str]:
    """The mask of the prime core, or `any` and why there is none."""
    try:
        return cores.choose("prime"), ""
    except InputError as error:
        return "any", error.problem


def _kept_on_core(connection: Connection, mask: str, problem: str) -> Finding:
    what = "a process on its core (`taskset`, `/proc/PID/task/*`)"
    if mask == "any":
        return Finding(what, problem, False)
    reply = connection.shell(f"taskset {mask} sh -c '{_WORK_AND_LOOK}'")
    watched = Watched.parse(reply.text, "", "")
    if not watched.ran_on:
        return Finding(what, f"where it ran cannot be read: {_last_line(reply.text)}", False)
    kept = watched.ran_on <= {*cores_of(mask)}
    return Finding(what, f"asked for {mask}, ran on {mask_of(watched.ran_on)}", kept)


def _speed(connection: Connection, mask: str, work_s: int) -> Finding:
    """Rounds of a shell on one core in each second of work: heat shows as fewer of them."""
    second = "read -r now rest </proc/uptime; now=${now%.*}"
    script = f"""{second}; end=$((now + {work_s} + 1)); begin=$now
        while {second}; [ $now -lt $end ]; do
            n=0; this=$now; while {second}; [ $now = $this ]; do n=$((n + 1)); done
            [ $this = $begin ] || echo $n
        done"""
    pinned = "" if mask == "any" else f"taskset {mask} "
    reply = connection.shell(f"{pinned}sh -c '{script}'", 20.0 + work_s)
    after = connection.batch({name: probes.STATE_PROBES[name] for name in ("thermal", "clocks")})
    rounds = [int(line) for line in reply.text.split() if line.isdecimal()]
    if not rounds:
        return Finding("speed under load", f"cannot be watched: {_last_line(reply.text)}", False)
    thermal = probes.parse_thermal(after["thermal"].text)
    speeds = " ".join(f"{count / rounds[0]:.0%}" for count in rounds)
    status = "unknown" if thermal.status is None else thermal.status
    found = f"in each of {len(rounds)} s, of that in the first: {speeds}; then {_celsius(thermal)}, thermal status {status}"
    return Finding("speed under load", found, None)


def _last_line(text: str) -> str:
    return (text.splitlines() or ["no answer"])[-1]
