"""The bench as a program uses it, on this machine: one device, opened once, for all three verbs."""

import json
from dataclasses import asdict

import pytest

from latency_db import bench as module
from latency_db.bench import Bench
from latency_db.comparison import Entrant
from latency_db.store import Store
from profiling.device import RunSettings
from profiling.errors import InputError, TableError
from profiling.events import Converting, Progress
from profiling.host.host import HostDevice
from profiling.network import NetworkSpec
from profiling.space import load_space

QUICK = RunSettings(runs=3)


@pytest.fixture(autouse=True)
def inside(folder, monkeypatch):
    monkeypatch.chdir(folder)


@pytest.fixture
def devices(monkeypatch) -> list[str]:
    """What happened to devices: each time that one is opened, and closed."""
    happened = []

    class Watched(HostDevice):
        def close(self):
            happened.append("closed")
            super().close()

    def opened(name, *_):
        happened.append(f"opened {name}")
        return Watched()

    monkeypatch.setattr(module, "open_device", opened)
    return happened


def test_profile_validate_and_compare_on_one_device_and_again_from_the_database(devices, spnas, capfd):
    seen = []
    with Bench(rounds=2, settings=QUICK, watch=seen.append) as bench:
        assert devices == [], "nothing is opened before it is needed"
        table = bench.profile("tiny.yaml", calibrate=5)
        assert table.name == "tiny-host"
        assert (bench.outcome.resumed, bench.outcome.cells) == (0, len(table.rows) + 5)
        validation = bench.validate(table, networks=3, others={"mine": table.space.uniform("3x3-3")})
        assert validation.report.networks == 3
        assert [network.name for network in validation.others] == ["mine"]
        assert str(validation.report).splitlines()[:2] == ["networks       3", f"RMSE           {validation.report.facts[0][1]}"]
        compared = bench.compare([Entrant("a", table.space.uniform("5x5-6").network, table.space.uniform("5x5-6"))], "tiny-host")
        assert compared.rows[0].predicted_ms == pytest.approx(table.predict("5x5-6").total_ms)
        assert bench.outcome.cells == 1
    assert devices == ["opened host", "closed"]
    assert {Converting, Progress} <= {type(event) for event in seen}

    with Bench(rounds=2, settings=QUICK) as bench:
        assert bench.profile("tiny.yaml", calibrate=5) == table
        assert bench.outcome.measured == 0 < bench.outcome.resumed
        assert bench.validate("tiny-host", networks=3).report == validation.report
        assert bench.outcome.measured == 0 < bench.outcome.resumed
    assert capfd.readouterr() == ("", ""), "a bench says nothing unless it is watched"

    # Name, conditions and parameters are those of the commands, also where both keep to what is usual.
    common = ("--rounds", "2", "--runs", "3", "--json")
    profiled = json.loads(spnas("profile", "--space", "tiny.yaml", "--calibrate", "5", *common).stdout)
    assert (profiled["table"], profiled["measured"]) == ("tiny-host", 0)
    validated = json.loads(spnas("validate", "--networks", "3", *common).stdout)
    assert validated["as_stored"] == asdict(validation.as_stored)


def test_interrupted_it_gives_the_device_back_keeps_what_was_measured_and_goes_on(folder, devices):
    def profile_until(done: int) -> list[int]:
        seen = []

        def interrupt(event):
            if isinstance(event, Progress):
                seen.append(event.done)
                if event.done == done:
                    raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt), Bench(settings=QUICK, watch=interrupt) as bench:
            bench.profile("tiny.yaml", calibrate=0)
        return seen

    assert profile_until(4) == [0, 1, 2, 3, 4]
    assert devices == ["opened host", "closed"]
    assert profile_until(5) == [4, 5]
    with Store(folder / "spnas.db", read_only=True) as store:
        [campaign] = store.campaigns("profile")
    assert (campaign.parameters["visits"], campaign.parameters["seed"]) == (6, 0), "what is usual for a profile"


def test_bad_requests_are_refused_before_anything_is_opened(folder, devices, table):
    space = load_space("digits")
    small, other = space.uniform("3x3-6").network, NetworkSpec.of(load_space("imagenet").layers[-1])
    bench = Bench()
    for request, words in (
        (lambda: bench.profile("nowhere"), "digits, fashion-mnist, fbnet, imagenet"),
        (lambda: bench.profile("digits", calibrate=3), "at least 5"),
        (lambda: bench.profile("digits", resolution=0), "out of range"),
        (lambda: Bench(rounds=3).validate("pixel1"), "even"),
        (lambda: Bench(rounds=1), "at least 2 rounds"),
        (lambda: bench.compare([Entrant("a", small), Entrant("b", other)]), "a has 10, b has 1000"),
    ):
        with pytest.raises(InputError, match=words):
            request()
    with pytest.raises(TableError, match="no table 'nothing'"):
        bench.validate("nothing")
    assert devices == []
    assert [file.name for file in folder.iterdir()] == ["tiny.yaml"]
    with Store(folder / "spnas.db") as store:
        store.save_table(table)
    with Bench() as bench, pytest.raises(TableError, match="different conditions"):
        bench.validate("small-host")
    assert devices == ["opened host", "closed"]
