"""Every layer computes with its channels last in memory, whatever the images: otherwise a step takes twice as long."""

import pytest
import torch
from one_of_several import short_search, short_training
from torch.nn.modules.module import register_module_forward_hook

from search.convnet.network import ConvBN
from search.images.batches import channels_last, on_device


@pytest.fixture
def strides():
    """How far apart two channels of one pixel lie in what each layer has given since."""
    seen: list[int] = []

    def look(module, inputs, output):
        if isinstance(module, ConvBN):
            seen.append(output.stride(1))

    with register_module_forward_hook(look):
        yield seen


@pytest.mark.parametrize("accumulate", [1, 4])
def test_a_search_of_grey_images_with_its_scores_computes_channels_last(tmp_path, strides, accumulate):
    short_search(tmp_path, accumulate=accumulate)
    assert len(strides) > 300
    assert set(strides) == {1}


@pytest.mark.parametrize("recipe", ["mnasnet", "modern"])
def test_a_training_on_grey_images_with_its_evaluations_computes_channels_last(tmp_path, strides, recipe):
    """Also where images are mixed, which leaves them in the other order."""
    short_training(tmp_path, recipe)
    assert len(strides) > 100
    assert set(strides) == {1}


@pytest.mark.parametrize("channels", [1, 3])
def test_images_keep_their_values_and_are_copied_once(channels):
    images = torch.randn(4, channels, 6, 5)
    [(moved, _)] = on_device([(images, torch.arange(4))], torch.device("cpu"))
    assert torch.equal(moved, images)
    assert moved.stride() == (30 * channels, 1, 5 * channels, channels)
    assert channels_last(moved) is moved
