"""Whole runs as Python code makes them: they say nothing, tell a listener, leave what the commands leave, and come back."""

import hashlib
import json
from dataclasses import replace

import pytest
import torch
from PIL import Image
from small import table_from_multiply_adds

from latency_db.runtime_model import RuntimeModel
from profiling.errors import InputError
from search import checkpoint
from search.config import TrainingOptions
from search.convnet.named import Size
from search.convnet.network import Network
from search.convnet.saved import load_network
from search.export.export import ExportOptions
from search.listener import Listener
from search.runs.evaluate import evaluate
from search.runs.explore import explore
from search.runs.export import export
from search.runs.run import SearchRun, TrainRun, load_run
from search.runs.search import search
from search.runs.train import FROM_WHAT_THERE_IS as NO_PLAN
from search.runs.train import Plan, train

QUICK = TrainingOptions(epochs=2, batch_size=64)
ANY_DROP = ExportOptions(representative_images=20, check_images=20, accept_drop=100)


class Notebook(Listener):
    """Writes down all that it is told, and asks to stop after so many steps."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.notes, self.spans, self.shown, self.steps = [], [], [], []
        self.ended, self._stop_after = 0, stop_after

    def note(self, text):
        self.notes.append(text)

    def begin(self, done, total):
        self.spans.append((done, total))

    def progress(self, done, total, text):
        self.shown.append((done, total, text))

    def step(self, step):
        self.steps.append(step)

    def end(self):
        self.ended += 1

    def stop(self):
        return len(self.steps) == self._stop_after


@pytest.fixture(scope="module")
def table(make_space):
    return table_from_multiply_adds(make_space(classes=12))


@pytest.fixture(scope="module")
def found(table, tmp_path_factory) -> tuple[SearchRun, Notebook]:
    """A search that was stopped once, and what was told by the call that ended it."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    with pytest.raises(KeyboardInterrupt):
        search(table, "digits", folder, runtime_weight=0.1, options=QUICK, listener=Notebook(stop_after=20))
    told = Notebook()
    return search(table, "digits", folder, runtime_weight=0.1, options=QUICK, listener=told), told


def test_a_search_tells_how_it_goes_on_from_where_it_stopped(found):
    _, told = found
    assert told.spans == [(20, 44)]
    assert [step.step for step in told.steps] == list(range(21, 45)) == [done for done, _, _ in told.shown]
    assert told.ended == 1
    assert told.notes[0].startswith("The data has 10 classes and the table a head of 12")
    assert told.notes[1].endswith("44 steps of 64, aiming at λ = 0.1; from step 20")
    assert "CE " in told.shown[-1][2]


def test_a_search_goes_on_at_the_learning_rate_that_it_was_begun_with(found, table, tmp_path):
    """Whatever the default is by then: it was 0.016 before."""
    assert found[0].config.learning_rate == 0.064, "batches of 64 are small"
    begun = replace(QUICK, learning_rate=0.016)
    with pytest.raises(KeyboardInterrupt):
        search(table, "digits", tmp_path, runtime_weight=0.1, options=begun, listener=Notebook(stop_after=40))
    assert search(table, "digits", tmp_path, runtime_weight=0.1, options=QUICK).config.learning_rate == 0.016
    with pytest.raises(InputError, match="belongs to another config"):
        search(table, "digits", tmp_path, runtime_weight=0.1, options=replace(QUICK, learning_rate=0.02))


