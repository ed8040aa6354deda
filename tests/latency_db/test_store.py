"""The database: what is kept, what is refused, and what survives."""

import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import pytest

from latency_db import migrations
from latency_db.store import Store
from profiling.errors import InputError, StoreError
from profiling.measurement import DeviceState, Figures, Measurement

fork = multiprocessing.get_context("fork")


def measurement(model="m", visit=0, status="ok", **fields) -> Measurement:
    figures = Figures(count=30, mean_ms=1.25, min_ms=1.0, max_ms=2.0, std_ms=0.1, p5_ms=1.01) if status == "ok" else None
    return Measurement(
        model=model, visit=visit, status=status, figures=figures, started_at="2025-01-01T00:00:00+00:00", duration_s=0.5, **fields
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "spnas.db"


@pytest.fixture
def begin(space, conditions):
    """Finds or begins the campaign that these tests measure in."""
    return lambda store, **parameters: store.campaign("profile", space, conditions, {"visits": 5, **parameters})


def test_what_was_added_is_found_again_by_the_same_campaign_only(path, begin, space, conditions):
    kept = [
        measurement("a", 0, output="raw\n" * 1000, state=DeviceState(temperature_c=31.5), canary_ms=2.0),
        measurement("a", 1, "failed", reason="hang"),
        measurement("a", 1, "failed", reason="crash"),
        measurement("a", 1),
    ]
    with Store(path) as store:
        for one in kept:
            store.add(begin(store), one)
    with Store(path) as store:
        assert store.measurements(begin(store)) == kept
        assert store.measurements(begin(store, visits=6)) == []
        assert store.measurements(store.campaign("validate", space, conditions, {"visits": 5})) == []
        other = conditions.model_copy(update={"threads": 2})
        assert store.measurements(store.campaign("profile", space, other, {"visits": 5})) == []


def test_a_finished_visit_cannot_stand_twice(path, begin):
    with Store(path) as store:
        store.add(begin(store), measurement("a", 0))
        with pytest.raises(StoreError, match="already contains this"):
            store.add(begin(store), measurement("a", 0))
        store.add(begin(store), measurement("a", 1))
        assert len(store.measurements(begin(store))) == 2


def test_raw_output_is_compressed(path, begin):
    with Store(path) as store:
        store.add(begin(store), measurement(output="the same line again\n" * 50_000))
    assert path.stat().st_size < 200_000


def test_the_key_of_a_network_leads_back_to_its_architecture(path, begin, space, architecture):
    """Also when the same networks are added again by a run that goes on."""
    networks = [architecture, space.uniform("3x3-3"), space.uniform("5x5-6")]
    with Store(path) as store:
        for _ in range(2):
            store.add_networks(begin(store), networks)
        assert store.networks(begin(store)) == {one.network.key: one for one in networks}
        assert store.networks(begin(store, visits=6)) == {}


def test_a_table_is_replaced_by_its_own_campaign_and_by_no_other(path, begin, table):
    newer = table.model_copy(update={"source": "the same campaign, one day later"})
    with Store(path) as store:
        store.save_table(table, begin(store))
        store.save_table(newer, begin(store))
        assert store.tables() == [newer]
        for campaign in (begin(store, visits=6), None):
            with pytest.raises(StoreError, match="choose another name with --name"):
                store.save_table(table, campaign)
        with pytest.raises(StoreError, match="ships with spnas"):
            store.check_name_is_free("pixel1", None)
        for name in ("", "../x", "a b", "x\n", "\x1b[31m"):
            with pytest.raises(InputError, match="cannot name a table"):
                store.check_name_is_free(name, None)
        assert store.tables() == [newer]


def by_hand(path: Path, statement: str) -> tuple | None:
    """What SQLite itself, without a `Store`, answers."""
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement).fetchone()


# --- files that must not be used, and are left as they are ---


def spoiled(path: Path, kind: str) -> None:
    if kind == "text":
        path.write_text("name,ms\n" * 100)
        return
    if kind == "foreign":
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE contacts (name TEXT)")
        connection.close()
        return
    Store(path).close()
    by_hand(path, "CREATE TABLE filler (x)")
    with sqlite3.connect(path) as connection:
        if kind == "newer":
            connection.execute("INSERT INTO migrations VALUES (99, 'tomorrow')")
        else:
            connection.executemany("INSERT INTO filler VALUES (?)", [("x" * 3000,)] * 50)
    connection.close()
    if kind == "damaged":
        content = bytearray(path.read_bytes())
        content[20 * 4096 : 22 * 4096] = os.urandom(2 * 4096)
        path.write_bytes(content)


