"""`spnas compare`, called as a person does, on small networks and the models of real conversions."""

import json

import pandas
import pytest
from click.testing import CliRunner

from latency_db.campaign import canary_network
from latency_db.runtime_model import RuntimeModel
from latency_db.table import LatencyTable, Row
from latency_db.table_files import write_table
from profiling.device import RunSettings
from profiling.footprint import footprint
from profiling.host.host import HostDevice
from profiling.models.builder import TfliteBuilder
from profiling.models.foreign import read_tflite
from profiling.space import load_space
from search.convnet.entrants import Scaling, read_entrants
from search.convnet.network import Network
from search.convnet.saved import SavedNetwork
from search.convnet.zoo import TABLE_1_TOP1, load_zoo_network, single_path, zoo_names
from spnas_cli.main import cli

SMALL = {"resolution": 32, "classes": 10}
SCALING = ("--resolution", "32", "--classes", "10", "--width", "0.25,0.5")
QUICK = ("--rounds", "2", "--runs", "3")
MOBILENET = load_zoo_network("mobilenet-v1", width_multiplier=0.25, **SMALL)


def compare(*arguments):
    return CliRunner().invoke(cli, ["-q", "compare", *arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One file of every kind that can be compared, and a cache that holds all models that the tests need."""
    folder = tmp_path_factory.mktemp("compare")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.chdir(folder)
        architecture = single_path(width_multiplier=0.25, **SMALL)
        wide = load_zoo_network("single-path-nas", width_multiplier=0.5, **SMALL)
        with TfliteBuilder(workers=1) as builder:
            built = builder.build([MOBILENET, wide, architecture.network, canary_network(load_space("imagenet"))], "fp32")
        content = built[MOBILENET.key].path.read_bytes()
        (folder / "model.tflite").write_bytes(content)
        (folder / "cut.tflite").write_bytes(content[: len(content) // 2])
        (folder / "text.tflite").write_text("no model at all")
        (folder / "arch.json").write_text(single_path(**SMALL).to_json())
        state = Network(MOBILENET.layers, 10).state_dict()
        names = tuple(map(str, range(10)))
        SavedNetwork("mine", MOBILENET.layers, names, state, 0.875, "a test").save(folder / "net.pt")
        (folder / "bad.pt").write_bytes((folder / "net.pt").read_bytes()[:1000])
        conditions = HostDevice().conditions(RunSettings())
        rows = {layer.key: Row(ms=0.1 * number) for number, layer in enumerate(architecture.space.layers, start=1)}
        table = LatencyTable(
            name="t", space=architecture.space, conditions=conditions, rows=rows, created_at="2026-01-01", source="a test"
        )
        write_table(table, folder / "t.json")
        other = table.model_copy(update={"conditions": conditions.model_copy(update={"threads": 4})})
        write_table(other, folder / "other.json")
        yield folder, architecture, table


@pytest.fixture(autouse=True)
def inside(folder, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder[0] / "cache"))
    monkeypatch.chdir(folder[0])


def test_every_kind_of_network_side_by_side_and_again(folder):
    """Each column is what it says; the same command finds its figures, another seed measures anew and widens the interval."""
    path, architecture, table = folder
    command = ("single-path-nas", "arch.json", "model.tflite", "net.pt", "chamnet-b", *SCALING, *QUICK, "--table", "t.json")
    command += ("--top1", "arch.json@0.5=0.5", "--published", "--json")
    result = compare(*command, "-o", "out")
    assert result.exit_code == 0, result.stderr
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert list(rows) == [
        "single-path-nas@0.25", "single-path-nas@0.5", "arch.json@0.25", "arch.json@0.5", "model.tflite", "net.pt", "chamnet-b",
    ]  # fmt: skip
    contract = ["name", "parameters", "multiply_adds", "predicted_ms", "measured_ms", "low_ms", "high_ms", "top1"]
    assert [key for key in rows["net.pt"] if key in contract] == contract
    chamnet = rows.pop("chamnet-b")
    assert (chamnet["measured_ms"], chamnet["parameters"], chamnet["memory_mb"]) == (None, None, None)
    assert "does not give the architecture" in chamnet["note"]
    for row in rows.values():
        assert 0 < row["low_ms"] <= row["measured_ms"] <= row["high_ms"], row["name"]
    assert rows["arch.json@0.5"]["measured_ms"] == rows["single-path-nas@0.5"]["measured_ms"], "one model under two names"
    assert rows["model.tflite"]["multiply_adds"] == MOBILENET.multiply_adds
    assert rows["net.pt"]["parameters"] == MOBILENET.parameters
    needs = footprint(MOBILENET, "fp32")
    assert rows["net.pt"]["size_mb"] == needs.size_mb
    assert rows["model.tflite"]["size_mb"] == (path / "model.tflite").stat().st_size / 1e6
    assert rows["net.pt"]["memory_mb"] == rows["model.tflite"]["memory_mb"] == needs.memory_mb

    total_ms = RuntimeModel(table).predict(architecture).total_ms
    predicted = {name: row["predicted_ms"] for name, row in rows.items() if row["predicted_ms"] is not None}
    assert predicted == dict.fromkeys(("single-path-nas@0.25", "arch.json@0.25"), pytest.approx(total_ms))
    # A network twice as wide has nothing in common with the table's; MobileNetV1 has the stem.
    assert "the table lacks 14 of its 14 different layers" in rows["arch.json@0.5"]["note"]
    assert "the table lacks 10 of its 11 different layers" in rows["net.pt"]["note"]
    assert "a file does not say" in rows["model.tflite"]["note"]
    top1 = {name: (row["top1"], row["top1_from"]) for name, row in rows.items() if row["top1"] is not None}
    assert top1 == {"arch.json@0.5": (0.5, "given"), "net.pt": (0.875, "trained network")}
    assert (chamnet["top1"], chamnet["top1_from"]) == (0.738, "published: Single-Path NAS, Table 1")

    frame = pandas.read_csv(path / "out" / "compare.csv").set_index("name")
    assert frame.measured_ms["net.pt"] == rows["net.pt"]["measured_ms"]
    assert json.loads((path / "out" / "compare.json").read_text()) == [*rows.values(), chamnet]
    assert (path / "out" / "compare.png").stat().st_size > 10_000
    assert (path / "out" / "width.png").stat().st_size > 10_000
    assert {"config.yaml", "command.txt"} < {file.name for file in (path / "out").iterdir()}

    again = compare(*command)
    assert json.loads(again.stdout) == json.loads(result.stdout)
    first = rows["net.pt"]
    [second] = json.loads(compare("net.pt", *QUICK, "--seed", "2", "--json").stdout)
    assert (first["runs"], second["runs"]) == (1, 2)
    assert second["low_ms"] <= min(first["low_ms"], second["measured_ms"])
    assert second["high_ms"] >= max(first["high_ms"], second["measured_ms"])


def test_trainings_of_a_found_network_against_those_of_a_uniform_one(folder):
    """Two seeds of each; what each is comes from the names of the networks that were trained."""
    path = folder[0]
    state = Network(MOBILENET.layers, 10).state_dict()
    for name, network, accuracies in (
        ("found", "run/architecture.json", (0.91, 0.915)), ("uniform", "base/uniform-5x5-6.json", (0.88, 0.885 - 1 / 359))
    ):  # fmt: skip
        for seed, top1 in enumerate(accuracies):
            run = path / f"{name}-{seed}"
            run.mkdir()
            saved = SavedNetwork(network, MOBILENET.layers, tuple(map(str, range(10))), state, top1, "a test")
            saved.save(run / "network.pt")
            (run / "config.yaml").write_text(f"network: {network}\nseed: {seed}\nepochs: 8\n")
            (run / "result.json").write_text('{"top1": 0.9, "held_out_images": 359}')
    runs = ("found-0", "found-1", "uniform-0", "uniform-1")
    words = "Found: 3.14 points above the best uniform network, uniform-0"
    result = compare(*runs, *QUICK, "-o", "seeds")
    assert result.exit_code == 0, result.stderr
    assert words in result.stdout
    [advantage] = json.loads((path / "seeds" / "advantages.json").read_text())
    assert (advantage["against"], advantage["difference"]) == ("uniform", pytest.approx(3 + 50 / 359))
    rows = json.loads(compare(*runs, *QUICK, "--json").stdout)
    assert [(row["role"], row["seed"]) for row in rows] == [("found", 0), ("found", 1), ("uniform", 0), ("uniform", 1)]
    assert CliRunner().invoke(cli, ["report", "seeds", "-o", "report.html"]).exit_code == 0
    page = (path / "report.html").read_text()
    assert words in page
    assert "uniform-1 <small>(uniform)</small>" in page


def test_without_an_argument_it_is_all_of_table_1(monkeypatch):
    """Asked without measuring, which takes minutes at full size."""
    asked = []
    monkeypatch.setattr("search.convnet.entrants.read_entrants", lambda wanted, *_, **__: asked.extend(wanted) or [])
    compare()
    table_1 = [name for name in zoo_names() if name in TABLE_1_TOP1]
    assert len(table_1) == 6
    assert asked == [*table_1, "chamnet-b"]
    asked.clear()
    compare("mnasnet", "net.pt", "--zoo")
    assert sorted(asked) == sorted([*zoo_names(), "chamnet-b", "net.pt"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("mobilenet-v9",), "the zoo (efficientnet-lite0, fbnet-b, mnasnet"),
        (("missing.tflite",), "no such file"),
        (("text.tflite",), "text.tflite: LiteRT cannot load it"),
        (("cut.tflite",), "cut.tflite: LiteRT cannot load it"),
        (("bad.pt",), "bad.pt: the checkpoint cannot be read"),
        (("t.json",), "t.json"),
        (("mnasnet", "mnasnet"), "mnasnet: this network is given twice"),
        (("mnasnet", "net.pt", "--classes", "7"), "mnasnet has 7, net.pt has 10"),
        (("chamnet-b",), "no network to measure"),
        (("mnasnet", "--top1", "mobilenet-v2=0.7"), "rows: mnasnet"),
        (("mnasnet", "--top1", "mnasnet=74.6"), "from 0 to 1"),
        (("mnasnet", "--width", "1,wide"), "not a list of factors"),
        (("mnasnet", "--width", "0"), "above 0"),
        (("mnasnet", "-o", "text.tflite"), "is a file"),
        (("mnasnet", "-o", "."), "contains something other"),
    ],
    ids=" ".join,
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, words):
    result = compare(*arguments)
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("given", ["net.pt", "model.tflite", "arch.json"])
def test_the_zoo_has_the_classes_of_what_stands_beside_it(given):
    command = ("single-path-nas", given, "--resolution", "32", "--width", "0.25", *QUICK)
    result = CliRunner().invoke(cli, ["compare", *command, "--json"])
    assert result.exit_code == 0, result.stderr
    assert f"All networks get 10 classes, as {given} has them." in result.stderr
    assert (
        json.loads(result.stdout)[0]["parameters"]
        == load_zoo_network("single-path-nas", width_multiplier=0.25, **SMALL).parameters
    )


def test_networks_of_a_script_follow_one_another_too(folder):
    entrants = read_entrants(["mnasnet", "net.pt", "chamnet-b"], Scaling())
    assert [entrant.model and entrant.model.classes for entrant in entrants] == [10, 10, None]
    assert read_entrants(["mnasnet"], Scaling())[0].model.classes == 1000


def test_a_table_of_other_conditions_is_refused():
    result = compare("net.pt", "--table", "other.json", *QUICK)
    assert result.exit_code == 6
    assert "threads was 4 and is 1" in result.stderr


def test_what_a_tflite_file_says_of_itself(folder):
    """Batch norm is folded: one bias for each channel where training has a scale and a bias."""
    convolutions = [convolution for layer in MOBILENET.layers for convolution in layer.convolutions]
    found = read_tflite(folder[0] / "model.tflite")
    assert found.multiply_adds == MOBILENET.multiply_adds
    assert found.parameters == sum(convolution.weights + convolution.out_channels for convolution in convolutions)
    assert found.classes == 10
