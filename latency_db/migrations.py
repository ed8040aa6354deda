"""The steps that bring a database from any older version to this one. A step that has been released is never changed."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime

from profiling.errors import StoreError

# "spna" in the file's header: SQLite files of other programs are recognised before anything is written to them.
APPLICATION_ID = 0x73706E61

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE campaigns (
            id INTEGER PRIMARY KEY,
            digest TEXT NOT NULL UNIQUE,
            purpose TEXT NOT NULL,
            space TEXT NOT NULL,
            conditions TEXT NOT NULL,
            parameters TEXT NOT NULL,
            created_at TEXT NOT NULL
        )
        """,
        """
        CREATE TABLE networks (
            campaign INTEGER NOT NULL REFERENCES campaigns (id),
            model TEXT NOT NULL,
            architecture TEXT NOT NULL,
            PRIMARY KEY (campaign, model)
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE measurements (
            id INTEGER PRIMARY KEY,
            campaign INTEGER NOT NULL REFERENCES campaigns (id),
            model TEXT NOT NULL,
            visit INTEGER NOT NULL CHECK (visit >= 0),
            status TEXT NOT NULL CHECK (status IN ('ok', 'failed')),
            low_ms REAL,
            record TEXT NOT NULL,
            output BLOB NOT NULL
        )
        """,
        "CREATE UNIQUE INDEX one_result_per_visit ON measurements (campaign, model, visit) WHERE status = 'ok'",
        """
        CREATE TABLE latency_tables (
            name TEXT PRIMARY KEY,
            campaign INTEGER REFERENCES campaigns (id),
            content TEXT NOT NULL
        )
        """,
    ),
    # Without it, to go on with a campaign is to read all measurements of all others.
    ("CREATE INDEX measurements_of_campaign ON measurements (campaign)",),
)


def version(connection: sqlite3.Connection) -> int:
    """The number of steps that a database has taken; 0 for an empty one.

    Raises:
        StoreError: it belongs to another program, or to a newer spnas.
    """
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
        return 0
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise StoreError("is the database of another program, not of spnas", hint="give another file with --db")
    found = int(connection.execute("SELECT coalesce(max(step), 0) FROM migrations").fetchone()[0])
    if found > len(MIGRATIONS):
        raise StoreError(
            f"was written by a newer spnas (version {found} of the database; this program knows {len(MIGRATIONS)})",
            hint="upgrade spnas, or give another file with --db",
        )
    return found


def migrate(connection: sqlite3.Connection) -> None:
    """Takes the steps that are missing, each in one transaction together with the row that says so.

    Raises:
        StoreError: as for `version`.
    """
    for step in range(version(connection) + 1, len(MIGRATIONS) + 1):
        connection.execute("BEGIN IMMEDIATE")
        # Another process may have taken the step while this one waited for its turn.
        if version(connection) < step:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute("CREATE TABLE IF NOT EXISTS migrations (step INTEGER PRIMARY KEY, applied_at TEXT NOT NULL)")
            for statement in MIGRATIONS[step - 1]:
                connection.execute(statement)
            connection.execute("INSERT INTO migrations VALUES (?, ?)", (step, datetime.now(UTC).isoformat(timespec="seconds")))
        connection.execute("COMMIT")
