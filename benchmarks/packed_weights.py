"""What does it bring to count the packed weights of layers? The same measurements, predicted with them and without.

For a table that `spnas profile` measured on this machine and `spnas validate` validated: the errors of the runtime model on the
networks of the last validation, with the calibration of the same rounds. Measures nothing.

With --chains, it measures instead why they count: layers alone, and two, four and eight of the same one after the other, in ms a
layer and relative to one alone. The layers of a chain are all alike, so what differs from 1 is no cost of the layer by itself.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from latency_db.bench import Bench
from latency_db.comparison import Entrant
from latency_db.store import Store
from latency_db.table_files import load_table
from latency_db.validate import latest_validation
from profiling.layers import MBConv
from profiling.network import NetworkSpec

STAGES = ((56, 32), (28, 48), (14, 96), (7, 224))
LENGTHS = (1, 2, 4, 8)
ROUNDS = 8


def compare(table_name: str, db: Path) -> None:
    """Prints the errors with packed weights and without."""
    table = load_table(table_name, db)
    with Store(db, read_only=True) as store:
        for words, each in (("without packed weights", table.without_packed_weights), ("with them", table)):
            validation = latest_validation(each, store)
            if validation is None:
                raise SystemExit(f"{db} has no validation of {table_name}: spnas validate --table {table_name} --device host")
            print(f"{table_name}, {words}:\n{validation.report}\n")


def measure_chains() -> None:
    """Prints what a layer takes alone, and in chains relative to that."""
    layers = [MBConv(resolution, width, width, 1, kernel, 6, True) for resolution, width in STAGES for kernel in (3, 5, 7)]
    chains = {(layer.key, length): NetworkSpec((layer,) * length) for layer in layers for length in LENGTHS}
    with tempfile.TemporaryDirectory() as folder, Bench(db=Path(folder) / "chains.db", rounds=ROUNDS) as bench:
        entrants = [Entrant(f"{key} x {length}", network) for (key, length), network in chains.items()]
        compared = bench.compare(entrants).rows
    a_layer = {chain: (row.measured_ms or 0.0) / chain[1] for chain, row in zip(chains, compared, strict=True)}
    for layer in layers:
        alone, *others = (a_layer[layer.key, length] for length in LENGTHS)
        kilobytes = layer.parameters * 4 / 1000
        relative = ", ".join(f"{length}: {ms / alone:.3f}" for length, ms in zip(LENGTHS[1:], others, strict=True))
        print(f"{layer.key:<34} {alone:7.4f} ms, {kilobytes:5.0f} kB of weights; in a chain of {relative}")


def main() -> None:
    """Reads the arguments and does what they ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", help="a table of the database")
    parser.add_argument("--db", type=Path, default=Path("spnas.db"), help="the database")
    parser.add_argument("--chains", action="store_true", help="measure chains of layers on this machine")
    options = parser.parse_args()
    if options.chains:
        measure_chains()
    if options.table:
        compare(options.table, options.db)
    if not options.chains and not options.table:
        parser.error("give --table, --chains or both")


if __name__ == "__main__":
    main()
