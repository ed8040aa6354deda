"""Devices that are not quite phones are measured on like phones: boards and televisions, emulators, and cores out of reach."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from phone.machine import Phone
from phone.opening import NO_SERVER, QUICK, Open

from profiling.device import BuiltModel
from profiling.errors import InputError
from profiling.phone.discovery import list_phones

LAST = (os.cpu_count() or 1) - 1
two_cores = pytest.mark.skipif(LAST < 1, reason="needs two cores")


class TestNoBattery:
    @pytest.mark.parametrize(
        "battery",
        [
            {"battery_present": "false", "battery_level": "0"},
            {"absent_services": "battery"},
        ],
    )
    def test_a_device_without_one_is_measured(
        self, open_device: Open, phone: Phone, models: list[BuiltModel], notes: list[str], battery: dict[str, str]
    ) -> None:
        for name, value in battery.items():
            phone.set(name, value)
        (listed,) = list_phones([phone.address], server=NO_SERVER)
        assert (listed.state, listed.missing) == ("ready", None)
        device = open_device()
        assert device.run(models[0], QUICK).figures.count == 5
        assert f"{device.name}: no battery, so its charge is not watched" in notes


@two_cores
class TestCpuset:
    def test_prime_is_refused_before_anything_is_sent_where_the_shell_may_not_use_it(
        self, open_device: Open, phone: Phone, notes: list[str]
    ) -> None:
        phone.keep_from_shell(LAST)
        device = open_device()
        with pytest.raises(InputError) as caught:
            device.conditions(replace(QUICK, cores="prime"))
        assert caught.value.problem == f"`--cores prime` means core {LAST}, which the phone keeps from its shell (cpuset)"
        rest = (1 << LAST) - 1
        assert f"(mask {rest:x}): keep the screen on and run again" in str(caught.value.hint)
        assert str(caught.value.hint).endswith(f"or measure on the fastest of these: --cores {1 << LAST - 1:x}")
        assert f"{device.name}: the phone keeps core {LAST} from its shell (cpuset);" in notes[-1]
        assert phone.run("ls /data/local/tmp/spnas-????????") == ""

    def test_so_is_a_mask_with_it(self, open_device: Open, phone: Phone) -> None:
        phone.keep_from_shell(LAST)
        with pytest.raises(InputError, match=f"names core {LAST}, which the phone keeps from its shell"):
            open_device().conditions(replace(QUICK, cores=f"{1 << LAST:x}"))

    def test_the_others_are_measured_on_and_it_is_listed(self, open_device: Open, phone: Phone, models: list[BuiltModel]) -> None:
        phone.keep_from_shell(LAST)
        (listed,) = list_phones([phone.address], server=NO_SERVER)
        assert listed.cores.endswith(f"not for the shell: core {LAST}")
        assert open_device().run(models[0], replace(QUICK, cores="1")).state.flag is None

    def test_a_phone_that_is_awake_may_allow_more(self, open_device: Open, phone: Phone) -> None:
        phone.keep_from_shell(LAST)
        device = open_device()
        phone.keep_from_shell()
        assert device.conditions(replace(QUICK, cores="prime")).cores == f"{1 << LAST:x}"

    def test_a_slow_core_may_be_out_of_reach(self, open_device: Open, phone: Phone) -> None:
        phone.keep_from_shell(0)
        assert open_device().conditions(replace(QUICK, cores="prime")).cores == f"{1 << LAST:x}"


@two_cores
def test_prime_is_a_core_of_the_greater_capacity_where_all_have_one_clock(open_device: Open, phone: Phone) -> None:
    cpu = phone.sys("devices/system/cpu")
    for core in range(LAST + 1):
        (cpu / f"cpu{core}" / "cpu_capacity").write_text("380\n" if core else "1024\n")
    for file in cpu.glob("cpufreq/policy*/cpuinfo_max_freq"):
        file.write_text("2000000\n")
    assert open_device().conditions(replace(QUICK, cores="prime")).cores == "1"
    (listed,) = list_phones([phone.address], server=NO_SERVER)
    assert listed.cores == f"{LAST} at 2000 MHz (capacity 380), 1 at 2000 MHz (capacity 1024)"


def test_an_emulator_is_named_as_what_it_is(open_device: Open, phone: Phone, notes: list[str]) -> None:
    phone.set_properties({"ro.kernel.qemu": "1"})
    (listed,) = list_phones([phone.address], server=NO_SERVER)
    assert listed.product == "Test Phone (emulator)"
    device = open_device()
    assert device.conditions(QUICK).product == "Test Phone (emulator)"
    assert f"{device.name}: an emulator: its figures are those of the computer that it runs on, not of a phone" in notes


def test_android_7_has_fewer_tools_and_services(
    open_device: Open, phone: Phone, models: list[BuiltModel], notes: list[str]
) -> None:
    phone.become_android_7()
    (listed,) = list_phones([phone.address], server=NO_SERVER)
    assert (listed.state, listed.temperature_c) == ("ready", 36.2)
    device = open_device()
    state = device.run(models[0], replace(QUICK, cores="1")).state
    assert (state.temperature_c, state.thermal_status, state.flag) == (36.2, None, None)
    device.push(models)  # checked by MD5
    assert f"{device.name}: the phone does not report whether it is throttled" in notes