def test_a_search_on_an_int8_table_trains_for_int8_and_what_goes_on_from_it_too(table, tmp_path):
    int8 = table.model_copy(update={"conditions": table.conditions.model_copy(update={"precision": "int8"})})
    told = Notebook()
    run = search(int8, "digits", tmp_path / "found", runtime_weight=0.1, options=QUICK, listener=told)
    assert any("trains for int8, with the rounding of an int8 file" in note for note in told.notes)
    short = replace(QUICK, epochs=1)
    runs = {
        "found": run,
        "on": train(run, "digits", tmp_path / "on", options=short),
        "fp32": train(run, "digits", tmp_path / "fp32", options=replace(short, precision="fp32")),
        "anew": train(
            run, "digits", tmp_path / "anew", replace(NO_PLAN, init="random"), options=replace(short, precision="int8")
        ),
    }
    saved = {name: load_network(each.folder.network) for name, each in runs.items()}
    assert {name: each.trained_for for name, each in saved.items()} == {
        "found": "int8", "on": "int8", "fp32": "fp32", "anew": "int8",
    }  # fmt: skip
    assert saved["found"].origin == "trained by the search that found it, for int8"
    assert "by the recipe mnasnet, for int8" in saved["anew"].origin
    assert {*saved["found"].state} == {*saved["fp32"].state}
    told = Notebook()
    export(saved["on"], tmp_path / "on.tflite", "digits", precision="int8", options=ANY_DROP, listener=told)
    assert "The network was trained for int8." in told.notes


def test_a_search_interrupted_in_and_between_all_phases_leaves_what_a_whole_one_leaves(table, tmp_path):
    fastest, slowest = RuntimeModel(table).range_ms()

    def begin(name, stop_after=None):
        told = Notebook(stop_after)
        return search(
            table, "digits", tmp_path / name, target_ms=fastest + 0.35 * (slowest - fastest), options=QUICK, listener=told
        ), told

    whole, told = begin("whole")
    assert [step.phase for step in told.steps] == ["dropout"] * 4 + ["search"] * 14 + ["final"] * 26
    for steps in (2, 2, 6, 8, 12):
        with pytest.raises(KeyboardInterrupt):
            begin("parts", stop_after=steps)
    for stop in (14, 0):
        parts, told = begin("parts")
        assert len(told.steps) == stop, "the first of the two ends it; a finished one is not trained again"
        assert parts.result == whole.result
        for name in ("architecture.json", "candidates.csv", "metrics.csv", "result.json"):
            assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
        mine, other = (load_network(run.folder.network) for run in (parts, whole))
        assert (mine.top1, mine.origin, mine.layers) == (other.top1, "trained by the search that found it", other.layers)
        assert mine.state.keys() == other.state.keys()
        assert same(mine.state, other.state)


def test_a_finished_search_is_read_again_and_its_network_guesses_as_it_should(found, capfd):
    run, _ = found
    again = load_run(run.folder.path)
    assert again == run
    assert isinstance(again, SearchRun)
    assert (again.search, again.found) == (None, None)
    assert again.predicted_ms == run.predicted_ms == run.search.model.predict(again.architecture).total_ms
    assert again.table == run.search.model.table
    assert again.network()(torch.zeros(3, 1, 12, 12)).shape == (3, 10)
    assert json.loads(run.folder.result.read_text())["architecture"] == list(run.architecture.choices)
    assert not run.folder.command.exists(), "no command was typed"
    assert capfd.readouterr() == ("", "")


def test_a_search_that_ended_is_explored_from_its_folder(found):
    run, _ = found
    told = Notebook()
    explored = explore(run.folder, networks=6, listener=told)
    assert told.spans == [(0, 6)]
    assert told.shown[-1][:2] == (6, 6)
    assert "Explored: 6 networks" in told.notes[0]
    assert len(explored.networks) == 6
    assert set(explored.front) <= set(explored.networks)
    assert run.folder.figure("front").exists()
    # In memory or from the folder, the supernet is the same one: nothing is scored again.
    assert explore(run, networks=6).networks == explored.networks


def test_a_network_is_trained_on_from_a_search_measured_and_exported(found, tmp_path):
    run, _ = found
    told = Notebook()
    trained = train(run, "digits", tmp_path / "trained", Plan(init=run), options=QUICK, listener=told)
    assert isinstance(trained, TrainRun)
    assert (told.spans, told.ended) == ([(0, 44)], 1)
    assert "top-1" in told.shown[-1][2]
    assert trained.config.network == str(run.folder.architecture)
    assert trained.result.origin.endswith("starting from: trained by the search that found it")
    assert load_run(trained) == trained
    measured = evaluate(trained, "digits")
    assert (measured.top1, measured.top5) == (trained.accuracy, trained.result.top5)
    assert measured.images == 359
    assert list(measured.top1_by_class) == list("0123456789")

    told = Notebook()
    exported = export(trained, tmp_path / "digits.onnx", "digits", listener=told)
    assert exported.file.stat().st_size == exported.size_bytes
    assert (exported.check.images, exported.check.top1) == (359, trained.accuracy)
    assert told.notes == ["Converting to onnx, fp32 …", "Comparing with the network …"]
    assert (told.spans, told.shown[-1][:2]) == ([(0, 359)], (359, 359))


