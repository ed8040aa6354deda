"""The lock on a phone: one run at a time, from whatever computer, and none that holds for ever."""

from __future__ import annotations

import os
import socket

import pytest
from phone.machine import Phone
from phone.opening import LOCK, QUICK, Open

from profiling.device import BuiltModel
from profiling.errors import NoDeviceError
from profiling.phone.lock import STALE_S


def test_a_second_run_is_refused_and_told_of_the_first(open_device: Open) -> None:
    open_device()
    with pytest.raises(NoDeviceError, match=f"another run is measuring on this phone: process {os.getpid()} on"):
        open_device()


def test_another_computers_lock_counts(open_device: Open, phone: Phone) -> None:
    phone.run(f"mkdir {LOCK}; echo 0123456789abcdef 42 1.00 elsewhere >{LOCK}/owner")
    with pytest.raises(NoDeviceError, match="process 42 on elsewhere"):
        open_device()
    assert "elsewhere" in phone.run(f"cat {LOCK}/owner")


def test_a_lock_whose_process_is_gone_is_taken_over(open_device: Open, phone: Phone) -> None:
    phone.run(f"mkdir {LOCK}; echo 0123456789abcdef 999999 1.00 {socket.gethostname()} >{LOCK}/owner")
    open_device()
    assert str(os.getpid()) in phone.run(f"cat {LOCK}/owner")


def test_a_lock_that_nobody_renews_is_taken_over(open_device: Open, phone: Phone) -> None:
    phone.run(f"mkdir {LOCK}; echo 0123456789abcdef 42 1.00 elsewhere >{LOCK}/owner")
    phone.run(f"touch -d @$(( $(date +%s) - {STALE_S + 60} )) {LOCK}/owner")
    open_device()
    assert "elsewhere" not in phone.run(f"cat {LOCK}/owner")


def test_a_run_whose_lock_was_taken_stops(open_device: Open, phone: Phone, models: list[BuiltModel]) -> None:
    device = open_device()
    phone.run(f"echo other 42 1.00 elsewhere >{LOCK}/owner")
    with pytest.raises(NoDeviceError, match="another run has taken over this phone"):
        device.run(models[0], QUICK)
    device.close()
    assert "elsewhere" in phone.run(f"cat {LOCK}/owner")
