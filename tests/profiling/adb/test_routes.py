"""Which way to a phone, and every phone that can be seen: over USB, TCP and a real adb server."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import usb1
from adb_shell import exceptions
from phone.adb import adb
from phone.machine import Phone, running
from phone.stand_in import listening, offer_tls

from profiling.adb import routes
from profiling.adb import usb as adb_usb
from profiling.adb.routes import Route, Seen, choose_route, connect, look_around
from profiling.adb.server import AdbServer, ServerDevice
from profiling.adb.usb import UsbPhone, WholeUsbTransport
from profiling.errors import NoDeviceError
from profiling.phone.discovery import list_phones
from profiling.phone.lock import FOLDER as LOCK

NO_SERVER = AdbServer(("127.0.0.1", 9))
SERVED = ServerDevice("SERVED", "device", "Pixel_7")
WIRELESS = ServerDevice("adb-1A2B-x._adb-tls-connect._tcp", "device", "Pixel_7")
BUSY = NoDeviceError("another program holds the phone", where="USB 1.2")


def usb(*serials: str | None) -> list[UsbPhone]:
    return [UsbPhone(serial, None if serial else BUSY, None) for serial in serials]  # type: ignore[arg-type]


class TestChoice:
    @pytest.mark.parametrize(
        ("name", "seen", "via"),
        [
            ("SERVED", Seen([SERVED], usb("SERVED"), ()), "server"),
            ("PLUGGED", Seen([SERVED], usb("PLUGGED"), ()), "usb"),
            ("PLUGGED", Seen(None, usb("PLUGGED"), ()), "usb"),
            ("192.168.1.5", Seen(None, [], ()), "tcp"),
            ("192.168.1.5:5600", Seen([SERVED], [], ()), "tcp"),
            ("192.168.1.5:5600", Seen([ServerDevice("192.168.1.5:5600", "device", "")], [], ()), "server"),
            ("[fe80::1]:5555", Seen(None, None, ()), "tcp"),
            ("pixel.local", Seen(None, None, ()), "tcp"),
            (WIRELESS.serial, Seen([WIRELESS], [], ()), "server"),
            (None, Seen([SERVED], usb("SERVED"), ()), "server"),
            (None, Seen(None, usb("PLUGGED"), ()), "usb"),
        ],
    )
    def test_auto_takes_what_can_work_and_says_why(self, name: str | None, seen: Seen, via: str) -> None:
        route = choose_route(name, "auto", seen)
        assert route.via == via
        assert route.reason
        assert route.target == (name or route.target)

    @pytest.mark.parametrize("via", ["usb", "tcp", "server"])
    def test_a_way_that_is_asked_for_is_taken(self, via: routes.Via) -> None:
        assert choose_route("NAME", via, Seen([SERVED], usb("PLUGGED"), ())).via == via

    def test_no_phone_lists_what_was_tried(self) -> None:
        seen = Seen(None, usb(None), ("no adb server 127.0.0.1:5037 runs",))
        with pytest.raises(NoDeviceError) as caught:
            choose_route(None, "auto", seen)
        assert "no adb server 127.0.0.1:5037 runs" in caught.value.problem
        assert "another program holds the phone" in caught.value.problem
        assert "USB debugging" in str(caught.value.hint)

    def test_several_phones_are_listed_and_none_is_picked(self) -> None:
        with pytest.raises(NoDeviceError, match="several phones") as caught:
            choose_route(None, "auto", Seen([SERVED], usb("PLUGGED"), ()))
        assert "SERVED (Pixel_7, adb server), PLUGGED (USB)" in str(caught.value.hint)

    def test_an_unknown_serial_lists_the_known(self) -> None:
        with pytest.raises(NoDeviceError, match="no such phone") as caught:
            choose_route("TYPO", "auto", Seen([SERVED], usb("PLUGGED"), ()))
        assert "SERVED" in str(caught.value.hint)
        assert "PLUGGED" in str(caught.value.hint)

    def test_without_libusb_the_package_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "usb1", None)
        seen = look_around(NO_SERVER)
        assert seen.usb is None
        assert any("libusb is missing" in remark and "libusb-1.0-0" in remark for remark in seen.remarks)
        with pytest.raises(NoDeviceError, match="libusb is missing"):
            connect(Route("usb", "PLUGGED", ""), NO_SERVER, notify=lambda text: None)

    def test_usb_that_cannot_be_opened_is_told_from_a_missing_library(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(matcher: object) -> None:
            raise usb1.USBErrorOther

        monkeypatch.setattr(WholeUsbTransport, "_find_devices", refuse)
        (remark,) = [remark for remark in look_around(NO_SERVER).remarks if "USB" in remark]
        assert "USB cannot be used" in remark
        assert "missing" not in remark.partition(";")[0]


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


class TestList:
    @pytest.fixture
    def server(self, adb_port: int, phone: Phone) -> Iterator[AdbServer]:
        adb(adb_port, "disconnect")  # phones of earlier tests
        adb(adb_port, "connect", phone.address)
        yield AdbServer(("127.0.0.1", adb_port))
        adb(adb_port, "disconnect")

    def test_phones_by_server_and_by_address_with_all_that_matters(self, server: AdbServer, phone: Phone) -> None:
        with running(serial="SECOND") as second:
            found = list_phones([second.address], server=server)
        assert [each.name for each in found] == [phone.address, second.address]
        for each in found:
            assert (each.product, each.state, each.missing, each.temperature_c) == ("Test Phone", "ready", None, 36.2)
            assert "2850 MHz" in each.cores

    def test_a_phone_of_the_server_is_not_listed_twice(self, server: AdbServer, phone: Phone) -> None:
        assert len(list_phones([phone.address], server=server)) == 1

    def test_broken_phones_hide_no_others(self, phone: Phone) -> None:
        with listening(offer_tls) as tls:
            found = list_phones([tls, "127.0.0.1:1", "not an address", phone.address], server=NO_SERVER)
        assert [each.state for each in found] == ["unreachable", "unreachable", "unreachable", "ready"]
        assert "Wireless debugging" in str(found[0].missing)
        assert "nothing listens" in str(found[1].missing)

    @pytest.mark.parametrize(
        ("name", "value", "state", "words"),
        [
            ("thermal_status", "3", "hot", "thermal status 3"),
            ("battery_level", "4", "low battery", "4 %"),
            ("battery_level", "0", "low battery", "0 %"),
            ("settings/low_power", "1", "saving power", "battery saver"),
        ],
    )
    def test_what_a_phone_lacks_is_said(self, phone: Phone, name: str, value: str, state: str, words: str) -> None:
        phone.set(name, value)
        (found,) = list_phones([phone.address], server=NO_SERVER)
        assert found.state == state
        assert words in str(found.missing)

    def test_a_phone_in_use_is_said_to_be(self, phone: Phone) -> None:
        phone.run(f"mkdir {LOCK}; echo somebody >{LOCK}/owner")
        (found,) = list_phones([phone.address], server=NO_SERVER)
        assert found.state == "in use"

    def test_unknown_stays_unknown(self, phone: Phone) -> None:
        phone.set("hal_ready", "false")
        for zone in phone.sys("class/thermal").glob("thermal_zone*/temp"):
            zone.unlink()
        (found,) = list_phones([phone.address], server=NO_SERVER)
        assert found.temperature_c is None
