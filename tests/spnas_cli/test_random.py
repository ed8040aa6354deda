"""`spnas random`, called as a person does."""

import json

import pytest
from click.testing import CliRunner

from latency_db.published import published_table
from latency_db.runtime_model import RuntimeModel
from profiling.footprint import footprint
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


def test_a_target_is_the_one_per_cent_below_it():
    shown = json.loads(random("--target-ms", "80", "--networks", "3", "-o", "some", "--json").stdout)["networks"]
    assert len(shown) == 3
    assert all(79.2 <= row["predicted_ms"] <= 80 for row in shown)


def test_uniform_networks_meet_the_target_and_say_by_how_much(empty_folder):
    result = random("--uniform", "--target-ms", "80", "-o", "some", "--json")
    shown = json.loads(result.stdout)
    assert (result.exit_code, shown["target_ms"]) == (0, 80)
    model = RuntimeModel(published_table("pixel1"))
    assert [row["file"] for row in shown["networks"]] == [
        f"some/uniform-{choice}.json" for choice in ("3x3-3", "5x5-3", "3x3-6", "5x5-6")
    ]
    for row in shown["networks"]:
        architecture = load_architecture(row["file"])
        assert len(set(architecture.choices) - {"skip"}) == 1
        assert model.predict(architecture).total_ms == row["predicted_ms"] <= 80
    table = random("--uniform", "--target-ms", "80", "-o", "other").stdout
    assert "from the target" in table
    assert "-17.9%" in table, "3x3-3 everywhere"


def test_uniform_networks_that_are_too_slow_are_named(empty_folder):
    result = random("--uniform", "--target-ms", "40", "-o", "some")
    assert result.exit_code == 0, result.stderr
    assert "with every layer skipped that can be: 3x3-6, 5x5-6" in result.stderr
    assert not (empty_folder / "some" / "uniform-5x5-6.json").exists()
    result = random("--uniform", "--target-ms", "20", "-o", "none")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "every uniform network of imagenet is slower than 20 ms" in result.stderr
    assert not (empty_folder / "none").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-o", "some"), "either --between or --target-ms"),
        (("--between", "75", "80", "--target-ms", "80", "-o", "some"), "either --between or --target-ms"),
        (("--uniform", "--between", "75", "80", "-o", "some"), "--uniform needs --target-ms"),
        (("--uniform", "--target-ms", "80", "--networks", "3", "-o", "some"), "--networks is for random networks"),
        (("--uniform", "--target-ms", "80", "--seed", "1", "-o", "some"), "--seed is for random networks"),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments, words):
    result = random(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr


def test_a_share_of_the_range_is_taken_wherever_ms_are(empty_folder):
    result = random("--target-ms", "50%", "--networks", "2", "-o", "some", "--json")
    assert "50% of the way from 30.63 to 131.5 ms, the range of table pixel1: 81.04 ms." in result.stderr
    assert all(0.99 * 81.04 <= row["predicted_ms"] <= 81.04 for row in json.loads(result.stdout)["networks"])
    shown = json.loads(random("--uniform", "--target-ms", "50 %", "-o", "uniform", "--json").stdout)
    assert shown["target_ms"] == 81.04
    rows = json.loads(random("--between", "40%", "80", "--networks", "3", "-o", "between", "--json").stdout)["networks"]
    assert all(70.96 <= row["predicted_ms"] <= 80 for row in rows)
    upside_down = random("--between", "60%", "40%", "-o", "none")
    assert (upside_down.exit_code, upside_down.stdout) == (2, "")
    assert "LOW must be below HIGH, not 91.13 and 70.96 ms" in upside_down.stderr
    assert not (empty_folder / "none").exists()


@pytest.mark.parametrize("word", ["101%", "-5%", "%", "50%%", "nan%", "1e400%"])
@pytest.mark.parametrize("form", [("--target-ms={}",), ("--between", "40%", "{}")])
def test_no_other_share_is_taken(form, word):
    result = random(*(part.format(word) for part in form), "-o", "none")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "0% (the table's fastest network)" in result.stderr or "No such option" in result.stderr


def test_limits_hold_for_every_network_drawn(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    limits = ("--max-memory", "5", "--max-size", "15")
    result = CliRunner().invoke(cli, ["random", "--table", "pixel1", "--target-ms", "80", *limits, "-o", "drawn", "--json"])
    assert result.exit_code == 0, result.stderr
    for row in json.loads(result.stdout)["networks"]:
        needs = footprint(load_architecture(row["file"]).network, "fp32")
        assert needs.memory_mb <= 5, row["file"]
        assert needs.size_mb <= 15, row["file"]
    uniform = CliRunner().invoke(cli, ["random", "--table", "pixel1", "--uniform", "--target-ms", "80", *limits, "-o", "uniform"])
    assert uniform.exit_code == 0, uniform.stderr
    assert "Left out, as they need more than 5 MB of memory and a file of 15 MB: 3x3-6, 5x5-6" in uniform.stderr
    assert sorted(file.name for file in (tmp_path / "uniform").iterdir()) == ["uniform-3x3-3.json", "uniform-5x5-3.json"]


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (
            ("--max-memory", "3"),
            "--max-memory: 3 MB cannot be reached: the networks of imagenet need 4.617 to 6.624 MB of memory",
        ),
        (("--max-size", "1"), "--max-size: 1 MB cannot be reached: the networks of imagenet need 9.815 to"),
        (("--max-size", "0"), "Invalid value for '--max-size'"),
        (("--max-memory", "nan"), "Invalid value for '--max-memory'"),
    ],
)
def test_a_limit_out_of_reach_is_one_line_with_what_can_be_reached(limit, words, tmp_path):
    result = CliRunner().invoke(cli, ["random", "--table", "pixel1", "--target-ms", "80", *limit, "-o", str(tmp_path / "none")])
    assert result.exit_code == 2
    assert words in result.stderr
    assert not (tmp_path / "none").exists()
