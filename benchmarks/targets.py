"""Does --target-ms end within 1 % of the target, in one search, in any space?

Three spaces: digits, one with kernels [3, 5, 7] and expansion ratios [2, 4, 6] (nested.yaml beside this file), and one with a
choice of channels and layers in every stage (rulers/wide-glyphs.yaml); each with a table measured on this machine; in each ten
targets from near the fastest network to near the slowest; one short search each. Prints a line for each search, and exits with 1
unless all end within 1 % below their target.

Two figures tell what the search itself does, before the decision picks the likeliest network in the band: where R stood at its
end, and how far from the target the network is that the indicators alone stand for.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from common import measured_table, searched

from latency_db.runtime_model import RuntimeModel
from latency_db.table_files import load_table
from profiling.space import Architecture

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
SPACES = ("digits", str(Path(__file__).with_name("nested.yaml")), str(Path(__file__).with_name("rulers") / "wide-glyphs.yaml"))


def targets(model: RuntimeModel, folder: Path, epochs: int) -> list[str]:
    """Runs ten searches in one space, prints a line for each, and returns what does not hold."""
    wrong = []
    fastest, slowest = model.range_ms()
    print(f"{model.space.name}, networks from {fastest:.4f} to {slowest:.4f} ms by the table {model.table.name}")
    print(f"{'target':>10} {'found ms':>9} {'off':>7} {'R at the end':>13} {'indicators':>11} {'accuracy':>9} {'s':>4}  choices")
    for share in SHARES:
        target, start = fastest + share * (slowest - fastest), time.monotonic()
        found = searched(model, folder / f"{model.space.name}-{share}", target_ms=target, epochs=epochs)
        off, last = found.predicted_ms / target - 1, found.metrics[-1]
        indicators = model.predict(Architecture(space=model.space, choices=last.choices)).total_ms
        print(
            f"{target:10.4f} {found.predicted_ms:9.4f} {off:+7.2%} {last.runtime_ms / target - 1:+13.1%} "
            f"{indicators / target - 1:+11.1%} {found.accuracy:9.2%} {time.monotonic() - start:4.0f}  "
            f"{' '.join(found.architecture.choices)}",
            flush=True,
        )
        if not -0.01 <= off <= 1e-9:
            wrong.append(f"{model.space.name}, {target:.4f} ms: {off:+.2%} off the target")
    return wrong


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--tables", nargs=3, metavar=("DIGITS", "NESTED", "WIDE"), help="table files of the spaces [default: measured]"
    )
    parser.add_argument("--epochs", type=int, default=4, help="passes over the images a search [default: 4]")
    arguments = parser.parse_args()
    wrong = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for table in arguments.tables or (measured_table(folder, space) for space in SPACES):
            wrong += targets(RuntimeModel(load_table(table, folder / "none.db")), folder, arguments.epochs)
    sys.exit("\n".join(wrong) if wrong else 0)


if __name__ == "__main__":
    main()
