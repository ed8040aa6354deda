"""What a training for int8 simulates is what the int8 file of the network does."""

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from trained import LATER_BLOCKS, trained

from search.convnet.inputs import load_known_images
from search.convnet.saved import MEAN, STD
from search.export.card import Use
from search.export.pixels import representative_pixels
from search.export.tflite_file import TfliteModel, folded_weights, to_tflite
from search.training.simulated_int8 import SimulatedInt8, quantised_weight


@pytest.fixture(scope="module", params=["relu6", "later blocks"])
def made(request, saved, photos, builder, tmp_path_factory):
    """A trained network, images, and what its int8 file, made with ranges from them, computes of them."""
    network = saved if request.param == "relu6" else trained("later blocks", LATER_BLOCKS, photos, steps=120)
    pixels = representative_pixels(load_known_images(network, str(photos), 0), 60, 0, 0)
    content, card = to_tflite(network, builder, "int8", Use("crop", 1.0), pixels)
    file = tmp_path_factory.mktemp("int8") / "network.tflite"
    file.write_bytes(content)
    return network, pixels, content, torch.from_numpy(TfliteModel(file, card).outputs(pixels))


def test_the_weights_are_those_of_the_file(made):
    network, _, content, _ = made
    interpreter = Interpreter(model_content=content)
    found = []
    for details in interpreter.get_tensor_details():
        steps = details["quantization_parameters"]["scales"]
        if details["dtype"] is np.int8 and len(steps) > 1:
            axis = details["quantization_parameters"]["quantized_dimension"]
            values = interpreter.get_tensor(details["index"]).astype(np.float32)
            found.append(np.moveaxis(values, axis, 0).reshape(len(steps), -1) * steps[:, None])
    expected = [kernel for layer in folded_weights(network.build()) for kernel, _ in layer]
    assert len(found) == len(expected) > 10
    for kernel in expected:
        # Outputs come last here, but in a depthwise kernel.
        moved = np.moveaxis(kernel, 2 if kernel.ndim == 4 and kernel.shape[3] == 1 else -1, 0)
        mine = quantised_weight(torch.from_numpy(moved.reshape(len(moved), -1).copy())).numpy()
        assert any(each.shape == mine.shape and np.allclose(each, mine, atol=1e-6) for each in found), kernel.shape


@torch.no_grad()
def test_rounding_moves_the_logits_as_far_as_in_the_file(made):
    """Not to the same values: which way a number is rounded depends on the last bit of its range."""
    network, pixels, _, from_file = made
    images = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - MEAN) / STD
    built = network.build()
    simulated, own = SimulatedInt8(built)(images), built(images)
    mine, theirs = (float((logits - own).square().mean().sqrt()) for logits in (simulated, from_file))
    assert 0.5 * theirs < mine < 1.5 * theirs


def test_the_network_stays_what_it_is_and_all_of_it_learns(made):
    network, pixels, _, _ = made
    built = network.build().train()
    before = {name: value.clone() for name, value in built.state_dict().items()}
    images = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - MEAN) / STD
    SimulatedInt8(built)(images).square().sum().backward()
    assert list(built.state_dict()) == list(before)
    for name, parameter in built.named_parameters():
        assert torch.equal(parameter, before[name])
        assert parameter.grad.any(), name
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in built.modules())
