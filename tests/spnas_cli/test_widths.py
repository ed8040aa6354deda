"""What commands print is whole at 80 and 60 columns: no name, number, sentence or example is cut."""

from __future__ import annotations

import json
import re
from collections import Counter

import click
import pytest
from click.testing import CliRunner
from command_tree import all_commands
from rich.cells import cell_len
from terminal import Screen

from spnas_cli import output
from spnas_cli.main import cli

WIDTHS = (80, 60)
TABLES = (
    ("devices",),
    ("table", "list"),
    ("table", "show", "pixel1"),
    ("table", "show", "pixel3"),
    ("table", "diff", "pixel3", "raspi4"),
    ("predict", "single-path-nas", "--table", "pixel1"),
    ("random", "--table", "pixel1", "--uniform", "--target-ms", "80", "-o", "uniform", "--force"),
    ("random", "--table", "pixel3", "--between", "10", "20", "--networks", "2", "-o", "drawn", "--force"),
)
ERRORS = (
    ("predict", "a-file-of-a-rather-long-name-that-does-not-exist.json", "--table", "pixel1"),
    ("predict", "3x3-3", "--table", "no-table-has-such-a-long-name-as-this-one-has"),
    ("search", "--data", "digits"),
    ("search", "--table", "pixel1", "--data", "digits", "--target-ms", "1e9", "-o", "run"),
    ("train", "mobilenet-v9", "--data", "digits", "-o", "run"),
    ("compare", "mobilenet-v9", "--width", "half"),
    ("evaluate", "nowhere/at/all/network.pt", "--data", "digits"),
    ("report",),
    ("profil",),
    ("validate", "--networks", "one"),
)


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def printed(arguments, width: int | None = None) -> str:
    environment = {"COLUMNS": None if width is None else str(width)}
    result = CliRunner(env=environment).invoke(cli, ["-q", *arguments])
    return result.output


def characters(text: str) -> Counter[str]:
    return Counter(re.sub(r"\s", "", text))


def assert_whole(narrow: str, wide: str, width: int) -> None:
    assert "…" not in narrow
    assert max(map(cell_len, narrow.splitlines())) <= width
    assert not characters(wide) - characters(narrow)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("arguments", TABLES, ids=" ".join)
def test_tables_are_whole_and_so_is_each_name_and_number(arguments, width):
    wide, narrow = printed(arguments), printed(arguments, width)
    assert_whole(narrow, wide, width)
    assert set(wide.split()) <= set(narrow.split())


NAMES = ("run", "runs/of/a/path/that/nobody/would/like/to/read/architecture-0000.json", "漢字の名前" * 6, "two words " * 20, "")


@pytest.mark.parametrize("width", [*WIDTHS, 40])
def test_a_table_of_whatever_words_is_whole(width, capsys, monkeypatch):
    rows = [(name, name[::-1], "98.89 % trained network", "12345.678") for name in NAMES]
    for shown in (None, width):
        if shown:
            monkeypatch.setenv("COLUMNS", str(shown))
        output.print_table("Networks", ("network", "what it is", "top-1", "multiply-adds"), rows, left=2)
    wide, narrow = (f"Networks{part}" for part in capsys.readouterr().out.split("Networks")[1:])
    assert_whole(narrow, wide, width)
    assert narrow.count("12345.678") == len(rows)
    assert narrow.count("98.89 %") == len(rows)


