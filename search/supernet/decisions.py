"""Decisions of a supernet: the indicators of all places, and how places hang together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from profiling.places import SKIP, Slot
from profiling.space import Architecture, SearchSpace


@dataclass(frozen=True)
class Norms:
    """The values that t_k, t_e, t_skip and t_w are compared with, in the same shapes."""

    kernel: Tensor
    expansion: Tensor
    layer: Tensor
    width: Tensor


@dataclass(frozen=True)
class Decisions:
    """The indicators of all layers that are decided, in order.

    Attributes:
        use_kernel: (layers, kernels).
        use_expansion: (layers, expansions).
        use_layer: (layers,); 0 is `skip`, also where a layer before ended the stage.
        use_width: (1 + stages with a choice of channels, widths): of each number of channels whether it or a larger one is in
            use. The first row, 1 and then 0, stands for all places without a choice, and 0 for what a stage does not have.
    """

    use_kernel: Tensor
    use_expansion: Tensor
    use_layer: Tensor
    use_width: Tensor


@dataclass(frozen=True)
class Link:
    """What the channels on both sides of a place hang on, as rows of `Decisions.use_width`.

    Attributes:
        before, behind: the rows; 0 where nothing is left to choose.
        decides: the row that the place itself decides, else 0.
    """

    before: int
    behind: int
    decides: int


def links(space: SearchSpace) -> list[Link]:
    """That of each varying place, in order."""
    found, row, rows = [], 0, 0
    for slot in space.slots:
        before = row
        if slot.widths:
            rows += 1
            row = rows
        elif len({step.after.channels for step in slot.steps.values()}) == 1:
            row = 0
        if slot.varies:
            found.append(Link(before, row, row if slot.widths else 0))
    return found


def can_end(slot: Slot) -> bool:
    """Whether the place itself decides that its layer is skipped, and not one before it alone."""
    return any(step.choice == SKIP and not step.before.ended for step in slot.steps.values())


def is_chained(slot: Slot) -> bool:
    """Whether its layer is skipped where one before it is."""
    return any(state.ended for state in slot.before)


def chained(own: Tensor, space: SearchSpace) -> Tensor:
    """Whether each layer is in use, from whether it would be on its own account: (layers,) to the same shape."""
    if not any(map(is_chained, space.decided)):
        return own
    used: list[Tensor] = []
    for mine, slot in zip(own.unbind(), space.decided, strict=True):
        used.append(mine * used[-1] if is_chained(slot) else mine)
    return torch.stack(used)


def encode(architecture: Architecture) -> Decisions:
    """The decisions of an architecture; `decode.hard_architecture` is the inverse."""
    space = architecture.space
    choices = [step.choice or SKIP for step in architecture.decided]
    widths = [[1.0] + [0.0] * (space.most_widths - 1)]
    for slot, choice in zip(space.decided, choices, strict=True):
        if slot.widths:
            used = [float(channels <= choice.channels) for channels in slot.widths]
            widths.append(used + [0.0] * (space.most_widths - len(used)))
    return Decisions(
        torch.tensor([[float(kernel <= max(choice.kernel, space.kernels[0])) for kernel in space.kernels] for choice in choices]),
        torch.tensor(
            [[float(ratio <= max(choice.expansion, space.expansions[0])) for ratio in space.expansions] for choice in choices]
        ),
        torch.tensor([float(choice != SKIP) for choice in choices]),
        torch.tensor(widths),
    )


def last_of(nested: Tensor) -> Tensor:
    """Of nested indicators, which fall from subset to subset: whether each is the last one in use. Same shape."""
    return -torch.diff(nested, dim=-1, append=nested.new_zeros(*nested.shape[:-1], 1))
