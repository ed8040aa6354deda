"""Phones on a USB cable. Importing this module fails where libusb is missing; `profiling.adb.routes` says so in words."""

from __future__ import annotations

import contextlib
import platform
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import usb1
from adb_shell import exceptions
from adb_shell.transport.usb_transport import CLASS, PROTOCOL, SUBCLASS, UsbTransport, interface_matcher

from profiling.adb.packets import PacketLink, connect
from profiling.errors import NoDeviceError

_HINTS = {
    usb1.USBErrorBusy: (
        "another program holds the phone, most likely an adb server",
        "use --via server, or run `adb kill-server`",
    ),
    usb1.USBErrorAccess: (
        "this user may not open the USB device",
        "on Linux, install the package android-sdk-platform-tools-common (udev rules) and plug the phone in again",
    ),
    usb1.USBErrorNotSupported: ("no driver gives access to the USB device", "on Windows, install the phone's WinUSB driver"),
    usb1.USBErrorNoDevice: ("the phone was unplugged", "plug it in again"),
}


class WholeUsbTransport(UsbTransport):  # type: ignore[misc]
    """The USB interface of adb-shell without its faults: errors have messages, and a read that times out keeps its data."""

    def connect(self, transport_timeout_s: float | None = None) -> None:
        """Claims the interface of adb.

        Raises:
            NoDeviceError: another program holds it, or this user may not.
        """
        try:
            handle = self._device.open()
            number = self._setting.getNumber()
            # adb-shell stops with a TypeError where there is no such driver.
            with contextlib.suppress(usb1.USBErrorNotFound, usb1.USBErrorNotSupported):
                if platform.system() != "Windows" and handle.kernelDriverActive(number):
                    handle.detachKernelDriver(number)
            handle.claimInterface(number)
        except usb1.USBError as error:
            raise _in_words(error, self._usb_info or "USB") from error
        self._transport, self._interface_number = handle, number
        for endpoint in self._setting.iterEndpoints():
            address = endpoint.getAddress()
            if address & usb1.ENDPOINT_DIR_MASK:
                self._read_endpoint = address
            else:
                self._write_endpoint = address

    def bulk_read(self, numbytes: int, transport_timeout_s: float | None = None) -> bytes:
        """Up to `numbytes` bytes; what had arrived before a timeout counts."""
        try:
            data: bytes = super().bulk_read(numbytes, transport_timeout_s)
        except exceptions.UsbReadFailedError as error:
            received = getattr(error.usb_error, "received", b"")
            if not received:
                raise
            return bytes(received)
        return data


@dataclass(frozen=True)
class UsbPhone:
    """A USB interface of adb: its serial number, or why that cannot be read; both are None where it has no serial number.

    `shares_serial` is whether another phone on USB has the same one.
    """

    serial: str | None
    problem: NoDeviceError | None
    transport: WholeUsbTransport
    shares_serial: bool = False

    @property
    def port(self) -> str:
        """Where it is plugged in, as the adb server calls it: `usb:1-3.2`."""
        bus, *ports = self.transport.port_path
        return f"usb:{bus}-{'.'.join(map(str, ports))}"

    @property
    def name(self) -> str:
        """What `--device` takes for this phone and no other."""
        return self.serial if self.serial and not self.shares_serial else self.port


def list_usb() -> list[UsbPhone]:
    """Every phone on USB with debugging on. One that cannot be opened does not hide the others."""
    phones = list(_phones())
    count = Counter(phone.serial for phone in phones)
    return [replace(phone, shares_serial=count[phone.serial] > 1) for phone in phones]


def connect_usb(name: str, *, notify: Callable[[str], None]) -> PacketLink:
    """The phone with this serial number, or at this port (`usb:1-3`).

    Raises:
        NoDeviceError: it is not there, there are several, or it cannot be opened.
    """
    phones = list_usb()
    found = [phone for phone in phones if name in (phone.serial, phone.port)]
    if len(found) > 1:
        choices = ", ".join(phone.name for phone in found)
        raise NoDeviceError("several phones have this serial number", where=name, hint=f"choose one with --device: {choices}")
    for phone in found:
        if phone.problem is not None:
            raise phone.problem
        return connect(phone.transport, f"USB {name}", notify=notify)
    unreadable = [phone.problem for phone in phones if phone.problem]
    if unreadable:
        raise unreadable[0]
    raise NoDeviceError(
        "no phone with this serial number is on USB",
        where=name,
        hint="check the cable (some only charge) and that USB debugging is on in Developer options",
    )


def _phones() -> Iterator[UsbPhone]:
    for transport in WholeUsbTransport._find_devices(interface_matcher(CLASS, SUBCLASS, PROTOCOL)):
        place = "USB " + ".".join(map(str, transport.port_path))
        try:
            yield UsbPhone(transport.serial_number or None, None, transport)
        except usb1.USBError as error:
            yield UsbPhone(None, _in_words(error, place), transport)


def _in_words(error: usb1.USBError, where: str) -> NoDeviceError:
    problem, hint = next(
        (words for kind, words in _HINTS.items() if isinstance(error, kind)),
        (f"USB error: {error}", "plug the phone in again"),
    )
    return NoDeviceError(problem, where=where, hint=hint)