@pytest.mark.parametrize("width", [*WIDTHS, 40])
def test_facts_go_on_below_themselves_and_paths_stay_in_one_piece(width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    path = "a/path/of/more/characters/than/fit/into/a/line/of/the/terminal/network.png"
    output.print_facts([("figures", f"progress.png, {path}"), ("noise of a layer (median, worst)", "0.23 %, 1.55 % " * 5)])
    lines = capsys.readouterr().out.splitlines()
    assert any(line.strip() == path for line in lines)
    assert all(cell_len(line) <= width for line in lines if path not in line)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("arguments", ERRORS, ids=" ".join)
def test_errors_are_whole(arguments, width):
    wide, narrow = printed(arguments), printed(arguments, width)
    assert "Error: " in narrow
    assert wide.partition("Error: ")[2] == narrow.partition("Error: ")[2], "an error is one line, which the terminal breaks"
    assert not characters(wide) - characters(narrow)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("path", [path for path, _ in all_commands()], ids=" ".join)
def test_help_is_whole_and_fits(path, width):
    wide, narrow = (CliRunner().invoke(cli, [*path, "--help"], terminal_width=each).stdout for each in (1000, width))
    assert not re.search(r"(?<![A-Z\]])\.\.\.|…", narrow), "three dots may only say that an argument can be repeated"
    assert not characters(wide) - characters(narrow) - Counter("-")
    assert max(map(len, narrow.splitlines())) <= width


def test_examples_that_are_broken_are_still_one_command():
    """Each option stays with its value, and a shell puts the parts together again."""
    narrow = CliRunner().invoke(cli, ["search", "--help"], terminal_width=60).stdout
    wide = CliRunner().invoke(cli, ["search", "--help"], terminal_width=1000).stdout
    joined = re.sub(r" \\\n +", " ", narrow)
    examples = re.findall(r"^    spnas .*", wide, re.MULTILINE)
    assert len(examples) > 2
    assert all(example in joined for example in examples)
    assert " \\\n" in narrow
    assert not re.search(r"--[a-z-]+ \\\n +[^- ]", narrow)


def test_in_a_pipe_a_line_is_as_long_as_it_needs_to_be(tmp_path):
    long = tmp_path / ("x" * 200)
    long.mkdir()
    shown = printed(("random", "--table", "pixel1", "--between", "75", "80", "--networks", "2", "-o", str(long)))
    assert max(map(len, shown.splitlines())) > 150
    assert "…" not in shown


@pytest.mark.parametrize("width", [80, 60])
def test_in_a_terminal_of_this_width(width):
    """What the program itself makes of a terminal, without COLUMNS."""
    shown = Screen(width, "table", "show", "pixel3").text
    assert max(map(cell_len, shown.splitlines())) <= width
    assert set(printed(("table", "show", "pixel3")).split()) <= set(shown.split())


@pytest.mark.parametrize("width", [160, 80, 60])
def test_a_progress_bar_shows_its_label_count_time_and_text(width):
    script = (
        "import time\nfrom spnas_cli.output import progress\n"
        "with progress('search') as [line]:\n"
        "    line.update(100, 308, 'final: CE 0.512, R 0.2395 ms, λ 0.071, 4 3x3-6, 3 5x5-6, 2 skip, 1 3x3-3', 287)\n"
        "    time.sleep(0.3)\n"
    )
    shown = " ".join(Screen(width, launcher=("-c", script)).text.split())
    for words in ("search", "100/308", "4 min 47 s left", "R 0.2395 ms", "1 3x3-3"):
        assert words in shown
    assert "…" not in shown


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["tabel"], "spnas table"),
        (["Search"], "spnas search"),
        (["evalute", "x"], "spnas evaluate"),
        (["table", "shwo"], "spnas table show"),
        (["merge", "a", "b"], "spnas table merge"),
        (["table", "list", "--jsn"], "--json"),
        (["search", "--targt-ms", "3"], "--target-ms"),
    ],
    ids=" ".join,
)
def test_a_mistyped_command_or_option_is_answered_with_the_one_that_was_meant(arguments, meant):
    result = CliRunner().invoke(cli, arguments, prog_name="spnas")
    assert result.exit_code == 2
    assert meant in result.stderr.partition("Error: ")[2]
    assert "id you mean" in result.stderr


def test_nothing_is_suggested_for_what_is_like_no_command():
    result = CliRunner().invoke(cli, ["\x1b[2Jzzz"], prog_name="spnas")
    assert result.exit_code == 2
    assert "spnas --help lists the commands" in result.stderr
    assert "did you mean" not in result.stderr
    assert "\x1b" not in result.stderr


def test_a_group_without_a_command_shows_its_help_line_by_line():
    shown = CliRunner().invoke(cli, ["table"], terminal_width=80)
    assert click.unstyle(shown.output).count("\n  ") > 15
    assert json.dumps("  rename  Give a table in the database another name.") in map(json.dumps, shown.output.splitlines())
