"""Phones on USB: what goes wrong with a cable, a driver or another program, on stand-ins for what libusb gives."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

try:
    import usb1
except OSError:
    if os.environ.get("SPNAS_REQUIRE_PHONE") == "1":
        raise
    pytest.skip("needs libusb 1.0 (Debian: apt-get install libusb-1.0-0)", allow_module_level=True)
from adb_shell import exceptions

from profiling.adb import usb as adb_usb
from profiling.adb.routes import look_around
from profiling.adb.server import AdbServer
from profiling.adb.usb import WholeUsbTransport
from profiling.errors import NoDeviceError

NO_SERVER = AdbServer(("127.0.0.1", 9))


class Handle:
    """A USB device handle as libusb gives it, with one thing wrong."""

    def __init__(self, **errors: Exception) -> None:
        self.errors = errors

    def __getattr__(self, name: str) -> object:
        def call(*_: object, **__: object) -> bytes:
            if name in self.errors:
                raise self.errors[name]
            return b"data"

        return call


def transport_over(handle: Handle, serial: str | Exception = "PLUGGED") -> WholeUsbTransport:
    endpoints = [SimpleNamespace(getAddress=lambda: 0x81), SimpleNamespace(getAddress=lambda: 0x01)]
    setting = SimpleNamespace(iterEndpoints=lambda: endpoints, getNumber=lambda: 1)

    def serial_number() -> str:
        if isinstance(serial, Exception):
            raise serial
        return serial

    device = SimpleNamespace(
        open=lambda: handle.open(),
        getSerialNumber=serial_number,
        getBusNumber=lambda: 1,
        getPortNumberList=lambda: [2],
    )
    handle.errors.setdefault("open", None)  # type: ignore[arg-type]
    if handle.errors["open"] is None:
        del handle.errors["open"]
        device.open = lambda: handle
    return WholeUsbTransport(device, setting, "USB 1.2")


class TestUsb:
    @pytest.mark.parametrize(
        ("handle", "words"),
        [
            (Handle(claimInterface=usb1.USBErrorBusy()), "another program holds the phone"),
            (Handle(open=usb1.USBErrorAccess()), "may not open the USB device"),
            (Handle(open=usb1.USBErrorNoDevice()), "was unplugged"),
            (Handle(open=usb1.USBErrorNotSupported()), "no driver"),
            (Handle(open=usb1.USBErrorIO()), "USB error"),
        ],
    )
    def test_what_cannot_be_opened_says_why(self, handle: Handle, words: str) -> None:
        with pytest.raises(NoDeviceError, match=words) as caught:
            transport_over(handle).connect()
        assert caught.value.where == "USB 1.2"
        assert caught.value.hint

    def test_an_interface_without_kernel_driver_is_no_error(self) -> None:
        """adb-shell stops with a TypeError here, from its own warning."""
        transport_over(Handle(kernelDriverActive=usb1.USBErrorNotFound())).connect()

    def test_a_read_that_times_out_keeps_what_had_arrived(self) -> None:
        """adb-shell loses it, and takes what follows for the begin of a packet."""
        timeout = usb1.USBErrorTimeout()
        timeout.received = bytearray(b"half")
        transport = transport_over(Handle(bulkRead=timeout))
        transport.connect()
        assert transport.bulk_read(24, 1.0) == b"half"
        timeout.received = bytearray()
        with pytest.raises(exceptions.UsbReadFailedError):
            transport.bulk_read(24, 1.0)

    def test_one_phone_that_cannot_be_read_hides_no_other(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """adb-shell opens every phone to find one, and stops at the first that it may not."""
        transports = [transport_over(Handle(), usb1.USBErrorAccess()), transport_over(Handle(), "PLUGGED")]
        monkeypatch.setattr(WholeUsbTransport, "_find_devices", lambda matcher: iter(transports))
        refused, plugged = adb_usb.list_usb()
        assert plugged.serial == "PLUGGED"
        assert refused.serial is None
        assert "may not open" in str(refused.problem)
        with pytest.raises(NoDeviceError, match="may not open"):
            adb_usb.connect_usb("OTHER", notify=lambda text: None)

    def test_a_serial_that_is_not_there_says_so(self) -> None:
        with pytest.raises(NoDeviceError, match="no phone with this serial number") as caught:
            adb_usb.connect_usb("NONE", notify=lambda text: None)
        assert "USB debugging" in str(caught.value.hint)

    def test_usb_that_cannot_be_opened_is_told_from_a_missing_library(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(matcher: object) -> None:
            raise usb1.USBErrorOther

        monkeypatch.setattr(WholeUsbTransport, "_find_devices", refuse)
        (remark,) = [remark for remark in look_around(NO_SERVER).remarks if "USB" in remark]
        assert "USB cannot be used" in remark
        assert "missing" not in remark.partition(";")[0]
