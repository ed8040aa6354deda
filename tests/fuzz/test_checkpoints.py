"""Checkpoints and networks that were altered or damaged: each goes on, or is refused in one line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import strategies as st
from small import small_space, table_from_multiply_adds

from fuzz.fuzzing import SCALARS, Edit, altered, byte_edits, edited, fuzz, read_or_refused, tree_edits
from latency_db.runtime_model import RuntimeModel
from profiling.errors import InputError
from search.config import SearchConfig
from search.convnet.saved import load_network
from search.finding.search import Search, table_digest
from search.images.data import Data, load_data
from search.run_folder import RunFolder
from search.training.recipe import TrainConfig, load_recipe
from search.training.train import Training

MODEL = RuntimeModel(table_from_multiply_adds(small_space()))
LAYERS = tuple(layer for _, layer in MODEL.space.uniform("3x3-3").placed_layers())
TENSORS = [
    torch.zeros(0), torch.zeros(3), torch.tensor(7), torch.full((1,), torch.nan), torch.zeros(2, 2), torch.zeros(1).expand(10**6),
]  # fmt: skip
edits = tree_edits([*SCALARS, [], {}, [1], {"a": 1}, *TENSORS])


@cache
def digits() -> Data:
    return load_data("digits", MODEL.space, 0)


def search(folder: RunFolder) -> Search:
    config = SearchConfig(
        table="t", space_digest=MODEL.space.digest, table_digest=table_digest(MODEL.table), data="digits", runtime_weight=0.1,
        epochs=3, batch_size=256, dropout_phase=0.2, final_phase=0.3,
    )  # fmt: skip
    return Search(MODEL, digits(), config, folder)


def training(folder: RunFolder) -> Training:
    recipe = dict(load_recipe("mnasnet").adapted(3))
    config = TrainConfig(**recipe | {"data": "digits", "network": "small", "batch_size": 256})
    return Training(LAYERS, digits(), config, folder)


def stop_after(begun: Search | Training, steps: int) -> None:
    """Takes so many steps, fewer at the end of the run."""
    if begun.resumed_at == begun.steps:
        return
    last = min(begun.resumed_at + steps, begun.steps)
    seen: list[int] = []
    try:
        begun.run(lambda step: seen.append(step.step), lambda: seen[-1] >= last)
    except KeyboardInterrupt:
        assert seen[-1] == last


KINDS: dict[str, tuple[Callable[[RunFolder], Any], int]] = {
    "search in the first phase": (search, 2),
    "search in the last phase": (search, 13),
    "training": (training, 11),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder for each kind with a run that was stopped, and the file of a network."""
    top = tmp_path_factory.mktemp("checkpoints")
    for name, (start, steps) in KINDS.items():
        folder = RunFolder(top / name)
        folder.prepare(resume=False)
        stop_after(start(folder), steps)
    shutil.copy(Path(__file__).parent.parent / "made_before/trained/network.pt", top / "network.pt")
    return top


def goes_on_or_is_refused(made: Path, kind: str, change: Callable[[Path], None]) -> None:
    start, _ = KINDS[kind]
    folder = RunFolder(made / "changed")
    shutil.rmtree(folder.path, ignore_errors=True)
    shutil.copytree(made / kind, folder.path)
    change(folder.checkpoint)
    if (begun := read_or_refused(folder.checkpoint, lambda: start(folder))) is not None:
        stop_after(begun, 1)


def alter(path: Path, changes: list[Edit]) -> None:
    torch.save(altered(torch.load(path, weights_only=True), changes), path)


def damage(path: Path, changes: list[Edit]) -> None:
    path.write_bytes(edited(path.read_bytes(), changes))


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_not_changed_goes_on(made, kind):
    goes_on_or_is_refused(made, kind, lambda path: None)


@fuzz(60, 8, kind=st.sampled_from(list(KINDS)), changes=edits)
def test_an_altered_checkpoint_goes_on_or_is_refused(made: Path, kind: str, changes: list[Edit]) -> None:
    goes_on_or_is_refused(made, kind, lambda path: alter(path, changes))


@pytest.mark.parametrize(
    ("entry", "value", "words"),
    [
        ("step", 10**15, "is not one of the 15 of this run"),
        ("step", -1, "is not one of"),
        ("step", 12, "metrics are not those of the first 12 steps|the average is of 11 steps, not of 12"),
        ("step", 15, "metrics are not those of the first 15 steps"),
        ("step", 11.0, "is not one of"),
        ("metrics", [], "metrics are not those"),
        ("metrics", None, "no list"),
        ("metrics", [{"step": 10}], "missing 3 required"),
        ("metrics", [{"step": 10, "steps": 15, "loss": float("nan"), "learning_rate": 0.1}], "loss is nan"),
        ("metrics", [{"step": 10, "steps": 15, "loss": "0.1", "learning_rate": 0.1}], "valid number"),
        ("weights", {}, "is missing"),
        ("average", {"n_averaged": torch.tensor(11)}, "is missing"),
        ("evaluations", {"evaluations": []}, "evaluations are not those"),
        ("optimizer", {"state": {}, "param_groups": []}, "optimizer is of other parameters"),
    ],
)
def test_a_checkpoint_says_what_does_not_fit(made, entry, value, words):
    folder = RunFolder(made / "training")
    kept = folder.checkpoint.read_bytes()
    torch.save(torch.load(folder.checkpoint, weights_only=True) | {entry: value}, folder.checkpoint)
    try:
        with pytest.raises(InputError, match=rf"checkpoint\.pt: the checkpoint does not fit this run: .*({words})"):
            training(folder)
    finally:
        folder.checkpoint.write_bytes(kept)


@fuzz(20, 4, kind=st.sampled_from(list(KINDS)), changes=byte_edits)
def test_a_damaged_checkpoint_goes_on_or_is_refused(made: Path, kind: str, changes: list[Edit]) -> None:
    goes_on_or_is_refused(made, kind, lambda path: damage(path, changes))


def is_loaded_or_refused(path: Path) -> None:
    network = read_or_refused(path, lambda: load_network(path))
    if network is None:
        return
    first = network.present_layers[0]
    with torch.no_grad():
        logits = network.build()(torch.zeros(1, first.in_channels, 16, 16))
    assert logits.shape == (1, len(network.classes))
    assert torch.isfinite(logits).all()


@fuzz(80, 4, changes=edits)
def test_an_altered_network_is_loaded_or_refused(made: Path, changes: list[Edit]) -> None:
    path = made / "altered.pt"
    shutil.copy(made / "network.pt", path)
    alter(path, changes)
    is_loaded_or_refused(path)


@fuzz(80, 4, changes=byte_edits)
def test_a_damaged_network_is_loaded_or_refused(made: Path, changes: list[Edit]) -> None:
    path = made / "damaged.pt"
    path.write_bytes((made / "network.pt").read_bytes())
    damage(path, changes)
    is_loaded_or_refused(path)
