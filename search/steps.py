"""What searches and trainings keep of their steps: records in `metrics.csv` and `accuracy.csv`, read without PyTorch."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from profiling.errors import InputError
from profiling.specfile import read_text

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R", bound="DataclassInstance")

Phase = Literal["dropout", "search", "final"]


@dataclass(frozen=True)
class SearchStep:
    """One step as it is reported and kept in `metrics.csv`.

    Attributes:
        step, steps: from 1, and of how many.
        phase: `dropout` while subsets are dropped and the runtime term is out, then `search`, then `final` while the network
            found learns alone.
        cross_entropy: of this batch, in nats.
        runtime_ms: R of the decisions (Eq. 10).
        runtime_weight: λ.
        choices: the decisions, one per searchable layer.
    """

    step: int
    steps: int
    phase: Phase
    cross_entropy: float
    runtime_ms: float
    runtime_weight: float
    choices: tuple[str, ...]


@dataclass(frozen=True)
class SupernetStep:
    """One step as it is reported and kept in `metrics.csv`.

    Attributes:
        step, steps: from 1, and of how many.
        cross_entropy: of this batch and the network of this step, in nats.
        learning_rate: of this step.
        choices: the network of this step.
    """

    step: int
    steps: int
    cross_entropy: float
    learning_rate: float
    choices: tuple[str, ...]


@dataclass(frozen=True)
class TrainStep:
    """One step as it is reported and kept in `metrics.csv`.

    Attributes:
        step, steps: from 1, and of how many.
        loss: of this batch, in nats: cross-entropy with smoothed (and mixed) labels, and what a teacher adds to it.
        learning_rate: of this step.
    """

    step: int
    steps: int
    loss: float
    learning_rate: float


@dataclass(frozen=True)
class Evaluation:
    """Accuracy on the held-out images after an epoch, as it is kept in `accuracy.csv`; shares from 0 to 1.

    Attributes:
        epoch, step: that it comes after, from 1.
        top1, top5: of the averaged weights, the result of the training; top-5 is None for five classes or fewer.
        last_top1, last_top5: of the weights of the step itself.
    """

    epoch: int
    step: int
    top1: float
    top5: float | None
    last_top1: float
    last_top5: float | None


def read_records(kind: type[R], file: Path) -> list[R]:
    """The records of a CSV file that a run writes; none where it is not there yet.

    Raises:
        InputError: it cannot be read, or a line is no such record; names the first.
    """
    if not file.exists():
        return []
    hints = get_type_hints(kind)
    checks = {name: TypeAdapter(hint, config=ConfigDict(allow_inf_nan=False)) for name, hint in hints.items()}
    rows = csv.DictReader(io.StringIO(read_text(file)))
    if set(rows.fieldnames or ()) != set(hints):
        raise InputError(f"its columns are not {', '.join(hints)}", where=f"{file}:1")
    records = []
    for number, row in enumerate(rows, start=2):
        values: dict[str, Any] = {}
        for name, check in checks.items():
            text = row[name] or ""
            try:
                values[name] = check.validate_python(text.split() if hints[name] == tuple[str, ...] else text or None)
            except ValidationError as error:
                raise InputError(f"{name} cannot be {text!r}", where=f"{file}:{number}") from error
        records.append(kind(**values))
    return records
