"""The latency table: frozen, one latency per layer key under one set of conditions, plus the calibration on whole networks."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from statistics import median
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from latency_db.runtime_model import Prediction, RuntimeModel
from profiling.conditions import UNKNOWN, Conditions
from profiling.errors import MissingRowsError, TableError
from profiling.layers import LayerSpec
from profiling.space import Architecture, SearchSpace, built_in_names, load_architecture, load_space
from profiling.specfile import FieldError, SpecModel, since

Milliseconds = Annotated[float, Field(gt=0, lt=1e6)]
Bytes = Annotated[int, Field(ge=0, lt=1e12)]
# The source of a table that Python code measured; otherwise it is the command.
MEASURED = "spnas profile"
# No slash, so that a name is not a path; neither white space nor control characters.
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:@+-]{0,127}$"


class Row(SpecModel):
    """The latency of one layer.

    Attributes:
        ms: a robust quantile over visits.
        spread_ms: the median absolute deviation over visits, scaled to a standard deviation; None for a single figure.
        visits: how many processes it is based on.
        flag: what was noticed while measuring, e.g. `noisy`; None when all was well.
        packed_bytes: memory that the runtime keeps its weights in; None where the device cannot tell.
    """

    ms: Milliseconds
    spread_ms: Annotated[float, Field(ge=0)] | None = None
    visits: Annotated[int, Field(ge=1)] = 1
    flag: Annotated[str, Field(pattern=r"^\P{C}+$")] | None = None
    packed_bytes: Bytes | None = since(None)

    @property
    def text(self) -> str:
        """The ms, with a star if it is flagged."""
        return f"{self.ms:#.4g}{'*' if self.flag else ''}"


class CalibrationNetwork(SpecModel):
    """A whole network that the calibration was fitted on.

    Attributes:
        key: of the network.
        sum_ms: of its rows.
        measured_ms: what the device measured.
        packed_bytes: of its rows together; None where one of them has none.
    """

    key: str
    sum_ms: Milliseconds
    measured_ms: Milliseconds
    packed_bytes: Bytes | None = since(None)


@dataclass(frozen=True)
class TableSummary:
    """What a list of tables shows of each; fields as in `LatencyTable`, of rows and calibration networks their number."""

    name: str
    space: str
    device: str
    precision: str
    threads: int | Literal["unknown"]
    rows: int
    calibration_networks: int
    created_at: str


class LatencyTable(SpecModel):
    """One latency per layer under one set of conditions.

    Attributes:
        name: a word for people.
        unit: of every latency; a file must say so.
        space: the search space that the rows belong to.
        conditions: what all rows were measured under.
        rows: by layer key. A published table may give the same layer a latency of its own at each place: such a row
            stands under `KEY@POSITION` (see `Slot.position`) and comes before a row under the plain key.
        fixed: stem, head and fixed layers as one figure, where a published table gives only their sum; else None.
        calibration: the networks that the calibration is fitted on; empty when there is none.
        created_at: UTC, ISO 8601.
        source: where the figures come from.
    """

    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    unit: Literal["ms"] = "ms"
    space: SearchSpace
    conditions: Conditions
    rows: dict[str, Row]
    fixed: Row | None = None
    calibration: tuple[CalibrationNetwork, ...] = ()
    created_at: str
    source: str

    @model_validator(mode="after")
    def _rows_of_the_space(self) -> Self:
        places = [(layer.key, slot.position) for slot in self.space.slots for layer in slot.layers.values()]
        known = {key for place in places for key in (place[0], row_key(*place))}
        for key in self.rows:
            if key not in known:
                raise FieldError(("rows", key), f"{key!r} is not a layer of the space {self.space.name}")
        if self.fixed is not None and any(slot.varies and not slot.is_searchable for slot in self.space.slots):
            problem = "the last layer depends on what is chosen before it, so that fixed layers have no one sum"
            raise FieldError(("fixed",), problem)
        return self

    def row(self, layer: LayerSpec, position: int | None = None) -> Row:
        """The row for a layer, at its place in the space if the table has rows by place.

        Raises:
            MissingRowsError: there is none. Nothing is ever guessed.
        """
        row = self.rows.get(row_key(layer.key, position)) or self.rows.get(layer.key)
        if row is None:
            raise self._lacks((layer.key,))
        return row

    def predict(self, architecture: Architecture | str | os.PathLike[str]) -> Prediction:
        """The latency of one network; for many of them, `RuntimeModel` fits the calibration only once.

        Args:
            architecture: an architecture, one choice for all layers such as `3x3-6`, the name of one that ships with spnas, or a
                file.

        Raises:
            InputError: it is none of these, or the file does not contain an architecture.
            TableError: it belongs to another space, layers have no row, or the calibration gives it no positive latency.
        """
        if not isinstance(architecture, Architecture):
            name = os.fspath(architecture)
            architecture = self.space.uniform(name) if name in self.space.choices_by_name else load_architecture(name)
        return RuntimeModel(self).predict(architecture)

    @property
    def summary(self) -> TableSummary:
        """What a list of tables shows of this one."""
        on, counts = self.conditions, (len(self.rows), len(self.calibration))
        return TableSummary(self.name, self.space.name, on.device, on.precision, on.threads, *counts, self.created_at)

    @property
    def noise_pct(self) -> tuple[float, float] | None:
        """The median and the largest spread of a row, as a percentage of its latency; None where no row has a spread."""
        noise = [row.spread_ms / row.ms * 100 for row in self.rows.values() if row.spread_ms is not None]
        return (median(noise), max(noise)) if noise else None

    @property
    def without_packed_weights(self) -> LatencyTable:
        """The same, as a device gives it that cannot tell what memory weights are packed into."""
        unknown = {"packed_bytes": None}
        return self.model_copy(
            update={
                "rows": {key: row.model_copy(update=unknown) for key, row in self.rows.items()},
                "calibration": tuple(network.model_copy(update=unknown) for network in self.calibration),
            }
        )

    def require_complete(self) -> None:
        """Checks that every network of the space can be predicted.

        Raises:
            MissingRowsError: layers have no row; names all of them, and the command that measures them.
        """
        missing = {
            layer.key: None
            for slot in self.space.slots
            for layer in slot.layers.values()
            if (slot.is_searchable or self.fixed is None)
            and layer.key not in self.rows
            and row_key(layer.key, slot.position) not in self.rows
        }
        if missing:
            raise self._lacks(tuple(missing))

    def require_space(self, space: SearchSpace) -> None:
        """Checks that the table is for this space.

        Raises:
            TableError: it is for another one; names both and, for two spaces of one name, their first difference.
        """
        if self.space.digest == space.digest:
            return
        mine, theirs = self.space.model_dump(exclude={"name"}), space.model_dump(exclude={"name"})
        first = next(name for name in mine if mine[name] != theirs[name])
        values = f"{first} is {mine[first]} there and {theirs[first]} here" if first != "stages" else "their stages differ"
        raise TableError(
            f"it belongs to the space {self.space.name}, not to {space.name}: {values}",
            where=f"table {self.name}",
            hint="give a table of this space, or measure one with spnas profile",
        )

    def require_conditions(self, conditions: Conditions) -> None:
        """Checks that the table was measured under these conditions.

        Raises:
            TableError: it was not; names every difference.
        """
        differences = self.conditions.differences(conditions)
        if differences:
            words = "; ".join(f"{name} was {then} and is {now}" for name, (then, now) in differences.items())
            raise TableError(
                f"it was measured under different conditions: {words}",
                where=f"table {self.name}",
                hint="profile again, or match them",
            )

    def _lacks(self, keys: tuple[str, ...]) -> MissingRowsError:
        return MissingRowsError(keys, where=f"table {self.name}", hint=f"measure them with: {self.profile_command}")

    @property
    def profile_command(self) -> str:
        """The command that measures such a table."""
        space, conditions = self.space, self.conditions
        words = ["--device", conditions.device, "--space", f"{space.name}.yaml"]
        if space.name in built_in_names("spaces"):
            shipped = load_space(space.name)
            options = {"resolution": "--resolution", "width_multiplier": "--width", "classes": "--classes"}
            given = {name: getattr(space, name) for name in options if getattr(space, name) != getattr(shipped, name)}
            if shipped.with_parameters(**given).digest == space.digest:
                words[-1] = space.name
                words += [word for name, value in given.items() for word in (options[name], str(value))]
        for name in ("threads", "cores", "precision", "delegate"):
            value = getattr(conditions, name)
            words += [] if value == UNKNOWN else [f"--{name}", str(value)]
        return shlex.join(["spnas", "profile", *words])


def row_key(layer_key: str, position: int | None) -> str:
    """The key of a row that holds for one place only."""
    return f"{layer_key}@{position}"
