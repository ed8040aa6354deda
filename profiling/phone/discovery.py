"""Every visible phone, each with what it still needs before it can be measured. A broken phone does not hide the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from profiling.adb.link import LinkLostError
from profiling.adb.routes import Route, connect, look_around, via_of
from profiling.adb.server import AdbServer
from profiling.adb.transport import Transport
from profiling.device import DeviceSummary
from profiling.errors import InputError, NoDeviceError
from profiling.phone import lock, probes
from profiling.phone.cores import describe_phone_cores
from profiling.phone.probes import UNKNOWN, PhoneState

# Of all phones of one search; each takes a second at most when it answers.
_AT_ONCE = 8
LOW_BATTERY = 20


def list_phones(
    addresses: Sequence[str] = (), *, server: AdbServer | None = None, notify: Callable[[str], None] = lambda text: None
) -> list[DeviceSummary]:
    """The phones of the adb server, on USB, and at these addresses of the network.

    Args:
        addresses: HOST[:PORT], or ssh:USER@HOST.
        server: the adb server to ask; the usual one by default.
        notify: called when the user must act on a phone, and when USB cannot be searched.
    """
    server = server or AdbServer()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(lambda look: look(), _looks(addresses, server, notify)))


def _looks(addresses: Sequence[str], server: AdbServer, notify: Callable[[str], None]) -> Iterator[Callable[[], DeviceSummary]]:
    seen = look_around(server)
    if seen.usb is None:
        notify(seen.remarks[-1])
    routes = [Route("server", device.name, "") for device in seen.server or ()]
    served = {name for device in seen.server or () for name in (device.serial, device.port, device.name)}
    for phone in seen.usb or ():
        if phone.port in served or phone.name in served:
            continue
        if phone.problem:
            yield lambda phone=phone: _unreachable(phone.port, phone.problem)  # type: ignore[misc]
        else:
            routes.append(Route("usb", phone.name, ""))
    routes += [Route(via_of(address), address, "") for address in addresses if address not in served]
    for route in routes:
        yield lambda route=route: _look_at(route, server, notify)  # type: ignore[misc]


def _look_at(route: Route, server: AdbServer, notify: Callable[[str], None]) -> DeviceSummary:
    try:
        transport = connect(route, server, notify=notify)
        try:
            return _describe(route, transport)
        finally:
            transport.close()
    except (NoDeviceError, InputError, LinkLostError) as error:
        return _unreachable(route.target, error)


def _unreachable(name: str, error: NoDeviceError | InputError | LinkLostError) -> DeviceSummary:
    missing = f"{error.problem}; {error.hint}" if error.hint else error.problem
    return DeviceSummary(name=name, product=UNKNOWN, soc=UNKNOWN, state="unreachable", cores=UNKNOWN, missing=missing)


def _describe(route: Route, transport: Transport) -> DeviceSummary:
    asked = probes.IDENTITY_PROBES | probes.STATE_PROBES | probes.READINESS_PROBES
    asked |= {"properties": transport.properties, "zones": probes.ZONE_PROBE, **lock.lock_probes(transport.folder)}
    replies = transport.batch(asked)
    texts = {name: reply.text for name, reply in replies.items()}
    properties = probes.parse_properties(texts["properties"])
    state = PhoneState.parse(texts)
    battery = probes.parse_battery(texts["battery"])
    status = state.thermal.status
    lacks = {
        "starting": "it has not finished starting" if properties.get("sys.boot_completed") != "1" else None,
        "in use": f"another run is measuring on it: {user}" if (user := lock.in_use(replies)) else None,
        "hot": f"it throttles (thermal status {status}); let it cool down" if status else None,
        "low battery": _low(battery.level),
        "saving power": "battery saver is on; turn it off" if texts["saver"] == "1" else None,
    }
    missing = {word: text for word, text in lacks.items() if text}
    return DeviceSummary(
        name=route.target,
        product=probes.describe_product(properties),
        soc=properties.get("ro.soc.model") or properties.get("ro.board.platform") or UNKNOWN,
        state=next(iter(missing), "ready"),
        cores=describe_phone_cores(texts),
        temperature_c=state.thermal.warmest_c,
        missing="; ".join(missing.values()) or None,
    )


def _low(level: float | None) -> str | None:
    return f"its battery is at {level:.0f} %; charge it" if level is not None and level < LOW_BATTERY else None