def first_weights(place, folder, plan=NO_PLAN, options=QUICK) -> tuple[Notebook, dict[str, torch.Tensor]]:
    """What is said and the weights after the first step, whose rate is 0."""
    told = Notebook(stop_after=1)
    with pytest.raises(KeyboardInterrupt):
        train(place, "digits", folder, plan, options=options, listener=told)
    assert told.steps[0].learning_rate == 0
    weights = checkpoint.load(folder / "checkpoint.pt", {})["weights"]
    return told, {name: value for name, value in weights.items() if "running" not in name}


def same(weights, saved) -> bool:
    return all(torch.equal(value, saved[name]) for name, value in weights.items())


def test_a_training_starts_from_the_weights_that_its_network_comes_with(found, tmp_path):
    run = found[0].folder
    searched = load_network(run.network)
    for number, place in enumerate((found[0], run.path, run.architecture, run.network)):
        told, weights = first_weights(place, tmp_path / str(number))
        assert same(weights, searched.state)
        assert told.notes[0] == (
            f"Starting from the weights in {run.network} (top-1 {searched.top1:.2%}), by the recipe finetune."
        )
    torch.manual_seed(QUICK.seed)
    random = Network(searched.layers, 10).state_dict()
    bare = tmp_path / "bare.json"
    bare.write_bytes(run.architecture.read_bytes())
    for place, plan in ((run, Plan(init="random")), (bare, NO_PLAN)):
        told, weights = first_weights(place, tmp_path / f"random-{place.name}", plan)
        assert same(weights, random)
        assert told.notes[0] == "Starting from random weights, by the recipe mnasnet."
    told, weights = first_weights(run, tmp_path / "given", Plan(init=run, recipe="modern"))
    assert same(weights, searched.state)
    assert told.notes[0].endswith("by the recipe modern.")


def test_a_network_in_another_size_than_its_weights_starts_from_random_ones(found, tmp_path):
    told = Notebook(stop_after=1)
    with pytest.raises(KeyboardInterrupt):
        train(found[0], "digits", tmp_path / "wide", size=Size(2.0), options=QUICK, listener=told)
    assert told.notes[0].startswith("Starting from random weights")


def test_a_run_that_was_begun_from_random_weights_goes_on_from_them(found, tmp_path):
    """As every run of earlier versions was that had no --init."""
    with pytest.raises(KeyboardInterrupt):
        train(found[0], "digits", tmp_path, Plan(init="random"), options=QUICK, listener=Notebook(stop_after=30))
    told = Notebook()
    ended = train(found[0], "digits", tmp_path, options=QUICK, listener=told)
    assert told.spans == [(30, 44)]
    assert ended.result.origin == "trained for 2 epochs on digits by the recipe mnasnet"


def write_noise(folder, shape):
    """Twenty grey images of noise, (height, width), in each of two classes."""
    generator = torch.Generator().manual_seed(0)
    for name in ("left", "right"):
        (folder / name).mkdir(parents=True)
        for number in range(20):
            pixels = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
            Image.fromarray(pixels.numpy()).save(folder / name / f"{number}.png")


def test_other_classes_get_another_classifier(found, tmp_path):
    run = found[0]
    write_noise(tmp_path / "images", (12, 12))
    told = Notebook()
    options = replace(QUICK, batch_size=8)
    trained = train(run, tmp_path / "images", tmp_path / "run", options=options, listener=told)
    assert "the data has other classes than the weights, so the classifier starts from random ones" in told.notes[0]
    assert len(load_network(trained.folder.network).state["blocks.5.classifier.bias"]) == 2


