"""Two computers and one phone: what a killed run of one left there, any later run of the other finds and removes."""

from __future__ import annotations

import socket
import threading

import pytest
from phone.machine import Phone
from phone.opening import LOCK, NO_SERVER, QUICK, Open, own_folder
from waiting import until

from profiling.device import BuiltModel
from profiling.errors import NoDeviceError
from profiling.phone import process
from profiling.phone.discovery import list_phones
from profiling.phone.lock import STALE_S

ELSEWHERE = "/data/local/tmp/spnas-0badcafe"
OWNER = "0123456789abcdef 42 1.00 elsewhere"


@pytest.fixture
def other_run(phone: Phone) -> None:
    """What a killed run of another computer leaves: its lock, its folder, and a process that goes on."""
    phone.run(f"mkdir {LOCK}; echo {OWNER} >{LOCK}/owner")
    phone.run(f"mkdir {ELSEWHERE}; cp /usr/bin/toybox {ELSEWHERE}/sleep; setsid {ELSEWHERE}/sleep 99 >/dev/null 2>&1 &")
    until(lambda: "sleep 99" in phone.run("ps -A -o CMDLINE"))


def renewed(phone: Phone, seconds_ago: int) -> None:
    phone.run(f"touch -d @$(( $(date +%s) - {seconds_ago} )) {LOCK}/owner")


@pytest.mark.usefixtures("other_run")
class TestLeftovers:
    def test_they_are_removed_when_their_lock_is_stale(
        self, open_device: Open, phone: Phone, models: list[BuiltModel], notes: list[str]
    ) -> None:
        renewed(phone, STALE_S + 60)
        phone.run("cd /data/local/tmp; mkdir spnas-lock-0123456789abcdef spnas-results; touch spnas-deadbeef")
        device = open_device()
        assert "sleep 99" not in phone.run("ps -A -o CMDLINE")
        told = f"{device.name}: removed what killed runs had left on the phone: spnas-0badcafe, spnas-lock-0123456789abcdef"
        assert told in notes
        assert device.run(models[0], QUICK).figures.count == 5
        device.close()
        assert phone.run("ls /data/local/tmp").split() == ["spnas-deadbeef", "spnas-results"], "these are not ours"

    def test_a_lock_from_the_future_is_stale(self, open_device: Open, phone: Phone) -> None:
        """Of before the clock of the phone was set back; a live run renews its lock every few seconds."""
        renewed(phone, -STALE_S - 60)
        open_device()
        assert "0badcafe" not in phone.run("ls /data/local/tmp")

    def test_they_stay_while_their_run_lives(self, open_device: Open, phone: Phone) -> None:
        with pytest.raises(NoDeviceError, match="process 42 on elsewhere"):
            open_device()
        assert "sleep 99" in phone.run("ps -A -o CMDLINE")

    def test_the_list_of_devices_tells_a_stale_lock_from_one_in_use(self, phone: Phone) -> None:
        def state() -> tuple[str, str | None]:
            [found] = [one for one in list_phones([phone.address], server=NO_SERVER) if one.name == phone.address]
            return found.state, found.missing

        renewed(phone, 7)
        assert state()[0] == "in use"
        assert str(state()[1]).startswith("another run is measuring on it: process 42 on elsewhere, active ")
        renewed(phone, STALE_S + 60)
        assert state() == ("ready", None)


def test_files_of_a_killed_run_of_this_computer_are_used_again(
    open_device: Open, phone: Phone, models: list[BuiltModel], notes: list[str]
) -> None:
    device = open_device()
    device.push(models)
    folder = own_folder(phone)
    device.close()
    phone.run(f"mkdir {folder}; touch {folder}/kept")
    open_device()
    assert phone.run(f"ls {folder}") == "kept\n"
    assert not [note for note in notes if "killed runs" in note]


def test_a_process_of_another_machine_of_the_same_name_is_not_taken_for_gone(open_device: Open, phone: Phone) -> None:
    """Lab machines all called `ubuntu`, and containers that share the name of their host: its numbers mean nothing here."""
    phone.run(f"mkdir {LOCK}; echo 0123456789abcdef00000000 999999 1.00 {socket.gethostname()} >{LOCK}/owner")
    with pytest.raises(NoDeviceError, match="process 999999 on"):
        open_device()


def test_a_long_run_renews_its_lock_while_it_lasts(
    open_device: Open, phone: Phone, models: list[BuiltModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "ANSWER_S", 1)
    device = open_device()
    device.push(models)
    phone.fault("wait", times=1)
    running = threading.Thread(target=device.run, args=(models[0], QUICK))
    running.start()
    until(lambda: phone.starts() == 1)
    renewed(phone, STALE_S + 60)
    until(lambda: "stale" not in phone.run(f"[ $(( $(date +%s) - $(stat -c %Y {LOCK}/owner) )) -lt 60 ] || echo stale"))
    phone.release()
    running.join()


def test_a_run_that_comes_back_to_a_phone_that_was_taken_over_leaves_it_alone(
    open_device: Open, phone: Phone, models: list[BuiltModel]
) -> None:
    device = open_device()
    device.push(models)
    phone.run(f"echo {OWNER} >{LOCK}/owner; rm -r {own_folder(phone)}")
    with pytest.raises(NoDeviceError, match="another run has taken over"):
        device.run(models[0], QUICK)
    assert "tflite" not in phone.run("ls /data/local/tmp/*")
