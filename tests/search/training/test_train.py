"""Training of networks: they learn, are averaged and judged as they should be, and go on exactly where they stopped."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from small import small_space
from torch import nn

from profiling.errors import InputError
from search.convnet.network import Network
from search.convnet.saved import SavedNetwork, load_network
from search.finding.scoring import reestimate_batch_norm
from search.images.batches import held_out_batches, training_batches
from search.images.data import load_data
from search.images.one_image import ImageForm
from search.run_folder import RunFolder
from search.training.accuracy import accuracies
from search.training.average import averaged_model
from search.training.recipe import Augmentation, TrainConfig, load_recipe
from search.training.train import Trained, Training, augmentation, mixture

FORM = ImageForm(12, 1)


LAYERS = [layer for _, layer in small_space().uniform("3x3-6").placed_layers()]


def make_training(folder, recipe="mnasnet", epochs=2, initial=None, data=None, layers=LAYERS, **settings) -> Training:
    """A training on digits."""
    adapted = load_recipe(recipe).adapted(epochs)
    data = data or load_data("digits", FORM, 0, augmentation(adapted.augmentation))
    defaults = {"data": "digits", "network": "small", "batch_size": 64, "checkpoint_seconds": 1e-9}
    folder.mkdir(exist_ok=True)
    return Training(layers, data, TrainConfig(**dict(adapted) | defaults | settings), RunFolder(folder), initial)


@pytest.fixture
def start(tmp_path):
    """Makes a training in a folder of this name."""
    return lambda name="run", *arguments, **settings: make_training(tmp_path / name, *arguments, **settings)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Trained:
    return make_training(tmp_path_factory.mktemp("trained"), epochs=14, checkpoint_seconds=60.0).run(ignore)


def ignore(step):
    pass


def test_digits_are_learned_and_the_file_holds_what_was_measured(trained, tmp_path):
    assert trained.top1 > 0.85
    assert trained.top5 > 0.98
    path = tmp_path / "network.pt"
    trained.saved.save(path)
    saved = load_network(path)
    assert saved.origin == "trained for 14 epochs on digits by the recipe mnasnet"
    (again,) = accuracies([saved.build()], held_out_batches(load_data("digits", FORM, 0), 50, 0), 10)
    assert (again.top1, again.top5) == (saved.top1, trained.top5) == (trained.top1, trained.top5)
    assert [evaluation.epoch for evaluation in trained.evaluations] == list(range(1, 15))


def test_batch_norm_of_a_short_run_fits_its_averaged_weights(trained):
    """Re-estimating it on training images makes hardly a difference; with PyTorch's fixed momentum it is 0.17 here."""
    network, data = trained.saved.build(), load_data("digits", FORM, 0)
    reestimate_batch_norm(network, (images for images, _ in training_batches(data, 64, 0, 0, 22, 0)))
    (again,) = accuracies([network], held_out_batches(data, 64, 0), 10)
    assert trained.top1 == pytest.approx(again.top1, abs=0.05)


@pytest.mark.parametrize(
    ("recipe", "epochs", "trained_for"), [("mnasnet", 2, "fp32"), ("modern", 1, "fp32"), ("mnasnet", 1, "int8")]
)
def test_a_training_that_is_stopped_anywhere_goes_on_bit_for_bit(start, tmp_path, recipe, epochs, trained_for):
    """Stopped once as by Ctrl-C, and once by an error between checkpoints, as a kill would do."""
    start = partial(start, recipe=recipe, epochs=epochs, trained_for=trained_for)
    whole = start("whole").run(ignore)
    steps = start("parts").steps
    taken = []
    with pytest.raises(KeyboardInterrupt):
        start("parts").run(taken.append, lambda: len(taken) == math.ceil(0.3 * steps))

    class KilledError(Exception):
        pass

    def kill(step):
        if step.step == steps // 2 + 1:
            raise KilledError

    with pytest.raises(KilledError):
        start("parts").run(kill)
    last = start("parts")
    assert 0 < last.resumed_at < steps
    trained = last.run(ignore)
    assert trained.evaluations == whole.evaluations
    parts, unbroken = RunFolder(tmp_path / "parts"), RunFolder(tmp_path / "whole")
    assert parts.metrics.read_bytes() == unbroken.metrics.read_bytes()
    assert parts.accuracy.read_bytes() == unbroken.accuracy.read_bytes()
    for name, value in whole.saved.state.items():
        assert torch.equal(trained.saved.state[name], value), name


