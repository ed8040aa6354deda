"""Phones through the command line: what a person types, against Android's own daemon, with losses, failures and interruptions."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from phone.adb import adb, free_port
from phone.machine import Phone
from waiting import until

from latency_db.campaign import canary_network
from latency_db.store import Store
from profiling.models.builder import TfliteBuilder
from profiling.network import NetworkSpec
from profiling.space import SearchSpace
from profiling.specfile import parse_spec

SPACE = """
name: tiny
resolution: 32
image_channels: 3
classes: 10
kernels: [3, 5]
expansions: [3, 6]
stem: {channels: 16}
stages:
  - {layers: 1, channels: 16}
head: {channels: 64}
"""
LAYERS = 6  # stem, four choices of one layer, head


@dataclass(frozen=True)
class Desk:
    """Where a person types: a folder with a space, a database, and a cache of models that all tests here share."""

    folder: Path
    cache: Path

    def spnas(self, *arguments: object, **options: object) -> subprocess.Popen[str]:
        environment = os.environ | {"XDG_CACHE_HOME": str(self.cache)} | options
        return subprocess.Popen(
            [sys.executable, "-m", "spnas_cli", *map(str, arguments)],
            cwd=self.folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def profile(self, *phones: Phone, rounds: int = 2, options: tuple[object, ...] = ()) -> subprocess.Popen[str]:
        devices = [word for phone in phones for word in ("--device", phone.address)]
        space = ("--space", "tiny.yaml", "--calibrate", 0, "--rounds", rounds, "--runs", 3)
        return self.spnas("profile", *devices, *space, "--benchmark-tool", phones[0].tool, "--json", *options)

    def visits(self) -> Counter[tuple[str, str, int]]:
        """How often each visit to each model on each device stands in the database."""
        return Counter(self.rows())

    def rows(self) -> list[tuple[str, str, int]]:
        """Device, model and visit of every measurement."""
        query = (
            "SELECT json_extract(conditions, '$.device'), model, visit"
            " FROM measurements JOIN campaigns ON campaigns.id = campaign ORDER BY measurements.id"
        )
        try:
            database = sqlite3.connect(f"file:{self.folder}/spnas.db?mode=ro", uri=True)
            return database.execute(query).fetchall()
        except sqlite3.Error:  # not there, or not migrated yet
            return []

    def tables(self) -> dict[str, set[str]]:
        """The layers in each table by the device that it is of."""
        with Store(self.folder / "spnas.db", read_only=True) as store:
            return {table.conditions.device: {*table.rows} for table in store.tables()}


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return parse_spec(SPACE, SearchSpace, where="tiny.yaml", is_json=False)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def desk(tmp_path: Path, cache: Path) -> Desk:
    (tmp_path / "tiny.yaml").write_text(SPACE)
    return Desk(tmp_path, cache)


def until_it(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Waits for what the process is to bring about."""
    until(lambda: condition() or process.poll() is not None)
    assert process.poll() is None, process.communicate()[1]


def test_adbd_killed_at_ten_random_moments_ends_nothing_and_repeats_nothing(desk: Desk, phone: Phone, space: SearchSpace) -> None:
    """The same process goes on by itself, the table is complete, and no finished measurement was made twice: by the database, and
    by the phone's own list of what was started."""
    moments = random.Random(11)
    process = desk.profile(phone, rounds=4)
    until_it(lambda: "spnas-lock" in phone.run("ls /data/local/tmp"), process)
    for kill in range(10):
        if kill >= 2:  # two come while it prepares and converts, the others between two starts of the tool
            started = phone.starts()
            until_it(lambda: phone.starts() > started, process)  # noqa: B023
        time.sleep(moments.uniform(0.05, 1.0))
        phone.kill_adbd()
        assert process.poll() is None, "it ended before its ten losses"
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert stderr.count("the phone is back") >= 6, "two losses may be met by one reconnection, but not all of them"
    visits = desk.visits()
    assert set(visits.values()) == {1}
    assert desk.tables() == {phone.serial: {layer.key for layer in space.layers}}
    assert json.loads(stdout)["measured"] == len(visits) >= 4 * LAYERS

    with TfliteBuilder(desk.cache / "spnas" / "tflite") as builder:
        models = builder.build([NetworkSpec.of(layer) for layer in space.layers], "fp32")
    started = Counter(phone.get("models").splitlines())
    assert started.total() == phone.starts()
    kept = Counter(model for _, model, _ in visits)
    canary = canary_network(space).key
    for key, model in models.items():
        if key == canary:  # which also runs between the visits
            assert started[f"{model.sha256}.tflite"] > kept[key]
        else:
            assert started[f"{model.sha256}.tflite"] == kept[key], key


