"""What phones of several makers say of themselves is read rightly, and what they do not say stays unknown."""

from __future__ import annotations

from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiling.errors import InputError
from profiling.phone.probes import (
    Clock,
    PhoneState,
    Thermal,
    choose_cores,
    describe_cores,
    describe_product,
    is_emulator,
    parse_awake,
    parse_barred,
    parse_battery,
    parse_busy,
    parse_clocks,
    parse_cores,
    parse_free_kib,
    parse_load,
    parse_page_bytes,
    parse_properties,
    parse_thermal,
    parse_zones,
)

PIXEL = """\
IsStatusOverride: false
ThermalEventListeners:
	callbacks: 2
Thermal Status: 1
Cached temperatures:
	Temperature{mValue=88.8, mType=3, mName=VIRTUAL-SKIN, mStatus=4}
	Temperature{mValue=99.9, mType=0, mName=BIG, mStatus=0}
HAL Ready: true
HAL connection:
	ThermalHAL AIDL 1  connected: yes
Current temperatures from HAL:
	Temperature{mValue=61.0, mType=0, mName=BIG, mStatus=0}
	Temperature{mValue=-99.9, mType=0, mName=LITTLE, mStatus=0}
	Temperature{mValue=29.5, mType=2, mName=battery, mStatus=0}
	Temperature{mValue=39.4, mType=3, mName=VIRTUAL-SKIN, mStatus=1}
	Temperature{mValue=0.0, mType=9, mName=TPU, mStatus=0}
Current cooling devices from HAL:
	CoolingDevice{mValue=3, mType=2, mName=thermal-cpufreq-0}
Temperature static thresholds from HAL:
	TemperatureThreshold{mType=3, mName=VIRTUAL-SKIN, mHotThrottlingThresholds=[NaN, 39.0, 43.0]}
"""
SAMSUNG = """\
IsStatusOverride: false
Thermal Status: 0
Cached temperatures:
HAL Ready: true
HAL connection:
	ThermalHAL 2.0 connected: yes
Current temperatures from HAL:
	Temperature{mValue=35.7, mType=0, mName=AP, mStatus=0}
	Temperature{mValue=30.1, mType=4, mName=TYPE_SKIN, mStatus=0}
	Temperature{mValue=nan, mType=3, mName=SKIN, mStatus=0}
"""
OLD = """\
Thermal Status: 0
HAL Ready: true
Current temperatures from HAL:
	Type: 3 Name: skin CurrentValue: 31.25 ThrottlingStatus: 0
	Type: 0 Name: CPU0 CurrentValue: 44 ThrottlingStatus: 0
"""
SHIELD = """\
IsStatusOverride: false
Thermal Status: 0
HAL Ready: true
Current temperatures from HAL:
        Temperature{mValue=62.0, mType=1, mName=GPU, mStatus=0}
        Temperature{mValue=66.5, mType=0, mName=CPU0, mStatus=0}
        Temperature{mValue=66.0, mType=0, mName=CPU1, mStatus=0}
Current cooling devices from HAL:
        CoolingDevice{mValue=4000, mType=0, mName=FAN}
"""


