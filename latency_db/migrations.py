"""The steps that bring a database from any older version to this one. A step that has been released is never changed."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE campaigns (
        id INTEGER PRIMARY KEY,
        digest TEXT NOT NULL UNIQUE,
        purpose TEXT NOT NULL,
        space TEXT NOT NULL,
        conditions TEXT NOT NULL,
        parameters TEXT NOT NULL,
        created_at TEXT NOT NULL
    );
    CREATE TABLE measurements (
        id INTEGER PRIMARY KEY,
        campaign INTEGER NOT NULL REFERENCES campaigns (id),
        model TEXT NOT NULL,
        visit INTEGER NOT NULL CHECK (visit >= 0),
        status TEXT NOT NULL CHECK (status IN ('ok', 'failed')),
        low_ms REAL,
        record TEXT NOT NULL,
        output BLOB NOT NULL
    );
    CREATE UNIQUE INDEX one_result_per_visit ON measurements (campaign, model, visit) WHERE status = 'ok';
    CREATE TABLE latency_tables (
        name TEXT PRIMARY KEY,
        campaign INTEGER REFERENCES campaigns (id),
        content TEXT NOT NULL
    );
    """,
)


def version(connection: sqlite3.Connection) -> int:
    """How many steps a database has behind it."""
    known = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'migrations'").fetchone()[0]
    return int(connection.execute("SELECT coalesce(max(step), 0) FROM migrations").fetchone()[0]) if known else 0


def migrate(connection: sqlite3.Connection) -> None:
    """Takes the steps that are missing, each in one transaction together with the row that says so."""
    connection.execute("CREATE TABLE IF NOT EXISTS migrations (step INTEGER PRIMARY KEY, applied_at TEXT NOT NULL)")
    for step, script in enumerate(MIGRATIONS, start=1):
        if step > version(connection):
            now = datetime.now(UTC).isoformat(timespec="seconds")
            connection.executescript(f"BEGIN IMMEDIATE; {script} INSERT INTO migrations VALUES ({step}, '{now}'); COMMIT;")
