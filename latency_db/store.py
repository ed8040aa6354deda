"""The database of measurements and tables: one SQLite file, each measurement committed before the next one starts."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, Self

from latency_db.migrations import MIGRATIONS, migrate, version
from latency_db.table import LatencyTable
from profiling.conditions import Conditions
from profiling.errors import StoreError
from profiling.measurement import Measurement
from profiling.space import SearchSpace

Purpose = Literal["profile", "validate"]

BUSY_TIMEOUT_S = 10.0
SQLITE_HINTS = {
    "SQLITE_NOTADB": ("is not a spnas database", "give another file with --db; this one was left as it is"),
    "SQLITE_CORRUPT": ("is damaged", "save what is readable with `sqlite3 FILE .recover`; it was left as it is"),
    "SQLITE_FULL": ("the disk is full", "free some space and type the same command again; all that was measured is kept"),
    "SQLITE_READONLY": ("cannot be written", "check its permissions, or give another file with --db"),
    "SQLITE_CANTOPEN": ("cannot be opened", "does its folder exist, and may you write there?"),
    "SQLITE_BUSY": ("is in use by another program", "wait for it to end"),
    "SQLITE_IOERR": ("the disk reported an error", "is it full, or a network file system? Give a local file with --db"),
}


@dataclass(frozen=True)
class Campaign:
    """One profile or validation under one set of conditions: what a command picks up again when it is typed again."""

    id: int
    purpose: Purpose
    space: SearchSpace
    conditions: Conditions


class Store:
    """An open database; a context manager.

    Args:
        path: the file; made when it is not there.

    Raises:
        StoreError: not a database, damaged, newer than this program, read-only, or its folder is not there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._translated():
            # Autocommit: transactions are opened and closed by hand, where they are seen.
            self._connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        try:
            with self._translated():
                self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self) -> None:
        check = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if check != "ok":
            raise StoreError(f"is damaged: {check}", where=str(self.path), hint=SQLITE_HINTS["SQLITE_CORRUPT"][1])
        found = version(self._connection)
        if found > len(MIGRATIONS):
            raise StoreError(
                f"was written by a newer spnas (version {found} of the database, this program knows {len(MIGRATIONS)})",
                where=str(self.path),
                hint="upgrade spnas, or give another file with --db",
            )
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        # Also without a power failure in mind: with FULL a measurement that was reported as kept is on the disk.
        self._connection.execute("PRAGMA synchronous = FULL")
        migrate(self._connection)
        # A file that can be read but not written must be found out now, not after the first measurement.
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute("PRAGMA user_version = 1")
        self._connection.execute("COMMIT")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", "")
            for prefix, (problem, hint) in SQLITE_HINTS.items():
                if name.startswith(prefix):
                    raise StoreError(problem, where=str(self.path), hint=hint.replace("FILE", str(self.path))) from error
            raise StoreError(f"cannot be used: {error}", where=str(self.path)) from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._translated():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # After a full disk SQLite has rolled back by itself.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def campaign(
        self, purpose: Purpose, space: SearchSpace, conditions: Conditions, parameters: Mapping[str, int | float | str]
    ) -> Campaign:
        """The campaign with exactly this purpose, space, conditions and parameters: found again, or begun."""
        settled = json.dumps(dict(parameters), sort_keys=True)
        digest = hashlib.sha256("\n".join((purpose, space.digest, conditions.digest, settled)).encode()).hexdigest()
        values = (digest, purpose, space.model_dump_json(), conditions.model_dump_json(), settled, _now())
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO campaigns (digest, purpose, space, conditions, parameters, created_at) VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                values,
            )
            identity = connection.execute("SELECT id FROM campaigns WHERE digest = ?", (digest,)).fetchone()[0]
        return Campaign(identity, purpose, space, conditions)

    def add(self, campaign: Campaign, measurement: Measurement) -> None:
        """Keeps a measurement; it is on the disk when this returns.

        Raises:
            StoreError: this visit has a result already, or the file cannot be written.
        """
        low_ms = measurement.figures.low_ms if measurement.figures else None
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
            rows = self._connection.execute(query, (campaign.id,)).fetchall()
        return [
            Measurement.model_validate_json(record).model_copy(update={"output": zlib.decompress(output).decode()})
            for record, output in rows
        ]

    def save_table(self, table: LatencyTable, campaign: Campaign | None = None) -> None:
        """Keeps a table under its name; a later table of the same campaign takes its place.

        Raises:
            StoreError: another table has this name.
        """
        identity = campaign.id if campaign else None
        with self._transaction() as connection:
            holder = connection.execute("SELECT campaign FROM latency_tables WHERE name = ?", (table.name,)).fetchone()
            if holder is not None and (identity is None or holder[0] != identity):
                raise StoreError(
                    f"another table is called {table.name}", where=str(self.path), hint="choose another name with --name"
                )
            connection.execute(
                "INSERT INTO latency_tables (name, campaign, content) VALUES (?, ?, ?)"
                " ON CONFLICT (name) DO UPDATE SET content = excluded.content",
                (table.name, identity, table.model_dump_json()),
            )

    def check_name_is_free(self, name: str, campaign: Campaign) -> None:
        """Finds out before any measuring whether a table of this name could be saved at its end.

        Raises:
            StoreError: a table of another campaign has this name.
        """
        with self._translated():
            holder = self._connection.execute("SELECT campaign FROM latency_tables WHERE name = ?", (name,)).fetchone()
        if holder is not None and holder[0] != campaign.id:
            raise StoreError(
                f"the table {name} was measured otherwise (other device, settings or space)",
                where=str(self.path),
                hint="choose another name with --name",
            )

    def tables(self) -> list[LatencyTable]:
        """All tables by name."""
        with self._translated():
            rows = self._connection.execute("SELECT content FROM latency_tables ORDER BY name").fetchall()
        return [LatencyTable.model_validate_json(content) for (content,) in rows]

    @contextmanager
    def writing(self, device: str) -> Iterator[None]:
        """Holds the right to measure on a device into this database, for the time of a run; readers are not concerned.

        It is a lock of the operating system on a file beside the database, which ends with the process that holds it, however
        that ends: there is no stale lock to be told from a live one.

        Raises:
            StoreError: another run holds it; says which.
        """
        digest = hashlib.sha256(device.encode()).hexdigest()[:8]
        path = self.path.with_name(f"{self.path.name}.{digest}.lock")
        with path.open("a+", encoding="utf-8") as file:
            self._lock(file, device)
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()} since {_now()}")
            file.flush()
            # The file stays: were it removed, a process that has just opened it could lock it beside one that makes it anew.
            yield

    def _lock(self, file: IO[str], device: str) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = file.read() or "another process"
            raise StoreError(
                f"{device} is being measured into this database by {holder}",
                where=str(self.path),
                hint="wait for it to end, or give another file with --db",
            ) from error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
