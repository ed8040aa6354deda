"""The masked supernet and the networks in it are one and the same, and both weights and thresholds learn."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from profiling.space import SKIP, Architecture, random_architectures
from search import superkernel
from search.decode import hard_architecture
from search.evaluate import reestimate_batch_norm
from search.network import BatchNorm
from search.supernet import Supernet, encode, extract


def with_lively_batch_norm(module: nn.Module) -> None:
    """Statistics and biases far from their start, so that a channel which is not really absent shows."""
    for norm in module.modules():
        if isinstance(norm, BatchNorm):
            for parameter, low, high in (
                (norm.gamma.data, 0.5, 1.5),
                (norm.beta.data, -1, 1),
                (norm.running_mean, -1, 1),
                (norm.running_var, 0.5, 2),
            ):
                parameter.uniform_(low, high)


def every_choice_of_each_layer(space):
    largest = tuple(slot.choices[-1] for slot in space.searchable)
    for index, slot in enumerate(space.searchable):
        for choice in slot.choices:
            yield Architecture(space=space, choices=(*largest[:index], choice, *largest[index + 1 :]))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"kernels": [3, 5, 7], "expansions": [2, 4, 6], "resolution": 24},
        {"resolution": 13},
        {"expansions": [4]},
        {"skip": False},
    ],
    ids=str,
)
def test_masked_sliced_and_decoded_networks_agree_for_every_choice_of_a_layer(make_space, changes):
    torch.manual_seed(0)
    space = make_space(**changes)
    supernet = Supernet(space, 10)
    with_lively_batch_norm(supernet)
    supernet.eval()
    images = torch.randn(4, 1, space.resolution, space.resolution)
    everything = encode(space.uniform(space.choices[-1].name))
    outputs = {}
    with torch.no_grad():
        for architecture in every_choice_of_each_layer(space):
            decoded = extract(supernet, architecture).eval()(images)
            masked = supernet(images, encode(architecture))
            sliced = supernet(images, everything, [space.choices_by_name[name] for name in architecture.choices])
            torch.testing.assert_close(masked, decoded, atol=1e-5, rtol=0)
            torch.testing.assert_close(sliced, decoded, atol=1e-5, rtol=0)
            outputs[architecture.choices] = decoded
    for one, other in itertools.combinations(outputs.values(), 2):
        assert (one - other).abs().max() > 1e-3, "choices that give the same output would prove nothing"


def test_reestimated_statistics_are_those_of_a_network_trained_alone(space):
    """Masked in training mode, so that batch statistics are used: the decoded network must gather the same ones."""
    torch.manual_seed(0)
    supernet = Supernet(space, 10)
    architecture = next(random_architectures(space, 3))
    network = extract(supernet, architecture)
    batches = [torch.randn(16, 1, 12, 12) for _ in range(3)]
    reestimate_batch_norm(network, batches)
    with torch.no_grad():
        seen = []
        handle = network.blocks[0].bn.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        for batch in batches:
            network(batch)
        handle.remove()
    norm = network.blocks[0].bn
    torch.testing.assert_close(norm.running_mean, torch.stack([x.mean((0, 2, 3)) for x in seen]).mean(0))
    variances = torch.stack([x.transpose(0, 1).flatten(1).var(1) for x in seen])
    torch.testing.assert_close(norm.running_var, variances.mean(0))


def test_encode_and_hard_architecture_are_inverse_for_every_choice(make_space):
    for changes in ({}, {"kernels": [3, 5, 7], "expansions": [2, 4, 6]}, {"skip": False}):
        space = make_space(**changes)
        for architecture in every_choice_of_each_layer(space):
            assert hard_architecture(space, encode(architecture)) == architecture


def test_weights_and_thresholds_all_get_gradient(space, model):
    """Of the cross-entropy alone, and at every layer, whatever its present decision."""
    torch.manual_seed(0)
    images, labels = torch.randn(16, 1, 12, 12), torch.randint(0, 10, (16,))
    for architecture in (space.uniform("5x5-6"), next(random_architectures(space, 1))):
        supernet = Supernet(space, 10)
        with torch.no_grad():
            for block, name in zip(supernet.searchable, architecture.choices, strict=True):
                choice = space.choices_by_name[name]
                for t, wanted in (
                    (block.t_k, choice.kernel == 5),
                    (block.t_e, choice.expansion == 6),
                    (block.t_skip, choice != SKIP),
                ):
                    t.fill_(0.5 if wanted else 1.5)
        decisions = supernet.decide()
        assert hard_architecture(space, decisions) == architecture
        cross_entropy(supernet(images, decisions), labels).backward()
        for block, name in zip(supernet.searchable, architecture.choices, strict=True):
            if name == "skip":
                assert block.t_skip.grad.abs().min() > 0
            else:
                assert all(t.grad.abs().min() > 0 for t in (block.t_k, block.t_e))
                assert block.depthwise.weight.grad.abs().max() > 0


def test_gradients_of_the_relaxed_objective_match_finite_differences(space, model):
    """With indicators replaced by their relaxation the whole objective is smooth; autograd must agree with differences of it."""
    from search.runtime_loss import RuntimeTerm, eq9_loss

    torch.manual_seed(0)
    supernet = Supernet(space, 10).double().eval()
    runtime = RuntimeTerm(model).double()
    images, labels = torch.randn(8, 1, 12, 12, dtype=torch.float64), torch.randint(0, 10, (8,))

    def objective():
        decisions = supernet.decide(superkernel.probability)
        return eq9_loss(cross_entropy(supernet(images, decisions), labels), runtime(decisions), 0.3)

    objective().backward()
    block = list(supernet.searchable)[1]
    for parameter in (block.t_k, block.t_e, block.t_skip, block.depthwise.weight, block.project.weight, block.project.bn.gamma):
        flat, gradient = parameter.data.view(-1), parameter.grad.view(-1)
        for index in range(0, len(flat), max(1, len(flat) // 5)):
            value, step, around = flat[index].item(), 1e-5, []
            for shifted in (value - step, value + step):
                flat[index] = shifted
                around.append(objective().item())
            flat[index] = value
            assert gradient[index].item() == pytest.approx((around[1] - around[0]) / (2 * step), rel=1e-3, abs=1e-8)