class TestThermal:
    def test_only_the_block_from_the_hal_counts(self) -> None:
        assert parse_thermal(PIXEL) == Thermal(status=1, skin_c=39.4, cpu_c=61.0)

    def test_names_and_types_differ_between_makers(self) -> None:
        assert parse_thermal(SAMSUNG) == Thermal(status=0, skin_c=30.1, cpu_c=35.7)

    def test_older_text(self) -> None:
        assert parse_thermal(OLD) == Thermal(status=0, skin_c=31.25, cpu_c=44)

    @pytest.mark.parametrize(
        "text", ["", "Can't find service: thermalservice", PIXEL.replace("HAL Ready: true", "HAL Ready: false")]
    )
    def test_without_the_hal_all_is_unknown(self, text: str) -> None:
        assert parse_thermal(text) == Thermal(None, None, None)

    def test_a_status_that_somebody_faked_is_unknown(self) -> None:
        assert parse_thermal(PIXEL.replace("Override: false", "Override: true")).status is None

    def test_zones_in_thousandths_and_in_degrees(self) -> None:
        zone = "/sys/class/thermal/thermal_zone"
        text = "\n".join(
            [f"{zone}{number}/type:{kind}" for number, kind in enumerate(("cpu-0-0", "skin-therm", "pmic", "cpu-1"))]
            + [f"{zone}{number}/temp:{value}" for number, value in enumerate(("45300", "31", "99000", "-40000"))]
            + [f"grep: {zone}9/temp: Permission denied"]
        )
        assert parse_zones(text) == Thermal(status=None, skin_c=31, cpu_c=45.3)
        assert parse_zones("grep: /sys/class/thermal: Permission denied") == Thermal()

    @pytest.mark.parametrize(
        ("zones", "expected"),
        [
            # MediaTek: the sensor beside the processor is its skin, as its thermal HAL has it
            ({"mtktsbattery": "30000", "mtktscpu": "51300", "mtktsAP": "34000", "mtktspmic": "60000"}, Thermal(None, 34.0, 51.3)),
            (
                {"soc_max": "58000", "cpu_little1": "52000", "cpu_medium_core1_1": "55000", "ap_ntc": "36000"},
                Thermal(None, 36, 58),
            ),
            # Rockchip boards
            ({"soc-thermal": "47153", "bigcore0-thermal": "48076", "littlecore-thermal": "47153"}, Thermal(None, None, 48.076)),
            ({"soc-thermal": "41111", "gpu-thermal": "90000"}, Thermal(None, None, 41.111)),
            # Qualcomm: tenths of a degree before kernel 4.14; "soc" is the charge of the battery in percent
            ({"cpu0-silver-usr": "463", "cpu0-gold-usr": "520", "soc": "93", "pa-therm0": "900"}, Thermal(None, None, 52.0)),
            ({"cpu-1-7-usr": "61200", "cpuss-0-usr": "59000", "gpuss-0-usr": "70000"}, Thermal(None, None, 61.2)),
            ({"tsens_tz_sensor4": "44", "quiet-therm-adc": "33"}, Thermal(None, 33.0, 44.0)),
            ({"tsens_tz_sensor4": "444", "battery": "288"}, Thermal(None, None, 44.4)),
            # Tensor and Exynos, Kirin, NVIDIA, Amlogic and Allwinner, Unisoc, a PC
            ({"BIG": "61000", "MID": "55000", "LITTLE": "50000", "G3D": "80000", "BIGBAT": "90000"}, Thermal(None, None, 61.0)),
            ({"cluster0": "49000", "shell_front": "35100", "soc_thermal": "52000"}, Thermal(None, 35.1, 52.0)),
            ({"CPU-therm": "44500", "GPU-therm": "60000"}, Thermal(None, None, 44.5)),
            ({"cpub_thermal_zone": "44000", "ddr_thermal": "60000"}, Thermal(None, None, 44.0)),
            ({"soc-thmzone": "44000", "board-thmzone": "60000"}, Thermal(None, None, 44.0)),
            ({"x86_pkg_temp": "71000", "acpitz": "27800"}, Thermal(None, None, 71.0)),
            # sensors that are not there
            ({"cpu-0": "-273", "cpu-1": "-40000", "cpu-2": "0", "cpu-3": "255000"}, Thermal()),
            ({"cpu-0": "2147483647", "cpu-1": "-5000"}, Thermal(None, None, -5.0)),
        ],
    )
    def test_zones_by_the_names_and_units_of_many_makers(self, zones: dict[str, str], expected: Thermal) -> None:
        zone = "/sys/class/thermal/thermal_zone"
        pairs = list(enumerate(zones.items()))
        lines = [f"{zone}{n}/type:{name}" for n, (name, _) in pairs] + [f"{zone}{n}/temp:{value}" for n, (_, value) in pairs]
        assert parse_zones("\n".join(lines)) == expected

    def test_a_television_with_sensors_of_its_cpu_alone(self) -> None:
        text = SHIELD.replace("mValue=66.5", "mValue=665")  # which some makers report in tenths here as well
        assert parse_thermal(SHIELD) == parse_thermal(text) == Thermal(status=0, skin_c=None, cpu_c=66.5)

    @given(st.text(max_size=300))
    def test_no_text_is_fatal(self, text: str) -> None:
        parse_thermal(text), parse_zones(text), parse_battery(text), parse_clocks(text), parse_cores(text, text)
        parse_properties(text), parse_awake(text), parse_load(text), parse_free_kib(text), parse_busy(text, text)


