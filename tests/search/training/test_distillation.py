"""Distillation: its loss against independent formulas, who learns from whom, and that such a training resumes like any other."""

from dataclasses import replace

import pytest
import torch
from small import small_space
from torch import nn

from profiling.errors import InputError
from search.convnet.network import Network
from search.convnet.saved import SavedNetwork
from search.images.data import load_data
from search.images.one_image import ImageForm
from search.run_folder import RunFolder
from search.training.distillation import Teacher, soft_loss
from search.training.recipe import Distillation, TrainConfig, load_recipe
from search.training.train import Training

DIGITS = tuple("0123456789")
CPU = torch.device("cpu")


def network(choice="3x3-6", classes=DIGITS, seed=7, **space) -> SavedNetwork:
    """An untrained network whose logits are not all alike."""
    torch.manual_seed(seed)
    layers = tuple(layer for _, layer in small_space(**space).uniform(choice).placed_layers())
    built = Network(layers, len(classes))
    nn.init.normal_(built.blocks[-1].classifier.weight, std=2.0)
    return SavedNetwork("teacher", layers, classes, built.state_dict(), None, "a test")


STUDENT = network("3x3-3").layers


def teacher_of(saved: SavedNetwork, **settings) -> Teacher:
    return Teacher(saved, STUDENT[0], DIGITS, Distillation(**settings), CPU, "teacher.pt")


def training(folder, teacher: SavedNetwork | None, **settings) -> Training:
    folder.mkdir(exist_ok=True)
    taught = {"teacher": "teacher.pt", "teacher_digest": "1"} if teacher else {}
    defaults = {"data": "digits", "network": "small", "batch_size": 64, "checkpoint_seconds": 1e-9, **taught}
    config = TrainConfig(**dict(load_recipe("mnasnet").adapted(epochs=1)) | defaults | settings)
    return Training(STUDENT, load_data("digits", ImageForm(12, 1), 0), config, RunFolder(folder), teacher=teacher)


def ignore(step):
    pass


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_loss_is_that_of_hinton_et_al(temperature):
    """T² · KL as PyTorch's module has it, its gradient as their equation 2 has it: T · (softened network − softened teacher)."""
    torch.manual_seed(0)
    logits, said = (3 * torch.randn(6, 5) for _ in range(2))
    logits.requires_grad_()
    loss = soft_loss(logits, said, temperature)
    loss.backward()
    mine, theirs = (torch.softmax(each.double() / temperature, 1) for each in (logits.detach(), said))
    expected = temperature**2 * nn.KLDivLoss(reduction="batchmean")(mine.log(), theirs)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(logits.grad.double(), temperature * (mine - theirs) / 6, rtol=1e-4, atol=1e-6)
    assert soft_loss(said, said, temperature).item() == pytest.approx(0, abs=1e-6)


def test_labels_and_teacher_share_the_loss():
    saved, images, logits = network(), torch.rand(4, 1, 12, 12), torch.randn(4, 10)
    said = saved.build()(images).detach()
    for weight, temperature in ((0.3, 1.0), (1.0, 3.0)):
        taught = teacher_of(saved, weight=weight, temperature=temperature).teach(torch.tensor(2.0), logits, images)
        expected = (1 - weight) * 2.0 + weight * soft_loss(logits, said, temperature).item()
        assert taught.item() == pytest.approx(expected, rel=1e-6)


def test_a_teacher_of_another_resolution_sees_the_images_resized():
    saved, images, logits = network(resolution=24), torch.rand(4, 1, 12, 12), torch.randn(4, 10)
    larger = nn.Upsample(size=24, mode="bilinear")(images)
    expected = soft_loss(logits, saved.build()(larger).detach(), 1.0).item()
    taught = teacher_of(saved, weight=1.0).teach(torch.tensor(2.0), logits, images)
    assert taught.item() == pytest.approx(expected, rel=1e-4)


def test_only_the_student_learns(tmp_path):
    """With all the weight on a teacher it comes to agree with that, whatever the labels say."""
    saved = network()
    before = {name: value.clone() for name, value in saved.state.items()}
    images = torch.stack([load_data("digits", ImageForm(12, 1), 0).held_out[0, index][0] for index in range(300)])
    said = saved.build()(images).argmax(1)
    settings = {"epochs": 4, "learning_rate": 0.064, "warmup_epochs": 0, "decay_epochs": 1, "label_smoothing": 0}
    listens = training(tmp_path / "a", saved, distillation=Distillation(weight=1.0), **settings).run(ignore).saved
    alone = training(tmp_path / "b", None, **settings).run(ignore).saved
    agreement = [(each.build()(images).argmax(1) == said).float().mean().item() for each in (listens, alone)]
    assert agreement[0] > agreement[1] + 0.3
    assert all(torch.equal(value, before[name]) for name, value in saved.state.items())
    assert not any(parameter.requires_grad for parameter in teacher_of(saved)._network.parameters())
    assert listens.origin.endswith("by the recipe mnasnet with the teacher teacher.pt")


@pytest.mark.parametrize("settings", [{}, {"accumulate": 2, "precision": "bf16"}], ids=["plain", "parts in bf16"])
def test_a_taught_training_that_is_stopped_goes_on_bit_for_bit(tmp_path, settings):
    whole = training(tmp_path / "whole", network(), **settings).run(ignore)
    taken = []
    with pytest.raises(KeyboardInterrupt):
        training(tmp_path / "parts", network(), **settings).run(taken.append, lambda: len(taken) == 9)
    resumed = training(tmp_path / "parts", network(), **settings)
    assert resumed.resumed_at == 9
    trained = resumed.run(ignore)
    assert trained.evaluations == whole.evaluations
    assert trained.steps == whole.steps
    assert all(torch.equal(trained.saved.state[name], value) for name, value in whole.saved.state.items())
    untaught = training(tmp_path / "alone", None, **settings).run(ignore)
    assert untaught.steps != whole.steps, "the teacher said nothing"


def test_a_run_is_not_resumed_with_another_teacher_or_none(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        training(tmp_path, network()).run(ignore, lambda: True)
    with pytest.raises(InputError, match="belongs to another teacher: 1, not 2"):
        training(tmp_path, network(), teacher_digest="2")
    with pytest.raises(InputError, match="belongs to another config"):
        training(tmp_path, network(), distillation=Distillation(weight=0.1))
    with pytest.raises(InputError, match="belongs to another config"):
        training(tmp_path, None)


def test_a_teacher_that_cannot_teach_this_is_refused():
    with pytest.raises(
        InputError, match=r"teacher\.pt: the network knows 3 classes, these images have 10; .*not in these: a, b, c"
    ):
        teacher_of(network(classes=tuple("abc")))
    with pytest.raises(InputError, match="another order"):
        teacher_of(replace(network(), classes=DIGITS[::-1]))
    with pytest.raises(InputError, match=r"teacher\.pt: the teacher takes images of 3 channels, the network those of 1"):
        teacher_of(network(image_channels=3))
