"""What happens while a device measures: events, passed to one callable."""

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
    """The progress of a session, before each visit.

    Attributes:
        done: visits made, with those of earlier sessions.
        planned: visits in all, as far as is known now.
        remaining_s: seconds that remain, None before the first visit.
        text: the current model and its last figure.
    """

    done: int
    planned: int
    remaining_s: float | None
    text: str


@dataclass(frozen=True)
class Waiting:
    """The session waits for some seconds, and why."""

    seconds: float
    reason: str


@dataclass(frozen=True)
class Notice:
    """One line about a device that the user should know."""

    text: str


Event = Converting | Progress | Waiting | Notice
Watch = Callable[[Event], None]


def silent(event: Event) -> None:
    """Ignores every event."""
