"""What people have keeps working: files that version 0.1.0 left, in `tests/made_before`, read with the present code."""

from __future__ import annotations

import csv
import json
import shlex
import shutil
import sqlite3
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from click.testing import CliRunner

from latency_db.runtime_model import RuntimeModel
from latency_db.store import Store
from latency_db.table_files import read_table
from profiling.draws import random_architectures
from profiling.host.host import HostDevice
from profiling.space import Architecture, load_architecture, load_space
from search.convnet.saved import load_network
from spnas_cli.main import cli

MADE = Path(__file__).parent / "made_before"
COMPUTED = json.loads((MADE / "computed.json").read_text(encoding="utf-8"))
# One image of 16×16 grey pixels, as bytes and as the networks take it.
BYTES = (np.arange(16 * 16) * 37 % 256).astype(np.uint8).reshape(1, 16, 16, 1)
PIXELS = BYTES.astype(np.float32) / 127.5 - 1


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """A copy of all that was made, in which commands run; programs that only read may leave something beside a database."""
    shutil.copytree(MADE, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPNAS_DB", "spnas.db")
    return tmp_path


@pytest.fixture
def same_machine(monkeypatch) -> None:
    """This machine passes for the one that the measurements were made on."""
    with Store(Path("spnas.db"), read_only=True) as store:
        [campaign] = store.campaigns("profile")
    monkeypatch.setattr(HostDevice, "conditions", lambda self, settings: campaign.conditions)


def spnas(*arguments: str) -> str:
    result = CliRunner().invoke(cli, [*arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def spnas_json(*arguments: str) -> Any:
    return json.loads(spnas(*arguments, "--json"))


def printed(command: str) -> Any:
    """What a command printed with `--json` when the files were made."""
    return json.loads((MADE / "printed" / f"{command}.json").read_text(encoding="utf-8"))


def rows(file: str) -> list[dict[str, str]]:
    with Path(file).open(newline="", encoding="utf-8") as text:
        return list(csv.DictReader(text))


def command_of(run: str) -> list[str]:
    return shlex.split(Path(run, "command.txt").read_text(encoding="utf-8"))[1:]


def same(again: Any, before: Any, rel: float = 1e-6) -> bool:
    """Whether what is printed now holds all that was printed before, its floating-point numbers to this relative error."""
    if isinstance(before, dict):
        return all(same(again[name], value, rel) for name, value in before.items())
    if isinstance(before, list):
        return len(again) == len(before) and all(same(*pair, rel) for pair in zip(again, before, strict=True))
    return again == (pytest.approx(before, rel=rel) if isinstance(before, float) else before)


def tflite(file: str, image: np.ndarray) -> np.ndarray:
    interpreter = Interpreter(file)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]


# Databases and tables


@pytest.mark.parametrize("purpose", ["profile", "validate", "compare"])
def test_every_measurement_of_a_database_is_read(purpose):
    with Store(Path("spnas.db"), read_only=True) as store:
        [campaign] = store.campaigns(purpose)
        measurements = store.measurements(campaign)
    expected = sqlite3.connect("spnas.db").execute(
        "SELECT model, visit, status, low_ms FROM measurements WHERE campaign = ? ORDER BY id", (campaign.id,)
    )
    for measurement, row in zip(measurements, expected, strict=True):
        assert (measurement.model, measurement.visit, measurement.status) == row[:3]
        assert row[3] == measurement.figures.min_ms
        assert json.loads(measurement.output.partition("\n")[0])["delegated"]


def test_a_profile_goes_on_with_nothing_to_measure(same_machine):
    options = ("--space", "tiny.yaml", "--resolution", "160", "--calibrate", "5", "--rounds", "2", "--runs", "3")
    before = printed("profile")
    again = spnas_json("profile", "--device", "host", *options, "--name", "large")
    assert (again["table"], again["cells"], again["flagged"]) == (before["table"], before["cells"], before["flagged"])
    assert (again["measured"], again["resumed"]) == (0, before["measured"])


def test_a_validation_is_known_again_and_goes_on_with_nothing_to_measure(same_machine):
    options = ("--networks", "4", "--rounds", "2", "--runs", "3", "--architecture", "random/random-01.json")
    assert same(spnas_json("validate", "--table", "large", *options), printed("validate"))
    assert "0 made" in spnas("validate", "--table", "large", *options)


def test_a_comparison_goes_on_with_nothing_to_measure(same_machine):
    before = printed("compare")
    names = ("random/random-01.json", "random/random-02.json")
    options = ("--top1", "random/random-01.json=0.9", "--rounds", "2", "--runs", "3")
    again = spnas_json("compare", *names, "--table", "large", *options, "-o", "compared")
    assert same(again, before)
    assert same(json.loads(Path("compared/compare.json").read_text(encoding="utf-8")), before)


def test_tables_are_listed_shown_and_written_as_they_were():
    assert "large" in spnas("table", "list")
    assert "5x5-6" in spnas("table", "show", "large")
    for made, name in (("table.json", "again.csv"), ("table.csv", "again.json")):
        spnas("table", "export", made, "-o", name)
        assert Path(name).read_bytes() == Path("table").with_suffix(Path(name).suffix).read_bytes()


@pytest.mark.parametrize("name", ["table.json", "table.csv", "run/table.json"])
def test_a_table_predicts_what_it_predicted(name):
    model = RuntimeModel(read_table(Path(name)))
    for choices, expected_ms in COMPUTED["predicted_ms"].items():
        architecture = Architecture(space=model.space, choices=tuple(choices.split()))
        assert model.predict(architecture).total_ms == pytest.approx(expected_ms, rel=1e-9)


def test_a_network_is_predicted_layer_by_layer_as_it_was():
    again = spnas_json("predict", "run/architecture.json", "--table", "table.json")
    assert same(again, printed("predict"), rel=1e-9)


def test_random_networks_are_those_that_were_drawn():
    before = Path("random/random-02.json").read_bytes()
    shutil.rmtree("random")
    again = spnas_json("random", "--table", "large", "--between", "0", "100", "--networks", "3", "-o", "random")
    assert same(again, printed("random"), rel=1e-9)
    assert Path("random/random-02.json").read_bytes() == before
    space = load_space("tiny.yaml")
    assert load_architecture("run/architecture.json").space.digest == space.digest
    with Store(Path("spnas.db"), read_only=True) as store:
        [campaign] = store.campaigns("profile")
        kept = store.networks(campaign)
    assert {network.network.key for network in islice(random_architectures(campaign.space, 0), 5)} == set(kept)


# Folders of runs


def test_a_finished_search_is_not_trained_again_and_explores_without_scoring_again(folder):
    files = ("architecture.json", "metrics.csv", "front.csv", "explored.json")
    before = {name: Path("run", name).read_bytes() for name in files}
    # Accuracies are computed again: on another processor an image may be taken for something else.
    again, expected = spnas_json(*command_of("run")), printed("search")
    assert again.pop("accuracy") == pytest.approx(expected.pop("accuracy"), abs=0.02)
    assert same(again, expected)
    assert {name: Path("run", name).read_bytes() for name in files} == before


def test_a_search_that_was_interrupted_goes_on_to_its_end(folder):
    kept = rows("stopped-search/metrics.csv")
    spnas(*command_of("stopped-search"), "--resume")
    steps = rows("stopped-search/metrics.csv")
    assert steps[: len(kept)] == kept
    assert int(steps[-1]["step"]) == int(steps[-1]["steps"]) > int(kept[-1]["step"])
    assert {step["phase"] for step in steps} == {"dropout", "search"}, "the course that it was begun with"
    found = json.loads(Path("stopped-search/result.json").read_text(encoding="utf-8"))
    assert found["predicted_ms"] <= found["target_ms"]
    assert list(load_architecture("stopped-search/architecture.json").choices) == found["architecture"]
    assert len(load_network(Path("stopped-search/network.pt")).classes) == 10


def test_a_training_that_was_interrupted_goes_on_to_its_end(folder):
    kept = rows("stopped-training/metrics.csv")
    spnas(*command_of("stopped-training"), "--resume")
    steps = rows("stopped-training/metrics.csv")
    assert steps[: len(kept)] == kept
    assert int(steps[-1]["step"]) == int(steps[-1]["steps"]) > int(kept[-1]["step"])
    assert [int(row["epoch"]) for row in rows("stopped-training/accuracy.csv")] == list(range(1, 9))
    assert load_network(Path("stopped-training/network.pt")).top1 is not None


def test_a_finished_training_is_not_trained_again(folder):
    network = load_network(Path("trained/network.pt"))
    again = spnas_json(*command_of("trained"), "--resume")
    assert same(again, printed("train"))
    after = load_network(Path("trained/network.pt"))
    assert after.origin == network.origin
    assert all(torch.equal(after.state[name], weights) for name, weights in network.state.items())


def test_the_supernet_of_a_search_gives_a_training_its_first_weights(folder):
    spnas(*command_of("trained")[:-2], "--epochs", "1", "-o", "again")
    assert "supernet" in load_network(Path("again/network.pt")).origin


def test_a_report_shows_what_the_folders_hold_and_the_validation_of_the_table(folder):
    spnas("report", "run", "trained", "compared", "--table", "large", "-o", "report.html")
    page = Path("report.html").read_text(encoding="utf-8")
    validation, found = printed("validate"), printed("search")
    for word in (
        "Search run", "Training trained", "Comparison compared", "Latency table large", "Latency table tiny",
        "4 random networks", f"{validation['mean_error_pct']:.2f} %", str(found["predicted_ms"]), "data:image/png",
        *(line for run in ("run", "trained", "compared") for line in [" ".join(command_of(run))]),
    ):  # fmt: skip
        assert word in page, word


# Networks and what was exported of them


@pytest.mark.parametrize("run", ["run", "trained"])
def test_a_network_computes_what_it_computed(run):
    network = load_network(Path(run, "network.pt"))
    assert (len(network.classes), network.top1 is not None) == (10, True)
    assert (network.framing, network.centre_crop) == ("crop", None)
    with torch.no_grad():
        [logits] = network.build()(torch.from_numpy(PIXELS.transpose(0, 3, 1, 2))).tolist()
    assert logits == pytest.approx(COMPUTED["outputs"][f"{run}/network.pt"], abs=1e-4)


def test_a_network_is_as_accurate_as_it_was():
    top1 = spnas_json("evaluate", "run/network.pt", "--data", "digits")["top1"]
    assert top1 == pytest.approx(printed("evaluate")["top1"], abs=0.01)


def test_exported_files_compute_what_they_computed():
    expected = COMPUTED["outputs"]
    assert tflite("exports/digits.tflite", PIXELS) == pytest.approx(expected["exports/digits.tflite"], abs=1e-4)
    # Steps of the 8-bit output.
    assert tflite("exports/digits-int8.tflite", BYTES) == pytest.approx(expected["exports/digits-int8.tflite"], abs=1)
    session = onnxruntime.InferenceSession("exports/digits.onnx")
    [[logits]] = session.run(["logits"], {"images": PIXELS.transpose(0, 3, 1, 2)})
    assert logits == pytest.approx(expected["exports/digits.onnx"], abs=1e-4)


def test_a_network_is_exported_as_it_was():
    spnas("export", "trained/network.pt", "--to", "tflite", "--data", "digits", "-o", "again.tflite")
    assert tflite("again.tflite", PIXELS) == pytest.approx(COMPUTED["outputs"]["exports/digits.tflite"], abs=1e-4)
