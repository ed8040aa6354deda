"""The recipe for a few hundred images: what is frozen stays, crops are light, and the training ends when it no longer helps."""

from pathlib import Path

import pytest
import torch
from pictures import draw
from small import small_space

from profiling.errors import InputError
from search.config import TrainingOptions
from search.convnet.network import Network
from search.convnet.saved import SavedNetwork
from search.images.data import load_data
from search.images.one_image import ImageForm
from search.listener import Listener
from search.run_folder import RunFolder
from search.runs.train import Plan, train
from search.training.recipe import TrainConfig, load_recipe
from search.training.train import Training

LAYERS = [layer for _, layer in small_space().uniform("3x3-6").placed_layers()]


def ignore(step):
    pass


def make_training(folder: Path, epochs: int, initial: SavedNetwork | None = None, **settings) -> Training:
    """By this recipe, on digits."""
    folder.mkdir(exist_ok=True)
    given = dict(load_recipe("few-images").adapted(epochs)) | {"data": "digits", "network": "small", "batch_size": 64} | settings
    return Training(LAYERS, load_data("digits", ImageForm(12, 1), 0), TrainConfig(**given), RunFolder(folder), initial)


@pytest.fixture(scope="module")
def other() -> SavedNetwork:
    """Weights of another task, with batch norm that has seen something."""
    torch.manual_seed(0)
    network = Network(LAYERS, 7)
    for _ in range(3):
        network(torch.randn(16, 1, 12, 12))
    return SavedNetwork("other", LAYERS, tuple("abcdefg"), network.state_dict(), None, "a test")


def weights(training) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in training._network.state_dict().items() if "num_batches" not in name}


def test_at_first_the_classifier_learns_alone(tmp_path, other):
    training = make_training(tmp_path / "run", 2, other, freeze=0.5, patience=0)
    first, seen = weights(training), []

    def look(step):
        seen.append({name for name, value in weights(training).items() if not torch.equal(value, first[name])})

    training.run(look)
    half = training.steps // 2
    classifier = {name for name in first if ".classifier." in name}
    assert set().union(*seen[:half]) == classifier
    assert {name.rpartition(".")[2] for name in seen[-1] - classifier} >= {"weight", "gamma", "running_mean"}


def test_without_weights_there_is_nothing_to_freeze(tmp_path):
    with pytest.raises(InputError, match=r"few-images: its first steps train the classifier alone, so it needs weights; --init"):
        make_training(tmp_path / "run", 2)


def test_it_ends_when_no_evaluation_is_better_and_goes_on_exactly(tmp_path, other):
    """At a rate at which nothing is learned, only batch norm changes the guesses, and not for long."""
    settings = {"freeze": 0.2, "patience": 3, "learning_rate": 1e-12}
    whole = make_training(tmp_path / "whole", 20, other, **settings)
    trained = whole.run(ignore)
    best, since_then, counted = 0.0, 0, []
    for evaluation in trained.evaluations[4:]:
        assert since_then < 3, "it should have ended"
        best, since_then = (evaluation.top1, 0) if evaluation.top1 > best else (best, since_then + 1)
        counted.append(evaluation.epoch)
    assert (since_then, counted[0]) == (3, 5)
    assert counted[-1] < 20
    assert trained.saved.origin.startswith(f"trained for {counted[-1]} epochs on digits by the recipe few-images")

    def stopped(at):
        taken = []
        part = make_training(tmp_path / "parts", 20, other, **settings)
        with pytest.raises(KeyboardInterrupt):
            part.run(taken.append, lambda: part.resumed_at + len(taken) >= at)

    stopped(30)
    stopped(70)
    again = make_training(tmp_path / "parts", 20, other, **settings).run(ignore)
    assert again.evaluations == trained.evaluations
    assert all(torch.equal(value, again.saved.state[name]) for name, value in trained.saved.state.items())
    # A run that has ended is not trained further.
    once_more = make_training(tmp_path / "whole", 20, other, **settings)
    once_more.run(lambda step: pytest.fail("a step too many"))


def test_settings_of_runs_without_it_are_those_of_before():
    text = TrainConfig(**dict(load_recipe("finetune")), data="any", network="any").to_yaml()
    assert not {"freeze", "patience", "light"} & {line.strip().partition(":")[0] for line in text.splitlines()}


class Notes(Listener):
    """Keeps what is said."""

    def __init__(self):
        self.said = []

    def note(self, text):
        self.said.append(text)


@pytest.mark.parametrize(("augment", "moves"), [(None, "light-flip"), ("none", "none")])
def test_a_folder_of_photos_is_cropped_lightly_unless_somebody_chooses(tmp_path, monkeypatch, other, augment, moves):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("disc", "square"):
        Path("photos", name).mkdir(parents=True)
        for number in range(10):
            draw(name, number, (80, 70)).save(f"photos/{name}/{number}.png")
    other.save(Path("other.pt"))
    listener = Notes()
    options = TrainingOptions(epochs=2, batch_size=8, augment=augment)
    run = train("other.pt", "photos", "run", Plan("few-images"), options=options, listener=listener)
    assert run.config.augment == moves
    assert any(f"(--augment {moves}" in line for line in listener.said)
