"""Weights of torchvision's networks in ours: made by torchvision, with batch norm as after a training, and compared by output."""

from pathlib import Path

import pytest
import torch
from torch import nn

import search.images.vision  # noqa: F401 (makes torchvision importable beside any build of PyTorch)
from profiling.errors import InputError
from search.convnet.named import Size
from search.convnet.network import ConvBN
from search.convnet.torchvision_weights import THEIR_MEAN, THEIR_STD, Weights, downloaded, from_torchvision, state_in

NETWORKS = [("mobilenet-v2", 1.0), ("mobilenet-v2", 0.35), ("mnasnet", 0.5), ("mnasnet", 1.0), ("mnasnet", 1.3)]


def theirs(network: str = "mobilenet-v2", width: float = 0.35, classes: int = 10) -> nn.Module:
    """Torchvision's network as if it had been trained: statistics and factors of batch norm are not those of the start."""
    from torchvision import models

    torch.manual_seed(0)
    made = (
        models.mobilenet_v2(num_classes=classes, width_mult=width)
        if network == "mobilenet-v2"
        else models.MNASNet(width, classes)
    )
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.5
            nn.init.uniform_(module.weight, 0.6, 1.4)
            nn.init.normal_(module.bias, std=0.2)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.1)
    with torch.no_grad():
        for _ in range(4):
            made(torch.randn(8, 3, 64, 64))
    return made.eval()


@pytest.mark.parametrize(("network", "width"), NETWORKS, ids=str)
def test_in_the_mirror_it_computes_what_torchvision_s_does(network, width):
    """On images of 8 bits each in its own normalisation; only at the very edge does padding mean another colour."""
    other = theirs(network, width)
    mine = from_torchvision(network, Size(width, 96), Weights(other.state_dict(), "a test")).build()
    for module in mine.modules():
        if isinstance(module, ConvBN):
            module.weight.data = module.weight.data.flip(2, 3)
    photos = torch.randint(0, 256, (4, 3, 96, 96), generator=torch.Generator().manual_seed(1)) / 255
    mean, std = (torch.tensor(values)[:, None, None] for values in (THEIR_MEAN, THEIR_STD))
    with torch.no_grad():
        expected = other((photos - mean) / std)
        found = mine((photos.flip(2, 3) - 0.5) / 0.5)
        stem = mine.blocks[0]((photos.flip(2, 3) - 0.5) / 0.5).flip(2, 3)[..., 1:-1, 1:-1]
        first = (other.features[0] if network == "mobilenet-v2" else other.layers[:3])((photos - mean) / std)[..., 1:-1, 1:-1]
    assert torch.allclose(stem, first, atol=1e-4)
    assert (found - expected).abs().max() < 0.05 * expected.std()
    assert torch.equal(found.argmax(1), expected.argmax(1))


@pytest.mark.parametrize("ending", ["new", "legacy", "wrapped", "distributed"])
def test_files_as_torchvision_and_its_scripts_leave_them(tmp_path, ending):
    state = theirs().state_dict()
    file = tmp_path / "weights.pth"
    if ending == "wrapped":
        torch.save({"model": state, "epoch": 3}, file)
    elif ending == "distributed":
        torch.save({f"module.{name}": value for name, value in state.items()}, file)
    else:
        torch.save(state, file, _use_new_zipfile_serialization=ending == "new")
    weights = state_in(file)
    assert weights is not None
    saved = from_torchvision("mobilenet-v2", Size(0.35, 32), weights)
    assert len(saved.classes) == 10
    assert saved.build()(torch.zeros(1, 3, 32, 32)).shape == (1, 10)


def test_other_files_are_left_to_those_who_know_them(tmp_path):
    for content in (b"", b"no weights", b"PK\x03\x04" + bytes(100)):
        (tmp_path / "x.pth").write_bytes(content)
        assert state_in(tmp_path / "x.pth") is None
    for value in ({}, [1], {"a": 1}, {1: torch.zeros(1)}, theirs()):
        torch.save(value, tmp_path / "x.pth")
        assert state_in(tmp_path / "x.pth") is None
    with pytest.raises(InputError):
        state_in(tmp_path / "missing.pth")
    with pytest.raises(InputError):
        state_in(Path("/dev/zero"))


def test_weights_of_another_network_are_named_as_such():
    state = theirs().state_dict()
    for wrong in (
        {**state, "more": torch.zeros(1)},
        dict(list(state.items())[5:]),
        {**state, "features.0.0.weight": torch.zeros(1)},
    ):
        with pytest.raises(InputError, match=r"these are not torchvision's weights of mobilenet-v2 at width 0.35"):
            from_torchvision("mobilenet-v2", Size(0.35), Weights(wrong, "x.pth"))
    with pytest.raises(InputError, match="these are not torchvision's weights of mnasnet at width 1"):
        from_torchvision("mnasnet", Size(), Weights(state, "x.pth"))
    with pytest.raises(InputError, match="can be used for mobilenet-v2 and mnasnet"):
        from_torchvision("fbnet-b", Size(), Weights(state, "x.pth"))
    damaged = {**state, "features.0.0.weight": torch.full_like(state["features.0.0.weight"], torch.nan)}
    with pytest.raises(InputError, match="does not compute what torchvision's does"):
        from_torchvision("mobilenet-v2", Size(0.35), Weights(damaged, "x.pth"))


def test_the_check_sees_a_layer_in_another_place(monkeypatch):
    """Two layers of one shape, exchanged: names and shapes fit, the output does not."""
    import search.convnet.torchvision_weights as module

    copy = module._copy

    def exchanged(other: nn.Module, mine: nn.Module) -> None:
        copy(other, mine)
        first, second = mine.blocks[8].depthwise.weight, mine.blocks[9].depthwise.weight
        kept = first.clone()
        first.copy_(second)
        second.copy_(kept)

    monkeypatch.setattr(module, "_copy", exchanged)
    with pytest.raises(InputError, match="a logit differs by"):
        from_torchvision("mobilenet-v2", Size(0.35), Weights(theirs().state_dict(), "x.pth"))


def test_a_download_that_is_not_to_be_had_says_what_else_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"cannot be downloaded.*give the file: --init FILE.pth"):
        downloaded("mobilenet-v2", 1.0)
    with pytest.raises(InputError, match=r"no weights for mobilenet-v2 at width 0.35"):
        downloaded("mobilenet-v2", 0.35)
    with pytest.raises(InputError, match="no weights for fbnet-b"):
        downloaded("fbnet-b", 1.0)
