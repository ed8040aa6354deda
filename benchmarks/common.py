"""What the benchmarks of the search share: tables, searches with the defaults of `spnas search`, and their figures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from latency_db.runtime_model import RuntimeModel
from search.config import SearchConfig, course, sensible_learning_rate, sensible_schedule, steps_of
from search.finding.search import Found, Search, table_digest
from search.images.data import load_data
from search.run_folder import RunFolder


def measured_table(folder: Path, space: str = "digits") -> str:
    """Measures a space on this machine, in three rounds instead of six, as no latency itself is at stake; its table's file.

    Args:
        folder: for the database and the file.
        space: a name or a YAML file.
    """
    name = Path(space).stem
    database, file = folder / f"{name}.db", folder / f"{name}.json"
    spnas = [sys.executable, "-m", "spnas_cli"]
    where = ["--name", name, "--db", str(database)]
    profile = ["profile", "--device", "host", "--space", space, "--rounds", "3", "--calibrate", "8", *where]
    subprocess.run([*spnas, "--quiet", *profile], check=True, stdout=subprocess.DEVNULL)
    export = ["table", "export", name, "--db", str(database), "-o", str(file), "--force"]
    subprocess.run([*spnas, *export], check=True, stdout=subprocess.DEVNULL)
    return str(file)


def searched(model: RuntimeModel, folder: Path, **settings: Any) -> Found:
    """One search on digits with the defaults of `spnas search`, but for these settings.

    Args:
        model: its space is searched.
        folder: of the run; is made.
        settings: of `SearchConfig`; None counts as not given.
    """
    data = load_data("digits", model.space, seed=0)
    batch_size, epochs = sensible_schedule(data.train_images)
    given = {"epochs": epochs} | {name: value for name, value in settings.items() if value is not None}
    steps = steps_of(data.train_images, batch_size, given["epochs"])
    config = SearchConfig(
        **{
            "table": model.table.name,
            "space_digest": model.space.digest,
            "table_digest": table_digest(model.table),
            "data": "digits",
            "batch_size": batch_size,
            **course(steps, given.get("target_ms")),
            "learning_rate": sensible_learning_rate(batch_size, steps),
        }
        | given
    )
    folder.mkdir(parents=True)
    return Search(model, data, config, RunFolder(folder)).run(on_step=lambda step: None)
