"""Notices collapsed decisions: every layer skipped, every layer the smallest, every layer the largest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from latency_db.runtime_model import RuntimeModel
from profiling.places import SKIP
from profiling.space import Architecture, SearchSpace

Kind = Literal["skip", "smallest", "largest"]

WORDS: dict[Kind, str] = {
    "skip": "every layer that can be skipped is skipped",
    "smallest": "every layer is as small as it can be",
    "largest": "every layer is as large as it can be",
}
# Share of the steps in which decisions are learned; a quarter may pass before the first layer leaves the largest choice.
PATIENCE = 1 / 3
ON_TARGET = 0.1


def collapsed(space: SearchSpace, choices: Sequence[str]) -> Kind | None:
    """How decisions have collapsed, None where they differ as they should.

    Layers that cannot be skipped do not count against a collapse; where none can be skipped, `skip` is never reported.
    """
    slots = space.decided
    choices = choices[-len(slots) :]  # without a resolution, which nothing decides
    skippable = [slot.can_skip for slot in slots]
    if any(skippable) and all(name == SKIP.name for name, can in zip(choices, skippable, strict=True) if can):
        return "skip"
    # Choices stand in rising order, `skip` first where there is one.
    if all(name == slot.choices[-1] for name, slot in zip(choices, slots, strict=True)):
        return "largest"
    smallest = [next(name for name in slot.choices if name != SKIP.name) for slot in slots]
    if all(name in (least, SKIP.name) for name, least in zip(choices, smallest, strict=True)):
        return "smallest"
    return None


def advice(kind: Kind, target_ms: float | None) -> str:
    """What to change after a collapse; the target is None with a fixed runtime weight."""
    if target_ms is None:
        change = "smaller" if kind != "largest" else "larger"
        return f"Try a {change} --runtime-weight, by a factor of 3 at a time, or give a --target-ms."
    return (
        f"The network found will still be within 1 % below {target_ms:g} ms, if the space has one, but these decisions"
        " say little about which one. Try more --epochs, or a smaller --batch-size for more steps per epoch."
    )


@dataclass
class CollapseWatch:
    """Watches the decisions of every step, and warns once.

    Decisions begin with everything in use and may pass through a collapse; where R is on its target they are soft or right,
    not collapsed. So it warns once they have been collapsed for a third of the steps in which they are learned, with R more
    than a tenth from the target if there is one.

    Args:
        model: the runtime model.
        target_ms: None with a fixed runtime weight.
        steps: in which decisions are learned, in the whole run.
    """

    model: RuntimeModel
    target_ms: float | None
    steps: int
    _kind: Kind | None = None
    _count: int = 0
    _said: bool = False

    def look(self, choices: tuple[str, ...], runtime_ms: float) -> str | None:
        """Records the decisions and R after another step in which they are learned; returns a warning for the user, or None."""
        kind = collapsed(self.model.space, choices)
        if self.target_ms is not None and abs(runtime_ms / self.target_ms - 1) <= ON_TARGET:
            kind = None
        self._count = self._count + 1 if kind is not None and kind == self._kind else 1
        self._kind = kind
        if kind is None or self._said or self._count < PATIENCE * self.steps:
            return None
        self._said = True
        ms = self.model.predict(Architecture(space=self.model.space, choices=choices)).total_ms
        return f"The decisions have collapsed: {WORDS[kind]}, which takes {ms:.4g} ms. {advice(kind, self.target_ms)}"
