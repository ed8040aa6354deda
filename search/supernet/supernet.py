"""The supernet: one path, in which every searchable layer is the largest MBConv of its place with a superkernel inside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from profiling.layers import Bottleneck, FinalLayer
from profiling.places import Slot, Step
from profiling.space import Architecture, SearchSpace
from search.convnet.excitation import Excitation
from search.convnet.network import ConvBN, HeadBlock, MBConvBlock, Network, build_block, resized
from search.supernet import superkernel
from search.supernet.decisions import Decisions, Norms, can_end, chained, links
from search.supernet.superkernel import Indicator


class Masks(NamedTuple):
    """The factors of one layer: of its kernel (K, K), of the channels of its depthwise convolution, of those in the middle of
    squeeze-and-excitation, and of what comes out of it, (1,) or (out,). None where there is nothing to decide."""

    kernel: Tensor
    channels: Tensor
    squeeze: Tensor | None
    out: Tensor | None


class SuperMBConv(MBConvBlock):
    """The MBConv that contains every choice of a place."""

    def __init__(self, slot: Slot) -> None:
        super().__init__(cast(Bottleneck, slot.largest))
        self.slot = slot

    def forward(self, x: Tensor, masks: Masks | None = None, step: Step | None = None) -> Tensor:
        """Eq. 4: o(x) = conv(x, w | t_k, t_e). Shapes as for `MBConvBlock`.

        Args:
            x: as above, with the channels that stand before the step.
            masks: None uses all of everything.
            step: what is beyond its layer is cut off, not multiplied by zero.
        """
        layer = self.spec if step is None else cast("Bottleneck | None", step.layer)
        if layer is None:
            return x
        w: Tensor = self.depthwise.weight
        v: Tensor = self.project.weight
        if masks is not None:
            w, v = w * masks.kernel, superkernel.eq3_channels(v, masks.channels)
        hidden, border = layer.hidden_channels, (self.spec.kernel - layer.kernel) // 2
        inner = slice(border, self.spec.kernel - border)
        y: Tensor = x if self.expand is None else self.expand(x, self.expand.weight[:hidden, : layer.in_channels])
        y = self.depthwise(y, w[:hidden, :, inner, inner])
        if self.excitation is not None:
            y = self._excited(y, self.excitation, masks, layer)
        gate = None if masks is None or masks.out is None else masks.out[: layer.out_channels]
        y = self.project(y, v[: layer.out_channels, :hidden], gate)
        return x + y if layer.residual else y

    def _excited(self, y: Tensor, excitation: Excitation, masks: Masks | None, layer: Bottleneck) -> Tensor:
        """Squeeze-and-excitation; in both convolutions, weights that read channels which are not in use are masked."""
        reduce: Tensor = excitation.reduce.weight
        expand: Tensor = excitation.expand.weight
        if masks is not None and masks.squeeze is not None:
            reduce = superkernel.eq3_channels(reduce, masks.channels)
            expand = superkernel.eq3_channels(expand, masks.squeeze)
        hidden, squeeze = layer.hidden_channels, layer.squeeze
        return cast(Tensor, excitation(y, reduce[:squeeze, :hidden], expand[:hidden, :squeeze]))


class SuperHead(HeadBlock):
    """A head that takes the first of its input channels alone."""

    def forward(self, x: Tensor) -> Tensor:
        """As `HeadBlock`."""
        features = cast(ConvBN, self.features)
        return self.classified(features(x, features.weight[:, : x.shape[1]]))


class Supernet(nn.Module):
    """The supernet of a space; `classes` are those of the data.

    Attributes:
        links: of the layers that are decided.
        t_k: thresholds of the kernels' shells beyond the core (layers, kernels − 1).
        t_e: thresholds of the expansion ratios beyond the first (layers, expansions − 1).
        t_skip: thresholds of whole layers (those that can be skipped on their own account,).
        t_w: thresholds of the numbers of channels beyond the first (stages with a choice of them, widths − 1); None without any.
    """

    shells: Tensor
    groups: Tensor
    skip_places: Tensor
    subsets: Tensor
    squeezes: Tensor
    outputs: Tensor
    has_width: Tensor
    before: Tensor

    def __init__(self, space: SearchSpace, classes: int) -> None:
        super().__init__()
        self.space = space
        self.classes = classes
        self.blocks = nn.ModuleList(_super_block(slot, classes) for slot in space.slots)
        layers, skippable = len(space.decided), [can_end(slot) for slot in space.decided]
        wide = sum(bool(slot.widths) for slot in space.decided)
        self.t_k = nn.Parameter(torch.zeros(layers, len(space.kernels) - 1))
        self.t_e = nn.Parameter(torch.zeros(layers, len(space.expansions) - 1))
        self.t_skip = nn.Parameter(torch.zeros(sum(skippable)))
        self.t_w = nn.Parameter(torch.zeros(wide, space.most_widths - 1)) if wide else None
        # For each layer its place in (1, use_layer of the skippable ones).
        places = [index * can for index, can in zip(accumulate(map(int, skippable)), skippable, strict=True)]
        self.links = [link for link, slot in zip(links(space), space.varying, strict=True) if slot.is_decided]
        buffers = {
            "shells": superkernel.shell_masks(space.kernels),
            "groups": superkernel.group_masks(space.expansions),
            "skip_places": torch.tensor(places),
            "subsets": _subsets(space, "hidden_channels"),
            "squeezes": _subsets(space, "squeeze"),
            "outputs": _outputs(space),
            "has_width": torch.tensor(
                [[float(n < len(slot.widths)) for n in range(1, space.most_widths)] for slot in space.decided if slot.widths]
            ),
            "before": torch.tensor([link.before for link in self.links]),
        }
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer, persistent=False)

    @property
    def decided(self) -> Iterator[SuperMBConv]:
        """The layers that are decided, in order."""
        return (block for block in self.blocks if isinstance(block, SuperMBConv))

    def thresholds(self) -> list[nn.Parameter]:
        """Every t_k, t_e, t_skip and t_w."""
        return [self.t_k, self.t_e, self.t_skip, *([] if self.t_w is None else [self.t_w])]

    @property
    def moved(self) -> float:
        """The share of thresholds that have left their initial value."""
        there = [self.t_k, self.t_e, self.t_skip, *([] if self.t_w is None else [self.t_w[self.has_width == 1]])]
        return float(torch.cat([(each.detach() != 0).flatten() for each in there]).float().mean())

    def norms(self) -> Norms:
        """The values that the thresholds are compared with, for the current weights."""
        layers = list(self.decided)
        scales = [layer.project.bn.gamma for layer in layers if can_end(layer.slot)]
        return Norms(
            superkernel.kernel_norms([layer.depthwise.weight for layer in layers], self.shells),
            superkernel.expansion_norms([layer.project.weight for layer in layers], self.groups),
            superkernel.layer_norms(scales) if scales else self.t_skip,
            superkernel.width_norms(*zip(*self._scales_of_widths(), strict=True)) if self.t_w is not None else self.has_width,
        )

    def _scales_of_widths(self) -> Iterator[tuple[Tensor, Tensor]]:
        """For each stage with a choice of channels the scale of its first layer's output, and the channels of each number."""
        for layer, link in zip(self.decided, self.links, strict=True):
            if link.decides:
                yield layer.project.bn.gamma, self.outputs[link.decides, : len(layer.slot.widths), : layer.spec.out_channels]

    def decide(self, g: Indicator = superkernel.indicator, norms: Norms | None = None) -> Decisions:
        """The decisions of all searchable layers under this indicator function; `norms` saves computing them again."""
        norms = norms or self.norms()
        return Decisions(
            superkernel.eq2_use_kernel(norms.kernel, self.t_k, g),
            superkernel.eq3_use_expansion(norms.expansion, self.t_e, g),
            chained(self.use_layers(g, norms), self.space),
            self._use_width(g, norms),
        )

    def use_layers(self, g: Indicator = superkernel.indicator, norms: Norms | None = None) -> Tensor:
        """Whether each searchable layer is in use where those before it are. (layers,)."""
        use_layer = superkernel.eq3_use_layer((norms or self.norms()).layer, self.t_skip, g)
        return torch.cat((use_layer.new_ones(1), use_layer))[self.skip_places]

    def _use_width(self, g: Indicator, norms: Norms) -> Tensor:
        without_choice = torch.eye(1, self.space.most_widths, dtype=self.t_k.dtype, device=self.t_k.device)
        if self.t_w is None:
            return without_choice
        return torch.cat((without_choice, superkernel.nested(g(norms.width, self.t_w) * self.has_width)))

    def forward(
        self,
        images: Tensor,
        decisions: Decisions | None = None,
        steps: Sequence[Step] | None = None,
        resolution: int | None = None,
    ) -> Tensor:
        """(batch, channels, height, width) to logits (batch, classes).

        Args:
            images: as above.
            decisions: what the subsets are multiplied by; by default everything is in use.
            steps: those of an architecture, `Architecture.steps`: nothing beyond its layers is computed; by default all of the
                largest.
            resolution: that images are brought to where the space has several; by default that of the steps, or the largest.
        """
        if self.space.smaller_resolutions:
            images = resized(images, resolution or (steps[0].layer.resolution if steps and steps[0].layer else images.shape[-1]))
        masks = iter(self._masks(decisions) if decisions else [None] * len(self.space.decided))
        x = images
        for index, block in enumerate(self.blocks):
            x = block(x, next(masks), steps[index] if steps else None) if isinstance(block, SuperMBConv) else block(x)
        return x

    def _masks(self, decisions: Decisions) -> list[Masks]:
        """Of each layer; all are computed at once, as there are few numbers in each."""
        kernels = superkernel.eq1_kernel_mask(decisions.use_kernel, self.shells)
        before = decisions.use_width[self.before]
        channels = superkernel.eq3_channel_masks(before, decisions.use_expansion, self.subsets)
        squeezes = superkernel.eq3_channel_masks(before, decisions.use_expansion, self.squeezes)
        of_rows = superkernel.weighted_rows(decisions.use_width, self.outputs)
        masks = []
        for index, (layer, link) in enumerate(zip(self.decided, self.links, strict=True)):
            spec, out = layer.spec, None
            if layer.slot.can_skip:
                out = decisions.use_layer[index : index + 1]
            if link.behind:
                width = of_rows[link.behind, : spec.out_channels]
                out = width if out is None else width * out
            squeeze = squeezes[index, : spec.squeeze] if spec.squeeze else None
            masks.append(Masks(kernels[index], channels[index, : spec.hidden_channels], squeeze, out))
        return masks


