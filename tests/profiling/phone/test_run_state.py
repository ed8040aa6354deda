"""A figure is that of the cores, clock and screen that it claims, or says what was wrong: the phone changes while it measures."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import pytest
from phone.machine import Phone
from phone.opening import QUICK, Open
from waiting import when

from profiling.device import BuiltModel
from profiling.errors import InputError, ToolOutputError

LONG = replace(QUICK, min_seconds=0.6)
OTHER_CORES = "taskset -ap 2 $PID"
two_cores = pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")


@two_cores
class TestCores:
    def test_a_run_that_is_moved_to_other_cores_is_made_again(
        self, open_device: Open, phone: Phone, models: list[BuiltModel], notes: list[str]
    ) -> None:
        device = open_device()
        phone.during("start", OTHER_CORES, once=True)
        state = device.run(models[0], replace(LONG, cores="1")).state
        assert (state.flag, phone.starts()) == (None, 2)
        assert f"{device.name}: the process was moved to the cores 2 while it ran, away from 1; measuring again" in notes

    def test_a_run_that_is_moved_every_time_is_flagged(
        self, open_device: Open, phone: Phone, models: list[BuiltModel], notes: list[str]
    ) -> None:
        device = open_device()
        phone.during("start", OTHER_CORES)
        state = device.run(models[0], replace(LONG, cores="1")).state
        assert (state.flag, phone.starts()) == ("other cores", 3)
        assert notes[-1] == f"{device.name}: {models[0].key}: so it was 3 times; the figure is flagged"

    def test_a_run_on_any_core_may_move(self, open_device: Open, phone: Phone, models: list[BuiltModel]) -> None:
        phone.during("start", OTHER_CORES)
        assert open_device().run(models[0], LONG).state.flag is None
        assert phone.starts() == 1


class TestClock:
    def test_it_is_read_while_the_process_runs(self, open_device: Open, phone: Phone, models: list[BuiltModel]) -> None:
        """Before and after it the phone has its clocks down."""
        policies = "/sys/devices/system/cpu/cpufreq/policy*/scaling_cur_freq"
        phone.run(f"for file in {policies}; do echo 300000 >$file; done")
        device = open_device()
        phone.during("start", f"for file in {policies}; do echo 2850000 >$file; done")
        phone.during("end", f"sleep 0.3; for file in {policies}; do echo 300000 >$file; done")
        state = device.run(models[0], replace(LONG, min_seconds=2, cores="1")).state
        assert state.clock_mhz is not None
        assert 1500 < state.clock_mhz < 2850

    def test_it_is_the_mean_by_the_phones_own_count_where_the_shell_may_read_that(
        self, open_device: Open, phone: Phone, models: list[BuiltModel]
    ) -> None:
        phone.ticks({300000: 1000, 2850000: 500})
        device = open_device()
        phone.during(
            "start",
            "for f in /sys/devices/system/cpu/cpufreq/policy*/stats; do echo '300000 1010\n2850000 530' >$f/time_in_state; done",
        )
        state = device.run(models[0], replace(QUICK, cores="1")).state
        assert state.clock_mhz == pytest.approx((10 * 300 + 30 * 2850) / 40)


class TestHeat:
    def test_the_clock_and_the_figures_follow_work_and_rest(
        self, open_device: Open, phone: Phone, models: list[BuiltModel]
    ) -> None:
        """On a phone that slows by half within seconds, and reports no thermal status."""
        phone.heats(0.5, 1)
        device, brief = open_device(), replace(QUICK, min_seconds=0.2, cores="1")
        cool, hot = device.run(models[0], brief), device.run(models[0], replace(brief, min_seconds=3))
        time.sleep(3)
        runs = cool, hot, device.run(models[0], brief)
        assert (cool.state.clock_mhz or 0) > 1.1 * (hot.state.clock_mhz or 0)
        cool_ms, hot_ms, rested_ms = (run.figures.median_ms or 0 for run in runs)
        assert hot_ms > 1.2 * max(cool_ms, rested_ms)
        assert min(cool_ms, rested_ms) >= 1
        assert {(run.state.thermal_status, run.state.throttled) for run in runs} == {(0, False)}


class TestScreen:
    def test_a_run_during_which_it_goes_off_is_made_again_with_the_screen_on(
        self, open_device: Open, phone: Phone, models: list[BuiltModel], notes: list[str]
    ) -> None:
        """Stay-on holds only while charging, and not on every phone."""
        device = open_device()
        phone.during("start", "echo Dozing >/phone/wakefulness", once=True)
        state = device.run(models[0], QUICK).state
        assert (state.flag, phone.starts(), phone.get("wakefulness")) == (None, 2, "Awake")
        assert f"{device.name}: the screen went off while the process ran; measuring again" in notes

    def test_one_that_goes_off_every_time_flags_the_figure(
        self, open_device: Open, phone: Phone, models: list[BuiltModel], notes: list[str]
    ) -> None:
        device = open_device()
        phone.during("start", "echo Asleep >/phone/wakefulness")
        assert device.run(models[0], QUICK).state.flag == "screen off"
        assert phone.starts() == 3
        assert notes[-1].endswith("so it was 3 times; the figure is flagged")


@two_cores
class TestParkedCores:
    prime = replace(QUICK, cores="prime")
    last = (os.cpu_count() or 1) - 1

    def test_prime_is_a_core_that_load_switches_on(self, open_device: Open, phone: Phone, notes: list[str]) -> None:
        phone.park(self.last)
        with phone.waking_under_load():
            device = open_device()
            assert device.conditions(self.prime).cores == f"{1 << self.last:x}"
        assert f"{device.name}: the phone had switched off core {self.last}; under load: all are on" in notes

    def test_one_that_stays_off_is_not_replaced_by_a_slower_one(self, open_device: Open, phone: Phone) -> None:
        phone.park(self.last)
        with pytest.raises(InputError, match=f"keeps core {self.last} switched off, also under load") as caught:
            open_device().conditions(self.prime)
        assert "`--cores prime` would measure on slower ones" in str(caught.value)
        assert f"--cores {1 << self.last - 1:x}" in str(caught.value.hint)

    def test_a_slow_core_may_be_off(self, open_device: Open, phone: Phone, notes: list[str]) -> None:
        """Its files are still there, so that it is known to be slow."""
        phone.sys("devices/system/cpu/online").write_text(f"1-{self.last}\n" if self.last > 1 else "1\n")
        device = open_device()
        assert device.conditions(self.prime).cores == f"{1 << self.last:x}"
        assert f"{device.name}: the phone had switched off core 0; under load: core 0 still off" in notes

    def test_a_core_that_is_switched_off_between_runs_is_switched_on_again(
        self, open_device: Open, phone: Phone, models: list[BuiltModel], notes: list[str]
    ) -> None:
        device = open_device()
        device.run(models[0], self.prime)
        phone.during("end", "echo 0 >/sys/devices/system/cpu/online", once=True)
        device.run(models[0], self.prime)
        with phone.waking_under_load():
            device.run(models[0], self.prime)
        assert notes[-1] == f"{device.name}: the phone had switched off cores in use; they are on again"
        phone.park(self.last)
        device.run(models[0], self.prime)  # seen at its end
        with pytest.raises(ToolOutputError, match=f"has switched off core {self.last}, also under load"):
            device.run(models[0], self.prime)


def test_a_run_that_init_ends_together_with_adbd_is_made_again(
    open_device: Open, phone: Phone, models: list[BuiltModel], notes: list[str]
) -> None:
    """At `adb root`, and when USB changes its mode, init kills all that adbd ever started, detached or not."""
    device = open_device()
    phone.fault("wait", times=1)
    when(lambda: phone.starts() == 1, phone.init_kills_all)
    result = device.run(models[0], QUICK)
    assert (result.figures.count, result.state.flag, phone.starts()) == (5, None, 2)
    assert f"{device.name}: the phone is back" in notes
