"""The check-up of a phone: what a person finds out with one command, and can send on."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from phone.machine import Phone
from phone.opening import LOCK, NO_SERVER

from profiling.errors import NoDeviceError
from profiling.phone.checkup import Finding, check_phone
from spnas_cli.main import cli

PAGE = Path(__file__).parents[3] / "docs" / "phones.md"


def check(phone: Phone) -> dict[str, Finding]:
    return {one.what: one for one in check_phone(phone.address, server=NO_SERVER, work_s=1)}


def test_a_healthy_phone_is_as_expected_and_left_as_it_was(phone: Phone) -> None:
    phone.ticks({300000: 10, 2850000: 20})
    found = check(phone)
    assert [one for one in found.values() if one.as_expected is False] == []
    assert found["screen"].found == "KEYCODE_WAKEUP switches it on"
    assert found["cores that are off"].found == "none is off"
    assert found["thermal status and temperatures"].found == "thermal status 0, service 36.2 °C, files 36.2 °C"
    assert re.search(r"asked for (\w+), ran on \1$", found["a process on its core (`taskset`, `/proc/PID/task/*`)"].found)
    assert re.fullmatch(
        r"in each of 1 s, of that in the first: 100%; then 36.2 °C, thermal status 0", found["speed under load"].found
    )
    assert phone.run("ls -A /data/local/tmp") == ""
    assert (phone.get("wakefulness"), phone.get("settings/stay_on_while_plugged_in")) == ("Asleep", "0")


def test_nothing_of_it_names_the_phone(phone: Phone) -> None:
    text = " ".join(one.found for one in check(phone).values())
    assert phone.serial not in text
    assert phone.get("boot_id") not in text
    assert "Test Phone" in text


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_what_a_phone_hides_is_said(phone: Phone) -> None:
    phone.set("hal_ready", "false")
    phone.run(
        "rm -r /sys/class/thermal/thermal_zone*; rm /sys/devices/system/cpu/cpufreq/policy*/scaling_*; rm /system/bin/setsid"
    )
    phone.park((os.cpu_count() or 1) - 1)
    found = check(phone)
    wrong = {what for what, one in found.items() if one.as_expected is False}
    assert wrong >= {"thermal status and temperatures", "time at each clock (`stats/time_in_state`)", "programs of its shell"}
    assert found["programs of its shell"].found == "it has no setsid"
    assert found["cores that are off"].found.endswith("still off")


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_cores_that_a_phone_keeps_from_its_shell_are_named(phone: Phone) -> None:
    last = (os.cpu_count() or 1) - 1
    phone.set_properties({"ro.kernel.qemu": "1"})
    phone.keep_from_shell(last)
    found = check(phone)["what it is"].found
    assert found.startswith("Test Phone (emulator), ")
    assert found.endswith(f"not for the shell: core {last}")


def test_it_keeps_off_a_phone_that_is_measured_on(phone: Phone) -> None:
    phone.run(f"mkdir {LOCK}; echo 0123456789abcdef 42 1.00 elsewhere >{LOCK}/owner")
    with pytest.raises(NoDeviceError, match="another run is measuring"):
        check(phone)


def test_the_page_lists_what_it_looks_at(phone: Phone) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert [what for what in check(phone) if f"- {what}" not in page] == []


class TestCommand:
    def run(self, monkeypatch: pytest.MonkeyPatch, *words: str) -> Result:
        monkeypatch.setitem(check_phone.__kwdefaults__, "work_s", 1)
        return CliRunner().invoke(cli, ["doctor", "--device", *words])

    def test_it_prints_a_line_for_each_and_json_to_send(self, phone: Phone, monkeypatch: pytest.MonkeyPatch) -> None:
        shown = self.run(monkeypatch, phone.address)
        assert shown.exit_code == 0, shown.output
        lines = shown.stdout.splitlines()
        assert re.fullmatch(r"spnas \S+; as expected\?", lines[0])
        assert " yes  screen: KEYCODE_WAKEUP switches it on" in lines
        assert "  NO  time at each clock (`stats/time_in_state`): not readable: " in shown.stdout
        findings = json.loads(self.run(monkeypatch, phone.address, "--json").stdout)["findings"]
        assert [f"{each['what']}:" in line for each, line in zip(findings, lines[1:], strict=True)] == [True] * len(findings)
        assert phone.serial not in shown.stdout

    def test_it_is_for_phones(self, monkeypatch: pytest.MonkeyPatch) -> None:
        shown = self.run(monkeypatch, "host")
        assert shown.exit_code == 2
        assert "is for phones; `spnas doctor` alone examines this machine" in shown.stderr
