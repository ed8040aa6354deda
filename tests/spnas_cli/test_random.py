"""`spnas random`, called as a person does."""

import json

import pytest
from click.testing import CliRunner

from latency_db.published import published_table
from latency_db.runtime_model import RuntimeModel
from profiling.space import load_architecture
from spnas_cli.main import cli


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def random(*arguments):
    return CliRunner().invoke(cli, ["random", "--table", "pixel1", *arguments])


def test_it_writes_the_networks_that_it_shows_and_overwrites_none(empty_folder):
    result = random("--between", "75", "80", "--networks", "3", "-o", "some", "--json")
    assert result.exit_code == 0, result.stderr
    shown = json.loads(result.stdout)["networks"]
    assert sorted(path.name for path in (empty_folder / "some").iterdir()) == [f"random-0{n}.json" for n in (1, 2, 3)]
    model = RuntimeModel(published_table("pixel1"))
    for row in shown:
        architecture = load_architecture(row["file"])
        assert list(architecture.choices) == row["choices"]
        assert 75 <= row["predicted_ms"] == model.predict(architecture).total_ms <= 80
    (empty_folder / "some" / "random-01.json").unlink()
    again = random("--between", "75", "80", "--networks", "3", "-o", "some")
    assert (again.exit_code, len(again.stderr.strip().splitlines())) == (2, 1)
    assert "random-02.json: the file already exists" in again.stderr
    assert not (empty_folder / "some" / "random-01.json").exists(), "all or nothing"


def test_a_table_for_people_and_one_line_for_what_cannot_be(empty_folder):
    assert "random-02.json" in random("--between", "75", "80", "--networks", "2", "-o", "some").stdout
    result = random("--between", "200", "300", "-o", "none")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "those of imagenet take 30.63 to 131.5 ms" in result.stderr
    assert not (empty_folder / "none").exists()
