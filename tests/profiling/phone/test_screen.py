"""The screen is kept on while it is measured and put back, after a crash as well."""

from __future__ import annotations

from pathlib import Path

from phone.machine import Phone
from phone.opening import LOCK, Open, over_tcp

from profiling.phone.phone import AdbDevice
from profiling.phone.screen import JOURNAL


def test_it_is_kept_on_and_put_back(open_device: Open, phone: Phone) -> None:
    device = open_device()
    assert (phone.get("wakefulness"), phone.get("settings/stay_on_while_plugged_in")) == ("Awake", "15")
    device.close()
    assert (phone.get("wakefulness"), phone.get("settings/stay_on_while_plugged_in")) == ("Asleep", "0")


def test_after_a_crash_the_next_run_puts_it_back(open_device: Open, phone: Phone) -> None:
    phone.set("settings/stay_on_while_plugged_in", "2")
    transport = over_tcp(phone)
    AdbDevice(lambda: transport, str(phone.tool))
    transport.close()  # all that a crash leaves of it
    phone.run(f"rm -r {LOCK}")
    open_device().close()
    assert (phone.get("wakefulness"), phone.get("settings/stay_on_while_plugged_in")) == ("Asleep", "2")
    assert phone.run(f"ls -A {Path(JOURNAL).parent}") == ""


def test_a_journal_of_nonsense_is_not_obeyed(open_device: Open, phone: Phone) -> None:
    phone.run(f"echo '0; touch /data/local/tmp/pwned' awake >{JOURNAL}")
    open_device().close()
    assert "pwned" not in phone.run("ls /data/local/tmp")
    assert phone.get("settings/stay_on_while_plugged_in") == "0"
