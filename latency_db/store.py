"""The database of measurements and tables: one SQLite file, each measurement committed before the next one starts."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import socket
import sqlite3
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, Self

from pydantic import ValidationError

from latency_db.migrations import migrate, version
from latency_db.published import published_names
from latency_db.table import NAME_PATTERN, LatencyTable
from profiling.conditions import Conditions
from profiling.errors import InputError, StoreError
from profiling.measurement import Measurement
from profiling.space import Architecture, SearchSpace

Purpose = Literal["profile", "validate", "compare"]

BUSY_TIMEOUT_S = 10.0
BUSY_RETRY_S = 0.02
# By the beginning of SQLite's own name for the fault: what is wrong, and what to do.
FAULTS = {
    "SQLITE_NOTADB": ("is not a database", "it was left as it is; give another file with --db"),
    "SQLITE_CORRUPT": ("is damaged", "it was left as it is; save what is readable with: sqlite3 FILE .recover | sqlite3 NEW"),
    "SQLITE_FULL": ("the disk is full", "free some space and run the same command again; all that was measured is kept"),
    "SQLITE_READONLY": ("cannot be written", "check the permissions of the file and its folder, or give another with --db"),
    "SQLITE_CANTOPEN": ("cannot be opened", "does its folder exist, and may you write there?"),
    "SQLITE_BUSY": ("is in use by another program", "wait until it ends, then run the same command again"),
    "SQLITE_IOERR": ("the disk reported an error", "is it full, or a network file system? Give a local file with --db"),
    "SQLITE_CONSTRAINT": ("already contains this", None),
}


@dataclass(frozen=True)
class Campaign:
    """One profile, validation or comparison under one set of conditions: what a command picks up when it is run again."""

    id: int
    purpose: Purpose
    space: SearchSpace
    conditions: Conditions
    parameters: Mapping[str, int | float | str]


class Store:
    """An open database; a context manager. Not to be shared between threads: each opens its own.

    Args:
        path: the file; created if it does not exist, unless opened for reading.
        read_only: neither the file nor its folder has to be writable.

    Raises:
        StoreError: not a database of spnas, damaged, newer than this program, not writable, or not there.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        with self._translated():
            # Autocommit: transactions are opened and closed by hand, where they are seen.
            self._connection = sqlite3.connect(
                f"{path.resolve().as_uri()}?{_mode(path, read_only)}", uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None
            )
            try:
                self._check()
                if read_only:
                    self._connection.execute("PRAGMA query_only = ON")
                else:
                    self._make_ready_for_writing()
            except BaseException:
                self._connection.close()
                raise

    def _check(self) -> None:
        found = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            problem, hint = FAULTS["SQLITE_CORRUPT"]
            raise StoreError(f"{problem}: {' '.join(found.split())}", hint=hint)
        version(self._connection)

    def _make_ready_for_writing(self) -> None:
        self._write_ahead()
        self._connection.execute("PRAGMA foreign_keys = ON")
        # NORMAL would survive `kill -9`; with FULL a measurement that was reported as kept survives a power cut, too.
        self._connection.execute("PRAGMA synchronous = FULL")
        migrate(self._connection)
        # A file that can be read but not written must be found out now, not after the first measurement.
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute("PRAGMA user_version = 1")
        self._connection.execute("COMMIT")

    def _write_ahead(self) -> None:
        """When another process does the same with a new file, SQLite refuses at once, without its timeout."""
        give_up = time.monotonic() + BUSY_TIMEOUT_S
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() > give_up:
                    raise
                time.sleep(BUSY_RETRY_S)
            else:
                return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turns any error with the file into a StoreError that names it."""
        try:
            yield
        except StoreError as error:
            problem, hint = error.problem, error.hint
            cause: Exception = error
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", "")
            faults = (fault for prefix, fault in FAULTS.items() if name.startswith(prefix))
            problem, hint = next(faults, (f"cannot be used: {error}", None))
            cause = error
        except (ValidationError, zlib.error, UnicodeDecodeError) as error:
            problem, hint = "contains a record that cannot be read", "was it changed by hand, or by another version of spnas?"
            cause = error
        else:
            return
        raise StoreError(problem, where=str(self.path), hint=hint and hint.replace("FILE", str(self.path))) from cause

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
        return Campaign(identity, purpose, space, conditions, parameters)

    def campaigns(self, purpose: Purpose) -> list[Campaign]:
        """All campaigns of this purpose, the latest first."""
        query = "SELECT id, space, conditions, parameters FROM campaigns WHERE purpose = ? ORDER BY id DESC"
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
                for identity, space, conditions, parameters in self._connection.execute(query, (purpose,)).fetchall()
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
            rows = self._connection.execute(query, (campaign.id,)).fetchall()
            return [
                Measurement.model_validate_json(record).model_copy(update={"output": zlib.decompress(output).decode()})
                for record, output in rows
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
        with self._translated():
            if version(self._connection) == 0:
                return []
            rows = self._connection.execute("SELECT content FROM latency_tables ORDER BY name").fetchall()
            return [LatencyTable.model_validate_json(content) for (content,) in rows]

    @contextmanager
    def writing(self, device: str) -> Iterator[None]:
        """Holds the right to measure on a device into this database during a run; readers do not need it.

        It is a lock of the operating system on a file beside the database, which ends with the process that holds it, however
        that ends: a lock is never stale, and there is no process number that another process may have by now.

        Raises:
            StoreError: another run holds it (says which), or the lock cannot be made.
        """
        digest = hashlib.sha256(device.encode()).hexdigest()[:8]
        database = self.path.resolve()
        try:
            file = database.with_name(f"{database.name}.{digest}.lock").open("a+", encoding="utf-8")
        except OSError as error:
            problem, hint = FAULTS["SQLITE_READONLY"]
            raise StoreError(f"{problem}: {error.strerror}", where=error.filename, hint=hint) from error
        with file:
            self._lock(file, device)
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()} since {_now()}")
            file.flush()
            # The file stays: if it were removed, one process could lock the old file while another creates and locks a new one.
            yield

    def _lock(self, file: IO[str], device: str) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read() or "another process"
            raise StoreError(
                f"{device} is being measured into this database by {holder}",
                where=str(self.path),
                hint="wait until it ends, or give another file with --db",
            ) from error


def _mode(path: Path, read_only: bool) -> str:
    if not read_only:
        return "mode=rwc"
    folder_writable = os.access(path.resolve().parent, os.W_OK)
    if folder_writable and os.access(path, os.W_OK):
        # The last one out clears SQLite's log away, which a connection that may not write would leave behind.
        return "mode=rw"
    # Without a log to read, a file in a folder that cannot be written needs no lock: nobody can be writing it.
    closed = not folder_writable and not path.with_name(f"{path.name}-wal").exists()
    return "mode=ro&immutable=1" if closed else "mode=ro"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
