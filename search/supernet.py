"""The supernet: one path, in which every searchable layer is the largest MBConv of its place with a superkernel inside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from profiling.layers import MBConv
from profiling.space import SKIP, Architecture, SearchSpace, Slot
from search import superkernel
from search.network import ConvBN, HeadBlock, MBConvBlock, Network, build_block


@dataclass(frozen=True)
class Decision:
    """The indicators of one layer, hard going forward: `use_kernel` (kernels,), `use_expansion` (expansions,)."""

    use_kernel: Tensor
    use_expansion: Tensor


class SuperMBConv(MBConvBlock):
    """The MBConv that holds every choice of a place (Eq. 4).

    Attributes:
        t_k: thresholds of the kernel's shells (kernels − 1,); t_e: of the expansion ratios, with that of `skip` first if any.
    """

    shells: Tensor
    channels: Tensor

    def __init__(self, space: SearchSpace, slot: Slot) -> None:
        largest = cast(MBConv, list(slot.layers.values())[-1])
        super().__init__(largest)
        self.skippable = SKIP.name in slot.choices
        self.register_buffer("shells", superkernel.shell_masks(space.kernels), persistent=False)
        self.register_buffer("channels", superkernel.channel_masks(largest.in_channels, space.expansions), persistent=False)
        self.t_k = nn.Parameter(torch.zeros(len(space.kernels) - 1))
        self.t_e = nn.Parameter(torch.zeros(len(space.expansions) - (not self.skippable)))

    def decide(self, keep: Tensor | None = None) -> Decision:
        """The decisions that weights and thresholds make.

        Args:
            keep: (kernels + expansions,) of zeros and ones; a subset with 0 is dropped whatever its threshold says.
        """
        w = self.depthwise.weight
        use_kernel = superkernel.eq2_use_kernel(w, self.shells, self.t_k)
        if keep is not None:
            kernels = len(use_kernel)
            use_kernel = use_kernel * superkernel.nested(torch.cat((keep.new_ones(1), keep[1:kernels])))
        w_k = superkernel.eq1_kernel(w, self.shells, use_kernel)
        use_expansion = superkernel.eq3_use_expansion(w_k, self.channels, self.t_e, self.skippable)
        if keep is not None:
            first = keep[kernels : kernels + 1] if self.skippable else keep.new_ones(1)
            use_expansion = use_expansion * superkernel.nested(torch.cat((first, keep[kernels + 1 :])))
        return Decision(use_kernel, use_expansion)

    @torch.no_grad()
    def confidence(self) -> tuple[Tensor, Tensor]:
        """σ((x − t) / temperature) of t_k and of t_e: how far each indicator is from changing its mind."""
        w = self.depthwise.weight
        w_k = superkernel.eq1_kernel(w, self.shells, self.decide().use_kernel)
        x_k, x_e = superkernel.kernel_norms(w, self.shells), superkernel.expansion_norms(w_k, self.channels)
        x_e = x_e[len(x_e) - len(self.t_e) :]
        return torch.sigmoid((x_k - self.t_k) / superkernel.TEMPERATURE), torch.sigmoid(
            (x_e - self.t_e) / superkernel.TEMPERATURE
        )

    def forward(self, x: Tensor, decision: Decision | None = None) -> Tensor:
        """Eq. 4: o(x) = conv(x, w | t_k, t_e). Shapes as for `MBConvBlock`."""
        chosen = decision or self.decide()
        y: Tensor = x if self.expand is None else self.expand(x)
        y = self.depthwise(y, superkernel.eq1_kernel(self.depthwise.weight, self.shells, chosen.use_kernel))
        y = y * superkernel.eq3_channel_mask(self.channels, chosen.use_expansion)[:, None, None]
        y = self.project(y)
        if self.skippable:
            y = y * chosen.use_expansion[0]
        return x + y if self.spec.residual else y


class Supernet(nn.Module):
    """The supernet of a space; `classes` are those of the data."""

    def __init__(self, space: SearchSpace, classes: int) -> None:
        super().__init__()
        self.space = space
        self.classes = classes
        self.blocks = nn.ModuleList(
            SuperMBConv(space, slot) if slot.is_searchable else build_block(slot.layers["fixed"], classes) for slot in space.slots
        )

    @property
    def searchable(self) -> Iterator[SuperMBConv]:
        """The searchable layers in order."""
        return (block for block in self.blocks if isinstance(block, SuperMBConv))

    def thresholds(self) -> list[nn.Parameter]:
        """Every t_k and t_e."""
        return [t for block in self.searchable for t in (block.t_k, block.t_e)]

    def decide(self, keep: Tensor | None = None) -> list[Decision]:
        """The decisions of all searchable layers; `keep` (layers, kernels + expansions) as for `SuperMBConv.decide`."""
        rows: list[Tensor | None] = [None] * len(self.space.searchable) if keep is None else list(keep)
        return [block.decide(row) for block, row in zip(self.searchable, rows, strict=True)]

    def forward(self, images: Tensor, decisions: list[Decision]) -> Tensor:
        """(batch, channels, height, width) to logits (batch, classes), under these decisions."""
        x, remaining = images, iter(decisions)
        for block in self.blocks:
            x = block(x, next(remaining)) if isinstance(block, SuperMBConv) else block(x)
        return x


def encode(architecture: Architecture) -> list[Decision]:
    """The decisions that an architecture stands for; `decode.hard_architecture` is the way back."""
    space = architecture.space
    decisions = []
    for name in architecture.choices:
        choice = space.choices_by_name[name]
        kernels = [float(kernel <= choice.kernel) for kernel in space.kernels]
        expansions = [float(expansion <= choice.expansion) for expansion in space.expansions]
        decisions.append(Decision(torch.tensor([1.0, *kernels[1:]]), torch.tensor(expansions)))
    return decisions


@torch.no_grad()
def extract(supernet: Supernet, architecture: Architecture) -> Network:
    """The stand-alone network of an architecture with the supernet's weights: inner kernels, first channels."""
    network = Network([layer for _, layer in architecture.placed_layers()], supernet.classes)
    for source, target in zip(supernet.blocks, network.blocks, strict=True):
        if isinstance(target, MBConvBlock) and isinstance(source, MBConvBlock):
            _copy_mbconv(source, target)
        elif isinstance(target, ConvBN | HeadBlock):
            target.load_state_dict(source.state_dict())
    return network.to(next(supernet.parameters()).device)


def _copy_mbconv(source: MBConvBlock, target: MBConvBlock) -> None:
    for name, part in source.state_dict().items():
        if name in ("t_k", "t_e"):
            continue
        wanted = target.state_dict()[name]
        if name == "depthwise.weight":
            border = (part.shape[-1] - wanted.shape[-1]) // 2
            part = part[:, :, border : border + wanted.shape[-2], border : border + wanted.shape[-1]]
        wanted.copy_(part[tuple(slice(size) for size in wanted.shape)])