class TestDeviceState:
    clocks: ClassVar = {0: Clock(1_800_000, 1_800_000), 1: Clock(2_400_000, 2_850_000)}
    full_khz: ClassVar = {0: 1_800_000, 1: 2_850_000}

    def test_the_clock_is_that_of_the_cores_in_use(self) -> None:
        state = PhoneState(Thermal(0, 30.0, 45.0), self.clocks, 0.5)
        assert state.beside("1", self.full_khz).clock_mhz == 1800
        assert state.beside("2", self.full_khz).clock_mhz == 2400
        assert state.beside("any", self.full_khz).clock_mhz == 2400
        assert state.beside("1", self.full_khz).temperature_c == 45.0

    @pytest.mark.parametrize(("status", "throttled"), [(None, None), (0, False), (1, True), (6, True)])
    def test_unknown_is_not_fine(self, status: int | None, throttled: bool | None) -> None:
        assert PhoneState(Thermal(status)).beside("any", {}).throttled is throttled

    def test_clocks_held_back_below_their_start_are_throttling_even_where_the_status_is_unknown(self) -> None:
        now = {0: Clock(1_000_000, 1_800_000), 1: Clock(1_000_000, 1_500_000)}
        assert PhoneState(Thermal(None), now).beside("2", self.full_khz).throttled is True
        assert PhoneState(Thermal(0), now).beside("1", self.full_khz).throttled is False


class TestCores:
    snapdragon = dict.fromkeys(range(4), 1785600) | {4: 2_419_200, 5: 2_419_200, 6: 2_419_200, 7: 2_841_600}
    tensor = dict.fromkeys(range(4), 1803000) | {4: 2_253_000, 5: 2_253_000, 6: 2_802_000, 7: 2_802_000}
    two_kinds = dict.fromkeys(range(4), 1800000) | dict.fromkeys(range(4, 8), 2300000)

    @pytest.mark.parametrize(
        ("cores", "wanted", "mask"),
        [
            (snapdragon, "prime", "80"),
            (snapdragon, "big", "70"),  # the three alike, as nn-Meter has it for the Pixel 4
            (tensor, "prime", "80"),
            (tensor, "big", "c0"),
            (two_kinds, "big", "f0"),
            (two_kinds, "prime", "80"),
            (two_kinds, "any", "any"),
            (two_kinds, "F0", "f0"),
            (two_kinds, "0x3", "3"),
        ],
    )
    def test_the_mask(self, cores: dict[int, int | None], wanted: str, mask: str) -> None:
        assert choose_cores(wanted, cores, where="phone") == mask

    @pytest.mark.parametrize("wanted", ["100", "0", "", "fast", "-1"])
    def test_what_cannot_be_is_refused(self, wanted: str) -> None:
        with pytest.raises(InputError):
            choose_cores(wanted, self.two_kinds, where="phone")

    def test_a_core_that_is_off_is_not_chosen(self) -> None:
        online = {core: speed for core, speed in self.snapdragon.items() if core != 7}
        assert choose_cores("prime", online, where="phone") == "40"
        with pytest.raises(InputError, match="off or do not exist; available are 7f"):
            choose_cores("80", online, where="phone")

    def test_unknown_speeds_are_not_guessed(self) -> None:
        with pytest.raises(InputError, match="does not report the speed"):
            choose_cores("big", {0: None, 1: None}, where="phone")

    def test_cores_are_read_from_the_files(self) -> None:
        speeds = "".join(f"/sys/devices/system/cpu/cpu{core}/cpufreq/cpuinfo_max_freq:{1000 + core}\n" for core in range(12))
        assert parse_cores("0-3,6,10-11", speeds) == {0: 1000, 1: 1001, 2: 1002, 3: 1003, 6: 1006, 10: 1010, 11: 1011}
        assert parse_cores("0-1", "grep: Permission denied") == {0: None, 1: None}
        assert describe_cores({0: 1_803_000, 1: 1_803_000, 2: 2_850_000, 3: None}) == (
            "1, speed unknown, 2 at 1803 MHz, 1 at 2850 MHz"
        )

    @pytest.mark.parametrize(
        ("online", "allowed", "barred"),
        [
            ("0-7", "Cpus_allowed_list:\t0-6", [7]),
            ("0-7", "Cpus_allowed_list:\t0-3", [4, 5, 6, 7]),
            ("0-3,6", "Cpus_allowed_list:\t0-3,6", []),
            ("0-3", "Cpus_allowed_list:\t0-7", []),
            ("0-7", "grep: /proc/self/status: Permission denied", []),
            ("", "Cpus_allowed_list:\t0-3", []),
        ],
    )
    def test_cores_that_the_shell_may_not_use(self, online: str, allowed: str, barred: list[int]) -> None:
        assert parse_barred({"online": online, "allowed": allowed}) == barred

    def test_clocks_by_policy(self) -> None:
        policy = "/sys/devices/system/cpu/cpufreq/policy4"
        text = f"{policy}/related_cpus:4 5\n{policy}/scaling_cur_freq:300000\n{policy}/scaling_governor:schedutil\n"
        clock = Clock(now_khz=300_000, allowed_khz=None, governor="schedutil")
        assert parse_clocks(text) == {4: clock, 5: clock}