def test_a_training_has_a_framing_and_what_starts_from_it_inherits_it(found, tmp_path):
    run = found[0]
    write_noise(tmp_path / "images", (12, 30))
    options = replace(QUICK, batch_size=8, epochs=1)
    cropped = train(run, tmp_path / "images", tmp_path / "crop", options=options)
    first = train(run, tmp_path / "images", tmp_path / "first", options=replace(options, framing="stretch"))
    second = train(first, tmp_path / "images", tmp_path / "second", options=options)
    for trained, framing, crop in ((cropped, "crop", 12 / 13), (first, "stretch", 1), (second, "stretch", 1)):
        saved = load_network(trained.folder.network)
        assert (saved.framing, saved.centre_crop, trained.config.framing) == (framing, crop, framing)
        assert load_run(trained).config == trained.config
        measured = evaluate(trained, tmp_path / "images")
        assert (measured.framing, measured.top1) == (framing, trained.result.top1)
        assert measured.framings.first == measured.top1
    assert train(run, tmp_path / "images", tmp_path / "first", options=options).config == first.config, (
        "it goes on as it was begun"
    )
    with pytest.raises(InputError, match="belongs to another config"):
        train(run, tmp_path / "images", tmp_path / "first", options=replace(options, framing="crop"))


def test_a_network_is_taught_by_another(found, tmp_path, space):
    run = found[0]
    (tmp_path / "small.json").write_text(space.uniform("3x3-3").to_json())
    told = Notebook()
    taught = train(tmp_path / "small.json", "digits", tmp_path / "taught", Plan(teacher=run), options=QUICK, listener=told)
    digest = hashlib.sha256(run.folder.network.read_bytes()).hexdigest()
    assert (taught.config.teacher, taught.config.teacher_digest) == (str(run.folder.network), digest[:16])
    assert told.notes[0] == f"Starting from random weights, by the recipe mnasnet, with the teacher {run.folder.network}."
    assert taught.result.origin.endswith(f"by the recipe mnasnet with the teacher {run.folder.network}")
    assert load_run(taught) == taught
    with pytest.raises(InputError, match="belongs to another"):
        train(tmp_path / "small.json", "digits", tmp_path / "taught", Plan(teacher=taught), options=QUICK)


def test_one_process_trains_in_either_precision(tmp_path, space):
    (tmp_path / "a.json").write_text(space.uniform("3x3-3").to_json())
    runs = [
        train(tmp_path / "a.json", "digits", tmp_path / name, options=replace(QUICK, mixed_precision=name))
        for name in ("no", "bf16")
    ]
    weights = [load_network(run.folder.network).state["blocks.0.weight"] for run in runs]
    assert not torch.equal(*weights), "bf16 rounds"
    torch.testing.assert_close(*weights, rtol=0.1, atol=0.1)


def test_what_cannot_be_done_is_said_before_anything_is_left(found, table, tmp_path):
    run, _ = found
    with pytest.raises(InputError, match="either target_ms or runtime_weight"):
        search(table, "digits", tmp_path / "new")
    with pytest.raises(InputError, match="epochs = -1: input should be greater than or equal to 1"):
        search(table, "digits", tmp_path / "new", runtime_weight=1, options=TrainingOptions(epochs=-1))
    with pytest.raises(InputError, match="the folder is not empty"):
        search(table, "digits", run.folder, runtime_weight=0.1, options=TrainingOptions(resume=False))
    with pytest.raises(InputError, match="belongs to another config"):
        search(table, "digits", run, runtime_weight=0.2, options=QUICK)
    with pytest.raises(InputError, match="a trained network has a fixed size"):
        train(run.folder.network, "digits", tmp_path / "new", size=Size(0.5))
    with pytest.raises(InputError, match=r"digits\.bin: the name of an exported file ends in \.tflite or \.onnx"):
        export(run, tmp_path / "digits.bin")
    with pytest.raises(InputError, match="no finished run of spnas search or train"):
        load_run(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        explore(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []
