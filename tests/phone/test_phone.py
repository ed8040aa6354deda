"""The test phone is what it claims to be: real protocol, real model runs, faults on order, nothing left behind."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from adb_shell.adb_device import AdbDeviceTcp
from waiting import until

from .machine import Phone


@pytest.fixture
def link(phone: Phone) -> AdbDeviceTcp:
    device = AdbDeviceTcp("127.0.0.1", phone.port, default_transport_timeout_s=10)
    device.connect()
    yield device
    device.close()


def test_the_real_daemon_answers_with_the_state_that_was_set(phone: Phone, link: AdbDeviceTcp) -> None:
    phone.set("skin_c", "44.4")
    assert link.shell("getprop ro.serialno").strip() == phone.serial
    assert "mValue=44.4, mType=3" in link.shell("dumpsys thermalservice")
    assert phone.get("boot_id") == link.shell("cat /proc/sys/kernel/random/boot_id").strip()


def test_a_reboot_ends_processes_and_changes_the_boot_id(phone: Phone) -> None:
    before = phone.get("boot_id")
    phone.run("setsid sleep 77 >/dev/null 2>&1 & touch /data/local/tmp/kept")
    phone.reboot()
    until(lambda: "sleep 77" not in phone.run("ps -A -o CMDLINE"))
    assert phone.run("ls /data/local/tmp").strip() == "kept"
    assert phone.run("cat /proc/sys/kernel/random/boot_id").strip() == phone.get("boot_id") != before


def test_orphans_are_reaped(phone: Phone) -> None:
    orphan = phone.run("(sleep 0.1 >/dev/null & echo $!)").strip()
    until(lambda: orphan not in phone.run("ls /proc").split())  # where a process that ended stays until it is reaped


def test_nothing_of_a_phone_is_left(make_phone) -> None:
    phone: Phone = make_phone(serial="SECOND")
    folder = phone.folder
    phone.stop()
    assert not folder.exists()
    assert str(folder) not in Path("/proc/self/mountinfo").read_text()
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(folder) not in listing
    phone.start()  # what the fixture will stop again
