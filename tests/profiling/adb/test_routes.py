"""Which way to a phone, and every phone that can be seen: over TCP and a real adb server; see test_usb.py for USB."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from phone.adb import adb
from phone.machine import Phone, running
from phone.opening import LOCK
from phone.stand_in import listening, offer_tls

from profiling.adb import routes
from profiling.adb.routes import Route, Seen, choose_route, connect, look_around
from profiling.adb.server import AdbServer, ServerDevice
from profiling.errors import NoDeviceError
from profiling.phone.discovery import list_phones

if TYPE_CHECKING:
    from profiling.adb.usb import UsbPhone

NO_SERVER = AdbServer(("127.0.0.1", 9))
SERVED = ServerDevice("SERVED", "device", "Pixel_7")
WIRELESS = ServerDevice("adb-1A2B-x._adb-tls-connect._tcp", "device", "Pixel_7")
BUSY = NoDeviceError("another program holds the phone", where="USB 1.2")


def usb(*serials: str | None) -> list[UsbPhone]:
    """As `profiling.adb.usb.UsbPhone`, which cannot be imported without libusb."""
    phones = [(serial, f"usb:1-{port}", None if serial else BUSY) for port, serial in enumerate(serials, 1)]
    return [SimpleNamespace(serial=each, port=port, problem=why, name=each or port) for each, port, why in phones]  # type: ignore[misc]


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
