"""One error tree for the whole toolkit.

The core raises these and never prints or exits; the command line turns each class into one line and one exit code.
"""

from __future__ import annotations

import copyreg
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from profiling.measurement import DeviceState


class SpnasError(Exception):
    """A failure that the user can act on.

    Attributes:
        problem: what is wrong, in one line.
        where: the file (with line), option, device or model concerned, or None.
        hint: the next step for the user, or None.
    """

    def __init__(self, problem: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(problem, where, hint)
        self.problem = problem
        self.where = where
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        # Worker processes raise these too. Unpickling an exception would call it with `args`, which its keywords do not allow.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]

    def __str__(self) -> str:
        return describe(self.problem, self.where, self.hint)


def describe(problem: str, where: str | None, hint: str | None) -> str:
    """An error in one line: `where: problem; hint`."""
    text = f"{where}: {problem}" if where else problem
    return f"{text}; {hint}" if hint else text


class InputError(SpnasError):
    """A file, option or data folder given by the user cannot be used as it is."""


class MissingExtraError(SpnasError):
    """Packages that only some commands need are not installed.

    Attributes:
        packages: their names.
    """

    def __init__(self, packages: Sequence[str], install: str) -> None:
        *others, last = packages
        names = f"{', '.join(others)} and {last} are" if others else f"{last} is"
        super().__init__(f"{names} not installed", hint=f"to install what this needs: {install}")
        self.packages = tuple(packages)


class DiskFullError(SpnasError):
    """A result cannot be written because there is no room; what was there before is unchanged."""


class ConversionError(SpnasError):
    """TensorFlow could not build a model, or built one that must not be measured."""


class NoDeviceError(SpnasError):
    """No device of that name can be used now."""


class DeviceLostError(SpnasError):
    """The device went away and did not come back within the limit."""


class MeasurementError(SpnasError):
    """One measurement, or too many of them, gave no valid result."""


class ToolOutputError(MeasurementError):
    """What a benchmark process printed holds no valid result.

    Attributes:
        reason: why, as a short word or phrase that is the same for the same kind of failure ("crash", "hang", "truncated", ...).
        recurs: whether the same run would fail again in the same way.
        state: what the device met during the run, set by the device; None where nobody looked.
    """

    def __init__(
        self, reason: str, problem: str, *, recurs: bool = False, where: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(problem, where=where, hint=hint)
        self.reason = reason
        self.recurs = recurs
        self.state: DeviceState | None = None


class TableError(SpnasError):
    """A latency table does not fit what is asked of it."""


class MissingRowsError(TableError):
    """Layers without a row in the table.

    Attributes:
        keys: the layer keys that have no row.
    """

    def __init__(self, keys: tuple[str, ...], *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(f"no latency for {len(keys)} layers: {', '.join(keys)}", where=where, hint=hint)
        self.keys = keys


class StoreError(TableError):
    """The measurement database cannot be used: corrupt, newer than this program, read-only, full or in use."""


class TrainingError(SpnasError):
    """Training cannot continue: a loss that is not finite, or too little memory."""


class ProcessError(TrainingError):
    """One of several processes cannot continue, for a reason that the others may not see."""
