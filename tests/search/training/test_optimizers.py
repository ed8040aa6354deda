"""RMSProp is TensorFlow's own, step by step, and goes on from checkpoints of PyTorch's."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from small import small_space
from torch import nn

from search.images.data import load_data
from search.run_folder import RunFolder
from search.training.optimizers import RMSprop, make_optimizer
from search.training.recipe import TrainConfig, load_recipe
from search.training.train import Training

# Written by spnas when it trained with `torch.optim.RMSprop`, after 40 of the 88 steps of `resumed` below.
BEFORE = Path(__file__).with_name("torch_rmsprop.pt")

STEPS = 200
WEIGHT_DECAY = 0.02


def rates(steps: int = STEPS) -> list[float]:
    """Falling, and once back up."""
    return [0.05 * 0.97 ** (step % 130) for step in range(steps)]


def gradients(steps: int = STEPS, size: int = 12) -> np.ndarray:
    """(steps, size), of sizes from 1e-4 to 10, changing their sign and, half way, their size; one is always 0."""
    random = np.random.default_rng(0)
    scales = np.geomspace(1e-4, 10, size) * np.where(np.arange(steps) < steps // 2, 1.0, 0.03)[:, None]
    drawn = (random.normal(0.3, 1, (steps, size)) * scales).astype(np.float32)
    drawn[:, 3] = 0
    return drawn


def by_tensorflow(start: np.ndarray) -> np.ndarray:
    """The weights after each step of TensorFlow 1's optimizer, their decay being part of the gradient. (steps, size)."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    graph, rows = tf.Graph(), []
    with graph.as_default():
        rate, gradient = (tf.compat.v1.placeholder(tf.float32, shape) for shape in ((), start.shape))
        weights = tf.compat.v1.get_variable("weights", initializer=start, use_resource=True)
        optimizer = tf.compat.v1.train.RMSPropOptimizer(rate, decay=0.9, momentum=0.9, epsilon=1e-3)
        step = optimizer.apply_gradients([(gradient + WEIGHT_DECAY * weights, weights)])
        with tf.compat.v1.Session(graph=graph) as session:
            session.run(tf.compat.v1.global_variables_initializer())
            for value, present in zip(gradients(), rates(), strict=True):
                session.run(step, {gradient: value, rate: present})
                rows.append(session.run(weights))
    return np.stack(rows)


def walk(optimizer: torch.optim.Optimizer, weights: nn.Parameter) -> np.ndarray:
    rows = []
    for value, present in zip(gradients(), rates(), strict=True):
        for group in optimizer.param_groups:
            group["lr"] = present
        weights.grad = torch.from_numpy(value).view_as(weights)
        optimizer.step()
        rows.append(weights.detach().flatten().numpy().copy())
    return np.stack(rows)


def test_every_step_is_tensorflow_s():
    start = np.linspace(-1, 1, 12, dtype=np.float32)
    weights = nn.Parameter(torch.from_numpy(start.copy()).view(3, 4))
    mine = walk(make_optimizer("rmsprop", [weights], 0.01, WEIGHT_DECAY), weights)
    theirs = by_tensorflow(start)
    np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)
    assert np.abs(np.diff(theirs, axis=0)).max(axis=0).min() > 1e-3, "weights that hardly move would prove nothing"


def test_batch_norm_and_biases_do_not_decay():
    weights, bias = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))
    optimizer = make_optimizer("rmsprop", [weights, bias], 0.1, WEIGHT_DECAY)
    for parameter in (weights, bias):
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert weights.max() < 1
    assert torch.equal(bias, torch.ones(2))


def test_a_state_of_pytorch_s_goes_on_as_if_it_had_been_this_one_s():
    """The mean squares are those of the same gradients from 1 on; what is in motion keeps its speed."""
    weights, same = (nn.Parameter(torch.zeros(3, 4)) for _ in range(2))
    groups = [{"params": [weights], "weight_decay": 0.25}, {"params": [nn.Parameter(torch.zeros(2))]}]
    before = torch.optim.RMSprop(groups, lr=0.05, alpha=0.9, momentum=0.9, eps=0.001**0.5)
    mine = RMSprop([{"params": [same], "weight_decay": 0.25}], lr=0.05)
    for value in gradients(20):
        for parameter, optimizer in ((weights, before), (same, mine)):
            # Both decay the weights that they move, each its own: undone, so that both see the same gradients.
            parameter.grad = torch.from_numpy(value).view(3, 4) - 0.25 * parameter.detach()
            optimizer.step()

    translated = make_optimizer("rmsprop", [weights, groups[1]["params"][0]], 1.0, 0.0)
    translated.load_state_dict(before.state_dict())
    [state], [expected] = translated.state.values(), mine.state.values()
    torch.testing.assert_close(state["mean_square"], expected["mean_square"], rtol=1e-5, atol=1e-7)
    assert [(group["lr"], group["weight_decay"]) for group in translated.param_groups] == [(0.05, 0.25), (0.05, 0.0)]

    def distance(optimizer):
        start = weights.detach().clone()
        weights.grad = -0.25 * start
        optimizer.step()
        return weights.detach() - start

    first = distance(before)
    weights.data -= first
    assert first.abs().max() > 0.01
    torch.testing.assert_close(distance(translated), first)


def test_a_checkpoint_from_before_is_gone_on_with(tmp_path):
    """A real one: losses and accuracy are those that it was gone on with when it was written."""
    shutil.copy(BEFORE, RunFolder(tmp_path).checkpoint)
    space = small_space(stages=[{"layers": 1, "channels": 8, "stride": 2}], head={"channels": 16})
    layers = [layer for _, layer in space.uniform("3x3-3").placed_layers()]
    recipe = load_recipe("mnasnet").adapted(4, learning_rate=0.1)
    config = TrainConfig(**dict(recipe), network="small", data="digits", batch_size=64)
    resumed = Training(layers, load_data("digits", space, 0), config, RunFolder(tmp_path))
    assert resumed.resumed_at == 40
    steps = []
    trained = resumed.run(steps.append)
    losses = {step.step: step.loss for step in steps}
    assert losses[41] == pytest.approx(1.9880, abs=1e-3)
    assert [losses[step] for step in (50, 60, 70, 80, 88)] == pytest.approx([2.0353, 1.9434, 1.9307, 1.8395, 1.8103], abs=0.03)
    assert trained.top1 == pytest.approx(0.529, abs=0.03)
    assert trained.evaluations[1].top1 == pytest.approx(0.412, abs=0.01)
