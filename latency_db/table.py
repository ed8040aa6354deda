"""The latency table: frozen, one latency per layer key under one set of conditions, plus the calibration on whole networks."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from profiling.conditions import Conditions
from profiling.errors import InputError, MissingRowsError
from profiling.layers import LayerSpec
from profiling.space import SearchSpace
from profiling.specfile import FieldError, SpecModel

Milliseconds = Annotated[float, Field(gt=0, lt=1e6)]


class Row(SpecModel):
    """The latency of one layer.

    Attributes:
        ms: a robust quantile over visits.
        spread_ms: the median absolute deviation over visits, scaled to a standard deviation; None for a single figure.
        visits: how many processes it rests on.
        flag: what was noticed while measuring, e.g. `noisy`; None when all was well.
    """

    ms: Milliseconds
    spread_ms: Annotated[float, Field(ge=0)] | None = None
    visits: Annotated[int, Field(ge=1)] = 1
    flag: str | None = None


class CalibrationNetwork(SpecModel):
    """A whole network that the calibration was fitted on: the sum of its rows, and what the device measured."""

    key: str
    sum_ms: Milliseconds
    measured_ms: Milliseconds


class LatencyTable(SpecModel):
    """One latency per layer under one set of conditions.

    Attributes:
        name: a word for people.
        space: the search space that the rows belong to.
        conditions: what all rows were measured under.
        rows: by layer key. A published table may give the same layer a latency of its own at each place: such a row
            stands under `KEY@POSITION` (see `Slot.position`) and comes before a row under the plain key.
        fixed: stem, head and fixed layers as one figure, where a published table gives only their sum; else None.
        calibration: the networks that the calibration is fitted on; empty when there is none.
        created_at: UTC, ISO 8601.
        source: where the figures come from.
    """

    name: str
    space: SearchSpace
    conditions: Conditions
    rows: dict[str, Row]
    fixed: Row | None = None
    calibration: tuple[CalibrationNetwork, ...] = ()
    created_at: str
    source: str

    @field_validator("rows")
    @classmethod
    def _keys_of_layers(cls, rows: dict[str, Row]) -> dict[str, Row]:
        for key in rows:
            layer, at, position = key.partition("@")
            try:
                LayerSpec.from_key(layer)
            except InputError as error:
                raise FieldError((key,), str(error)) from error
            if at and not position.isdecimal():
                raise FieldError((key,), f"{position!r} is not a position")
        return rows

    def row(self, layer: LayerSpec, position: int | None = None) -> Row:
        """The row for a layer, at its place in the space where the table tells places apart.

        Raises:
            MissingRowsError: there is none. Nothing is ever guessed.
        """
        row = self.rows.get(f"{layer.key}@{position}") or self.rows.get(layer.key)
        if row is None:
            raise MissingRowsError((layer.key,), where=f"table {self.name}")
        return row

    def missing_keys(self) -> tuple[str, ...]:
        """Keys of the layers of the space that have no row, in the order of the places."""
        missing = {
            layer.key: None
            for slot in self.space.slots
            for layer in slot.layers.values()
            if not (self.fixed is not None and not slot.is_searchable) and not self._has(layer, slot.position)
        }
        return tuple(missing)

    def _has(self, layer: LayerSpec, position: int) -> bool:
        return layer.key in self.rows or f"{layer.key}@{position}" in self.rows