def test_the_average_equals_a_slow_reference():
    """Plain numbers: the first step is the average, then a weight of the past of min(decay, (1 + n) / (10 + n))."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, track_running_stats=True))
    network[1].num_batches_tracked = None
    average = averaged_model(network, 0.6)
    reference: dict[str, np.ndarray] = {}
    for step in range(30):
        with torch.no_grad():
            for tensor in (*network.parameters(), *network.buffers()):
                tensor.copy_(torch.randn_like(tensor))
        average.update_parameters(network)
        for name, tensor in network.state_dict().items():
            past = min(0.6, (1 + step) / (10 + step)) if step else 0.0
            reference[name] = past * reference.get(name, 0.0) + (1 - past) * tensor.double().numpy()
    for name, tensor in average.module.state_dict().items():
        np.testing.assert_allclose(tensor.numpy(), reference[name], rtol=1e-5, atol=1e-6)


def test_accuracies_count_what_a_loop_over_images_counts():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(200, 8, generator=generator)
    labels = torch.randint(7, (200,), generator=generator)  # none of the last class
    batches = [(logits[first : first + 30], labels[first : first + 30]) for first in range(0, 200, 30)]
    found, negated = accuracies([nn.Identity(), nn.Hardtanh(-1e-9, 1e-9)], batches, 8)
    ranks = [sorted(range(8), key=lambda index: -row[index]).index(label) for row, label in zip(logits, labels, strict=True)]
    assert found.top1 == sum(rank == 0 for rank in ranks) / 200
    assert found.top5 == sum(rank < 5 for rank in ranks) / 200
    of_class = [rank == 0 for rank, label in zip(ranks, labels, strict=True) if label == 3]
    assert found.top1_by_class[3] == sum(of_class) / len(of_class)
    assert found.top1_by_class[7] is None
    assert negated.images == found.images
    assert accuracies([nn.Identity()], [(logits[:, :5], labels % 5)], 5)[0].top5 is None


def test_starting_weights_are_taken_over_and_said_so(trained, start):
    initial = trained.saved
    # With a learning rate of nearly nothing the accuracy that it starts from is the accuracy that it ends with.
    again = start("again", epochs=1, initial=initial, init="network.pt", learning_rate=1e-9).run(ignore)
    assert again.saved.origin.endswith(f"starting from: {initial.origin}")
    weight = "blocks.0.weight"
    assert torch.allclose(again.saved.state[weight], initial.state[weight], atol=1e-6)
    renamed = SavedNetwork("other", initial.layers, tuple("abc"), Network(LAYERS, 3).state_dict(), None, "elsewhere")
    learned = start("renamed", epochs=1, initial=renamed, learning_rate=1e-9).run(ignore).saved
    assert torch.allclose(learned.state[weight], renamed.state[weight], atol=1e-6)
    assert len(learned.classes) == len(learned.state["blocks.5.classifier.weight"]) == 10


@pytest.mark.parametrize(("rate", "lost"), [(1e-9, 0.01), (None, 0.0)], ids=["at no rate", "at its own"])
def test_finetune_keeps_what_was_learned(trained, start, rate, lost):
    settings = {} if rate is None else {"learning_rate": rate}
    tuned = start("tuned", "finetune", epochs=2, initial=trained.saved, **settings).run(ignore)
    assert tuned.top1 >= trained.top1 - lost
    assert tuned.saved.origin.startswith("trained for 2 epochs on digits by the recipe finetune, starting from: trained for 14")


def test_the_weights_of_another_network_are_refused(start, space):
    others = tuple(layer for _, layer in space.uniform("5x5-6").placed_layers())
    other = SavedNetwork("other", others, tuple("0123456789"), Network(others, 10).state_dict(), None, "elsewhere")
    with pytest.raises(InputError, match=r"other\.pt: the checkpoint is of another network: its layer 1 is .*-k5-.*, not .*-k3-"):
        start(initial=other, init="other.pt")


def test_a_checkpoint_of_another_network_recipe_or_data_is_refused(start, tmp_path, space):
    with pytest.raises(KeyboardInterrupt):
        start().run(ignore, lambda: True)
    checkpoint = RunFolder(tmp_path / "run").checkpoint
    before = checkpoint.read_bytes()
    with pytest.raises(InputError, match="belongs to another network"):
        start(layers=[layer for _, layer in space.uniform("5x5-6").placed_layers()])
    with pytest.raises(InputError, match="belongs to another config"):
        start(recipe="modern")
    with pytest.raises(InputError, match="belongs to another data"):
        start(data=replace(load_data("digits", FORM, 0), classes=tuple("abcdefghij")))
    assert checkpoint.read_bytes() == before


def test_mixed_batches_have_mixed_labels_and_augmented_images_depend_on_epoch_and_index_alone():
    images, labels = torch.rand(6, 1, 12, 12), torch.arange(6)
    assert mixture(Augmentation(), 6)(images, labels) == (images, labels)
    mixed, shares = mixture(Augmentation(mixup=1.0, cutmix=1.0), 6)(images, labels)
    assert shares.shape == (6, 6)
    assert torch.allclose(shares.sum(1), torch.ones(6))
    assert not torch.equal(mixed, images)
    augmented = load_data("digits", FORM, 0, augmentation(Augmentation(operations=2, erasing=0.9)))
    plain = load_data("digits", FORM, 0)
    torch.manual_seed(1)
    first, first_label = augmented.train[3, 5]
    torch.manual_seed(2)
    assert torch.equal(augmented.train[3, 5][0], first)
    assert not torch.equal(augmented.train[4, 5][0], first)
    assert not torch.equal(plain.train[3, 5][0], first)
    assert first_label == plain.train[3, 5][1]
    assert torch.equal(augmented.held_out[0, 5][0], plain.held_out[0, 5][0])


def test_grey_cmyk_16_bit_and_transparent_images_train_together(start, tmp_path):
    generator = np.random.default_rng(0)
    for name, level in (("dark", 60), ("light", 190)):
        folder = tmp_path / "images" / name
        folder.mkdir(parents=True)
        for number, mode in enumerate(["RGB", "L", "CMYK", "I;16", "RGBA", "P", "1"] * 3):
            grey = np.clip(generator.normal(level, 20, (20, 20)), 0, 255)
            if mode == "I;16":
                Image.fromarray((grey * 257).astype(np.uint16)).save(folder / f"{number}.png")
            else:
                image = Image.fromarray(grey.astype(np.uint8)).convert(mode)
                image.save(folder / f"{number}.{'tif' if mode == 'CMYK' else 'png'}")
    for recipe in ("mnasnet", "modern"):
        data = load_data(str(tmp_path / "images"), FORM, 0, augmentation(load_recipe(recipe).augmentation))
        trained = start(recipe, recipe, epochs=3, data=data, batch_size=8).run(ignore)
        assert trained.saved.classes == ("dark", "light")
        assert trained.top5 is None
        assert all(math.isfinite(step.loss) for step in trained.steps)
