"""What a phone is called: names with blanks, phones without a serial number, and phones that share one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from phone.adb import known_as
from phone.machine import Phone
from phone.opening import QUICK, models
from phone.stand_in import listening

from profiling.adb.routes import Seen, choose_route, is_address
from profiling.adb.server import AdbServer, ServerDevice, connect_server, find_device, parse_devices
from profiling.device import BuiltModel
from profiling.errors import NoDeviceError
from profiling.phone.discovery import list_phones
from profiling.phone.phone import open_phone

__all__ = ["models"]

SERVICE = "adb-14141FDF600081-vWgJpq (2)._adb-tls-connect._tcp"
HELP = "no permissions (missing udev rules? user is in the plugdev group); see [http://developer.android.com/tools/device.html]"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            f"{SERVICE} device product:oriole model:Pixel_6 device:oriole transport_id:5",
            ServerDevice(SERVICE, "device", "Pixel_6", "", "5"),
        ),
        (f"{SERVICE} offline transport_id:5", ServerDevice(SERVICE, "offline", "", "", "5")),
        (f"(no serial number)     {HELP} usb:1-3 transport_id:2", ServerDevice("", "no permissions", "", "usb:1-3", "2")),
        (f"0A1B                   {HELP} usb:1-3 transport_id:2", ServerDevice("0A1B", "no permissions", "", "usb:1-3", "2")),
        ("????????????           no permissions usb:1-3", ServerDevice("", "no permissions", "", "usb:1-3", "")),
        ("0A1B  no permissions", ServerDevice("0A1B", "no permissions", "")),
        (
            "(no serial number)     device usb:3-1.4 product:rk3588_s model:ROCK_5B device:rk3588_s transport_id:1",
            ServerDevice("", "device", "ROCK_5B", "usb:3-1.4", "1"),
        ),
        ("(no serial number)     device transport_id:7", ServerDevice("", "device", "", "", "7")),
        ("0A1B           unauthorized usb:336592X transport_id:1", ServerDevice("0A1B", "unauthorized", "", "usb:336592X", "1")),
        ("0A1B device product:two words model:M device:d transport_id:1", ServerDevice("0A1B", "device", "M", "", "1")),
        ("[fe80::1%w]:5555 device product:p model:M transport_id:9", ServerDevice("[fe80::1%w]:5555", "device", "M", "", "9")),
        ("an unknown device offline", ServerDevice("an unknown device", "offline", "")),
        ("0A1B", ServerDevice("0A1B", "unknown", "")),
    ],
)  # fmt: skip
def test_a_line_of_adb_devices_is_read_whatever_stands_in_its_names(line: str, expected: ServerDevice):
    assert parse_devices([line]) == [expected]


TWINS = parse_devices(
    [
        "0123456789ABCDEF       device usb:1-3 product:a model:Left device:a transport_id:3",
        "0123456789ABCDEF       device usb:1-4 product:a model:Right device:a transport_id:4",
        "(no serial number)     device usb:1-5 product:b model:Board device:b transport_id:5",
        f"(no serial number)     {HELP} transport_id:6",
        "OTHER                  device usb:1-7 product:c model:Other device:c transport_id:7",
        f"{SERVICE} device product:oriole model:Pixel_6 device:oriole transport_id:8",
    ]
)
SEEN = Seen(TWINS, [], ())


def test_each_phone_has_a_name_of_its_own():
    assert [device.name for device in TWINS] == ["usb:1-3", "usb:1-4", "usb:1-5", "transport_id:6", "OTHER", SERVICE]


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("usb:1-4", "usb:1-4"),
        ("transport_id:4", "usb:1-4"),  # the port is the same after it was unplugged
        ("usb:1-5", "usb:1-5"),
        ("transport_id:6", "transport_id:6"),
        ("OTHER", "OTHER"),
        (SERVICE, SERVICE),
        (SERVICE.replace(" (2)", ""), SERVICE),  # what it was called before it connected again
        (SERVICE.replace("(2)", "(3)"), SERVICE),
        ("14141FDF600081", SERVICE),
    ],
)
def test_each_is_found_by_its_names(name: str, target: str):
    route = choose_route(name, "auto", SEEN)
    assert (route.via, route.target) == ("server", target)


def test_a_serial_number_of_two_phones_is_no_choice():
    with pytest.raises(NoDeviceError, match="several phones have this serial number") as caught:
        choose_route("0123456789ABCDEF", "auto", SEEN)
    assert str(caught.value.hint) == "choose one with --device: usb:1-3 (Left), usb:1-4 (Right)"


def test_names_with_blanks_are_listed_as_a_shell_takes_them():
    with pytest.raises(NoDeviceError) as caught:
        choose_route(None, "auto", SEEN)
    assert f"'{SERVICE}' (Pixel_6, adb server)" in str(caught.value.hint)


@pytest.mark.parametrize("name", ["usb:1-3", "transport_id:2"])
def test_where_a_phone_is_plugged_in_is_no_address(name: str):
    assert not is_address(name)
    with pytest.raises(NoDeviceError, match="no such phone"):
        choose_route(name, "auto", Seen([], [], ()))


@pytest.mark.parametrize("name", [SERVICE, SERVICE.replace(" (2)", "")])
def test_a_phone_with_wireless_debugging_that_is_not_there_is_asked_of_the_adb_server(name: str):
    assert not is_address(name)
    assert choose_route(name, "auto", Seen(None, [], ())).via == "server"
    with pytest.raises(NoDeviceError, match="no adb server is running"):
        connect_server(name, AdbServer(("127.0.0.1", 9)))


def test_phones_of_one_serial_number_are_said_to_share_their_tables():
    assert "keep their tables apart with --db" in choose_route("usb:1-3", "auto", SEEN).reason
    assert "tables" not in choose_route("OTHER", "auto", SEEN).reason


def test_two_services_of_one_phone_are_told_apart_by_their_whole_names():
    first, second = parse_devices(
        [f"{SERVICE} device transport_id:1", f"{SERVICE.replace('-tls-connect', '')} device transport_id:2"]
    )
    assert find_device(second.name, [first, second]) is second
    with pytest.raises(NoDeviceError, match="several phones"):
        find_device("14141FDF600081", [first, second])


def test_phones_that_cannot_be_used_are_listed_as_what_they_are():
    lines = "".join(f"{line}\n" for line in (f"(no serial number)     {HELP} usb:1-3 transport_id:2", f"{SERVICE} offline"))

    def answer(peer) -> None:
        peer.exactly(int(peer.exactly(4), 16))
        peer.write(b"OKAY%04x%s" % (len(lines), lines.encode()))

    with listening(answer) as address:
        host, port = address.split(":")
        found = {each.name: each.missing for each in list_phones(server=AdbServer((host, int(port))))}
    assert list(found) == ["usb:1-3", SERVICE]
    assert str(found["usb:1-3"]).startswith("this user may not open the USB device; install the udev rules")
    assert str(found[SERVICE]).startswith("the phone is known, but does not answer")


class TestRealServer:
    def test_a_name_with_a_blank_is_listed_and_measured_on(self, phone: Phone, adb_port: int, models: list[BuiltModel]) -> None:
        server = AdbServer(("127.0.0.1", adb_port))
        with known_as(SERVICE, phone, adb_port) as name:
            assert name in [each.name for each in list_phones(server=server) if each.state == "ready"]
            device = open_phone(name, tool=str(phone.tool), server=server)
            assert device.run(models[0], QUICK).figures.count == 5
            assert device.name == phone.serial
            device.close()

    def test_a_phone_is_reached_by_its_transport_id(self, phone: Phone, adb_port: int) -> None:
        server = AdbServer(("127.0.0.1", adb_port))
        with known_as(SERVICE, phone, adb_port) as name:
            device = find_device(name, server.devices())
            assert device is not None
            link = connect_server(f"transport_id:{device.transport_id}", server)
            stream = link.open("shell:getprop ro.serialno", 10)
            assert stream.read(10).decode().strip() == phone.serial


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({"ro.serialno": "", "ro.boot.serialno": "BOARD7"}, "BOARD7"),
        ({"ro.serialno": "unknown", "ro.boot.serialno": ""}, "5f0c8a1b2c3d4e5f"),
    ],
)
def test_a_board_without_serial_number_is_recognised_by_what_it_has(
    phone: Phone, properties: dict[str, str], expected: str
) -> None:
    phone.set_properties(properties)
    phone.set("settings/android_id", "5f0c8a1b2c3d4e5f")
    device = open_phone(phone.address, tool=str(phone.tool), via="tcp")
    assert device.name == expected
    device.close()


def test_phones_on_usb_without_an_adb_server_are_told_apart_by_their_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    usb = pytest.importorskip("profiling.adb.usb", exc_type=OSError)
    transports = [
        SimpleNamespace(serial_number=serial, port_path=[1, port]) for port, serial in enumerate(("TWIN", "TWIN", "", "ONE"), 3)
    ]
    monkeypatch.setattr(usb.WholeUsbTransport, "_find_devices", lambda matcher: iter(transports))
    phones = usb.list_usb()
    assert [phone.name for phone in phones] == ["usb:1-3", "usb:1-4", "usb:1-5", "ONE"]
    assert choose_route("usb:1-5", "auto", Seen(None, phones, ())).via == "usb"
    with pytest.raises(NoDeviceError, match="several phones have this serial number") as caught:
        usb.connect_usb("TWIN", notify=lambda text: None)
    assert caught.value.hint == "choose one with --device: usb:1-3, usb:1-4"
