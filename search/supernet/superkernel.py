"""Superkernels: the equations of the paper, one small function each, in its symbols.

Two things differ from the literal Eq. 2 and 3, because taken literally they do not search.

Scale. 1(‖w‖² > t) compares a norm of the order of ten with a threshold that starts at 0, where the slope of the sigmoid is about
1e-6: thresholds never move, and the search ends where it began. Here the norm of a subset is divided by the number of its weights
and by what the whole tensor has per weight, so that it starts near 1, and stays there while weights grow.

Place. A depthwise channel whose kernel is zeroed still passes its batch-norm bias on, so it is not absent; and as batch norm
undoes any scale, the cross-entropy has no gradient at all for a factor on a channel's kernel. So the indicator of an expansion
ratio multiplies the weights that read those channels, in the linear 1×1 convolution behind that batch norm, and the indicator of
`skip` multiplies the last batch norm's scale and bias, all that a layer adds to its residual connection. Each is a function of
the very weights that it multiplies, as the paper asks for, and its decisions are those of Eq. 3.

Channels of a stage, which the paper does not search, are nested like ratios: the indicator of each number multiplies scale and
bias of the channels that it adds, behind every layer of the stage. What reads a channel that is not in use then reads zeros, and
of a depthwise convolution behind it the channels are masked that the narrower layer would not have.

The equations take all layers of a network at once: a decision is a handful of numbers a layer, and layer by layer the overhead of
so many small operations would cost more than what they compute.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

TEMPERATURE = 0.5

Indicator = Callable[[Tensor, Tensor], Tensor]
"""From norms x and thresholds t of the same shape to decisions of that shape."""


def probability(x: Tensor, t: Tensor) -> Tensor:
    """σ((x − t) / temperature): the indicator relaxed (below Eq. 2), or the probability that `sampled_indicator` is 1."""
    return torch.sigmoid((x - t) / TEMPERATURE)


def indicator(x: Tensor, t: Tensor) -> Tensor:
    """1(x > t), for its gradient relaxed to `probability`."""
    return _straight_through((x > t).to(x.dtype), probability(x, t))


def sampled_indicator(x: Tensor, t: Tensor) -> Tensor:
    """1(x > t + noise), for its gradient relaxed to `probability`; the noise is logistic, of the temperature's scale."""
    relaxed = probability(x, t)
    return _straight_through(torch.bernoulli(relaxed.detach()), relaxed)


def _straight_through(hard: Tensor, relaxed: Tensor) -> Tensor:
    # The difference is exactly 0 going forward, so that a decision is exactly 0 or 1.
    return hard + (relaxed - relaxed.detach())


def nested(g: Tensor) -> Tensor:
    """1, g_1, g_1 g_2, …: the innermost subset is in use, any other when it and all inside it are. (…, n) to (…, n + 1)."""
    return torch.cat((g.new_ones(*g.shape[:-1], 1), g.cumprod(-1)), -1)


def shell_masks(kernels: Sequence[int]) -> Tensor:
    """For each of the nested kernels, the part of the superkernel that it adds: the core, then shell after shell.

    Returns:
        (kernels, K, K) of zeros and ones, K being the largest kernel; they add up to 1 everywhere.
    """
    size = kernels[-1]
    masks = torch.zeros(len(kernels), size, size)
    for index, kernel in enumerate(kernels):
        border = (size - kernel) // 2
        masks[index, border : size - border, border : size - border] = 1
    masks[1:] -= masks[:-1].clone()
    return masks


def group_masks(expansions: Sequence[int]) -> Tensor:
    """For each of the nested expansion ratios the groups of channels that it adds, a group being as many as the layer's inputs.

    Returns:
        (expansions, E) of zeros and ones, E being the largest ratio; they add up to 1 everywhere.
    """
    masks = torch.zeros(len(expansions), expansions[-1])
    for index, (fewer, more) in enumerate(pairwise((0, *expansions))):
        masks[index, fewer:more] = 1
    return masks


def relative_norms(squares: Tensor, masks: Tensor) -> Tensor:
    """‖w_subset‖² / n_subset relative to ‖w‖² / n: the well-conditioned form of the group Lasso term of Eq. 2 and 3.

    Args:
        squares: for each layer the mean of w² at each place that the masks distinguish: (layers, places).
        masks: (subsets, places) of zeros and ones.

    Returns:
        (layers, subsets), each between 0 and places / places of the subset.
    """
    return weighted_rows(squares, masks.T) / masks.sum(1) / squares.mean(1, keepdim=True)


def kernel_norms(kernels: Sequence[Tensor], shells: Tensor) -> Tensor:
    """What the thresholds t_k are compared with, for each shell beyond the core.

    Args:
        kernels: the superkernel w of each layer (channels, 1, K, K).
        shells: `shell_masks`.

    Returns:
        (layers, kernels − 1).
    """
    return relative_norms(torch.stack([w.square().mean((0, 1)).flatten() for w in kernels]), shells[1:].flatten(1))


