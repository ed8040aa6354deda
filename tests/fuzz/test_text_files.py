"""Spaces, architectures, tables, recipes and the files of run folders, damaged in any way: read, or refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from hypothesis import strategies as st

from fuzz.fuzzing import VALUES, Edit, altered, edited, fuzz, read_or_refused, text_edits, tree_edits
from latency_db.runtime_model import RuntimeModel
from latency_db.table_files import read_table, to_csv, to_json
from profiling.errors import TableError
from profiling.space import SearchSpace, load_architecture, load_space
from profiling.specfile import read_spec
from search.config import SearchConfig, Settings
from search.finding.explore import Exploration
from search.report.advantage import advantages
from search.results import ComparedRows, SearchResult, TrainResult
from search.training.recipe import TrainConfig, load_recipe

MADE = Path(__file__).parent.parent / "made_before"
RECIPES = Path(__file__).parent.parent.parent / "search/recipes"


def use_space(path: Path) -> None:
    space: SearchSpace = load_space(str(path))
    assert len(space.layers) <= 20_000
    assert space.digest


def use_table(path: Path) -> None:
    table = read_table(path)
    to_csv(table), to_json(table)
    with suppress(TableError):  # it lacks layers, or its calibration is none
        RuntimeModel(table).range_ms()


def use_comparison(path: Path) -> None:
    advantages(read_spec(path, ComparedRows).model_dump(mode="json"))


class Reader(NamedTuple):
    """A kind of file: a valid one, and what reads and uses it."""

    made: Path
    use: Callable[[Path], Any]


READERS = {
    "space.yaml": Reader(MADE / "tiny.yaml", use_space),
    "architecture.json": Reader(MADE / "run/architecture.json", lambda path: load_architecture(str(path)).network.ops),
    "table.json": Reader(MADE / "table.json", use_table),
    "table.csv": Reader(MADE / "table.csv", use_table),
    "recipe.yaml": Reader(RECIPES / "modern.yaml", lambda path: load_recipe(str(path))),
    "search/config.yaml": Reader(MADE / "run/config.yaml", lambda path: read_spec(path, SearchConfig).decisive),
    "train/config.yaml": Reader(MADE / "trained/config.yaml", lambda path: read_spec(path, TrainConfig).decisive),
    "any/config.yaml": Reader(MADE / "compared/config.yaml", lambda path: read_spec(path, Settings).model_dump(mode="json")),
    "search/result.json": Reader(MADE / "run/result.json", lambda path: read_spec(path, SearchResult)),
    "train/result.json": Reader(MADE / "trained/result.json", lambda path: read_spec(path, TrainResult)),
    "compare.json": Reader(MADE / "compared/compare.json", use_comparison),
    "explored.json": Reader(MADE / "run/explored.json", lambda path: read_spec(path, Exploration)),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("damaged")


def is_read_or_refused(folder: Path, kind: str, text: str) -> None:
    path = folder / kind
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8", errors="surrogatepass", newline="")
    read_or_refused(path, lambda: READERS[kind].use(path))


@pytest.mark.parametrize("kind", READERS)
def test_a_valid_file_is_read(folder, kind):
    READERS[kind].use(READERS[kind].made)


@fuzz(240, 6, kind=st.sampled_from(list(READERS)), edits=text_edits)
def test_a_text_that_was_damaged_is_read_or_refused(folder: Path, kind: str, edits: list[Edit]) -> None:
    is_read_or_refused(folder, kind, edited(READERS[kind].made.read_text(encoding="utf-8"), edits))


@fuzz(240, 7, kind=st.sampled_from([kind for kind in READERS if not kind.endswith(".csv")]), edits=tree_edits(VALUES))
def test_data_of_another_form_are_read_or_refused(folder: Path, kind: str, edits: list[Edit]) -> None:
    """Well formed, but a field is missing, is one too many, or has a value that it cannot have."""
    tree = altered(yaml.safe_load(READERS[kind].made.read_text(encoding="utf-8")), edits)
    text = json.dumps(tree) if kind.endswith(".json") else yaml.safe_dump(tree, allow_unicode=True)
    is_read_or_refused(folder, kind, text)
