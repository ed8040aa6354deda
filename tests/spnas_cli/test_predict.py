"""`spnas predict`, called as a person does."""

import json

import pytest
from click.testing import CliRunner

from profiling.footprint import footprint
from profiling.space import load_architecture
from spnas_cli.main import cli

PIXEL1 = ("--table", "pixel1")


def spnas(*arguments):
    return CliRunner().invoke(cli, [*arguments])


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_network_of_the_paper_takes_80_44_ms_on_the_published_table():
    result = spnas("predict", "single-path-nas", *PIXEL1)
    assert result.exit_code == 0, result.stderr
    assert "80.4411 ms" in result.stdout
    assert "no calibration networks" in result.stdout, "a prediction without an interval must say so"


def test_it_says_what_memory_and_file_the_network_needs():
    """In the precision of the table; the bytes are compared with real files in tests/profiling/test_footprint.py."""
    values = json.loads(spnas("predict", "single-path-nas", *PIXEL1, "--json").stdout)
    needs = footprint(load_architecture("single-path-nas").network, "fp32")
    assert (values["memory_mb"], values["size_mb"]) == (needs.memory_bytes / 1e6, needs.size_bytes / 1e6)
    shown = spnas("predict", "single-path-nas", *PIXEL1).stdout
    assert "4.616 MB for input and activations" in shown
    assert "17.63 MB as TFLite fp32" in shown


@pytest.mark.parametrize(
    ("choice", "total_ms"), [("3x3-3", 65.6914), ("3x3-6", 110.6524), ("5x5-3", 76.3622), ("5x5-6", 131.4578)]
)
def test_json_holds_the_total_the_interval_and_every_layer(choice, total_ms):
    values = json.loads(spnas("predict", choice, *PIXEL1, "--json").stdout)
    assert list(values) == ["total_ms", "low_ms", "high_ms", "memory_mb", "size_mb", "layers"]
    assert values["total_ms"] == pytest.approx(total_ms, abs=1e-4)
    assert (values["low_ms"], values["high_ms"]) == (None, None)
    assert sum(layer["ms"] for layer in values["layers"]) == pytest.approx(total_ms, abs=1e-4)
    assert [layer["choice"] for layer in values["layers"]] == ["fixed", *[choice] * 20]


def test_an_architecture_file_and_a_calibrated_table(empty_folder):
    """The line is 1.1 · sum + 2 ms, and the networks lie on it so well that the interval is narrow."""
    assert spnas("table", "export", "pixel1", "-o", "t.json").exit_code == 0
    table = json.loads((empty_folder / "t.json").read_text())
    noise = [0.01, -0.01, 0.02, -0.02, 0.01, -0.01]
    table["calibration"] = [
        {"key": f"n{index}", "sum_ms": 60.0 + 10 * index, "measured_ms": 68 + 11 * index + noise[index]} for index in range(6)
    ]
    (empty_folder / "t.json").write_text(json.dumps(table))
    choices = ["3x3-3"] * 20
    (empty_folder / "a.json").write_text(json.dumps({"space": "imagenet", "choices": choices}))
    values = json.loads(spnas("predict", "a.json", "--table", "t.json", "--json").stdout)
    assert values["total_ms"] == pytest.approx(1.1 * 65.6914 + 2, abs=0.05)
    assert values["low_ms"] < values["total_ms"] < values["high_ms"] < values["low_ms"] + 0.3
    shown = spnas("predict", "a.json", "--table", "t.json").stdout
    assert "on 6 networks" in shown
    assert f"{values['low_ms']:.4f} to {values['high_ms']:.4f} ms" in shown


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("predict", "nobody.json", *PIXEL1), 2, "single-path-nas"),
        (("predict", "single-path-nas"), 6, "no table was given"),
        (("predict", "single-path-nas", "--table", "pixel2"), 6, "pixel1, pixel3, raspi4 ship with spnas"),
        (("predict", "skip", *PIXEL1), 2, "place 2 of imagenet cannot be 'skip'; allowed: 3x3-3"),
        (("predict", "bad.json", *PIXEL1), 2, "bad.json:1: choices: 1 choices given"),
        (("predict", "other.json", *PIXEL1), 6, "the space imagenet, not to digits"),
        (("predict", "single-path-nas", "--table", "holes.json"), 6, "measure them with: spnas profile --device"),
    ],
)
def test_bad_input_is_one_line_and_its_exit_code(empty_folder, arguments, code, words):
    from latency_db.published import published_table
    from latency_db.table_files import write_table
    from profiling.space import load_space

    pixel1 = published_table("pixel1")
    (empty_folder / "bad.json").write_text('{"space": "imagenet", "choices": ["3x3-3"]}')
    digits = load_space("digits")
    (empty_folder / "other.json").write_text(digits.uniform(digits.searchable[0].choices[-1]).to_json())
    write_table(pixel1.model_copy(update={"rows": dict(list(pixel1.rows.items())[3:])}), empty_folder / "holes.json")
    result = spnas(*arguments)
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stdout == ""
