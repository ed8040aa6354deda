"""What searches and trainings keep of their steps: records in `metrics.csv` and `accuracy.csv`, read without PyTorch."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, get_type_hints

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
    one = TypeAdapter(kind, config=ConfigDict(extra="forbid", allow_inf_nan=False))
    lists = {name for name, hint in get_type_hints(kind).items() if hint == tuple[str, ...]}
    records = []
    for number, row in enumerate(csv.DictReader(io.StringIO(read_text(file))), start=2):
        values = {name: value.split() if name in lists and value else value or None for name, value in row.items()}
        try:
            records.append(one.validate_python(values))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            problem = f"{'.'.join(map(str, first['loc']))}: {first['msg'][0].lower()}{first['msg'][1:]}"
            raise InputError(problem, where=f"{file}:{number}") from error
    return records
