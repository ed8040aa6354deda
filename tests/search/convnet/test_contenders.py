"""What a network is beside others, by its run and its file."""

import json
from pathlib import Path

import pytest
import yaml

from profiling.space import Architecture
from search.convnet.contenders import find_contender, role_of


@pytest.fixture
def runs(tmp_path, monkeypatch, space):
    """A search, and a training of each kind of network, and one that went on from another; no weights."""
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    Path("run/architecture.json").write_text(space.uniform("5x5-6").to_json())
    Path("run/result.json").write_text("{}")
    Path("mine.json").write_text(Architecture(space=space, choices=("3x3-3", "skip", "5x5-6", "5x5-3")).to_json())
    Path("same.json").write_text(Architecture(space=space, choices=("3x3-3", "skip", "3x3-3", "3x3-3")).to_json())
    networks = {
        "found": "run/architecture.json", "again": "found/network.pt", "random": "baseline/random-03.json",
        "uniform": "baseline/uniform-5x5-6.json", "same": "same.json", "mine": "mine.json", "zoo": "mobilenet-v2",
        "circle": "circle/network.pt",
    }  # fmt: skip
    for number, (name, network) in enumerate(networks.items()):
        Path(name).mkdir()
        Path(name, "result.json").write_text(json.dumps({"held_out_images": 359}))
        config = {"network": network, "seed": number, "epochs": 8, "init": "run/network.pt" if name == "found" else None}
        Path(name, "config.yaml").write_text(yaml.safe_dump(config))


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("run", "found"),
        ("run/architecture.json", "found"),
        ("run/network.pt", "found"),
        ("found", "found"),
        ("found/network.pt", "found"),
        ("again", "found"),
        ("random", "random"),
        ("elsewhere/random-12.json", "random"),
        ("uniform", "uniform"),
        ("same", "uniform"),
        ("same.json", "uniform"),
        ("mine", None),
        ("mine.json", None),
        ("zoo", None),
        ("mobilenet-v2", None),
        ("circle", None),
        ("random-forest.json", None),
    ],
)
def test_a_role_comes_from_the_run_or_the_file(runs, name, role):
    assert role_of(name) == role


def test_a_training_says_its_seed_and_how_it_was_done(runs):
    found, random = (find_contender(Path(name, "network.pt")) for name in ("found", "random"))
    assert (found.role, found.seed, found.held_out_images, found.settings) == ("found", 0, 359, {"epochs": 8, "init": "given"})
    assert (random.role, random.seed, random.settings) == ("random", 2, {"epochs": 8, "init": "random"})
    assert find_contender(Path("nowhere/network.pt")).settings is None
