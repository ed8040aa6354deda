"""Commands on damaged files and with any words as numbers: done, or refused in one line of plain characters."""

from __future__ import annotations

import json
import math
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import strategies as st

from fuzz.fuzzing import TOKENS, VALUES, Edit, altered, byte_edits, edited, fuzz, text_edits, tree_edits
from spnas_cli.main import cli
from spnas_cli.options import Count, Number, Seed
from spnas_cli.output import JOINERS

MADE = Path(__file__).parent.parent / "made_before"
# The file that is damaged, and a command that reads it.
COMMANDS = [
    ("table.json", ["table", "show", "table.json"]),
    ("table.json", ["predict", "run/architecture.json", "--table", "table.json", "--json"]),
    ("table.csv", ["table", "diff", "table.csv", "table.json"]),
    ("table.json", ["random", "--table", "table.json", "--between", "0.001", "0.01", "--networks", "2", "-o", "drawn"]),
    ("run/architecture.json", ["predict", "run", "--table", "table.json"]),
    ("run/result.json", ["report", "run", "-o", "report.html"]),
    ("run/config.yaml", ["report", "run", "-o", "report.html"]),
    ("run/table.json", ["report", "run", "-o", "report.html"]),
    ("compared/compare.json", ["report", "compared", "-o", "report.html"]),
    ("compared/config.yaml", ["report", "compared", "-o", "report.html"]),
    ("run/network.pt", ["evaluate", "run", "--data", "digits"]),
    ("tiny.yaml", ["search", "--table", "table.json", "--space", "tiny.yaml", "--data", "nowhere", "--target-ms=1", "-onew"]),
]  # fmt: skip
DATABASE = [["table", "list"], ["table", "show", "large"], ["predict", "3x3-3", "--table", "large"]]


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory) -> Path:
    top = tmp_path_factory.mktemp("commands") / "made"
    shutil.copytree(MADE, top)
    return top


def ends_in_words(folder: Path, words: list[str]) -> int:
    """The exit code of a command, which is done or says in one line why it is not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SPNAS_DB", "spnas.db")
        result = CliRunner().invoke(cli, words)
    assert result.exit_code in (0, 1, 2, 6), result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "(unexpected; run spnas" not in result.stderr
    assert sum(line.startswith("Error") for line in result.stderr.splitlines()) == (result.exit_code != 0)
    assert all(unicodedata.category(each)[0] != "C" or each in f"\n{JOINERS}" for each in result.output)
    assert max(map(len, result.stderr.splitlines()), default=0) < 1500
    for made in ("drawn", "new"):
        shutil.rmtree(folder / made, ignore_errors=True)
    return result.exit_code


def with_damaged(folder: Path, name: str, content: bytes, words: list[str]) -> None:
    file = folder / name
    kept = file.read_bytes()
    file.write_bytes(content)
    try:
        ends_in_words(folder, words)
    finally:
        file.write_bytes(kept)


@pytest.mark.parametrize(("name", "words"), COMMANDS)
def test_the_commands_work_on_what_is_whole(folder, name, words):
    assert ends_in_words(folder, words) == (2 if "nowhere" in words else 0)


@fuzz(120, 7, command=st.sampled_from([each for each in COMMANDS if not each[0].endswith(".pt")]), edits=text_edits)
def test_commands_on_damaged_texts(folder: Path, command: tuple[str, list[str]], edits: list[Edit]) -> None:
    name, words = command
    text = edited((folder / name).read_text(encoding="utf-8"), edits)
    with_damaged(folder, name, text.encode("utf-8", "surrogatepass"), words)


@fuzz(60, 4, command=st.sampled_from([each for each in COMMANDS if each[0].endswith(".json")]), edits=tree_edits(VALUES))
def test_commands_on_data_of_another_form(folder: Path, command: tuple[str, list[str]], edits: list[Edit]) -> None:
    name, words = command
    tree: Any = altered(json.loads((folder / name).read_text(encoding="utf-8")), edits)
    with_damaged(folder, name, json.dumps(tree).encode(), words)


@fuzz(40, 4, words=st.sampled_from(DATABASE), edits=byte_edits)
def test_commands_on_a_damaged_database(folder: Path, words: list[str], edits: list[Edit]) -> None:
    with_damaged(folder, "spnas.db", edited((folder / "spnas.db").read_bytes(), edits), words)


words_as_numbers = (
    st.floats().map(str)
    | st.integers(-(10**400), 10**400).map(str)
    | st.integers(-10, 10**7).map(str)
    | st.sampled_from([token for token in TOKENS if "\x00" not in token])
    | st.text(max_size=10)
)


@fuzz(300, 3, kind=st.sampled_from([Count(1, 10**6), Number(0, 10**6), Number(0, 16, above=True), Seed()]), word=words_as_numbers)
def test_what_is_taken_as_a_number_is_one(folder: Path, kind: click.ParamType, word: str) -> None:
    try:
        number = kind.convert(word, None, None)
    except click.BadParameter:
        return
    assert math.isfinite(number)
    if isinstance(kind, Seed):
        assert -(2**63) <= number < 2**63
    else:
        assert isinstance(kind, Count | Number)
        assert 0 <= number <= 10**6
