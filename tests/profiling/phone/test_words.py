"""What goes wrong on a phone is said in words that lead to what helps."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from phone.machine import Phone
from phone.opening import QUICK, Open, own_folder

from profiling.device import BuiltModel
from profiling.errors import InputError, MeasurementError
from profiling.phone.refusals import next_step


def test_a_tool_for_small_pages_is_refused_before_anything_is_sent(open_device: Open, phone: Phone) -> None:
    phone.set("page_bytes", "16384")
    with pytest.raises(InputError, match="linked for memory pages of 4 KiB, and the device has pages of 16 KiB") as caught:
        open_device()
    assert "use another build" in str(caught.value.hint)
    assert phone.run("ls /data/local/tmp") == ""


def test_a_tool_for_another_system_is_refused_before_anything_is_sent(open_device: Open, phone: Phone, tmp_path: Path) -> None:
    """On the phone, it would be "not found"."""
    other = tmp_path / "benchmark_model"
    other.write_bytes(Path(sys.executable).read_bytes().replace(b"/ld-linux-", b"/ld-other-"))
    with pytest.raises(InputError, match=r"built for another system: its loader /lib\S*/ld-other-\S+ is not on the phone"):
        open_device(tool=str(other))
    assert phone.run("ls /data/local/tmp") == ""


def test_a_phone_without_taskset_is_measured_on_any_core(open_device: Open, phone: Phone, models: list[BuiltModel]) -> None:
    phone.run("rm /system/bin/taskset")
    device = open_device()
    with pytest.raises(InputError, match="has no program `taskset`") as caught:
        device.conditions(replace(QUICK, cores="1"))
    assert caught.value.hint == "use --cores any"
    assert device.run(models[0], QUICK).figures.count == 5


def test_a_folder_of_another_user_is_no_lack_of_storage(open_device: Open, phone: Phone, models: list[BuiltModel]) -> None:
    phone.adbd_is_plain()
    device = open_device()
    folder = own_folder(phone)
    phone.run(f"chown 1000 {folder}")
    with pytest.raises(MeasurementError, match=r"the phone refuses a file: .*Permission denied") as caught:
        device.run(models[0], QUICK)
    assert f"if a run as root left the folder, use `adb root` and `adb shell rm -r {folder}`" in str(caught.value.hint)
    assert "storage" not in str(caught.value.hint)


def test_storage_that_cannot_be_written_is_not_full(open_device: Open, phone: Phone, models: list[BuiltModel]) -> None:
    device = open_device()
    phone.run("/usr/bin/mount -o remount,ro /data")
    with pytest.raises(MeasurementError, match="Read-only file system") as caught:
        device.run(models[0], QUICK)
    assert caught.value.hint == "its storage is read-only: restart the phone"
    phone.run("/usr/bin/mount -o remount,rw /data")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("couldn't create file: No space left on device", "free some storage"),
        ("write failed: Disk quota exceeded", "free some storage"),
        ("mkdir: 'run': Permission denied", "its shell may not write there"),
        ("couldn't create file: Operation not permitted", "its shell may not write there"),
        ("couldn't create file: Read-only file system", "read-only"),
        ("", "free some storage on it, or restart it"),
        ("Input/output error", "or restart it"),
    ],
)
def test_the_next_step_is_that_of_the_phones_words(words: str, hint: str) -> None:
    assert hint in next_step(words, "/data/local/tmp/spnas-1")
