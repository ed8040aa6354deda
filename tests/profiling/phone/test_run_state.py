"""A figure is that of the cores, clock and screen that it claims, or says what was wrong: the phone changes while it measures."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from phone.machine import Phone
from phone.opening import QUICK, Open

from profiling.device import BuiltModel

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