class TestOtherTexts:
    def test_properties_with_values_over_lines_and_odd_signs(self) -> None:
        text = "[ro.a]: [1]\r\n[ro.b]: [two\nlines]\n[ro.c]: [x[0]: y]\n[ro.d]: []\n"
        assert parse_properties(text) == {"ro.a": "1", "ro.b": "two\nlines", "ro.c": "x[0]: y", "ro.d": ""}

    @pytest.mark.parametrize(
        ("before", "after", "busy"),
        [
            ("cpu  100 0 50 800 50 0 0 0 0 0", "cpu  150 0 75 1500 75 0 0 0 0 0", 0.09375),
            ("cpu  0 0 0 0 0", "cpu  3 0 0 1 0", 0.75),  # Linux 2.4 had fewer
            ("cpu  100 0 0 100 0", "cpu  100 0 0 100 0", None),  # no time has passed
            ("cpu  100 0 0 100 0", "cpu  1 0 0 1 0", None),  # started anew
            ("", "cpu  3 0 0 1 0", None),
            ("cat: /proc/stat: Permission denied", "cat: /proc/stat: Permission denied", None),
        ],
    )
    def test_how_busy_all_cores_were_between_two_looks(self, before: str, after: str, busy: float | None) -> None:
        assert parse_busy(before, after) == busy

    def test_battery(self) -> None:
        text = "  AC powered: false\n  USB powered: true\n  level: 90\n  scale: 200\n  temperature: 275\n  status: 2\n"
        battery = parse_battery(text)
        assert (battery.level, battery.temperature_c, battery.charging) == (45, 27.5, True)
        assert parse_battery("Can't find service: battery").level is None

    @pytest.mark.parametrize(
        ("text", "absent"),
        [
            ("  AC powered: true\n  present: false\n  level: 0\n  scale: 100\n  voltage: 0\n", True),
            ("  present: false\n  level: 100\n  scale: 100\n  voltage: 4000\n", True),
            ("  AC powered: true\n  status: 1\n  present: true\n  level: 0\n  scale: 100\n  voltage: 0\n", True),
            ("  present: true\n  level: -1\n  scale: 100\n  voltage: -1\n", True),
            ("cmd: Can't find service: battery", True),
            ("  present: true\n  level: 0\n  scale: 100\n  voltage: 3400\n", False),  # empty
            ("  present: true\n  level: 80\n  scale: 100\n  voltage: 0\n", False),
            ("  level: 0\n  scale: 100\n", False),
            ("", False),
        ],
    )
    def test_a_device_without_battery_is_told_from_an_empty_one(self, text: str, absent: bool) -> None:
        battery = parse_battery(text)
        assert battery.absent is absent
        assert battery.level is None or not absent

    @pytest.mark.parametrize(
        ("properties", "emulator"),
        [
            ({"ro.kernel.qemu": "1"}, True),
            ({"ro.boot.qemu": "1", "ro.hardware": "ranchu"}, True),
            ({"ro.hardware": "cutf_cvm"}, True),
            ({"ro.kernel.qemu": "0", "ro.hardware": "qcom"}, False),
            ({}, False),
        ],
    )
    def test_emulators(self, properties: dict[str, str], emulator: bool) -> None:
        assert is_emulator(properties) is emulator
        assert describe_product({"ro.product.model": "M", **properties}) == ("M (emulator)" if emulator else "M")

    @pytest.mark.parametrize(
        ("text", "page_bytes"),
        [
            ("4096", 4096),
            ("16384\n", 16384),
            ("KernelPageSize:       16 kB", 16384),
            ("grep: /proc/self/smaps: Permission denied", None),
            ("sh: getconf: not found", None),
            ("", None),
        ],
    )
    def test_the_size_of_a_memory_page(self, text: str, page_bytes: int | None) -> None:
        assert parse_page_bytes(text) == page_bytes

    def test_wakefulness(self) -> None:
        assert parse_awake("  mWakefulness=Awake") is True
        assert parse_awake("  mWakefulness=Dozing") is False
        assert parse_awake("") is None

    @pytest.mark.parametrize(
        ("text", "kib"),
        [
            ("Filesystem 1K-blocks Used Available Use% Mounted on\n/dev/fuse 100 40 60 40% /data", 60),
            ("Filesystem     1K-blocks    Used Available Use% Mounted on\n/dev/block/dm-9  111 22  89  20% /data/user/0\n", 89),
            ("df: /data: Permission denied", None),
        ],
    )
    def test_free_space(self, text: str, kib: int | None) -> None:
        assert parse_free_kib(text) == kib
