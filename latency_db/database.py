"""The file of a database: opened, checked, brought up to date; its errors in words, its changes in transactions."""

from __future__ import annotations

import os
import sqlite3
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from latency_db.migrations import migrate, version
from profiling.errors import StoreError

BUSY_TIMEOUT_S = 10.0
BUSY_RETRY_S = 0.02
# A larger file is read whole before something is measured into it, not for every look at a table. What a command does read of it,
# SQLite checks.
CHECKED_BYTES = 64 * 2**20
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


class Database:
    """An open file of SQLite; a context manager. Not to be shared between threads: each opens its own.

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
        pages, size = (self._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
        if pages * size <= CHECKED_BYTES:
            self._check_whole()
        version(self._connection)

    def _check_whole(self) -> None:
        found = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            problem, hint = FAULTS["SQLITE_CORRUPT"]
            raise StoreError(f"{problem}: {' '.join(found.split())}", hint=hint)

    def require_undamaged(self) -> None:
        """Reads the whole file, however large it is: before much is added to it.

        Raises:
            StoreError: it is damaged.
        """
        with self._translated():
            self._check_whole()

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