def expansion_norms(readers: Sequence[Tensor], groups: Tensor) -> Tensor:
    """What the thresholds t_e are compared with, for each ratio beyond the first.

    Args:
        readers: the weights v of each layer that read its channels (out, hidden, 1, 1).
        groups: `group_masks`.

    Returns:
        (layers, expansions − 1).
    """
    grouped = (torch.unflatten(v, 1, (groups.shape[1], -1)) for v in readers)
    return relative_norms(torch.stack([v.square().mean((0, 2, 3, 4)) for v in grouped]), groups[1:])


def layer_norms(scales: Sequence[Tensor]) -> Tensor:
    """What t_e of the first ratio is compared with: each layer's scale γ (out,), its residual connection having 1. (layers,)."""
    return torch.stack([gamma.square().mean() for gamma in scales])


def eq1_kernel_mask(use_kernel: Tensor, shells: Tensor) -> Tensor:
    """The factor of the superkernel in Eq. 1, w_k = w_3×3 + 1(use 5×5) · w_5×5∖3×3, for any number of nested kernels.

    Args:
        use_kernel: (…, kernels), the first of them 1.
        shells: `shell_masks`.

    Returns:
        (…, K, K).
    """
    return torch.unflatten(weighted_rows(use_kernel, shells.flatten(1)), -1, shells.shape[1:])


def eq2_use_kernel(norms: Tensor, t_k: Tensor, g: Indicator = indicator) -> Tensor:
    """Eq. 2: 1(‖w_5×5∖3×3‖² > t_k=5) for each shell in turn, after the 1 of the core. (layers, kernels)."""
    return nested(g(norms, t_k))


def eq3_use_expansion(norms: Tensor, t_e: Tensor, g: Indicator = indicator) -> Tensor:
    """Eq. 3, inner indicator: 1(‖w_k,6∖3‖² > t_e=6) for each ratio in turn, after the 1 of the first. (layers, expansions)."""
    return nested(g(norms, t_e))


def eq3_use_layer(norms: Tensor, t_skip: Tensor, g: Indicator = indicator) -> Tensor:
    """Eq. 3, outer indicator: 1(‖w_k,3‖² > t_e=3), 0 being `skip`. (layers,)."""
    return g(norms, t_skip)


def telescope(values: Tensor, directions: int) -> Tensor:
    """What each of nested subsets adds to a value, beyond those that it contains.

    Args:
        values: of the subsets; the first so many dimensions are the directions in which they are nested.
        directions: as above.

    Returns:
        The same shape. Summed over subsets, each times its indicator in every direction, they give the value of the subset that
        is in use.
    """
    for dim in range(directions):
        values = torch.diff(values, dim=dim, prepend=torch.zeros_like(values.narrow(dim, 0, 1)))
    return values


def subset_masks(counts: Sequence[Sequence[int]], channels: int) -> Tensor:
    """What of some channels each of nested subsets adds, a subset being the first so many channels.

    Args:
        counts: channels by the widths before a layer and its expansion ratios.
        channels: of the largest, or more.

    Returns:
        (widths, expansions, channels); see `telescope`.
    """
    return telescope((torch.arange(channels) < torch.tensor(counts)[..., None]).float(), 2)


def eq3_channel_masks(use_width: Tensor, use_expansion: Tensor, subsets: Tensor) -> Tensor:
    """The factor of each channel in Eq. 3, w_3 + 1(use 6) · w_6∖3, for the widths that may be before a layer.

    Args:
        use_width: (layers, widths) of what is before each layer.
        use_expansion: (layers, expansions).
        subsets: `subset_masks` of each layer (layers, widths, expansions, channels).

    Returns:
        (layers, channels).
    """
    uses = use_width[:, :, None] * use_expansion[:, None, :]
    return weighted_rows(uses.flatten(1), subsets.flatten(1, 2))


def width_norms(scales: Sequence[Tensor], subsets: Sequence[Tensor]) -> Tensor:
    """What the thresholds of the numbers of channels of stages are compared with, for each beyond the first.

    Args:
        scales: for each stage the scale γ (out,) of what its first layer puts out.
        subsets: for each stage the channels that each number adds, (widths, out) of zeros and ones.

    Returns:
        (stages, widths − 1), the widths being those of the stage with most; 1 where one has fewer.
    """
    norms = [relative_norms(gamma.square()[None], own[1:])[0] for gamma, own in zip(scales, subsets, strict=True)]
    most = max(len(each) for each in norms)
    return torch.stack([torch.cat((each, each.new_ones(most - len(each)))) for each in norms])


def eq3_channels(v: Tensor, mask: Tensor) -> Tensor:
    """Eq. 3 on the weights that read the channels: (out, channels, 1, 1) to the same shape; `mask` (channels,)."""
    return v * mask[:, None, None]


def weighted_rows(weights: Tensor, rows: Tensor) -> Tensor:
    """weights @ rows, (…, n) and (…, n, m) to (…, m); mixed precision would round the operands of a matrix product."""
    return (weights[..., None] * rows).sum(-2)