@pytest.mark.parametrize("read_only", [False, True], ids=["to write", "to read"])
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("text", r"is not a database; it was left as it is"),
        ("foreign", r"is the database of another program"),
        ("newer", r"newer spnas \(version 99 of the database; this program knows 2\)"),
        ("damaged", r"is damaged.*sqlite3 .*spnas\.db \.recover"),
    ],
)
def test_a_file_that_cannot_be_trusted_is_refused_and_left_as_it_is(path, kind, words, read_only):
    spoiled(path, kind)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=words) as caught:
        Store(path, read_only=read_only)
    assert caught.value.where == str(path)
    assert path.read_bytes() == before


def test_a_large_file_is_read_whole_only_before_something_is_measured_into_it(path, table, monkeypatch):
    monkeypatch.setattr("latency_db.database.CHECKED_BYTES", 0)
    spoiled(path, "damaged")
    with Store(path) as store:
        store.save_table(table)
        assert store.table(table.name) == table
        with pytest.raises(StoreError, match="is damaged"), store.writing("host"):
            pytest.fail("measuring has begun")


def test_a_file_that_another_program_holds_is_waited_for_then_refused(path, begin, monkeypatch):
    monkeypatch.setattr("latency_db.database.BUSY_TIMEOUT_S", 0.1)
    with Store(path) as store:
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="is in use by another program; wait until it ends"):
            begin(store)
        holder.execute("COMMIT")
        holder.close()
        store.add(begin(store), measurement())


def test_a_record_changed_by_hand_is_an_error_in_words(path, begin):
    with Store(path) as store:
        store.add(begin(store), measurement())
        by_hand(path, "UPDATE measurements SET record = json_set(record, '$.visit', -1)")
        with pytest.raises(StoreError, match="a record that cannot be read"):
            store.measurements(begin(store))


def test_no_folder_and_no_file(tmp_path):
    with pytest.raises(StoreError, match="does its folder exist"):
        Store(tmp_path / "no" / "such" / "spnas.db")
    with pytest.raises(StoreError, match="cannot be opened"):
        Store(tmp_path / "spnas.db", read_only=True)
    assert not (tmp_path / "spnas.db").exists(), "looking for a database must not make one"


def test_a_reader_leaves_nothing_behind_and_writes_nothing(path, table):
    with Store(path) as store:
        store.save_table(table)
    before = path.read_bytes()
    with Store(path, read_only=True) as store:
        assert store.tables() == [table]
        with pytest.raises(StoreError, match="cannot be written"):
            store.save_table(table.model_copy(update={"name": "other"}))
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert path.read_bytes() == before


def as_somebody_without_rights(function, *arguments):
    """What the function gives back, or the StoreError it raises, in a process that is not root."""

    def child(end):
        if os.geteuid() == 0:
            os.setgroups([])
            os.setuid(65534)
        try:
            end.send(function(*arguments))
        except StoreError as error:
            end.send(error.problem)

    mine, theirs = fork.Pipe()
    process = fork.Process(target=child, args=(theirs,))
    process.start()
    theirs.close()
    result = mine.recv()
    process.join()
    return result


@pytest.mark.parametrize("what", ["file", "folder"])
def test_without_the_right_to_write_it_is_refused_at_once_but_can_be_read(table, what):
    def write(path):
        with Store(path):
            return "opened"

    def read(path):
        with Store(path, read_only=True) as store:
            return store.tables()

    # Not below pytest's own folder, which nobody but its owner may enter.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "spnas.db"
        with Store(path) as store:
            store.save_table(table)
        path.chmod(0o444 if what == "file" else 0o666)
        folder.chmod(0o777 if what == "file" else 0o555)
        try:
            assert as_somebody_without_rights(write, path) in ("cannot be written", "cannot be opened")
            assert as_somebody_without_rights(read, path) == [table]
        finally:
            folder.chmod(0o755)


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "none", folder], capture_output=True, check=False)
    if mount.returncode:
        pytest.skip("a small disk cannot be mounted here (needs root)")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_loses_nothing_that_was_kept(small_disk, begin):
    """On a real file system of 512 KiB: filled up by measuring, then given room again."""
    filler = small_disk / "other"
    filler.write_bytes(b"x" * 100_000)
    noise = random.Random(1)
    with Store(small_disk / "spnas.db") as store:
        kept = []

        def measure_on():
            for visit in range(1000):
                one = measurement(visit=visit, output=noise.randbytes(5000).hex())
                store.add(begin(store), one)
                kept.append(one)

        with pytest.raises(StoreError, match=r"disk is full|is it full"):
            measure_on()
        assert 5 < len(kept) < 100
        assert store.measurements(begin(store)) == kept
        filler.unlink()
        store.add(begin(store), measurement("after"))
        assert store.measurements(begin(store)) == [*kept, measurement("after")]
        assert by_hand(store.path, "PRAGMA integrity_check") == ("ok",)


