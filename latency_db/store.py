"""The database of measurements and tables: one SQLite file, each measurement committed before the next one starts."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from latency_db.database import FAULTS, Database
from latency_db.migrations import version
from latency_db.published import published_names
from latency_db.table import NAME_PATTERN, LatencyTable, TableSummary
from profiling.conditions import Conditions
from profiling.errors import InputError, StoreError
from profiling.locks import lock
from profiling.measurement import Measurement
from profiling.space import Architecture, SearchSpace

Purpose = Literal["profile", "validate", "compare"]

# The fields of a TableSummary in their order.
SUMMARY = """
    SELECT name, json_extract(content, '$.space.name'), json_extract(content, '$.conditions.device'),
    json_extract(content, '$.conditions.precision'), json_extract(content, '$.conditions.threads'),
    (SELECT count(*) FROM json_each(content, '$.rows')), json_array_length(content, '$.calibration'),
    json_extract(content, '$.created_at')
"""


@dataclass(frozen=True)
class Campaign:
    """One profile, validation or comparison under one set of conditions: what a command picks up when it is run again."""

    id: int
    purpose: Purpose
    space: SearchSpace
    conditions: Conditions
    parameters: Mapping[str, int | float | str]


class Store(Database):
    """The measurements, campaigns and tables in a database; arguments and errors as for `Database`."""

    def campaign(
        self, purpose: Purpose, space: SearchSpace, conditions: Conditions, parameters: Mapping[str, int | float | str]
    ) -> Campaign:
        """The campaign with exactly this purpose, space, conditions and parameters: found again, or begun."""
        settled = _settled(parameters)
        digest = _digest(purpose, space, conditions, settled)
        values = (digest, purpose, space.model_dump_json(), conditions.model_dump_json(), settled, _now())
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO campaigns (digest, purpose, space, conditions, parameters, created_at) VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                values,
            )
            identity = connection.execute("SELECT id FROM campaigns WHERE digest = ?", (digest,)).fetchone()[0]
        return Campaign(identity, purpose, space, conditions, parameters)

    def campaigns(self, purpose: Purpose, having: Mapping[str, str] | None = None) -> list[Campaign]:
        """All campaigns of this purpose, the latest first; if parameters are given, those that have these."""
        having = having or {}
        where = " ".join("AND json_extract(parameters, '$.' || ?) = ?" for _ in having)
        query = f"SELECT id, space, conditions, parameters FROM campaigns WHERE purpose = ? {where} ORDER BY id DESC"
        values = (purpose, *(word for pair in having.items() for word in pair))
        with self._translated():
            if version(self._connection) == 0:
                return []
            return [
                Campaign(
                    identity,
                    purpose,
                    SearchSpace.model_validate_json(space),
                    Conditions.model_validate_json(conditions),
                    json.loads(parameters),
                )
                for identity, space, conditions, parameters in self._connection.execute(query, values).fetchall()
            ]

    def add_networks(self, campaign: Campaign, architectures: Sequence[Architecture]) -> None:
        """Keeps the architectures of whole networks, so that a model's key can be turned back into its architecture.

        Of architectures that are one network (a layer skipped here or beside it) the first is kept.
        """
        with self._transaction() as connection:
            connection.executemany(
                "INSERT INTO networks (campaign, model, architecture) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                [(campaign.id, architecture.network.key, architecture.to_json()) for architecture in architectures],
            )

    def networks(self, campaign: Campaign) -> dict[str, Architecture]:
        """The architectures of a campaign's whole networks, by key."""
        query = "SELECT model, architecture FROM networks WHERE campaign = ?"
        with self._translated():
            rows = self._connection.execute(query, (campaign.id,)).fetchall()
            return {model: Architecture.model_validate_json(architecture) for model, architecture in rows}

    def architectures(self, keys: Iterable[str]) -> dict[str, Architecture]:
        """The architectures of whole networks, by the keys of these; those that no campaign measured are left out."""
        query = "SELECT architecture FROM networks WHERE model = ? ORDER BY campaign LIMIT 1"
        with self._translated():
            found = {key: self._connection.execute(query, (key,)).fetchone() for key in keys}
            return {key: Architecture.model_validate_json(row[0]) for key, row in found.items() if row}

    def add(self, campaign: Campaign, measurement: Measurement) -> None:
        """Keeps a measurement; it is on the disk when this returns.

        Raises:
            StoreError: this visit has a result already, or the file cannot be written.
        """
        low_ms = measurement.figures.fastest_ms if measurement.figures else None
        record = measurement.model_dump_json(exclude={"output"})
        values = (campaign.id, measurement.model, measurement.visit, measurement.status, low_ms, record)
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO measurements (campaign, model, visit, status, low_ms, record, output) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (*values, zlib.compress(measurement.output.encode())),
            )

    def measurements(self, campaign: Campaign) -> list[Measurement]:
        """All measurements of a campaign in the order in which they were made."""
        query = "SELECT record, output FROM measurements WHERE campaign = ? ORDER BY id"
        with self._translated():
            return [
                Measurement.model_validate_json(record).model_copy(update={"output": zlib.decompress(output).decode()})
                for record, output in self._connection.execute(query, (campaign.id,))
            ]

    def sessions(self, campaign: Campaign, model: str) -> list[list[float]]:
        """The figures in ms of all visits to a model under the conditions of a campaign, by processes as long as its own.

        One list for each campaign that has some, of whatever purpose, this one among them.
        """
        query = """
            SELECT measurements.campaign, measurements.low_ms FROM measurements
            JOIN campaigns ON campaigns.id = measurements.campaign JOIN campaigns AS mine ON mine.id = ?
            WHERE measurements.model = ? AND measurements.status = 'ok' AND campaigns.conditions = mine.conditions
            AND json_extract(campaigns.parameters, '$.runs') = json_extract(mine.parameters, '$.runs')
            AND json_extract(campaigns.parameters, '$.seconds') = json_extract(mine.parameters, '$.seconds')
            ORDER BY measurements.id
        """
        found: dict[int, list[float]] = {}
        with self._translated():
            for identity, low_ms in self._connection.execute(query, (campaign.id, model)):
                found.setdefault(identity, []).append(low_ms)
        return list(found.values())

    def save_table(self, table: LatencyTable, campaign: Campaign | None = None) -> None:
        """Keeps a table under its name; a later table of the same campaign takes its place.

        Raises:
            InputError, StoreError: as for `check_name_is_free`.
        """
        with self._transaction() as connection:
            self.check_name_is_free(table.name, campaign)
            connection.execute(
                "INSERT INTO latency_tables (name, campaign, content) VALUES (?, ?, ?)"
                " ON CONFLICT (name) DO UPDATE SET content = excluded.content",
                (table.name, campaign and campaign.id, table.model_dump_json()),
            )

    def check_name_is_free(self, name: str, campaign: Campaign | None) -> None:
        """Finds out before any measuring whether a table of this name could be saved at its end.

        Raises:
            InputError: this is not a valid name for a table.
            StoreError: another table has this name: one of another campaign, an imported one, or one that ships with spnas.
        """
        if not re.fullmatch(NAME_PATTERN, name):
            raise InputError(f"{name!r} cannot name a table", hint="use up to 128 letters, digits and . _ : @ + -")
        with self._translated():
            holder = self._connection.execute("SELECT campaign FROM latency_tables WHERE name = ?", (name,)).fetchone()
        if holder is not None and campaign is not None and holder[0] == campaign.id:
            return
        if holder is not None:
            problem = f"another table is called {name} (measured with other settings, or imported)"
        elif name in published_names():
            problem = f"{name} is a table that ships with spnas"
        else:
            return
        raise StoreError(problem, hint="choose another name with --name")

    def tables(self) -> list[LatencyTable]:
        """All tables by name."""
        return [LatencyTable.model_validate_json(content) for (content,) in self._tables("SELECT content")]

    def table_names(self) -> list[str]:
        """The names of all tables, in order."""
        return [name for (name,) in self._tables("SELECT name")]

    def table_summaries(self) -> list[TableSummary]:
        """What a list shows of all tables, by name; none of them is validated."""
        return [TableSummary(*row) for row in self._tables(SUMMARY)]

    def table(self, name: str) -> LatencyTable | None:
        """The table of this name; None if there is none."""
        with self._translated():
            if version(self._connection) == 0:
                return None
            row = self._connection.execute("SELECT content FROM latency_tables WHERE name = ?", (name,)).fetchone()
            return LatencyTable.model_validate_json(row[0]) if row else None

    def delete_table(self, name: str) -> bool:
        """Removes a table; what it was made from stays. Returns whether it was made from measurements in this database.

        Raises:
            StoreError: there is no such table.
        """
        with self._transaction() as connection:
            row = connection.execute("DELETE FROM latency_tables WHERE name = ? RETURNING campaign", (name,)).fetchone()
            if row is None:
                raise self._lacks(name)
        return row[0] is not None

    def rename_table(self, name: str, new_name: str) -> None:
        """Gives a table another name; its validations stay its own.

        Raises:
            InputError, StoreError: there is no such table, or as for `check_name_is_free`.
        """
        with self._transaction() as connection:
            self.check_name_is_free(new_name, None)
            table = self.table(name)
            if table is None:
                raise self._lacks(name)
            renamed = table.model_copy(update={"name": new_name}).model_dump_json()
            connection.execute("UPDATE latency_tables SET name = ?, content = ? WHERE name = ?", (new_name, renamed, name))
            for campaign in self.campaigns("validate", {"table": name, "measured_at": table.created_at}):
                settled = _settled({**campaign.parameters, "table": new_name})
                digest = _digest(campaign.purpose, campaign.space, campaign.conditions, settled)
                connection.execute("UPDATE campaigns SET parameters = ?, digest = ? WHERE id = ?", (settled, digest, campaign.id))

    def _tables(self, select: str) -> list[tuple[Any, ...]]:
        with self._translated():
            if version(self._connection) == 0:
                return []
            return self._connection.execute(f"{select} FROM latency_tables ORDER BY name").fetchall()

    def _lacks(self, name: str) -> StoreError:
        if name in published_names():
            return StoreError(f"{name} ships with spnas: it can be neither deleted nor renamed")
        return StoreError(f"there is no table {name!r}", hint="spnas table list shows all")

    @contextmanager
    def writing(self, device: str) -> Iterator[None]:
        """Holds the right to measure on a device into this database during a run; readers do not need it.

        Raises:
            StoreError: another run holds it (says which), the lock cannot be made, or the database is damaged.
        """
        self.require_undamaged()
        digest = hashlib.sha256(device.encode()).hexdigest()[:8]
        database = self.path.resolve()
        file = database.with_name(f"{database.name}.{digest}.lock")

        def in_use(holder: str) -> StoreError:
            return StoreError(
                f"{device} is being measured into this database by {holder}",
                where=str(self.path),
                hint="wait until it ends, or give another file with --db",
            )

        with ExitStack() as stack:
            try:
                stack.enter_context(lock(file, in_use))
            except OSError as error:
                problem, hint = FAULTS["SQLITE_READONLY"]
                raise StoreError(f"{problem}: {error.strerror}", where=str(file), hint=hint) from error
            yield


def _settled(parameters: Mapping[str, int | float | str]) -> str:
    return json.dumps(dict(parameters), sort_keys=True)


def _digest(purpose: Purpose, space: SearchSpace, conditions: Conditions, settled: str) -> str:
    return hashlib.sha256("\n".join((purpose, space.digest, conditions.digest, settled)).encode()).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
