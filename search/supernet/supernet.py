"""The supernet: one path, in which every searchable layer is the largest MBConv of its place with a superkernel inside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import cast

import torch
from torch import Tensor, nn

from profiling.layers import Bottleneck
from profiling.space import SKIP, Architecture, Choice, SearchSpace, Slot
from search.convnet.excitation import Excitation
from search.convnet.network import MBConvBlock, Network, build_block
from search.supernet import superkernel
from search.supernet.superkernel import Indicator


@dataclass(frozen=True)
class Norms:
    """The values that t_k, t_e and t_skip are compared with, in the same shapes."""

    kernel: Tensor
    expansion: Tensor
    layer: Tensor


@dataclass(frozen=True)
class Decisions:
    """The indicators of all searchable layers, in order.

    Attributes:
        use_kernel: (layers, kernels).
        use_expansion: (layers, expansions).
        use_layer: (layers,); 0 is `skip`.
    """

    use_kernel: Tensor
    use_expansion: Tensor
    use_layer: Tensor


class SuperMBConv(MBConvBlock):
    """The MBConv that contains every choice of a place."""

    squeeze_owners: Tensor

    def __init__(self, slot: Slot) -> None:
        super().__init__(cast(Bottleneck, list(slot.layers.values())[-1]))
        self.skippable = SKIP.name in slot.choices
        # By ratio: the channels in the middle of squeeze-and-excitation.
        self.squeezes = {layer.expansion: layer.squeeze for layer in cast("Iterable[Bottleneck]", slot.layers.values())}
        self.register_buffer("squeeze_owners", superkernel.squeeze_owners(self.squeezes), persistent=False)

    def forward(self, x: Tensor, masks: tuple[Tensor, Tensor, Tensor] | None = None, limit: Choice | None = None) -> Tensor:
        """Eq. 4: o(x) = conv(x, w | t_k, t_e). Shapes as for `MBConvBlock`.

        Args:
            x: as above.
            masks: factors of the kernel (K, K), the groups of channels (E,) and the layer (1,); None uses all of them.
            limit: the largest choice to compute: what is beyond it is cut off, not multiplied by zero.
        """
        if limit == SKIP:
            return x
        w: Tensor = self.depthwise.weight
        v: Tensor = self.project.weight
        gate = None
        if masks is not None:
            kernel_mask, group_mask, use_layer = masks
            w, v = w * kernel_mask, superkernel.eq3_channels(v, group_mask)
            gate = use_layer if self.skippable else None
        hidden = self.spec.hidden_channels
        if limit is not None:
            hidden, border = self.spec.in_channels * limit.expansion, (self.spec.kernel - limit.kernel) // 2
            inner = slice(border, self.spec.kernel - border)
            w, v = w[:hidden, :, inner, inner], v[:, :hidden]
        y: Tensor = x if self.expand is None else self.expand(x, self.expand.weight[:hidden])
        y = self.depthwise(y, w)
        if self.excitation is not None:
            y = self._excited(y, self.excitation, None if masks is None else masks[1], limit)
        y = self.project(y, v, gate)
        return x + y if self.spec.residual else y

    def _excited(self, y: Tensor, excitation: Excitation, group_mask: Tensor | None, limit: Choice | None) -> Tensor:
        """Squeeze-and-excitation; in both convolutions, weights that read channels which are not in use are masked."""
        reduce: Tensor = excitation.reduce.weight
        expand: Tensor = excitation.expand.weight
        if group_mask is not None:
            reduce = superkernel.eq3_channels(reduce, group_mask)
            expand = expand * group_mask[self.squeeze_owners][:, None, None]
        if limit is not None:
            hidden, squeeze = y.shape[1], self.squeezes[limit.expansion]
            reduce, expand = reduce[:squeeze, :hidden], expand[:hidden, :squeeze]
        return cast(Tensor, excitation(y, reduce, expand))


class Supernet(nn.Module):
    """The supernet of a space; `classes` are those of the data.

    Attributes:
        t_k: thresholds of the kernels' shells beyond the core (layers, kernels − 1).
        t_e: thresholds of the expansion ratios beyond the first (layers, expansions − 1).
        t_skip: thresholds of whole layers (skippable,).
    """

    shells: Tensor
    groups: Tensor
    skip_places: Tensor

    def __init__(self, space: SearchSpace, classes: int) -> None:
        super().__init__()
        self.space = space
        self.classes = classes
        self.blocks = nn.ModuleList(
            SuperMBConv(slot) if slot.is_searchable else build_block(slot.layers["fixed"], classes) for slot in space.slots
        )
        skippable = [block.skippable for block in self.searchable]
        self.t_k = nn.Parameter(torch.zeros(len(skippable), len(space.kernels) - 1))
        self.t_e = nn.Parameter(torch.zeros(len(skippable), len(space.expansions) - 1))
        self.t_skip = nn.Parameter(torch.zeros(sum(skippable)))
        self.register_buffer("shells", superkernel.shell_masks(space.kernels), persistent=False)
        self.register_buffer("groups", superkernel.group_masks(space.expansions), persistent=False)
        # For each layer its place in (1, use_layer of the skippable ones).
        places = [index * can for index, can in zip(accumulate(map(int, skippable)), skippable, strict=True)]
        self.register_buffer("skip_places", torch.tensor(places), persistent=False)

    @property
    def searchable(self) -> Iterator[SuperMBConv]:
        """The searchable layers in order."""
        return (block for block in self.blocks if isinstance(block, SuperMBConv))

    def thresholds(self) -> list[nn.Parameter]:
        """Every t_k, t_e and t_skip."""
        return [self.t_k, self.t_e, self.t_skip]

    def norms(self) -> Norms:
        """The values that the thresholds are compared with, for the current weights."""
        layers = list(self.searchable)
        scales = [layer.project.bn.gamma for layer in layers if layer.skippable]
        return Norms(
            superkernel.kernel_norms([layer.depthwise.weight for layer in layers], self.shells),
            superkernel.expansion_norms([layer.project.weight for layer in layers], self.groups),
            superkernel.layer_norms(scales) if scales else self.t_skip,
        )

    def decide(self, g: Indicator = superkernel.indicator, norms: Norms | None = None) -> Decisions:
        """The decisions of all searchable layers under this indicator function; `norms` saves computing them again."""
        norms = norms or self.norms()
        use_layer = superkernel.eq3_use_layer(norms.layer, self.t_skip, g)
        return Decisions(
            superkernel.eq2_use_kernel(norms.kernel, self.t_k, g),
            superkernel.eq3_use_expansion(norms.expansion, self.t_e, g),
            torch.cat((use_layer.new_ones(1), use_layer))[self.skip_places],
        )

    def forward(self, images: Tensor, decisions: Decisions | None = None, limits: Sequence[Choice] | None = None) -> Tensor:
        """(batch, channels, height, width) to logits (batch, classes).

        Args:
            images: as above.
            decisions: what the subsets are multiplied by; by default everything is in use.
            limits: the largest choice of each searchable layer to compute; by default the largest of all.
        """
        nothing = [None] * len(self.space.searchable)
        x, remaining = images, zip(self._masks(decisions) if decisions else nothing, limits or nothing, strict=True)
        for block in self.blocks:
            x = block(x, *next(remaining)) if isinstance(block, SuperMBConv) else block(x)
        return x

    def _masks(self, decisions: Decisions) -> list[tuple[Tensor, Tensor, Tensor]]:
        """For each layer the factors of its kernel (K, K), of its groups of channels (E,) and of the layer (1,)."""
        kernel_masks = superkernel.eq1_kernel_mask(decisions.use_kernel, self.shells)
        group_masks = superkernel.eq3_group_mask(decisions.use_expansion, self.groups)
        return list(zip(kernel_masks.unbind(), group_masks.unbind(), decisions.use_layer[:, None].unbind(), strict=True))


def encode(architecture: Architecture) -> Decisions:
    """The decisions of an architecture; `decode.hard_architecture` is the inverse."""
    space = architecture.space
    choices = architecture.chosen
    return Decisions(
        torch.tensor([[float(kernel <= max(choice.kernel, space.kernels[0])) for kernel in space.kernels] for choice in choices]),
        torch.tensor(
            [[float(ratio <= max(choice.expansion, space.expansions[0])) for ratio in space.expansions] for choice in choices]
        ),
        torch.tensor([float(choice != SKIP) for choice in choices]),
    )


@torch.no_grad()
def extract(supernet: Supernet, architecture: Architecture) -> Network:
    """The stand-alone network of an architecture with the supernet's weights: inner kernels, first channels."""
    network = Network([layer for _, layer in architecture.placed_layers()], supernet.classes)
    for source, target in zip(supernet.blocks, network.blocks, strict=True):
        if isinstance(source, SuperMBConv):
            if isinstance(target, MBConvBlock):  # else it is skipped
                _copy_mbconv(source, target)
        else:
            target.load_state_dict(source.state_dict())
    return network.to(next(supernet.parameters()).device)


def _copy_mbconv(source: MBConvBlock, target: MBConvBlock) -> None:
    for name, part in source.state_dict().items():
        wanted = target.state_dict()[name]
        if name == "depthwise.weight":
            border = (part.shape[-1] - wanted.shape[-1]) // 2
            part = part[:, :, border : border + wanted.shape[-2], border : border + wanted.shape[-1]]
        wanted.copy_(part[tuple(slice(size) for size in wanted.shape)])
