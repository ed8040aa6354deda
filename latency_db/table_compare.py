"""Two tables side by side, and two made one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from latency_db.table import LatencyTable, Row
from profiling.errors import TableError

Side = Literal["first", "second"]


@dataclass(frozen=True)
class RowDifference:
    """One layer in two tables: its latency in ms in each, None where the table has no row for it."""

    key: str
    first_ms: float | None
    second_ms: float | None

    @property
    def ratio(self) -> float | None:
        """Second to first; None where one lacks the layer."""
        return None if self.first_ms is None or self.second_ms is None else self.second_ms / self.first_ms


@dataclass(frozen=True)
class TableDifference:
    """How two tables differ.

    Attributes:
        same_space: whether both belong to the same search space.
        conditions: the conditions that differ, each with both values.
        rows: every layer that either has, in the order of the first, then of the second.
    """

    same_space: bool
    conditions: dict[str, tuple[object, object]]
    rows: tuple[RowDifference, ...]

    @property
    def ratios(self) -> list[float]:
        """Second to first, for every layer that both have."""
        return [row.ratio for row in self.rows if row.ratio is not None]

    @property
    def sums_ms(self) -> tuple[float, float]:
        """In each table, the sum of the layers that both have."""
        shared = [(row.first_ms, row.second_ms) for row in self.rows if row.first_ms is not None and row.second_ms is not None]
        return sum(first for first, _ in shared), sum(second for _, second in shared)


def diff(first: LatencyTable, second: LatencyTable) -> TableDifference:
    """Compares two tables, layer by layer."""

    def ms(row: Row | None) -> float | None:
        return None if row is None else row.ms

    rows = [RowDifference(key, ms(first.rows.get(key)), ms(second.rows.get(key))) for key in first.rows | second.rows]
    if first.fixed or second.fixed:
        rows.append(RowDifference("fixed", ms(first.fixed), ms(second.fixed)))
    same_space = first.space.digest == second.space.digest
    return TableDifference(same_space, first.conditions.differences(second.conditions), tuple(rows))


def merge(first: LatencyTable, second: LatencyTable, *, name: str, prefer: Side | None = None) -> LatencyTable:
    """One table with the rows of both, which must belong to the same space and conditions.

    Where both have a row for a layer and the rows differ, `prefer` says whose rows to keep. A calibration is based on the sums of
    its table's own rows: that of the preferred table stays, and that of the other is added only if no rows differ.

    Raises:
        TableError: spaces or conditions differ, naming the first difference; or rows differ and nothing is preferred.
    """
    where = f"{first.name}, {second.name}"
    first.require_space(second.space)
    for condition, (mine, theirs) in first.conditions.differences(second.conditions).items():
        raise TableError(
            f"measured under different conditions: {condition} is {mine} in one and {theirs} in the other", where=where
        )
    conflicts = [key for key in first.rows.keys() & second.rows.keys() if first.rows[key] != second.rows[key]]
    if first.fixed and second.fixed and first.fixed != second.fixed:
        conflicts.append("fixed")
    if conflicts and prefer is None:
        raise TableError(
            f"{len(conflicts)} layers have different latencies in the two tables; the first is {min(conflicts)}",
            where=where,
            hint="choose which to keep: --prefer first or --prefer second",
        )
    winner, other = (second, first) if prefer == "second" else (first, second)
    calibration = {network.key: network for network in (() if conflicts else other.calibration) + winner.calibration}
    return winner.model_copy(
        update={
            "name": name,
            "rows": other.rows | winner.rows,
            "fixed": winner.fixed or other.fixed,
            "calibration": tuple(calibration.values()),
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "source": f"merged from {first.name} ({first.source}) and {second.name} ({second.source})",
        }
    )