def test_a_phone_that_stays_away_is_exit_4_within_the_limit_and_the_same_command_goes_on(
    desk: Desk, phone: Phone, space: SearchSpace
) -> None:
    limit = ("--reconnect", 2)
    process = desk.profile(phone, rounds=2, options=limit)
    until_it(lambda: len(desk.rows()) >= 4, process)
    phone.adbd_stays_down()
    _, stderr = process.communicate()
    assert process.returncode == 4
    assert f"{phone.serial}: the phone went away and did not come back within 2 s" in stderr.splitlines()[-1]
    kept = len(desk.rows())

    phone.adbd_comes_back()
    again = desk.profile(phone, rounds=2, options=limit)
    stdout, stderr = again.communicate()
    assert again.returncode == 0, stderr
    assert json.loads(stdout)["resumed"] == kept >= 4
    assert set(desk.visits().values()) == {1}
    assert desk.tables() == {phone.serial: {layer.key for layer in space.layers}}


def test_phones_side_by_side_get_a_table_each_and_one_that_fails_stops_no_other(
    desk: Desk, make_phone: Callable[..., Phone], space: SearchSpace
) -> None:
    first, second, broken = make_phone(serial="FIRST"), make_phone(serial="SECOND"), make_phone(serial="BROKEN")
    broken.fault("refuse Failed to allocate tensors!")
    for phone in (first, second):
        phone.fault("wait", times=1)
    process = desk.profile(first, broken, second)
    until_it(lambda: first.starts() == second.starts() == 1, process)  # both run: neither is waited for
    first.release()
    second.release()
    stdout, stderr = process.communicate()
    assert process.returncode == 5
    assert "Error: BROKEN: the canary could not be measured: benchmark_model failed" in stderr.splitlines()[-1]
    every = {layer.key for layer in space.layers}
    assert desk.tables() == {"FIRST": every, "SECOND": every}
    assert [summary["table"] for summary in json.loads(stdout)] == ["tiny-FIRST", "tiny-SECOND"]


def test_of_four_phones_two_restart_at_random_moments_and_nothing_is_lost_or_made_twice(
    desk: Desk, make_phone: Callable[..., Phone], space: SearchSpace
) -> None:
    phones = [make_phone(serial=f"PHONE{number}") for number in range(4)]
    process = desk.profile(*phones)

    def restart_three_times(phone: Phone, moments: random.Random) -> None:
        for _ in range(3):
            started = phone.starts()
            until_it(lambda: phone.starts() > started, process)  # noqa: B023
            time.sleep(moments.uniform(0.0, 0.9))
            phone.reboot()

    with ThreadPoolExecutor() as pool:
        restarting = [pool.submit(restart_three_times, phone, random.Random(seed)) for seed, phone in enumerate(phones[1:3])]
    for one in restarting:
        one.result()
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    for phone in phones:
        restarts = stderr.count(f"{phone.serial}: the phone has restarted; continuing")
        # Two restarts may be met by one reconnection.
        assert restarts >= 2 if phone in phones[1:3] else restarts == 0
        assert phone.run("ls -A /data/local/tmp") == ""
    visits = desk.visits()
    assert set(visits.values()) == {1}
    assert sum(summary["measured"] for summary in json.loads(stdout)) == len(visits) >= 4 * 2 * LAYERS
    assert desk.tables() == {phone.serial: {layer.key for layer in space.layers} for phone in phones}


def test_ctrl_c_gives_the_phone_back_as_it_was(desk: Desk, phone: Phone) -> None:
    process = desk.profile(phone, rounds=50)
    until_it(lambda: len(desk.rows()) >= 2, process)
    assert phone.get("wakefulness") == "Awake"
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()
    assert process.returncode == 130
    assert "run the same command again to continue" in stderr
    assert phone.run("ls -A /data/local/tmp") == ""
    assert (phone.get("wakefulness"), phone.get("settings/stay_on_while_plugged_in")) == ("Asleep", "0")
    assert "python3" not in phone.run("ps -A -o NAME")


def test_devices_lists_this_machine_and_a_phone_by_tcp_and_by_server(desk: Desk, phone: Phone, adb_port: int) -> None:
    adb(adb_port, "disconnect")
    adb(adb_port, "connect", phone.address)
    server = {"ANDROID_ADB_SERVER_PORT": str(adb_port)}
    process = desk.spnas("devices", "--address", f"localhost:{phone.port}", "--json", **server)
    stdout, stderr = process.communicate()
    adb(adb_port, "disconnect")
    assert process.returncode == 0, stderr
    host, served, direct = json.loads(stdout)
    assert (host["name"], host["state"]) == ("host", "ready")
    assert (served["name"], direct["name"]) == (phone.address, f"localhost:{phone.port}")
    for found in (served, direct):
        assert (found["model"], found["state"], found["missing"]) == ("Test Phone", "ready", None)


def test_one_command_starts_a_test_phone_and_one_stops_it(phone_root: None) -> None:
    port = free_port()

    def by_hand(action: str) -> str:
        command = [sys.executable, "-m", "tests.phone", action, "--port", str(port), "--serial", "BYHAND"]
        folder = Path(__file__).parents[2]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout

    try:
        assert by_hand("start").startswith(f"running: spnas profile --device 127.0.0.1:{port} --benchmark-tool /")
        assert by_hand("status") == by_hand("start"), "starting it again changes nothing"
    finally:
        stopped = by_hand("stop")
    assert stopped == by_hand("status") == f"no test phone at 127.0.0.1:{port}\n"
