"""Target latencies: in ms, or as a share of the range that the networks of a table's space take."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from profiling.errors import InputError

if TYPE_CHECKING:
    from latency_db.runtime_model import RuntimeModel

DIGITS = 4  # that people are shown; so a target that was printed is the same when it is typed


@dataclass(frozen=True)
class Percent:
    """So much of the way from the fastest network of a space (0) to the slowest (100)."""

    value: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Of a text such as `50%`.

        Raises:
            ValueError: it is something else, or out of range.
        """
        found = re.fullmatch(r"\s*([0-9]*\.?[0-9]+|[0-9]+\.)\s*%\s*", text, re.ASCII)
        if found is None or not 0 <= float(found[1]) <= 100:
            raise ValueError(
                f"{text!r} is neither a latency in ms nor from 0% (the table's fastest network) to 100% (its slowest)"
            )
        return cls(float(found[1]))

    def __str__(self) -> str:
        return f"{self.value:g}%"


Target = float | Percent


def in_ms(target: Target | str, model: RuntimeModel, say: Callable[[str], None] | None = None) -> float:
    """A target in ms, by the range of a table's networks.

    Args:
        target: in ms, or the share of the range; also as text, `50%`.
        model: of the table.
        say: called with what a share comes to, in words.

    Raises:
        InputError: the text is not a share.
    """
    if isinstance(target, str):
        try:
            target = Percent.parse(target)
        except ValueError as error:
            raise InputError(str(error), where="target_ms") from error
    if not isinstance(target, Percent):
        return target
    fastest, slowest = model.range_ms()
    wanted = fastest + target.value / 100 * (slowest - fastest)
    found = min(max(float(f"{wanted:.{DIGITS}g}"), fastest), slowest)
    if say is not None:
        say(f"{target} of the way from {fastest:.4g} to {slowest:.4g} ms, the range of table {model.table.name}: {found:.4g} ms.")
    return found
