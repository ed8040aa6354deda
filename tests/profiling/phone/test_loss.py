"""Phones that go away: killed daemons, dead links, restarts, another phone in the place.

What was measured stays, and a run that goes on without its link is fetched, not made again.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from phone.adb import adb
from phone.machine import Phone, running
from phone.opening import NO_SERVER, QUICK, over_tcp, own_folder
from waiting import until, when

from profiling.adb.connection import LOSSES_PER_CALL, Connection
from profiling.adb.server import AdbServer
from profiling.device import BuiltModel
from profiling.errors import DeviceLostError
from profiling.phone.phone import AdbDevice, Limits, open_phone
from profiling.session import Session
from profiling.visit_plan import VisitPlan


@pytest.fixture(params=["tcp", "server"])
def device(request: pytest.FixtureRequest, phone: Phone, notes: list[str]) -> Iterator[AdbDevice]:
    """The phone over each link."""
    server = NO_SERVER
    if request.param == "server":
        port = request.getfixturevalue("adb_port")
        adb(port, "connect", phone.address)
        server = AdbServer(("127.0.0.1", port))
    limits = Limits(reconnect_s=20)
    made = open_phone(phone.address, tool=str(phone.tool), server=server, limits=limits, notify=notes.append)
    yield made
    made.close()


class Shelf(dict):
    """A supply of models that are all there."""

    def expect(self, keys: list[str]) -> None:
        """Nothing to do."""


def session(device: AdbDevice, models: list[BuiltModel]) -> Session:
    return Session(device, Shelf({model.key: model for model in models}), QUICK, canary=models[0].key)


def connection_to(phone: Phone, notify: Callable[[str], None]) -> Connection:
    return Connection(lambda: over_tcp(phone), limit_s=60, notify=notify)


def test_a_run_outlives_the_daemon_and_is_fetched_not_made_again(
    device: AdbDevice, phone: Phone, models: list[BuiltModel], notes: list[str]
) -> None:
    device.push(models)
    phone.fault("wait", times=1)
    when(lambda: phone.starts() == 1, phone.kill_adbd, phone.release)
    assert device.run(models[0], QUICK).figures.count == 5
    assert phone.starts() == 1
    assert any("is back" in note for note in notes)


@pytest.mark.parametrize("device", ["tcp"], indirect=True)
def test_a_session_with_ten_losses_at_random_moments_is_complete_and_makes_no_visit_twice(
    device: AdbDevice, phone: Phone, models: list[BuiltModel], notes: list[str]
) -> None:
    device.push(models)
    chance = random.Random(7)

    def lose_ten_times() -> None:
        for _ in range(10):
            before = phone.starts()
            until(lambda: phone.starts() > before)  # noqa: B023  # five losses without any progress would be given up, rightly
            time.sleep(chance.uniform(0.0, 0.9))
            phone.kill_adbd()

    losing = threading.Thread(target=lose_ten_times, daemon=True)
    losing.start()
    seed = 0
    while losing.is_alive():
        measured = list(session(device, models).measure(VisitPlan([model.key for model in models], visits=3, seed=seed)))
        assert [one.status for one in measured] == ["ok"] * len(measured)
        visits = [(one.model, one.visit) for one in measured]
        assert len(visits) == len(set(visits))
        assert {model.key for model in models} == {key for key, _ in visits}
        seed += 1
    assert len([note for note in notes if "is back" in note]) >= 5, (
        "two losses may be met by one reconnection, but not all of them"
    )


def test_a_dead_phone_ends_the_run_within_the_limit_and_the_same_run_works_later(phone: Phone, models: list[BuiltModel]) -> None:
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        time.sleep(seconds)

    device = open_phone(phone.address, tool=str(phone.tool), server=NO_SERVER, limits=Limits(reconnect_s=1.0), sleep=sleep)
    phone.adbd_stays_down()
    with pytest.raises(DeviceLostError, match="did not come back within 1 s") as caught:
        device.run(models[0], QUICK)
    assert sum(waits[:-1]) < 1, "the last wait began within the limit"
    assert "same command again" in str(caught.value.hint)
    waits.clear()
    device.close()
    assert waits == [], "it is not waited for again"
    phone.adbd_comes_back()
    later = open_phone(phone.address, tool=str(phone.tool), server=NO_SERVER)  # the lock of the lost run is no obstacle
    assert later.run(models[0], QUICK).figures.count == 5
    later.close()
    assert phone.get("wakefulness") == "Asleep"


def test_a_link_that_falls_silent_is_noticed_and_made_anew(phone: Phone, notes: list[str]) -> None:
    def notify(text: str) -> None:
        notes.append(text)
        if "waiting up to" in text:
            phone.end_silence()

    connection = connection_to(phone, notify)
    phone.silence()
    assert connection.shell("echo back", timeout_s=1.0).text == "back"
    assert any("is back" in note for note in notes)
    connection.close()


def test_after_a_restart_everything_is_prepared_again_and_the_run_is_made_again(
    phone: Phone, models: list[BuiltModel], notes: list[str]
) -> None:
    device = open_phone(phone.address, tool=str(phone.tool), server=NO_SERVER, notify=notes.append)
    device.push(models)
    phone.fault("wait", times=1)

    def restart() -> None:
        phone.set("wakefulness", "Asleep")
        phone.run(f"rm -rf {own_folder(phone)}")
        phone.reboot()

    when(lambda: phone.starts() == 1, restart)
    assert device.run(models[0], QUICK).figures.count == 5
    assert phone.starts() == 2
    assert phone.get("wakefulness") == "Awake"
    assert any("has restarted" in note for note in notes)
    device.close()


def test_another_phone_at_the_same_address_is_refused(phone: Phone, models: list[BuiltModel]) -> None:
    device = open_phone(phone.address, tool=str(phone.tool), server=NO_SERVER)
    phone.set_properties({"ro.serialno": "IMPOSTOR"})
    phone.kill_adbd()
    with pytest.raises(DeviceLostError, match=r"another phone \(IMPOSTOR\) answers in its place"):
        device.run(models[0], QUICK)
    assert "IMPOSTOR" not in device.name


def test_a_call_that_always_breaks_the_link_is_given_up(phone: Phone, notes: list[str]) -> None:
    with pytest.raises(DeviceLostError, match="breaks again and again"):
        connection_to(phone, notes.append).shell("pkill -9 -x adbd; sleep 600")
    assert len([note for note in notes if "is back" in note]) == LOSSES_PER_CALL == 5


def test_two_phones_measure_side_by_side_and_one_that_dies_does_not_stop_the_other(
    phone: Phone, models: list[BuiltModel]
) -> None:
    outcome: dict[str, object] = {}

    def measure(which: Phone) -> None:
        device = open_phone(which.address, tool=str(which.tool), server=NO_SERVER, limits=Limits(reconnect_s=0.5))
        try:
            outcome[device.name] = len(
                list(session(device, models).measure(VisitPlan([m.key for m in models], visits=3, seed=0)))
            )
        except DeviceLostError as error:
            outcome[device.name] = error
        finally:
            device.close()

    with running(serial="SPNASTEST02") as other:
        other.fault("wait")
        threads = [threading.Thread(target=measure, args=(one,)) for one in (phone, other)]
        for thread in threads:
            thread.start()
        until(other.starts)
        other.adbd_stays_down()
        for thread in threads:
            thread.join()
    measured = outcome["SPNASTEST01"]
    assert isinstance(measured, int)
    assert measured >= 3 * len(models)  # noise may have brought more visits
    assert isinstance(outcome["SPNASTEST02"], DeviceLostError)
