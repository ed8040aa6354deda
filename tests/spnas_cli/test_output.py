"""What others wrote is cleaned where it is printed: it controls no terminal, forges no line and hides nothing else."""

from __future__ import annotations

import json
import sys
import unicodedata

import click
import pytest
from click.testing import CliRunner

from latency_db.published import published_table
from latency_db.table_files import write_table
from profiling.device import DeviceSummary
from profiling.errors import InputError, MissingRowsError
from spnas_cli import main, output
from spnas_cli.main import cli

HOSTILE = "\x1b]0;owned\x07\x1b[31mname\x9b2J\u202egnp.exe\u2066\r\nError: forged\x00\u2028[/bold][link=x]\U000e0041\ud800"
LONG = "x" * 100_000


def only_printable(text: str) -> bool:
    return all(unicodedata.category(each)[0] != "C" or each in f"\n{output.JOINERS}" for each in text)


@pytest.fixture
def raising(monkeypatch):
    """`spnas devices`, which raises this error instead."""

    def run(error: Exception) -> str:
        @click.command()
        def devices() -> None:
            raise error

        monkeypatch.setattr(main.LazyGroup, "get_command", lambda *_: devices)
        return CliRunner().invoke(cli, ["devices"]).stderr

    return run


@pytest.mark.parametrize(
    "error",
    [
        InputError(f"no such {HOSTILE}", where=HOSTILE, hint=f"try {HOSTILE}"),
        RuntimeError(HOSTILE),
        click.BadParameter(HOSTILE),
        click.UsageError(HOSTILE),
        InputError(LONG, where=LONG, hint=LONG),
        RuntimeError(LONG),
        click.BadParameter(LONG),
    ],
    ids=lambda error: f"{type(error).__name__}-{len(str(error)) > 1000}",
)
def test_an_error_is_one_short_line_of_plain_characters(raising, error):
    printed = raising(error)
    assert only_printable(printed)
    assert sum(line.startswith("Error") for line in printed.splitlines()) == 1
    assert max(map(len, printed.splitlines())) < 1500


def test_what_is_wrong_where_and_what_to_do_each_keep_their_place(raising):
    keys = tuple(f"mbconv-r112-i16-o{number}-s2-k3-e6-x0" for number in range(2000))
    printed = raising(MissingRowsError(keys, where="table " + LONG, hint="measure them with: spnas profile"))
    assert "no latency for 2000 layers: mbconv" in printed
    assert "measure them with: spnas profile" in printed
    assert len(printed) < 1500


def test_notes_facts_and_doubts_are_cleaned(capsys):
    output.note(HOSTILE)
    output.note("\nNext: spnas predict")
    output.print_facts([("name", HOSTILE), ("long", LONG), (HOSTILE, "value")])
    printed = capsys.readouterr()
    assert only_printable(printed.out + printed.err)
    assert printed.err.splitlines()[1:] == ["", "Next: spnas predict"]
    assert len(printed.out.splitlines()) == 3
    assert len(printed.out) < 40_000


def test_cells_are_no_markup_and_stay_in_their_row(capsys):
    output.print_table(f"title {HOSTILE}", ("one", HOSTILE), [("[/red] [bold]x[/]", HOSTILE), ("two", "[link=y]z")])
    printed = capsys.readouterr().out
    assert only_printable(printed)
    assert "[/red] [bold]x[/]" in printed
    assert "[link=y]z" in printed
    assert len(printed.splitlines()) == 4


def test_progress_is_no_markup(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with output.progress("[/red]phone\x1b[2J") as [line]:
        line.update(1, 2, "[/bold] \x1b]0;owned\x07", None)
        line.say("[/x]")
    assert "\x1b]0;" not in capsys.readouterr().err


def test_json_is_the_same_data_in_plain_characters(capsys):
    value = {"name": HOSTILE[:-1], HOSTILE[:-1]: "größer 漢字 🙂 می‌خواهم"}
    output.print_json(value)
    printed = capsys.readouterr().out
    assert only_printable(printed)
    assert "größer 漢字 🙂" in printed
    assert json.loads(printed) == value


def test_a_command_that_is_passed_on_names_no_folder_of_the_user(monkeypatch):
    monkeypatch.setenv("HOME", "/home/kenobi")
    words = ["spnas", "profile", "--space", "/home/kenobi/my spaces/a.yaml", "--db", "/data/home/kenobi/a.db", "--name", "a b"]
    shown = "spnas profile --space ~/'my spaces/a.yaml' --db /data/home/kenobi/a.db --name 'a b'"
    assert output.shown_command(words) == shown


def test_languages_are_left_as_they_are():
    for words in ("größer", "漢字", "می\u200cخواهم", "नमस्ते", "🙂👩\u200d🚀", "עברית"):
        assert output.printable(words) == words


def test_a_hostile_phone_and_table_are_shown(monkeypatch, tmp_path):
    phone = DeviceSummary(
        name=HOSTILE[:40], product=HOSTILE[:-1], soc="[/x]", state="device", cores="8", temperature_c=None, missing=HOSTILE[:-1]
    )
    monkeypatch.setattr("profiling.devices.list_devices", lambda *_, **__: [phone])
    shown = CliRunner().invoke(cli, ["devices"])
    assert shown.exit_code == 0, shown.output
    assert only_printable(shown.output)
    found = published_table("pixel1")
    hostile = found.model_copy(update={"source": HOSTILE[:-1], "conditions": found.conditions.model_copy(update={"soc": LONG})})
    write_table(hostile, tmp_path / "t.json")
    shown = CliRunner().invoke(cli, ["table", "show", str(tmp_path / "t.json")])
    assert shown.exit_code == 0, shown.output
    assert only_printable(shown.output)
    assert len(shown.output) < 50_000


def test_a_table_without_rows_is_shown_and_named_where_it_is_used(tmp_path):
    path = tmp_path / "empty.json"
    write_table(published_table("pixel1").model_copy(update={"rows": {}, "calibration": ()}), path)
    for words, code in (
        (["table", "show", str(path)], 0),
        (["table", "diff", str(path), "pixel1"], 0),
        (["predict", "3x3-3", "--table", str(path)], 6),
        (["report", "--table", str(path), "-o", str(tmp_path / "report.html")], 6),
    ):
        done = CliRunner().invoke(cli, [*words, *(["--db", str(tmp_path / "none.db")])])
        assert done.exit_code == code, (words, done.output)
        assert "(unexpected; run spnas" not in done.stderr
