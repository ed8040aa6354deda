"""What happens while a device measures, for whoever watches: one callable that takes every event."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Converting:
    """Models are being converted to TFLite: how many are ready, of how many."""

    done: int
    total: int


@dataclass(frozen=True)
class Progress:
    """Where a session stands, before each visit.

    Attributes:
        done: visits made, with those of earlier sessions.
        planned: visits in all, as far as is known now.
        remaining_s: seconds that remain, None before the first visit.
        text: the model in hand and its last figure.
    """

    done: int
    planned: int
    remaining_s: float | None
    text: str


@dataclass(frozen=True)
class Waiting:
    """Nothing is measured for some seconds, and why."""

    seconds: float
    reason: str


@dataclass(frozen=True)
class Notice:
    """One line that a person should know about a device."""

    text: str


Event = Converting | Progress | Waiting | Notice
Watch = Callable[[Event], None]


def silent(event: Event) -> None:
    """Watches nothing."""
