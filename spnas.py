"""spnas from Python: what the commands do, as functions and one class.

    import spnas

    spnas.load_table("pixel1").predict("single-path-nas").total_ms  # 80.44

    with spnas.Bench("host", db="spnas.db") as bench:
        table = bench.profile("digits", calibrate=12)
    run = spnas.search(table, data="digits", target_ms="50%", folder="run")
    spnas.export(run, "digits.tflite", data="digits")

Importing it loads next to nothing: each name loads what it needs when it is first used. docs/python.md goes through all of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latency_db.table_files import load_table
    from profiling.device import RunSettings
    from profiling.errors import SpnasError
    from profiling.space import load_space
    from search.config import TrainingOptions
    from search.runs.run import load_run
    from spnas_cli.bench import Bench
    from spnas_cli.showing import evaluate, explore, export, search, train

__all__ = [
    "Bench",
    "RunSettings",
    "SpnasError",
    "TrainingOptions",
    "evaluate",
    "explore",
    "export",
    "load_run",
    "load_space",
    "load_table",
    "search",
    "train",
]

_ROOMS = {
    "Bench": "spnas_cli.bench",
    "RunSettings": "profiling.device",
    "SpnasError": "profiling.errors",
    "TrainingOptions": "search.config",
    "load_run": "search.runs.run",
    "load_space": "profiling.space",
    "load_table": "latency_db.table_files",
}


def __getattr__(name: str) -> Any:
    """The name, loaded from its room at the first use (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(import_module(_ROOMS.get(name, "spnas_cli.showing")), name)
    return value


def __dir__() -> list[str]:
    return __all__
