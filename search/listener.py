"""Listeners follow a search, training, exploration or export, and may stop it."""

from __future__ import annotations

from typing import Protocol


class Step(Protocol):
    """A step of training with its figures: a `SearchStep` or a `TrainStep`."""

    @property
    def step(self) -> int:
        """Its number, from 1."""

    @property
    def steps(self) -> int:
        """How many there are in all."""


class Listener:
    """Ignores everything and never stops; a subclass overrides what it needs.

    Work that takes a while is one `begin`, a `progress` now and then, and one `end` unless it fails or is stopped.
    """

    def note(self, text: str) -> None:
        """A sentence for the user."""

    def begin(self, done: int, total: int) -> None:
        """Work on steps, networks or images begins: `done` of `total` are finished from before."""

    def progress(self, done: int, total: int, text: str) -> None:
        """`done` of `total` are finished; the text is the state in a few words."""

    def step(self, step: Step) -> None:
        """The figures of a step of training, once it is taken."""

    def look(self, done: int, total: int, text: str) -> None:
        """Before the work, the images are looked at: `done` of `total` are; the text says how."""

    def end(self) -> None:
        """The work has ended well."""

    def stop(self) -> bool:
        """Whether to stop here; called after every step. If True, everything is saved and KeyboardInterrupt raised."""
        return False


SILENT = Listener()
