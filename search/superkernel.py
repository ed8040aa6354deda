"""Superkernels: the equations of the paper, one small function each, in its symbols.

The indicators here are conditioned otherwise than in Eq. 2 and 3. Taken literally, 1(‖w‖² > t) compares a norm of the order of
ten with a threshold that starts at 0, where the slope of the sigmoid is about 1e-6: thresholds never move, and the search ends
where it began. We divide the norm of a subset by the number of its weights and by the same mean over the whole superkernel. Batch
norm follows every convolution, so the scale of a kernel means nothing; what counts is a subset against the rest, which is near 1.
The set of possible decisions is that of the paper, with t rescaled.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

TEMPERATURE = 0.5


def indicator(x: Tensor, t: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """1(x > t), relaxed to σ((x − t) / temperature) for its gradient only (below Eq. 2); x and t of the same shape."""
    relaxed = torch.sigmoid((x - t) / temperature)
    # The difference is exactly 0 going forward, so that a decision is exactly 0 or 1.
    return (x > t).to(relaxed.dtype) + (relaxed - relaxed.detach())


def shell_masks(kernels: Sequence[int]) -> Tensor:
    """For each of the nested kernels the part of the superkernel that it adds: the core, then shell after shell.

    Returns:
        (kernels, K, K) of zeros and ones, K being the largest kernel; they add up to 1 everywhere.
    """
    size = kernels[-1]
    masks = torch.zeros(len(kernels), size, size)
    for index, kernel in enumerate(kernels):
        border = (size - kernel) // 2
        masks[index, border : border + kernel, border : border + kernel] = 1
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


def relative_norms(w: Tensor, masks: Tensor) -> Tensor:
    """‖w_subset‖² / n_subset, relative to ‖w‖² / n: the well-conditioned form of the group Lasso term of Eq. 2 and 3.

    Args:
        w: the weights.
        masks: (subsets, …), each broadcastable to w.

    Returns:
        (subsets,).
    """
    squares = w.square()
    dims = tuple(range(1, w.dim() + 1))
    counts = (masks * torch.ones_like(w)).sum(dims)
    return (masks * squares).sum(dims) / counts / squares.mean().clamp_min(1e-12)


def nested(g: Tensor) -> Tensor:
    """Whether each subset is in use: it is when it and all the subsets inside it are wanted. (subsets,) to (subsets,)."""
    return torch.cumprod(g, dim=0)


def eq1_kernel(w: Tensor, shells: Tensor, use_kernel: Tensor) -> Tensor:
    """Eq. 1: w_k = w_3×3 + 1(use 5×5) · w_5×5∖3×3, for any number of nested kernels.

    Args:
        w: the superkernel (channels, 1, K, K).
        shells: `shell_masks`.
        use_kernel: (kernels,), the first of them 1.
    """
    return w * torch.einsum("k,kij->ij", use_kernel, shells)


def kernel_norms(w: Tensor, shells: Tensor) -> Tensor:
    """What the thresholds t_k are compared with: `relative_norms` of each shell beyond the core. (kernels − 1,)."""
    return relative_norms(w, shells[1:, None, None])


def expansion_norms(w_k: Tensor, channels: Tensor) -> Tensor:
    """What the thresholds t_e are compared with: `relative_norms` of each group of channels. (expansions,)."""
    return relative_norms(w_k, channels[:, :, None, None, None])


def eq2_use_kernel(w: Tensor, shells: Tensor, t_k: Tensor) -> Tensor:
    """Eq. 2: 1(‖w_5×5∖3×3‖² > t_k=5) for each shell in turn, after the 1 of the core.

    Args:
        w: the superkernel (channels, 1, K, K).
        shells: `shell_masks`.
        t_k: (kernels − 1,).

    Returns:
        (kernels,).
    """
    return nested(torch.cat((w.new_ones(1), indicator(kernel_norms(w, shells), t_k))))


def eq3_use_expansion(w_k: Tensor, channels: Tensor, t_e: Tensor, skippable: bool) -> Tensor:
    """Eq. 3: 1(‖w_k,3‖² > t_e=3) and 1(‖w_k,6∖3‖² > t_e=6), each of them only where the one before it holds.

    Args:
        w_k: the kernel after Eq. 1 (channels, 1, K, K).
        channels: `channel_masks`.
        t_e: (expansions,) where the layer can be skipped, else (expansions − 1,).
        skippable: whether the first subset is a matter of choice.

    Returns:
        (expansions,); the first one is 0 for `skip`.
    """
    g = indicator(expansion_norms(w_k, channels)[len(channels) - len(t_e) :], t_e)
    return nested(g if skippable else torch.cat((w_k.new_ones(1), g)))


def eq3_channel_mask(channels: Tensor, use_expansion: Tensor) -> Tensor:
    """Eq. 3 as a factor for each channel of the depthwise convolution: 1 where the channel is in use. (hidden channels,).

    The factor belongs after batch norm and activation: a channel whose kernel alone is zeroed still passes its batch-norm bias
    on, and is not absent. The first subset counts as in use here; that the whole layer is skipped acts on its output instead.
    """
    beyond_first = torch.cat((torch.ones_like(use_expansion[:1]), use_expansion[1:]))
    return beyond_first @ channels
