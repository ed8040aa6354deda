"""A phone as a device, on Android's own daemon: figures, faults of the tool, storage, lock, screen, temperature."""

from __future__ import annotations

import hashlib
import os
import socket
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from phone.machine import Phone

from profiling.adb.server import AdbServer
from profiling.adb.sync import PushFile
from profiling.device import BuiltModel, RunSettings
from profiling.errors import InputError, MeasurementError, NoDeviceError, ToolOutputError
from profiling.layers import MBConv, NetworkSpec
from profiling.models.builder import TfliteBuilder
from profiling.phone import benchmark_output, files
from profiling.phone.lock import FOLDER as LOCK
from profiling.phone.lock import STALE_S
from profiling.phone.phone import AdbDevice, open_phone
from profiling.phone.screen import JOURNAL

QUICK = RunSettings(runs=5, min_seconds=0, warmup_runs=1, warmup_seconds=0, timeout_s=120)
Open = Callable[..., AdbDevice]
NO_SERVER = AdbServer(("127.0.0.1", 9))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[BuiltModel]:
    layers = [NetworkSpec.of(MBConv(8, 8, 8, 1, kernel, 3, True)) for kernel in (3, 5)]
    with TfliteBuilder(tmp_path_factory.mktemp("cache"), workers=1) as builder:
        return list(builder.build(layers, "fp32").values())


@pytest.fixture
def notes() -> list[str]:
    """What the device told."""
    return []


@pytest.fixture
def open_device(phone: Phone, notes: list[str]) -> Iterator[Open]:
    """Opens the phone; closes it at the end."""
    opened: list[AdbDevice] = []

    def open_it(**options: object) -> AdbDevice:
        options = {"notify": notes.append} | options
        opened.append(open_phone(phone.address, tool=str(phone.tool), server=NO_SERVER, **options))  # type: ignore[arg-type]
        return opened[-1]

    yield open_it
    for device in opened:
        device.close()


class TestRuns:
    def test_a_model_really_runs_and_gives_its_figures(self, open_device: Open, models: list[BuiltModel]) -> None:
        device = open_device()
        device.push(models)
        result = device.run(models[0], QUICK)
        assert result.figures.count == 5
        assert 0 < result.figures.min_ms <= result.figures.mean_ms <= result.figures.max_ms
        assert "Inference timings in us" in result.output

    def test_conditions_name_phone_build_tool_and_cores(self, open_device: Open, phone: Phone, models: list[BuiltModel]) -> None:
        conditions = open_device().conditions(replace(QUICK, cores="prime"))
        assert conditions.device == phone.serial
        assert conditions.os_build == "spnas/testphone/testphone:14/TEST.240101.001/1:userdebug/test-keys"
        assert conditions.tool == f"benchmark_model {hashlib.sha256(phone.tool.read_bytes()).hexdigest()}"
        assert conditions.cores == f"{1 << (os.cpu_count() or 1) - 1:x}"

    def test_the_process_runs_on_the_cores_asked_for(self, open_device: Open, phone: Phone, models: list[BuiltModel]) -> None:
        device = open_device()
        device.run(models[0], replace(QUICK, cores="1"))
        assert device.state().clock_mhz == 1803 if (os.cpu_count() or 1) > 1 else 2850
        # Whatever the file says was allowed is what the process itself read: a phone that takes cores away is found out.
        ignoring = '#!/system/bin/sh\\nshift\\nexec "$@"'
        phone.run(f"cd /system/bin; rm taskset; printf '{ignoring}' >taskset; chmod 755 taskset")
        if (os.cpu_count() or 1) > 1:
            with pytest.raises(ToolOutputError, match="was allowed the cores") as caught:
                device.run(models[0], replace(QUICK, cores="1"))
            assert caught.value.reason == "core mask"

    def test_a_mask_of_cores_that_are_not_there_is_refused_before_running(self, open_device: Open) -> None:
        with pytest.raises(InputError, match="names cores that are off or not there"):
            open_device().conditions(replace(QUICK, cores="f0000000"))

    def test_an_old_phone_without_exit_codes_gives_the_same(
        self, open_device: Open, phone: Phone, models: list[BuiltModel]
    ) -> None:
        phone.set_properties({"ro.build.version.sdk": "23"})
        device = open_device()
        assert device.run(models[0], QUICK).figures.count == 5
        phone.fault("signal SEGV", times=1)
        with pytest.raises(ToolOutputError, match="Segmentation"):
            device.run(models[0], QUICK)

    def test_what_a_run_tells_is_not_asked_for_twice(self, open_device: Open, phone: Phone, models: list[BuiltModel]) -> None:
        """One round trip a run: the state comes with the result."""
        device = open_device()
        device.push(models)
        counted = 0
        original = device._connection._call

        def count(action: Callable[..., object]) -> object:
            nonlocal counted
            counted += 1
            return original(action)

        device._connection._call = count  # type: ignore[method-assign, assignment]
        device.run(models[0], QUICK)
        state = device.state()
        assert (state.temperature_c, state.thermal_status, state.governor) == (36.2, 0, "sched_pixel")
        assert state.boot_id == phone.get("boot_id")
        assert counted == 1


