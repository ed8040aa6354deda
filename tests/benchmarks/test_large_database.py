"""The benchmark of large databases in its small form: what it makes is a database, of which a command reads what it needs."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from latency_db.published import published_names
from spnas_cli.main import cli


@pytest.fixture
def large_database(benchmark):
    return benchmark("large_database")


def test_a_table_among_others_is_predicted_from_within_the_memory_of_one(large_database, tmp_path):
    path = tmp_path / "large.db"
    large_database.fill(path, 30, 3000)
    assert path.stat().st_size > 3000 * 500
    listed = CliRunner().invoke(cli, ["table", "list", "--db", str(path), "--json"])
    assert len(json.loads(listed.stdout)) == 30 + len(published_names())
    seconds, processor_s, megabytes = large_database.cost(["predict", "3x3-6", "--table", "t7", "--db", str(path)])
    assert 0 < processor_s < seconds * 8
    assert 20 < megabytes < 150
