"""Superkernels: the equations of the paper, one small function each, in its symbols.

Two things differ from the letter of Eq. 2 and 3, because the letter does not search.

Scale. 1(‖w‖² > t) compares a norm of the order of ten with a threshold that starts at 0, where the slope of the sigmoid is about
1e-6: thresholds never move, and the search ends where it began. Here the norm of a subset is divided by the number of its weights
and by what the whole tensor has per weight, so that it starts near 1, and stays there while weights grow.

Place. A depthwise channel whose kernel is zeroed still passes its batch-norm bias on, so it is not absent; and as batch norm
undoes any scale, the cross-entropy has no gradient at all for a factor on a channel's kernel. So the indicator of an expansion
ratio multiplies the weights that read those channels, in the linear 1×1 convolution behind that batch norm, and the indicator of
`skip` multiplies the last batch norm's scale and bias, all that a layer adds to its residual connection. Each is a function of
the very weights that it multiplies, as the paper asks for, and its decisions are those of Eq. 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
    """1, g_1, g_1 g_2, …: the innermost subset is in use, any other when it and all inside it are wanted. (n,) to (n + 1,)."""
    return torch.cat((g.new_ones(1), torch.cumprod(g, dim=0)))


def shell_masks(kernels: Sequence[int]) -> Tensor:
    """For each of the nested kernels the part of the superkernel that it adds: the core, then shell after shell.

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


def channel_masks(inputs: int, expansions: Sequence[int]) -> Tensor:
    """For each of the nested expansion ratios the channels of the depthwise convolution that it adds, first to last.

    Returns:
        (expansions, hidden channels) of zeros and ones.
    """
    bounds = [0, *(inputs * expansion for expansion in expansions)]
    masks = torch.zeros(len(expansions), bounds[-1])
    for index in range(len(expansions)):
        masks[index, bounds[index] : bounds[index + 1]] = 1
    return masks


def relative_norms(squares: Tensor, masks: Tensor) -> Tensor:
    """‖w_subset‖² / n_subset relative to ‖w‖² / n: the well-conditioned form of the group Lasso term of Eq. 2 and 3.

    Args:
        squares: the mean of w² at each place that masks tell apart, flat: (places,).
        masks: (subsets, places) of zeros and ones.

    Returns:
        (subsets,), each between 0 and places / places of the subset.
    """
    return masks @ squares / masks.sum(1) / squares.mean()


def kernel_norms(w: Tensor, shells: Tensor) -> Tensor:
    """What the thresholds t_k are compared with, for each shell beyond the core. (channels, 1, K, K) to (kernels − 1,)."""
    return relative_norms(w.square().mean((0, 1)).flatten(), shells[1:].flatten(1))


def expansion_norms(v: Tensor, channels: Tensor) -> Tensor:
    """What the thresholds t_e are compared with, for each further group of channels. (out, hidden, 1, 1) to (expansions − 1,)."""
    return relative_norms(v.square().mean((0, 2, 3)), channels[1:])


def layer_norm(gamma: Tensor) -> Tensor:
    """What t_e of the first ratio is compared with: the layer's scale, its residual connection having 1. (out,) to (1,)."""
    return gamma.square().mean(0, keepdim=True)


def eq1_kernel(w: Tensor, shells: Tensor, use_kernel: Tensor) -> Tensor:
    """Eq. 1: w_k = w_3×3 + 1(use 5×5) · w_5×5∖3×3, for any number of nested kernels.

    Args:
        w: the superkernel (channels, 1, K, K).
        shells: `shell_masks`.
        use_kernel: (kernels,), the first of them 1.
    """
    return w * torch.einsum("k,kij->ij", use_kernel, shells)


def eq2_use_kernel(w: Tensor, shells: Tensor, t_k: Tensor, g: Indicator = indicator) -> Tensor:
    """Eq. 2: 1(‖w_5×5∖3×3‖² > t_k=5) for each shell in turn, after the 1 of the core. (kernels,)."""
    return nested(g(kernel_norms(w, shells), t_k))


def eq3_use_expansion(v: Tensor, channels: Tensor, t_e: Tensor, g: Indicator = indicator) -> Tensor:
    """Eq. 3, inner indicator: 1(‖w_k,6∖3‖² > t_e=6) for each group of channels, after the 1 of the first. (expansions,)."""
    return nested(g(expansion_norms(v, channels), t_e))


def eq3_use_layer(gamma: Tensor, t_skip: Tensor, g: Indicator = indicator) -> Tensor:
    """Eq. 3, outer indicator: 1(‖w_k,3‖² > t_e=3), 0 being `skip`. (1,)."""
    return g(layer_norm(gamma), t_skip)


def eq3_channels(v: Tensor, channels: Tensor, use_expansion: Tensor) -> Tensor:
    """Eq. 3: w_3 + 1(use 6) · w_6∖3, on the weights that read the channels: (out, hidden, 1, 1) to the same shape."""
    return v * (use_expansion @ channels)[:, None, None]