class TestFaultsOfTheTool:
    @pytest.mark.parametrize(
        ("fault", "reason", "words"),
        [
            ("signal SEGV", "crash", "Segmentation fault"),
            ("signal ABRT", "crash", "Aborted"),
            ("signal BUS", "crash", "Bus error"),
            ("signal ILL", "illegal instruction", "Illegal instruction"),
            ("signal KILL", "killed", "Killed"),
            ("refuse Failed to allocate tensors!", "model refused", "allocate tensors"),
            ("fail_late", "invocation failed", "Failed to invoke"),
            ("library", "missing library", "libfault.so"),
            ("fallback XNNPACK", "fallback", "will not be executed by the delegate"),
            ("truncate 600", "truncated", "ends before the summary"),
        ],
    )
    def test_each_is_one_failed_measurement_with_its_reason_and_the_next_goes_on(
        self, open_device: Open, phone: Phone, models: list[BuiltModel], fault: str, reason: str, words: str
    ) -> None:
        device = open_device()
        phone.fault(fault, times=1)
        with pytest.raises(ToolOutputError, match=words) as caught:
            device.run(models[0], QUICK)
        assert (caught.value.reason, caught.value.where) == (reason, models[0].key)
        assert device.run(models[0], QUICK).figures.count == 5

    def test_a_hang_is_killed_on_the_phone_and_is_gone(self, open_device: Open, phone: Phone, models: list[BuiltModel]) -> None:
        device = open_device()
        phone.fault("hang", times=1)
        with pytest.raises(ToolOutputError, match="did not end within 1 s") as caught:
            device.run(models[0], replace(QUICK, timeout_s=1))
        assert caught.value.reason == "hang"
        assert "python3" not in phone.run("ps -A -o NAME")

    def test_a_flag_that_the_tool_does_not_know_is_told_once(
        self, open_device: Open, models: list[BuiltModel], notes: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is an older tool than the flag; the run counts all the same."""
        with_news(monkeypatch, "--brand_new=1")
        device = open_device()
        assert device.run(models[0], QUICK).figures.count == device.run(models[0], QUICK).figures.count == 5
        assert [note for note in notes if "does not know the flags" in note] == [
            f"{device.name}: this benchmark_model does not know the flags --brand_new=1"
        ]

    def test_a_time_limit_that_leaves_too_few_runs_is_no_measurement(
        self, open_device: Open, models: list[BuiltModel], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with_news(monkeypatch, "--run_delay=1", "--max_secs=2")
        with pytest.raises(ToolOutputError, match=r"room for \d of 30 runs") as caught:
            open_device().run(models[0], replace(QUICK, runs=30))
        assert caught.value.reason == "too few runs"

    def test_megabytes_on_stderr_do_not_block(self, open_device: Open, phone: Phone, models: list[BuiltModel]) -> None:
        phone.fault("noise 3000000", times=1)
        result = open_device().run(models[0], QUICK)
        assert result.output.count("X") >= 3_000_000

    def test_an_orphan_of_an_earlier_run_is_killed_first(self, open_device: Open, phone: Phone) -> None:
        device = open_device()
        folder = device._files.folder
        device.close()
        phone.run(f"mkdir -p {folder}; cp /usr/bin/toybox {folder}/sleep; setsid {folder}/sleep 999 >/dev/null 2>&1 &")
        assert "sleep" in phone.run("ps -A -o CMDLINE")
        open_device()
        assert "sleep 999" not in phone.run("ps -A -o CMDLINE")

    def test_another_persons_files_and_processes_are_left_alone(self, open_device: Open, phone: Phone) -> None:
        phone.run("cp /usr/bin/toybox /data/local/tmp/sleep; setsid /data/local/tmp/sleep 99 >/dev/null 2>&1 &")
        open_device().close()
        assert phone.run("ls /data/local/tmp") == "sleep\n"
        assert "/data/local/tmp/sleep 99" in phone.run("ps -A -o CMDLINE")

    def test_a_tool_for_another_processor_never_leaves_this_machine(self, phone: Phone, tmp_path: Path) -> None:
        content = bytearray(phone.tool.read_bytes())
        content[18:20] = (40).to_bytes(2, "little")  # e_machine of 32-bit ARM
        tool = tmp_path / "benchmark_model"
        tool.write_bytes(content)
        with pytest.raises(InputError, match="the device runs"):
            open_phone(phone.address, tool=str(tool), server=NO_SERVER)
        assert phone.run("ls /data/local/tmp") == ""


def with_news(monkeypatch: pytest.MonkeyPatch, *flags: str) -> None:
    """Has the tool started with more flags."""
    original = benchmark_output.command
    monkeypatch.setattr(benchmark_output, "command", lambda *arguments: [*original(*arguments), *flags])


class TestStorage:
    def test_a_file_that_arrives_cut_is_sent_again_and_given_up_when_that_helps_not(
        self, open_device: Open, phone: Phone, models: list[BuiltModel], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        device = open_device()
        original, sent = device._connection.push, 0

        def cut(files: list[PushFile]) -> None:
            nonlocal sent
            sent += 1
            original([replace(file, content=file.content[:-1]) for file in files] if sent in cuts else files)

        monkeypatch.setattr(device._connection, "push", cut)
        cuts = {1}
        device.push(models[:1])
        assert sent == 2
        assert models[0].sha256 in phone.run(f"sha256sum {device._files.folder}/*.tflite")
        cuts = {3, 4}
        with pytest.raises(MeasurementError, match="does not arrive whole") as caught:
            device.push(models[1:])
        assert "another cable" in str(caught.value.hint)

    def test_only_what_is_lacking_or_damaged_crosses_the_cable(
        self, open_device: Open, phone: Phone, models: list[BuiltModel]
    ) -> None:
        device = open_device()
        device.push(models)
        files = device._files
        kept, damaged = (f"{files.folder}/{model.sha256}.tflite" for model in models)
        phone.run(f"touch -d 2001-02-03T04:05:06 {kept}; printf x >>{damaged}")
        files.look_again()
        device.push(models)
        assert phone.run(f"date -r {kept} +%Y").strip() == "2001"
        assert phone.run(f"sha256sum {damaged}").split()[0] == models[1].sha256

    def test_a_full_phone_is_refused_before_anything_is_sent(
        self, make_phone: Callable[..., Phone], models: list[BuiltModel]
    ) -> None:
        phone = make_phone(data="size=700k,mode=771")  # less than the tool
        device = open_phone(phone.address, tool=str(phone.tool), server=NO_SERVER)
        with pytest.raises(MeasurementError, match="has no room") as caught:
            device.push(models)
        assert "free some storage" in str(caught.value.hint)
        assert phone.run(f"ls {device._files.folder}") == ""
        device.close()

    def test_a_phone_that_fills_up_meanwhile_says_so(
        self, make_phone: Callable[..., Phone], models: list[BuiltModel], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        phone = make_phone(data="size=700k,mode=771")
        device = open_phone(phone.address, tool=str(phone.tool), server=NO_SERVER)
        monkeypatch.setattr(files.PhoneFiles, "_has_room", lambda self, needed: True)
        with pytest.raises(MeasurementError, match="No space left on device"):
            device.push(models)
        assert phone.run(f"ls {device._files.folder}") == ""
        device.close()

    def test_files_of_earlier_runs_make_room_for_new_ones(
        self, make_phone: Callable[..., Phone], models: list[BuiltModel], tmp_path: Path
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
        names = phone.run(f"ls {device._files.folder} /data/local/tmp")
        assert fresh.sha256 in names
        assert stale.sha256 not in names
        assert "other" in names
        device.close()

    def test_a_folder_that_must_not_execute_is_named(self, make_phone: Callable[..., Phone], models: list[BuiltModel]) -> None:
        phone = make_phone(data="size=64m,mode=771,noexec")
        device = open_phone(phone.address, tool=str(phone.tool), server=NO_SERVER)
        with pytest.raises(ToolOutputError, match=r"[Pp]ermission denied|may not execute") as caught:
            device.run(models[0], QUICK)
        assert caught.value.reason == "not executable"
        device.close()

    def test_nothing_is_left_on_the_phone(self, open_device: Open, phone: Phone, models: list[BuiltModel]) -> None:
        device = open_device()
        device.run(models[0], QUICK)
        assert phone.run("ls /data/local/tmp") != ""
        device.close()
        assert phone.run("ls -A /data/local/tmp") == ""

    def test_the_folder_is_for_this_user_alone(self, open_device: Open, phone: Phone) -> None:
        device = open_device()
        mode = int(phone.run(f"stat -c %f {device._files.folder}"), 16)
        assert stat.S_IMODE(mode) == 0o700


class TestLock:
    def test_a_second_run_is_refused_and_told_of_the_first(self, open_device: Open) -> None:
        open_device()
        with pytest.raises(NoDeviceError, match=f"another run measures on this phone: process {os.getpid()} on"):
            open_device()

    def test_another_computers_lock_counts(self, open_device: Open, phone: Phone) -> None:
        phone.run(f"mkdir {LOCK}; echo 0123456789abcdef 42 1.00 elsewhere >{LOCK}/owner")
        with pytest.raises(NoDeviceError, match="process 42 on elsewhere"):
            open_device()
        assert "elsewhere" in phone.run(f"cat {LOCK}/owner")

    def test_a_lock_whose_process_is_gone_is_taken_over(self, open_device: Open, phone: Phone) -> None:
        phone.run(f"mkdir {LOCK}; echo 0123456789abcdef 999999 1.00 {socket.gethostname()} >{LOCK}/owner")
        open_device()
        assert str(os.getpid()) in phone.run(f"cat {LOCK}/owner")

    def test_a_lock_that_nobody_renews_is_taken_over(self, open_device: Open, phone: Phone) -> None:
        phone.run(f"mkdir {LOCK}; echo 0123456789abcdef 42 1.00 elsewhere >{LOCK}/owner")
        phone.run(f"touch -d @$(( $(date +%s) - {STALE_S + 60} )) {LOCK}/owner")
        open_device()
        assert "elsewhere" not in phone.run(f"cat {LOCK}/owner")

    def test_a_run_whose_lock_was_taken_stops(self, open_device: Open, phone: Phone, models: list[BuiltModel]) -> None:
        device = open_device()
        phone.run(f"echo other 42 1.00 elsewhere >{LOCK}/owner")
        with pytest.raises(NoDeviceError, match="another run has taken this phone over"):
            device.run(models[0], QUICK)
        device.close()
        assert "elsewhere" in phone.run(f"cat {LOCK}/owner")


class TestScreen:
    def test_it_is_kept_on_and_put_back(self, open_device: Open, phone: Phone) -> None:
        device = open_device()
        assert (phone.get("wakefulness"), phone.get("settings/stay_on_while_plugged_in")) == ("Awake", "15")
        device.close()
        assert (phone.get("wakefulness"), phone.get("settings/stay_on_while_plugged_in")) == ("Asleep", "0")

    def test_after_a_crash_the_next_run_puts_it_back(self, open_device: Open, phone: Phone) -> None:
        phone.set("settings/stay_on_while_plugged_in", "2")
        crashed = open_phone(phone.address, tool=str(phone.tool), server=NO_SERVER)
        crashed._connection.close()
        phone.run(f"rm -r {LOCK}")
        open_device().close()
        assert (phone.get("wakefulness"), phone.get("settings/stay_on_while_plugged_in")) == ("Asleep", "2")
        assert phone.run(f"ls -A {Path(JOURNAL).parent}") == ""

    def test_a_journal_of_nonsense_is_not_obeyed(self, open_device: Open, phone: Phone) -> None:
        phone.run(f"echo '0; touch /data/local/tmp/pwned' awake >{JOURNAL}")
        open_device().close()
        assert "pwned" not in phone.run("ls /data/local/tmp")
        assert phone.get("settings/stay_on_while_plugged_in") == "0"


class TestFitness:
    def test_it_waits_for_a_throttled_phone_and_goes_on_when_it_is_cool(
        self, open_device: Open, phone: Phone, models: list[BuiltModel], notes: list[str]
    ) -> None:
        waits: list[float] = []

        def cool_down(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 3:
                phone.set("thermal_status", "0")

        device = open_device(sleep=cool_down)
        phone.set("thermal_status", "2")
        device._climate.read()
        device.run(models[0], QUICK)
        assert len(waits) == 3
        assert any("thermal status 2" in note for note in notes)

    def test_a_run_during_which_the_phone_throttled_is_made_again(
        self, open_device: Open, phone: Phone, models: list[BuiltModel]
    ) -> None:
        device = open_device(sleep=lambda seconds: phone.set("thermal_status", "0"))
        phone.set("thermal_status", "1")  # seen with the first result
        assert device.run(models[0], QUICK).figures.count == 5
        assert device.state().throttled is False

    def test_clocks_that_are_held_back_count_as_throttling(
        self, open_device: Open, phone: Phone, models: list[BuiltModel]
    ) -> None:
        device = open_device(sleep=lambda seconds: None, cool_down_limit_s=10)
        for path in phone.sys("devices/system/cpu/cpufreq").glob("policy*/scaling_max_freq"):
            path.write_text("1000000\n")
        with pytest.raises(MeasurementError, match="holds its clocks back"):
            device.run(models[0], QUICK)

    def test_a_temperature_limit_is_kept_by_the_skin(self, open_device: Open, phone: Phone, models: list[BuiltModel]) -> None:
        phone.set("skin_c", "39.9")
        device = open_device(max_temperature_c=38.0, sleep=lambda seconds: None, cool_down_limit_s=10)
        with pytest.raises(MeasurementError, match=r"39.9 °C, above 38 °C"):
            device.run(models[0], QUICK)

    def test_a_temperature_that_cannot_be_read_is_unknown_and_no_limit_can_be_kept(
        self, open_device: Open, phone: Phone, notes: list[str]
    ) -> None:
        phone.set("hal_ready", "false")
        for zone in phone.sys("class/thermal").glob("thermal_zone*/temp"):
            zone.unlink()
        device = open_device()
        state = device.state()
        assert (state.temperature_c, state.throttled) == (None, None)
        assert any("does not tell whether it is throttled" in note for note in notes)
        device.close()
        with pytest.raises(InputError, match="does not tell its temperature"):
            open_device(max_temperature_c=38.0)

    def test_zones_are_read_where_the_thermal_service_is_silent(self, open_device: Open, phone: Phone) -> None:
        phone.set("hal_ready", "false")
        assert open_device().state().temperature_c == 36.2

    def test_an_empty_battery_is_refused_and_a_low_one_told(self, open_device: Open, phone: Phone, notes: list[str]) -> None:
        phone.set("battery_level", "6")
        with pytest.raises(NoDeviceError, match="battery is at 6 %"):
            open_device()
        assert phone.run("ls -A /data/local/tmp") == ""
        phone.set("battery_level", "15")
        phone.set("settings/low_power", "1")
        open_device()
        assert any("battery is at 15 %" in note for note in notes)
        assert any("battery saver is on" in note for note in notes)

    def test_a_battery_that_charging_has_warmed_is_told(self, open_device: Open, phone: Phone, notes: list[str]) -> None:
        phone.set("battery_c", "44.0")
        open_device()
        assert any("warmed the battery to 44 °C" in note for note in notes)

    def test_a_phone_that_has_just_started_is_left_to_settle(self, open_device: Open, phone: Phone, notes: list[str]) -> None:
        phone.set("uptime", "50.25 190.00")
        phone.run("/usr/bin/mount --bind /phone/uptime /proc/uptime")
        waits: list[float] = []
        open_device(sleep=waits.append)
        assert waits == [69.75]
        assert any("just started; waiting 70 s" in note for note in notes)

    def test_it_waits_while_other_programs_work_and_goes_on_when_they_end(
        self, open_device: Open, phone: Phone, notes: list[str]
    ) -> None:
        """/proc/stat as it is at the first look, and 1000 ticks later each time."""
        work = iter([900, 900])

        def time_passes(note: str = "") -> None:
            if not note or "SHA-256" in note:  # which is told between the first look and the second
                ticks, done = int(phone.get("stat").split()[4]) + int(phone.get("stat").split()[1]) + 1000, next(work)
                phone.set("stat", f"cpu  {done} 0 0 {ticks - done} 0 0 0 0 0 0")

        waits: list[float] = []

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            time_passes()

        open_device(sleep=sleep, notify=lambda note: (notes.append(note), time_passes(note)))
        assert waits == [5.0]
        assert any("other programs keep 90% of the phone busy" in note for note in notes)

    def test_a_phone_that_is_always_busy_is_measured_in_the_end_and_said_to_be(
        self, open_device: Open, phone: Phone, notes: list[str]
    ) -> None:
        waits: list[float] = []

        def work(*_: object) -> None:
            ticks = int(phone.get("stat").split()[1]) + 100
            phone.set("stat", f"cpu  {ticks} 0 0 0 0 0 0 0 0 0")

        open_device(sleep=lambda seconds: (waits.append(seconds), work()), notify=lambda note: (notes.append(note), work()))
        assert sum(waits) == 60
        assert any("still busy" in note for note in notes)

    def test_a_phone_that_never_finishes_starting_is_no_device(self, phone: Phone) -> None:
        phone.set_properties({"sys.boot_completed": ""})
        with pytest.raises(NoDeviceError, match="has not finished starting"):
            open_phone(phone.address, tool=str(phone.tool), server=NO_SERVER, reconnect_limit_s=0.2, sleep=lambda seconds: None)
