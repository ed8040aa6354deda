"""Choosing the route to a phone: USB, TCP or a running adb server; or to another Linux machine, by ssh."""

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from profiling.adb import ssh
from profiling.adb.server import (
    AdbServer,
    AdbServerError,
    ServerDevice,
    connect_server,
    find_device,
    is_place,
    is_service,
)
from profiling.adb.tcp import connect_tcp
from profiling.adb.transport import Transport
from profiling.errors import NoDeviceError

if TYPE_CHECKING:
    from profiling.adb.usb import UsbPhone

Via = Literal["auto", "usb", "tcp", "server"]
NEXT_STEP = "plug one in and turn on USB debugging in its Developer options, or give --device HOST:PORT or ssh:USER@HOST"


@dataclass(frozen=True)
class Route:
    """A route to one phone: over what, the phone's name there, and why this route was chosen."""

    via: Literal["usb", "tcp", "server", "ssh"]
    target: str
    reason: str


@dataclass(frozen=True)
class Seen:
    """What can be seen from here without connecting to a phone, and why where something could not be looked at.

    Attributes:
        server: phones of the adb server, in whatever state; None when none runs.
        usb: phones on USB; None when USB cannot be used.
        remarks: why not, in words, for each that is None.
    """

    server: list[ServerDevice] | None
    usb: list[UsbPhone] | None
    remarks: tuple[str, ...]


def look_around(server: AdbServer) -> Seen:
    """Looks at the adb server and at USB."""
    remarks = []
    known: list[ServerDevice] | None = None
    try:
        known = server.devices()
    except OSError:
        remarks.append(f"no {server.description} is running")
    except AdbServerError as error:
        remarks.append(f"{server.description}: {error}")
    plugged: list[UsbPhone] | None = None
    try:
        plugged = list_usb()
    except NoDeviceError as error:
        remarks.append(str(error))
    return Seen(known, plugged, tuple(remarks))


def list_usb() -> list[UsbPhone]:
    """Phones on USB.

    Raises:
        NoDeviceError: libusb is missing, or does not work here.
    """
    hint = "install libusb 1.0 (Debian: apt-get install libusb-1.0-0; macOS: brew install libusb), or use --via server"
    try:
        import usb1
    except (ImportError, OSError) as error:
        raise NoDeviceError(f"USB cannot be used: the library libusb is missing ({error})", hint=hint) from error
    try:
        from profiling.adb import usb

        return usb.list_usb()
    except (OSError, usb1.USBError) as error:
        raise NoDeviceError(f"USB cannot be used: {error}", hint=hint) from error


def choose_route(name: str | None, via: Via, seen: Seen) -> Route:
    """The route to the phone of a given name, or to the only phone.

    An adb server that knows the phone comes first: it holds the USB interface, and stopping it is not ours to do. Then USB, and
    then the network, for a name that is an address.

    Raises:
        NoDeviceError: there is none, there are several, or it cannot be reached in the way asked for.
    """
    if name is None:
        name = _the_only_one(via, seen)
    if via_of(name) == "ssh":
        return Route("ssh", name, "the name says so")
    if via == "tcp":
        return Route("tcp", name, "--via asks for it")
    if via == "server":
        return Route("server", name, "--via asks for it")
    if via == "usb":
        return Route("usb", name, "--via asks for it")
    if device := find_device(name, seen.server or ()):
        twin = "; another one has the same serial number, so keep their tables apart with --db" if device.shares_serial else ""
        return Route("server", device.name, f"a running adb server has this phone{twin}")
    if any(name in (phone.serial, phone.port) for phone in seen.usb or ()):
        return Route("usb", name, "it is on USB, and no adb server holds it")
    if is_service(name):
        return Route("server", name, "only an adb server reaches phones with Wireless debugging")
    if is_address(name):
        return Route("tcp", name, "the name is an address")
    raise NoDeviceError("no such phone", where=name, hint=f"phones found: {_names(seen)}. {NEXT_STEP}")


def connect(route: Route, server: AdbServer, *, notify: Callable[[str], None]) -> Transport:
    """Connects on this route.

    Raises:
        NoDeviceError: the phone cannot be reached on it.
    """
    if route.via == "ssh":
        return ssh.SshTransport(ssh.Target.parse(route.target.removeprefix(ssh.PREFIX)))
    if route.via == "tcp":
        return Transport(connect_tcp(route.target, notify=notify))
    if route.via == "server":
        return Transport(connect_server(route.target, server))
    list_usb()  # says in words why USB cannot be used
    from profiling.adb import usb

    return Transport(usb.connect_usb(route.target, notify=notify))


def via_of(address: str) -> Literal["tcp", "ssh"]:
    """How a device is reached whose address is HOST[:PORT] or ssh:USER@HOST."""
    return "ssh" if address.startswith(ssh.PREFIX) else "tcp"


def is_address(name: str) -> bool:
    """Whether a name is HOST[:PORT].

    Serial numbers have neither dots nor colons. Services of Wireless debugging and USB ports have, and only an adb server or USB
    knows these.
    """
    if is_service(name) or is_place(name):
        return False
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return ":" in name or "." in name
    return True


def _the_only_one(via: Via, seen: Seen) -> str:
    served = [device.name for device in seen.server or () if via in ("auto", "server")]
    plugged = [phone.name for phone in seen.usb or () if not phone.problem and via in ("auto", "usb")]
    names = list(dict.fromkeys([*served, *plugged]))
    if len(names) == 1:
        return names[0]
    if names:
        raise NoDeviceError("there are several phones", hint=f"choose one with --device: {_names(seen)}")
    broken = [str(phone.problem) for phone in seen.usb or () if phone.problem]
    tried = "; ".join((*seen.remarks, *broken)) or "USB and the adb server show none"
    raise NoDeviceError(f"there is no phone: {tried}", hint=NEXT_STEP)


def _names(seen: Seen) -> str:
    served = [f"{shlex.quote(d.name)} ({d.product or d.state}, adb server)" for d in seen.server or ()]
    plugged = [f"{phone.name} ({'USB, unreadable' if phone.problem else 'USB'})" for phone in seen.usb or ()]
    return ", ".join([*served, *plugged]) or "none"
