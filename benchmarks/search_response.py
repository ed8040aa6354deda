"""Does a search answer to the runtime weight, and does it meet its target?

Searches on digits with three runtime weights a factor 3 apart, whose networks must be of strictly decreasing predicted latency,
and with targets at 30, 50 and 70 % of the way from the fastest to the slowest network, each of which must be met within 2 %.
Every threshold must move in every search. Exits with 1 where this does not hold.

Without --table the table is measured on this machine first.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from pathlib import Path

from common import measured_table, searched

from latency_db.runtime_model import RuntimeModel
from latency_db.table_files import load_table

RUNTIME_WEIGHTS = (0.03, 0.09, 0.27)
SHARES = (0.3, 0.5, 0.7)


def response(model: RuntimeModel, folder: Path, epochs: int | None = None) -> list[str]:
    """Runs the six searches, prints a line for each, and returns what does not hold."""
    fastest, slowest = model.range_ms()
    aims = [{"runtime_weight": weight} for weight in RUNTIME_WEIGHTS]
    aims += [{"target_ms": fastest + share * (slowest - fastest)} for share in SHARES]
    print(f"digits, networks from {fastest:.4f} to {slowest:.4f} ms by the table {model.table.name}")
    print(f"{'aim':>16} {'predicted ms':>13} {'off target':>11} {'accuracy':>9} {'thresholds moved':>17} {'seconds':>8}  choices")
    wrong, latencies = [], []
    for index, aim in enumerate(aims):
        start = time.monotonic()
        found = searched(model, folder / str(index), epochs=epochs, **aim)
        target = aim.get("target_ms")
        name = f"{target:.4f} ms" if target else f"λ {aim['runtime_weight']:g}"
        off = found.predicted_ms / target - 1 if target else None
        print(
            f"{name:>16} {found.predicted_ms:13.4f} {'' if off is None else f'{off:+.2%}':>11} {found.accuracy:9.2%} "
            f"{found.moved:17.0%} {time.monotonic() - start:8.0f}  {' '.join(found.architecture.choices)}",
            flush=True,
        )
        if found.moved < 1:
            wrong.append(f"{name}: only {found.moved:.0%} of the thresholds moved")
        if off is None:
            latencies.append(found.predicted_ms)
        elif abs(off) > 0.02:
            wrong.append(f"{name}: {off:+.2%} off the target")
    if any(after >= before for before, after in itertools.pairwise(latencies)):
        wrong.append("a larger runtime weight did not give a faster network")
    return wrong


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", help="a table of the space digits: a .json or .csv file, or a name in --db")
    parser.add_argument("--db", type=Path, default=Path("spnas.db"), help="database that --table is looked up in")
    parser.add_argument("--epochs", type=int, help="passes over the images a search [default: as `spnas search`]")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        table = load_table(arguments.table or measured_table(Path(folder)), arguments.db)
        wrong = response(RuntimeModel(table), Path(folder), arguments.epochs)
    sys.exit("\n".join(wrong) if wrong else 0)


if __name__ == "__main__":
    main()
