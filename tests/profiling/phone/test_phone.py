"""A phone as a device, on Android's own daemon: figures, conditions, and every fault of the tool."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest
from phone.machine import Phone
from phone.opening import NO_SERVER, QUICK, Open, over_tcp, own_folder

from profiling.adb.shell import Reply
from profiling.adb.transport import TIMEOUT_S, Transport
from profiling.device import BuiltModel
from profiling.errors import InputError, ToolOutputError
from profiling.phone import benchmark_command
from profiling.phone.phone import AdbDevice, open_phone


class TestRuns:
    def test_a_model_really_runs_and_gives_its_figures(self, open_device: Open, models: list[BuiltModel]) -> None:
        device = open_device()
        device.push(models)
        result = device.run(models[0], QUICK)
        assert result.figures.count == 5
        assert 0 < result.figures.min_ms <= result.figures.mean_ms <= result.figures.max_ms
        assert "Inference timings in us" in result.output
        assert result.figures.resolution_ms == 0.001

    def test_conditions_name_phone_build_tool_and_cores(self, open_device: Open, phone: Phone, models: list[BuiltModel]) -> None:
        conditions = open_device().conditions(replace(QUICK, cores="prime"))
        assert conditions.device == phone.serial
        assert conditions.os_build == "spnas/testphone/testphone:14/TEST.240101.001/1:userdebug/test-keys"
        assert conditions.tool == f"benchmark_model {hashlib.sha256(phone.tool.read_bytes()).hexdigest()}"
        assert conditions.cores == f"{1 << (os.cpu_count() or 1) - 1:x}"

    def test_the_process_runs_on_the_cores_asked_for(self, open_device: Open, phone: Phone, models: list[BuiltModel]) -> None:
        device = open_device()
        state = device.run(models[0], replace(QUICK, cores="1")).state
        assert state.clock_mhz == 1803 if (os.cpu_count() or 1) > 1 else 2850
        # Whatever the file says was allowed is what the process itself read: a phone that takes cores away is found out.
        ignoring = '#!/system/bin/sh\\nshift\\nexec "$@"'
        phone.run(f"cd /system/bin; rm taskset; printf '{ignoring}' >taskset; chmod 755 taskset")
        if (os.cpu_count() or 1) > 1:
            with pytest.raises(ToolOutputError, match="was allowed the cores") as caught:
                device.run(models[0], replace(QUICK, cores="1"))
            assert (caught.value.reason, caught.value.recurs) == ("core mask", True)

    def test_a_mask_of_cores_that_are_not_there_is_refused_before_running(self, open_device: Open) -> None:
        with pytest.raises(InputError, match="off or do not exist"):
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

    def test_the_state_comes_with_the_result_in_one_round_trip(self, phone: Phone, models: list[BuiltModel]) -> None:
        trips = 0

        class Counted(Transport):
            def shell(self, command: str, timeout_s: float = TIMEOUT_S) -> Reply:
                nonlocal trips
                trips += 1
                return super().shell(command, timeout_s)

        device = AdbDevice(lambda: over_tcp(phone, Counted), str(phone.tool))
        device.push(models)
        trips = 0
        state = device.run(models[0], QUICK).state
        assert trips == 1
        device.close()
        assert (state.temperature_c, state.thermal_status, state.governor) == (36.2, 0, "sched_pixel")
        assert state.boot_id == phone.get("boot_id")


class TestFaultsOfTheTool:
    @pytest.mark.parametrize(
        ("fault", "reason", "words"),
        [
            ("signal SEGV", "crash", "Segmentation fault"),
            ("signal ABRT", "crash", "Aborted"),
            ("signal BUS", "crash", "Bus error"),
            ("abort The signature is not in the model.", "failed", r"failed: The signature is not in the model\."),
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
        assert caught.value.state is not None
        assert caught.value.state.temperature_c == 36.2
        assert device.run(models[0], QUICK).figures.count == 5

    def test_a_hang_is_killed_on_the_phone_and_is_gone(self, open_device: Open, phone: Phone, models: list[BuiltModel]) -> None:
        device = open_device()
        phone.fault("hang", times=1)
        with pytest.raises(ToolOutputError, match="did not end within 1 s") as caught:
            device.run(models[0], replace(QUICK, timeout_s=1))
        assert caught.value.reason == "hang"
        assert caught.value.state is not None
        assert caught.value.state.boot_id == phone.get("boot_id")
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
        assert (caught.value.reason, caught.value.recurs) == ("too few runs", True)

    @pytest.mark.parametrize(
        ("flag", "words"), [("--num_threads=1", "says that it ran with 1 threads"), ("", "does not say how many threads")]
    )
    def test_a_number_of_threads_is_believed_only_when_the_tool_says_it(
        self, open_device: Open, models: list[BuiltModel], monkeypatch: pytest.MonkeyPatch, flag: str, words: str
    ) -> None:
        original = benchmark_command.command

        def without_threads(*arguments: object) -> list[str]:
            return [*(word for word in original(*arguments) if "num_threads" not in word), *filter(None, [flag])]

        device = open_device()
        assert device.run(models[0], replace(QUICK, threads=2)).figures.count == 5
        monkeypatch.setattr(benchmark_command, "command", without_threads)
        with pytest.raises(ToolOutputError, match=f"{words}.*; 2 were asked for") as caught:
            device.run(models[0], replace(QUICK, threads=2))
        assert (caught.value.reason, caught.value.recurs) == ("threads", True)

    def test_more_work_a_second_than_the_cores_can_do_is_refused(
        self, open_device: Open, phone: Phone, models: list[BuiltModel]
    ) -> None:
        device = open_device()
        phone.fault("equal 20")
        assert device.run(models[0], QUICK).figures.mean_ms == 0.02
        with pytest.raises(
            ToolOutputError, match=r"300 million multiply-adds in 0.02 ms would be 15,000 billion a sec"
        ) as caught:
            device.run(replace(models[0], multiply_adds=300_000_000), replace(QUICK, cores="1"))
        assert (caught.value.reason, caught.value.where) == ("impossible", models[0].key)

    def test_megabytes_on_stderr_do_not_block(self, open_device: Open, phone: Phone, models: list[BuiltModel]) -> None:
        phone.fault("noise 3000000", times=1)
        result = open_device().run(models[0], QUICK)
        assert result.output.count("X") >= 3_000_000

    def test_an_orphan_of_an_earlier_run_is_killed_first(self, open_device: Open, phone: Phone) -> None:
        device = open_device()
        folder = own_folder(phone)
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
    original = benchmark_command.command
    monkeypatch.setattr(benchmark_command, "command", lambda *arguments: [*original(*arguments), *flags])