# --- migrations ---


def test_a_step_that_fails_leaves_the_database_at_the_step_before(path, monkeypatch):
    steps = migrations.MIGRATIONS
    monkeypatch.setattr(migrations, "MIGRATIONS", (*steps, ("CREATE TABLE half (x)", "INSERT INTO nowhere VALUES (1)")))
    with pytest.raises(StoreError, match="no such table: nowhere"):
        Store(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT max(step) FROM migrations").fetchone() == (len(steps),)
        assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'half'").fetchone() == (0,)
    connection.close()
    monkeypatch.setattr(migrations, "MIGRATIONS", (*steps, ("CREATE TABLE half (x)",)))
    Store(path).close()
    assert by_hand(path, "SELECT max(step) FROM migrations") == (len(steps) + 1,)


def test_an_older_database_is_brought_up_with_what_it_holds(path, begin, monkeypatch):
    with Store(path) as store:
        store.add(begin(store), measurement())
    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, ("CREATE TABLE more (x)",)))
    with Store(path) as store:
        assert store.measurements(begin(store)) == [measurement()]
    assert by_hand(path, "SELECT count(*) FROM more") == (0,)


def test_processes_that_open_a_new_file_at_once_all_get_it(tmp_path):
    def child(path, barrier):
        barrier.wait()
        Store(path).close()

    for attempt in range(10):  # about one in ten would show a race
        barrier = fork.Barrier(6)
        processes = [fork.Process(target=child, args=(tmp_path / f"{attempt}.db", barrier)) for _ in range(6)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0] * 6


# --- kills and locks ---


def test_kill_9_at_random_moments_loses_no_measurement_that_was_reported_as_kept(path, begin):
    """A real process adds measurements and reports each; it is killed twelve times, four of them while it opens the file."""

    def writer(end):
        with Store(path) as store, store.writing("host"):
            campaign = begin(store)
            visit = len(store.measurements(campaign))
            while True:
                store.add(campaign, measurement(visit=visit, output=str(visit) * 3000))
                end.send(visit)
                visit += 1

    moments = random.Random(3)
    reported = set()
    for kill in range(12):
        mine, theirs = fork.Pipe(duplex=False)
        process = fork.Process(target=writer, args=(theirs,))
        process.start()
        theirs.close()
        if kill % 3:
            reported |= {mine.recv() for _ in range(moments.randrange(1, 20))}
        time.sleep(moments.uniform(0, 0.15))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert process.exitcode == -signal.SIGKILL, "the writer ended by itself: a lock or a visit was left behind"
        while True:
            try:
                reported.add(mine.recv())
            except EOFError:
                break
    with Store(path) as store:
        kept = [one.visit for one in store.measurements(begin(store))]
    assert by_hand(path, "PRAGMA integrity_check") == ("ok",)
    assert len(reported) > 20, "the moments are badly chosen"
    assert reported <= set(kept)
    assert kept == list(range(len(kept))), "a visit is missing or stands twice"


HOLDER = """
import sys, time
from pathlib import Path
from latency_db.store import Store
with Store(Path(sys.argv[1])) as store, store.writing("host"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_run_is_refused_in_words_until_the_first_is_dead(path, table):
    with Store(path) as store:
        store.save_table(table)
        first = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True)
        assert first.stdout.readline() == "held\n"
        with (
            pytest.raises(StoreError, match=rf"host is being measured .* by process {first.pid} on .* since 20"),
            store.writing("host"),
        ):
            pass
        link = path.with_name("link.db")
        link.symlink_to(path)
        with Store(link) as same, pytest.raises(StoreError, match=f"process {first.pid}"), same.writing("host"):
            pass
        with store.writing("another device"):
            assert store.tables() == [table], "readers are not concerned"
        first.kill()
        first.wait()
        with store.writing("host"):
            pass