def _super_block(slot: Slot, classes: int) -> nn.Module:
    if slot.is_decided:
        return SuperMBConv(slot)
    if slot.varies and isinstance(slot.largest, FinalLayer):
        return SuperHead(slot.largest, classes)
    return build_block(slot.largest, classes)


def _subsets(space: SearchSpace, what: str) -> Tensor:
    """For each searchable layer the channels that each width before it and each ratio adds (layers, widths, ratios, channels).

    Args:
        space: the space.
        what: the attribute of a layer that counts them.
    """
    most = max(getattr(slot.largest, what) for slot in space.decided)
    masks = []
    for slot in space.decided:
        channels = sorted({state.channels for state in slot.before})
        counts = [[0] * len(space.expansions) for _ in range(space.most_widths)]
        for step in slot.steps.values():
            if step.layer is not None and step.choice is not None:
                before, ratio = channels.index(step.before.channels), space.expansions.index(step.choice.expansion)
                counts[before][ratio] = getattr(step.layer, what)
        masks.append(superkernel.subset_masks(counts, most))
    return torch.stack(masks)


def _outputs(space: SearchSpace) -> Tensor:
    """For each row of `Decisions.use_width` the channels that each number adds: (rows, widths, channels) of zeros and ones."""
    wide = [slot for slot in space.decided if slot.widths]
    most = max((slot.largest.out_channels for slot in wide), default=1)
    rows = [[most] * space.most_widths]
    for slot in wide:
        counts = sorted({step.after.channels for step in slot.steps.values()})
        rows.append(counts + [0] * (space.most_widths - len(counts)))
    return superkernel.telescope((torch.arange(most) < torch.tensor(rows)[..., None]).float().transpose(0, 1), 1).transpose(0, 1)


@torch.no_grad()
def extract(supernet: Supernet, architecture: Architecture) -> Network:
    """The stand-alone network of an architecture with the supernet's weights: inner kernels, first channels."""
    network = Network([layer for _, layer in architecture.placed_layers()], supernet.classes)
    network.resolution = architecture.resolution if architecture.space.smaller_resolutions else None
    for source, target in zip(supernet.blocks, network.blocks, strict=True):
        if not isinstance(target, nn.Identity):  # it is not skipped
            _copy_part(source, target)
    return network.to(next(supernet.parameters()).device)


def _copy_part(source: nn.Module, target: nn.Module) -> None:
    for name, part in source.state_dict().items():
        wanted = target.state_dict()[name]
        if name == "depthwise.weight":
            border = (part.shape[-1] - wanted.shape[-1]) // 2
            part = part[:, :, border : border + wanted.shape[-2], border : border + wanted.shape[-1]]
        wanted.copy_(part[tuple(slice(size) for size in wanted.shape)])
