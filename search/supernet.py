"""The supernet: one path, in which every searchable layer is the largest MBConv of its place with a superkernel inside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from profiling.layers import MBConv
from profiling.space import SKIP, Architecture, Choice, SearchSpace, Slot
from search import superkernel
from search.network import ConvBN, HeadBlock, MBConvBlock, Network, build_block
from search.superkernel import Indicator


@dataclass(frozen=True)
class Decision:
    """The indicators of one layer: `use_kernel` (kernels,), `use_expansion` (expansions,) and `use_layer` (1,); 0 is `skip`."""

    use_kernel: Tensor
    use_expansion: Tensor
    use_layer: Tensor


class SuperMBConv(MBConvBlock):
    """The MBConv that holds every choice of a place (Eq. 4).

    Attributes:
        t_k: thresholds of the kernel's shells beyond the core (kernels − 1,).
        t_e: thresholds of the expansion ratios beyond the first (expansions − 1,).
        t_skip: threshold of the whole layer (1,), or (0,) where it cannot be skipped.
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
        self.t_e = nn.Parameter(torch.zeros(len(space.expansions) - 1))
        self.t_skip = nn.Parameter(torch.zeros(int(self.skippable)))

    def decide(self, g: Indicator = superkernel.indicator) -> Decision:
        """The decisions that weights and thresholds make under this indicator function."""
        return Decision(
            superkernel.eq2_use_kernel(self.depthwise.weight, self.shells, self.t_k, g),
            superkernel.eq3_use_expansion(self.project.weight, self.channels, self.t_e, g),
            superkernel.eq3_use_layer(self.project.bn.gamma, self.t_skip, g) if self.skippable else self.t_k.new_ones(1),
        )

    def forward(self, x: Tensor, decision: Decision | None = None, limit: Choice | None = None) -> Tensor:
        """Eq. 4: o(x) = conv(x, w | t_k, t_e). Shapes as for `MBConvBlock`.

        Args:
            x: as above.
            decision: the indicators that its subsets are multiplied by; None uses all of them.
            limit: the largest choice to compute: what is beyond it is cut off, not multiplied by zero.
        """
        if limit == SKIP:
            return x
        w: Tensor = self.depthwise.weight
        v: Tensor = self.project.weight
        gate = None
        if decision is not None:
            w = superkernel.eq1_kernel(w, self.shells, decision.use_kernel)
            v = superkernel.eq3_channels(v, self.channels, decision.use_expansion)
            gate = decision.use_layer if self.skippable else None
        hidden = self.spec.hidden_channels
        if limit is not None:
            hidden, border = self.spec.in_channels * limit.expansion, (self.spec.kernel - limit.kernel) // 2
            inner = slice(border, self.spec.kernel - border)
            w, v = w[:hidden, :, inner, inner], v[:, :hidden]
        y: Tensor = x if self.expand is None else self.expand(x, self.expand.weight[:hidden])
        y = self.project(self.depthwise(y, w), v, gate)
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
        """Every t_k, t_e and t_skip."""
        return [t for block in self.searchable for t in (block.t_k, block.t_e, block.t_skip)]

    def decide(self, g: Indicator = superkernel.indicator) -> list[Decision]:
        """The decisions of all searchable layers under this indicator function."""
        return [block.decide(g) for block in self.searchable]

    def forward(
        self, images: Tensor, decisions: Sequence[Decision] | None = None, limits: Sequence[Choice] | None = None
    ) -> Tensor:
        """(batch, channels, height, width) to logits (batch, classes).

        Args:
            images: as above.
            decisions: of the searchable layers; by default everything is in use.
            limits: the largest choice of each searchable layer to compute; by default the largest of all.
        """
        nothing = [None] * len(self.space.searchable)
        x, remaining = images, zip(decisions or nothing, limits or nothing, strict=True)
        for block in self.blocks:
            x = block(x, *next(remaining)) if isinstance(block, SuperMBConv) else block(x)
        return x


def encode(architecture: Architecture) -> list[Decision]:
    """The decisions that an architecture stands for; `decode.hard_architecture` is the way back."""
    space = architecture.space
    decisions = []
    for name in architecture.choices:
        choice = space.choices_by_name[name]
        kernels = [float(kernel <= choice.kernel) for kernel in space.kernels[1:]]
        expansions = [float(expansion <= choice.expansion) for expansion in space.expansions[1:]]
        decisions.append(
            Decision(torch.tensor([1.0, *kernels]), torch.tensor([1.0, *expansions]), torch.tensor([float(choice != SKIP)]))
        )
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
        if name in ("t_k", "t_e", "t_skip"):
            continue
        wanted = target.state_dict()[name]
        if name == "depthwise.weight":
            border = (part.shape[-1] - wanted.shape[-1]) // 2
            part = part[:, :, border : border + wanted.shape[-2], border : border + wanted.shape[-1]]
        wanted.copy_(part[tuple(slice(size) for size in wanted.shape)])
