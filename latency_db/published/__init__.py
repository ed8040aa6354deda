"""Latency tables from papers; they ship with spnas and are found by name."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from latency_db.table import LatencyTable


def published_names() -> list[str]:
    """Names of the tables that ship with spnas."""
    return sorted(Path(file.name).stem for file in resources.files(__name__).iterdir() if file.name.endswith(".json"))


def published_table(name: str) -> LatencyTable:
    """A table that ships with spnas."""
    file = resources.files(__name__).joinpath(f"{name}.json")
    return LatencyTable.model_validate_json(file.read_bytes(), by_alias=True, by_name=False)
