"""Files on a phone: each arrives whole or is refused, crosses the cable once, and leaves with us."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from phone.machine import Phone
from phone.opening import NO_SERVER, QUICK, Open, over_tcp, own_folder

from profiling.adb.connection import Connection
from profiling.adb.sync import PushFile
from profiling.adb.transport import Transport
from profiling.device import BuiltModel
from profiling.errors import MeasurementError, ToolOutputError
from profiling.phone.files import LocalFile, PhoneFiles
from profiling.phone.phone import open_phone


def folder_on(phone: Phone, kind: type[Transport] = Transport) -> PhoneFiles:
    """Our folder on a phone, over a connection of this kind."""
    return PhoneFiles(Connection(lambda: over_tcp(phone, kind), limit_s=5, notify=lambda text: None))


def local(model: BuiltModel) -> LocalFile:
    return LocalFile(model.path, model.sha256, model.size_bytes)


def test_a_file_that_arrives_cut_is_sent_again_and_given_up_when_that_helps_not(phone: Phone, models: list[BuiltModel]) -> None:
    sent, cuts = 0, {1}

    class Cutting(Transport):
        """A link on which some pushes lose a byte of each file."""

        def push(self, files: Sequence[PushFile]) -> None:
            nonlocal sent
            sent += 1
            super().push([replace(file, content=file.content[:-1]) for file in files] if sent in cuts else files)

    folder = folder_on(phone, Cutting)
    folder.ensure([local(models[0])])
    assert sent == 2
    assert models[0].sha256 in phone.run(f"sha256sum {folder.folder}/*.tflite")
    cuts = {3, 4}
    with pytest.raises(MeasurementError, match="does not arrive intact") as caught:
        folder.ensure([local(models[1])])
    assert "another cable" in str(caught.value.hint)


def test_only_what_is_lacking_or_damaged_crosses_the_cable(phone: Phone, models: list[BuiltModel]) -> None:
    files = [local(model) for model in models[:2]]
    folder = folder_on(phone)
    folder.ensure(files)
    kept, damaged = map(folder.path, files)
    phone.run(f"touch -d 2001-02-03T04:05:06 {kept}; printf x >>{damaged}")
    folder.look_again()
    folder.ensure(files)
    assert phone.run(f"date -r {kept} +%Y").strip() == "2001"
    assert phone.run(f"sha256sum {damaged}").split()[0] == models[1].sha256


def test_a_full_phone_is_refused_before_anything_is_sent(make_phone: Callable[..., Phone], models: list[BuiltModel]) -> None:
    phone = make_phone(data="size=700k,mode=771")  # less than the tool
    device = open_phone(phone.address, tool=str(phone.tool), server=NO_SERVER)
    with pytest.raises(MeasurementError, match="has no room") as caught:
        device.push(models)
    assert "free some storage" in str(caught.value.hint)
    assert phone.run(f"ls {own_folder(phone)}") == ""
    device.close()


def test_a_phone_that_fills_up_meanwhile_says_so(make_phone: Callable[..., Phone], models: list[BuiltModel]) -> None:
    phone = make_phone(data="size=700k,mode=771")
    phone.run('rm "$(command -v df)"')  # so nobody sees it coming
    device = open_phone(phone.address, tool=str(phone.tool), server=NO_SERVER)
    with pytest.raises(MeasurementError, match="No space left on device"):
        device.push(models)
    assert phone.run(f"ls {own_folder(phone)}") == ""
    device.close()


def test_files_of_earlier_runs_make_room_for_new_ones(
    make_phone: Callable[..., Phone], models: list[BuiltModel], tmp_path: Path
) -> None:
    phone = make_phone(data="size=4m,mode=771")
    device = open_phone(phone.address, tool=str(phone.tool), server=NO_SERVER)
    old = tmp_path / "old.tflite"
    old.write_bytes(os.urandom(1_400_000))
    stale = BuiltModel("old", old, hashlib.sha256(old.read_bytes()).hexdigest(), old.stat().st_size)
    phone.run("echo mine >/data/local/tmp/other")
    device.push([stale])
    new = tmp_path / "new.tflite"
    new.write_bytes(os.urandom(1_400_000))
    fresh = BuiltModel("new", new, hashlib.sha256(new.read_bytes()).hexdigest(), new.stat().st_size)
    device.push([fresh])
    names = phone.run(f"ls {own_folder(phone)} /data/local/tmp")
    assert fresh.sha256 in names
    assert stale.sha256 not in names
    assert "other" in names
    device.close()


def test_a_folder_that_must_not_execute_is_named(make_phone: Callable[..., Phone], models: list[BuiltModel]) -> None:
    phone = make_phone(data="size=64m,mode=771,noexec")
    device = open_phone(phone.address, tool=str(phone.tool), server=NO_SERVER)
    with pytest.raises(ToolOutputError, match=r"[Pp]ermission denied|may not execute") as caught:
        device.run(models[0], QUICK)
    assert caught.value.reason == "not executable"
    device.close()


def test_nothing_is_left_on_the_phone(open_device: Open, phone: Phone, models: list[BuiltModel]) -> None:
    device = open_device()
    device.run(models[0], QUICK)
    assert phone.run("ls /data/local/tmp") != ""
    device.close()
    assert phone.run("ls -A /data/local/tmp") == ""


def test_the_folder_is_for_this_user_alone(open_device: Open, phone: Phone) -> None:
    open_device()
    mode = int(phone.run(f"stat -c %f {own_folder(phone)}"), 16)
    assert stat.S_IMODE(mode) == 0o700
