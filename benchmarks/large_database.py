"""What commands cost in a database that holds the measurements of years: time and peak memory, beside the same for `pixel1`.

    python benchmarks/large_database.py [--tables 2000] [--measurements 1000000] [--folder FOLDER]

The figures in the database are made up, as only their number and size matter here. Each command runs several times, in turn with
the others, in a process of its own; the fastest run counts. A database that is in the folder already is used again.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from latency_db.store import Store
from latency_db.table import CalibrationNetwork, LatencyTable, Row
from profiling.conditions import Conditions
from profiling.draws import random_architectures
from profiling.host import benchmark
from profiling.measurement import Figures, Measurement
from profiling.space import load_space

SPACE = "imagenet"
RUNS = 10_000
TURNS = 3


def tables(count: int) -> Iterator[LatencyTable]:
    """As `spnas profile` would make them: all layers, and twenty networks for the calibration."""
    space, generator = load_space(SPACE), random.Random(0)
    keys = [architecture.network.key for architecture in islice(random_architectures(space, 0), 20)]
    conditions = Conditions(
        device="host", product="made up", os_build="Linux", soc="x86_64", runtime="LiteRT 2", tool="none",
        threads=1, cores="any", precision="fp32", delegate="xnnpack",
    )  # fmt: skip
    rows = {layer.key: Row(ms=generator.uniform(0.1, 5), spread_ms=0.001, visits=6) for layer in space.layers}
    sums = [generator.uniform(30, 90) for _ in keys]
    networks = tuple(
        CalibrationNetwork(key=key, sum_ms=ms, measured_ms=1.05 * ms + generator.gauss(1, 0.1))
        for key, ms in zip(keys, sums, strict=True)
    )
    whole = LatencyTable(
        name="t", space=space, conditions=conditions, rows=rows, calibration=networks, created_at="2026-01-01", source="made up"
    )
    return (whole.model_copy(update={"name": f"t{number}"}) for number in range(count))


def measurement() -> tuple[str, bytes]:
    """The record and the output of a layer of microseconds, which ran thousands of times."""
    generator = random.Random(1)
    runs = [round(generator.gauss(20_000, 500)) for _ in range(RUNS)]
    figures = Figures(
        count=RUNS, mean_ms=0.02, min_ms=0.018, max_ms=0.03, std_ms=0.0005, p5_ms=0.019, median_ms=0.02, p95_ms=0.021
    )
    one = Measurement(model="m", visit=0, status="ok", figures=figures, started_at="2026-01-01T00:00:00+00:00", duration_s=1.0)
    return one.model_dump_json(exclude={"output"}), zlib.compress(str(benchmark.summary(runs)).encode())


def fill(path: Path, table_count: int, measurement_count: int) -> None:
    """Makes the database: as many campaigns as tables, with equal shares of the measurements."""
    record, output = measurement()
    share = -(-measurement_count // table_count)
    with Store(path) as store:
        rows = [(f"{number}", table.name, table.model_dump_json()) for number, table in enumerate(tables(table_count), start=1)]
        with store._transaction() as connection:
            connection.executemany(
                "INSERT INTO campaigns (id, digest, purpose, space, conditions, parameters, created_at)"
                " VALUES (?1, ?1, 'profile', '', '', '{}', '')",
                [(number,) for number, _, _ in rows],
            )
            connection.executemany("INSERT INTO latency_tables (campaign, name, content) VALUES (?, ?, ?)", rows)
            connection.executemany(
                "INSERT INTO measurements (campaign, model, visit, status, low_ms, record, output)"
                " VALUES (?, ?, ?, 'ok', 0.02, ?, ?)",
                ((index // share + 1, f"layer-{index % 100}", index, record, output) for index in range(measurement_count)),
            )


# A process inherits the peak memory of the one that starts it, so a small one stands between.
BETWEEN = """
import resource, subprocess, sys, time
start = time.monotonic()
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
"""


def cost(arguments: list[str]) -> tuple[float, float, float]:
    """Seconds, processor seconds and peak megabytes of a command in a process of its own."""
    command = [sys.executable, "-c", BETWEEN, sys.executable, "-m", "spnas_cli", *arguments]
    printed = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    seconds, processor_s, peak = map(float, printed.split())
    return seconds, processor_s, peak * (1 if sys.platform == "darwin" else 1024) / 1e6


def main() -> None:
    """Makes the database if need be, and prints a line for each command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tables", type=int, default=2000)
    parser.add_argument("--measurements", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        path = (options.folder or Path(temporary)) / "large.db"
        if not path.exists():
            fill(path, options.tables, options.measurements)
        name, db = f"t{options.tables // 2}", ["--db", str(path)]
        commands = {
            "predict, table pixel1": ["predict", "single-path-nas", "--table", "pixel1", *db],
            f"predict, table {name}": ["predict", "3x3-6", "--table", name, *db],
            f"table show {name}": ["table", "show", name, *db],
            "table list": ["table", "list", *db],
        }
        costs: dict[str, list[tuple[float, float, float]]] = {label: [] for label in commands}
        for _ in range(TURNS):
            for label, arguments in commands.items():
                costs[label].append(cost(arguments))
        print(f"{options.tables} tables, {options.measurements} measurements, {path.stat().st_size / 1e9:.2f} GB")
        for label, found in costs.items():
            seconds, processor_s, megabytes = zip(*found, strict=True)
            print(f"{label:24} {min(seconds):6.2f} s, {min(processor_s):.2f} s of a processor, {max(megabytes):4.0f} MB")


if __name__ == "__main__":
    main()
