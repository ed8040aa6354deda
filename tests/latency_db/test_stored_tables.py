"""The tables in a database: found by name, listed, deleted and renamed."""

import sqlite3
from contextlib import closing

import pytest

from latency_db.store import Store
from latency_db.table_files import load_table
from profiling.errors import InputError, StoreError, TableError
from profiling.measurement import Measurement


@pytest.fixture
def path(tmp_path):
    return tmp_path / "spnas.db"


@pytest.fixture
def begin(space, conditions):
    """Finds or begins the campaign that these tests measure in."""
    return lambda store: store.campaign("profile", space, conditions, {"visits": 5})


def test_a_table_is_found_by_its_name_whatever_the_others_are(path, table):
    others = [table.model_copy(update={"name": f"t{number}"}) for number in range(40)]
    with Store(path) as store:
        for one in (*others, table):
            store.save_table(one)
        summary = table.summary
        assert (summary.rows, summary.calibration_networks) == (len(table.rows), 0)
        assert summary in store.table_summaries()
        assert len(store.table_summaries()) == 41
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("""UPDATE latency_tables SET content = '{"rows": {}}' WHERE name = 't7'""")
    assert load_table(table.name, path) == table
    with pytest.raises(StoreError, match="a record that cannot be read"):
        load_table("t7", path)
    with pytest.raises(TableError, match=r"no table 't77'; .* holds 41 tables, among them t7, .*spnas table list"):
        load_table("t77", path)
    with pytest.raises(TableError, match=r"no table was given; .* holds 41 tables, among them small-host, t0"):
        load_table(None, path)
    with Store(path, read_only=True) as store:
        assert len(store.table_summaries()) == 41, "a table that cannot be read hides no other"


def test_a_deleted_table_is_gone_and_its_measurements_are_not(path, begin, table):
    imported = table.model_copy(update={"name": "imported"})
    failed = Measurement(
        model="m", visit=0, status="failed", figures=None, reason="hang", started_at="2025-01-01T00:00:00+00:00", duration_s=0.5
    )
    with Store(path) as store:
        store.add(begin(store), failed)
        store.save_table(table, begin(store))
        store.save_table(imported)
        assert store.delete_table(table.name)
        assert not store.delete_table("imported")
        assert store.table_names() == []
        assert store.measurements(begin(store)) == [failed]
        store.save_table(table, begin(store))
        for name, words in (("imported", "there is no table 'imported'"), ("pixel1", "ships with spnas: it can be neither")):
            with pytest.raises(StoreError, match=words):
                store.delete_table(name)


def test_a_renamed_table_keeps_its_campaign_and_its_validations(path, begin, table, space, conditions):
    parameters = {"table": table.name, "measured_at": table.created_at, "networks": 2}
    with Store(path) as store:
        store.save_table(table, begin(store))
        store.save_table(table.model_copy(update={"name": "other"}))
        validated = store.campaign("validate", space, conditions, parameters)
        store.rename_table(table.name, "monday")
        renamed = store.table("monday")
        assert renamed == table.model_copy(update={"name": "monday"})
        assert (store.table(table.name), store.table_names()) == (None, ["monday", "other"])
        assert store.campaign("validate", space, conditions, {**parameters, "table": "monday"}).id == validated.id
        assert [each.id for each in store.campaigns("validate", {"table": "monday"})] == [validated.id]
        store.save_table(renamed, begin(store))
        for name, new_name, words in (
            ("monday", "other", "another table is called other"),
            ("monday", "pixel1", "ships with spnas"),
            ("nothing", "new", "there is no table 'nothing'"),
        ):
            with pytest.raises(StoreError, match=words):
                store.rename_table(name, new_name)
        with pytest.raises(InputError, match="cannot name a table"):
            store.rename_table("monday", "a b")
