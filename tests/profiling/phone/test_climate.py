"""A phone is measured when it is fit: neither hot, nor throttled, nor busy, nor empty; and it says what it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from phone.machine import Phone
from phone.opening import NO_SERVER, QUICK, Open, over_tcp

from profiling.adb.shell import Reply
from profiling.adb.transport import TIMEOUT_S, Transport
from profiling.device import BuiltModel
from profiling.errors import InputError, MeasurementError, NoDeviceError, ToolOutputError
from profiling.phone.phone import AdbDevice, Limits, open_phone


def test_it_waits_for_a_throttled_phone_and_goes_on_when_it_is_cool(
    open_device: Open, phone: Phone, models: list[BuiltModel], notes: list[str]
) -> None:
    waits: list[float] = []

    def cool_down(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            phone.set("thermal_status", "0")

    phone.set("thermal_status", "2")
    open_device(sleep=cool_down).run(models[0], QUICK)
    assert len(waits) == 3
    assert any("thermal status 2" in note for note in notes)


def test_a_run_during_which_the_phone_throttled_is_made_again(open_device: Open, phone: Phone, models: list[BuiltModel]) -> None:
    device = open_device(sleep=lambda seconds: phone.set("thermal_status", "0"))
    phone.set("thermal_status", "1")  # seen with the first result
    assert device.run(models[0], QUICK).state.throttled is False


def test_a_phone_that_throttles_during_each_run_is_one_failed_measurement_that_says_so(
    phone: Phone, models: list[BuiltModel]
) -> None:
    class Straining(Transport):
        """The phone throttles whenever the tool runs, and recovers at once."""

        def batch(self, commands: Mapping[str, str], timeout_s: float = TIMEOUT_S) -> dict[str, Reply]:
            phone.set("thermal_status", "1" if "start" in commands else "0")
            return super().batch(commands, timeout_s)

    device = AdbDevice(lambda: over_tcp(phone, Straining), str(phone.tool), sleep=lambda seconds: None)
    with pytest.raises(ToolOutputError, match="throttles every time") as caught:
        device.run(models[0], QUICK)
    device.close()
    assert (caught.value.reason, caught.value.recurs) == ("throttled", False)
    assert caught.value.state is not None
    assert caught.value.state.thermal_status == 1


def test_a_phone_may_throttle_where_its_sustained_speed_is_asked_for(
    open_device: Open, phone: Phone, models: list[BuiltModel]
) -> None:
    phone.set("thermal_status", "2")
    state = open_device(sleep=lambda seconds: pytest.fail("it waited")).run(models[0], replace(QUICK, may_throttle=True)).state
    assert (state.throttled, phone.starts()) == (True, 1)


def test_clocks_that_are_held_back_count_as_throttling(open_device: Open, phone: Phone, models: list[BuiltModel]) -> None:
    device = open_device(sleep=lambda seconds: None, limits=Limits(cool_down_s=10))
    for path in phone.sys("devices/system/cpu/cpufreq").glob("policy*/scaling_max_freq"):
        path.write_text("1000000\n")
    with pytest.raises(MeasurementError, match="limits its clocks"):
        device.run(models[0], QUICK)


def test_a_temperature_limit_is_kept_by_the_skin(open_device: Open, phone: Phone, models: list[BuiltModel]) -> None:
    phone.set("skin_c", "39.9")
    device = open_device(limits=Limits(max_temperature_c=38.0, cool_down_s=10), sleep=lambda seconds: None)
    with pytest.raises(MeasurementError, match=r"39.9 °C, above 38 °C"):
        device.run(models[0], QUICK)


def test_a_temperature_that_cannot_be_read_is_unknown_and_no_limit_can_be_kept(
    open_device: Open, phone: Phone, models: list[BuiltModel], notes: list[str]
) -> None:
    phone.set("hal_ready", "false")
    for zone in phone.sys("class/thermal").glob("thermal_zone*/temp"):
        zone.unlink()
    device = open_device()
    state = device.run(models[0], QUICK).state
    assert (state.temperature_c, state.throttled) == (None, None)
    assert any("does not report whether it is throttled" in note for note in notes)
    device.close()
    with pytest.raises(InputError, match="does not report its temperature"):
        open_device(limits=Limits(max_temperature_c=38.0))


def test_zones_are_read_where_the_thermal_service_is_silent(open_device: Open, phone: Phone, models: list[BuiltModel]) -> None:
    phone.set("hal_ready", "false")
    assert open_device().run(models[0], QUICK).state.temperature_c == 36.2


def test_an_empty_battery_is_refused_and_a_low_one_told(open_device: Open, phone: Phone, notes: list[str]) -> None:
    phone.set("battery_level", "6")
    with pytest.raises(NoDeviceError, match="battery is at 6 %"):
        open_device()
    assert phone.run("ls -A /data/local/tmp") == ""
    phone.set("battery_level", "15")
    phone.set("settings/low_power", "1")
    open_device()
    assert any("battery is at 15 %" in note for note in notes)
    assert any("battery saver is on" in note for note in notes)


def test_a_battery_that_charging_has_warmed_is_told(open_device: Open, phone: Phone, notes: list[str]) -> None:
    phone.set("battery_c", "44.0")
    open_device()
    assert any("warmed the battery to 44 °C" in note for note in notes)


def test_a_phone_that_has_just_started_is_left_to_settle(open_device: Open, phone: Phone, notes: list[str]) -> None:
    phone.set("uptime", "50.25 190.00")
    phone.run("/usr/bin/mount --bind /phone/uptime /proc/uptime")
    waits: list[float] = []
    open_device(sleep=waits.append)
    assert waits == [69.75]
    assert any("just started; waiting 70 s" in note for note in notes)


def test_it_waits_while_other_programs_work_and_goes_on_when_they_end(open_device: Open, phone: Phone, notes: list[str]) -> None:
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
    open_device: Open, phone: Phone, notes: list[str]
) -> None:
    waits: list[float] = []

    def work(*_: object) -> None:
        ticks = int(phone.get("stat").split()[1]) + 100
        phone.set("stat", f"cpu  {ticks} 0 0 0 0 0 0 0 0 0")

    open_device(sleep=lambda seconds: (waits.append(seconds), work()), notify=lambda note: (notes.append(note), work()))
    assert sum(waits) == 60
    assert any("still busy" in note for note in notes)


def test_a_phone_that_never_finishes_starting_is_no_device(phone: Phone) -> None:
    phone.set_properties({"sys.boot_completed": ""})
    with pytest.raises(NoDeviceError, match="has not finished starting"):
        open_phone(
            phone.address, tool=str(phone.tool), server=NO_SERVER, limits=Limits(reconnect_s=0.2), sleep=lambda seconds: None
        )


class Passing:
    """Time that passes only by sleeping; what happens at which second, and what was waited in all."""

    def __init__(self, phone: Phone, allowed_khz: dict[float, int]) -> None:
        self.phone, self.allowed_khz, self.passed_s = phone, allowed_khz, 0.0
        self.sleep(0.0)

    def sleep(self, seconds: float) -> None:
        self.passed_s += seconds
        for at_s, khz in self.allowed_khz.items():
            if at_s <= self.passed_s:
                for path in self.phone.sys("devices/system/cpu/cpufreq").glob("policy*/scaling_max_freq"):
                    path.write_text(f"{khz}\n")


def test_clocks_that_were_held_back_before_the_first_look_are_noticed(
    open_device: Open, phone: Phone, models: list[BuiltModel], notes: list[str]
) -> None:
    time = Passing(phone, {0.0: 1_000_000, 15.0: 2_850_000})
    device = open_device(sleep=time.sleep)
    mask = device.conditions(replace(QUICK, cores="prime")).cores
    assert device.run(models[0], replace(QUICK, cores=mask)).state.throttled is False
    assert time.passed_s == 15
    assert f"{device.name}: the phone limits its clocks to 1000 of 2850 MHz; waiting for it to cool down" in notes


def test_a_boost_at_wake_up_makes_a_phone_throttled_for_a_minute_and_not_for_ever(
    open_device: Open, phone: Phone, models: list[BuiltModel], notes: list[str]
) -> None:
    """The maker of this one names the clock of the boost as the highest there is, and holds it for five seconds."""
    time = Passing(phone, {0.0: 2_850_000, 5.0: 2_400_000})
    device = open_device(sleep=time.sleep)
    time.sleep(5.0)
    prime = replace(QUICK, cores="prime")
    device.run(models[0], prime)
    assert device.run(models[0], prime).state.throttled is False
    assert time.passed_s < 90
    assert [note for note in notes if "counts as full speed" in note] == [
        f"{device.name}: the phone limits its clocks to 2400 of 2850 MHz, for 60 s now and without a thermal status; "
        "this counts as full speed from now on"
    ]


def test_a_limit_is_accepted_only_of_clocks(open_device: Open, phone: Phone, models: list[BuiltModel]) -> None:
    phone.set("skin_c", "39.9")
    device = open_device(limits=Limits(max_temperature_c=38.0, cool_down_s=90), sleep=lambda seconds: None)
    with pytest.raises(MeasurementError, match=r"39.9 °C, above 38 °C"):
        device.run(models[0], QUICK)
