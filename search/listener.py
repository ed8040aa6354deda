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
    """Listens in silence and stops nothing; a subclass overrides what it wants to know.

    Work that takes a while is one `begin`, a `progress` now and then, and one `end` unless it fails or is stopped.
    """

    def note(self, text: str) -> None:
        """A sentence that is worth a person's attention."""

    def begin(self, done: int, total: int) -> None:
        """Steps, networks or images are gone through now: so many are done from before, of so many in all."""

    def progress(self, done: int, total: int, text: str) -> None:
        """So many are done, of so many in all; the text says in a few words how it stands."""

    def step(self, step: Step) -> None:
        """The figures of a step of training, once it is taken."""

    def end(self) -> None:
        """What `begin` began has ended well."""

    def stop(self) -> bool:
        """Whether to stop here; asked after every step, and obeyed with a KeyboardInterrupt once all is saved."""
        return False


SILENT = Listener()
