"""Does a search answer to the phone that its latency table describes?

Three tables of the space digits that differ in nothing but the rows of 5×5 layers: those of one table, measured on this machine
unless --table names one, multiplied by 0.6 (a phone with fast 5×5 kernels), left alone, and multiplied by 1.8 (slow ones). Each
is searched with the same images, settings and target in ms, with several seeds, as one search alone may end with a layer more or
less. Prints how many layers of the networks found have 5×5 kernels, draws these networks into a figure, and exits with 1 unless
there are fewer in all by the slow table than by the fast one, with the table as measured not outside the two. For the same
milliseconds a slow table also leaves fewer layers; the figure shows both.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from pathlib import Path

from common import measured_table, searched
from matplotlib.figure import Figure

from latency_db.runtime_model import RuntimeModel
from latency_db.table import LatencyTable, row_key
from latency_db.table_files import load_table
from profiling.layers import MBConv
from profiling.places import SKIP
from profiling.space import Architecture
from search.report.figures import choice_colour

FACTORS = {"fast 5x5": 0.6, "as measured": 1.0, "slow 5x5": 1.8}
IMAGE = Path(__file__).parents[1] / "docs/images/table_response.png"
SHARE = 0.45  # of the way from the fastest to the slowest network of the table as measured


def scaled(table: LatencyTable, name: str, factor: float) -> LatencyTable:
    """The same table with another latency for 5×5 layers; without its calibration, as that was measured on whole networks."""
    slow = {
        key
        for slot in table.space.searchable
        for layer in slot.layers.values()
        if isinstance(layer, MBConv) and layer.kernel == 5
        for key in (layer.key, row_key(layer.key, slot.position))
    }
    rows = {key: row.model_copy(update={"ms": row.ms * (factor if key in slow else 1)}) for key, row in table.rows.items()}
    return table.model_copy(update={"name": name.replace(" ", "-"), "rows": rows, "calibration": ()})


def kernels(architecture: Architecture) -> int:
    """How many searchable layers have a 5×5 kernel."""
    return sum(step.choice is not None and step.choice.kernel == 5 for step in architecture.decided)


def draw(found: dict[str, list[Architecture]], target_ms: float, path: Path) -> None:
    """Draws every network as a row of its decisions into a PNG file."""
    rows = [(f"{name}, seed {seed}", network) for name, networks in found.items() for seed, network in enumerate(networks)]
    places = rows[0][1].space.decided
    figure = Figure(figsize=(1.0 * len(places) + 2.6, 0.5 * len(rows) + 1.3), layout="constrained")
    axes = figure.subplots()
    colours = [[choice_colour(network.space, step.choice or SKIP) for step in network.decided] for _, network in rows]
    axes.imshow(colours, aspect="auto")
    for y, (_, network) in enumerate(rows):
        for x, choice in enumerate(network.choices):
            axes.text(x, y, choice, ha="center", va="center", fontsize=8)
        axes.text(len(places) - 0.35, y, f"{kernels(network)} with 5×5", va="center", fontsize=9)
    seeds = len(rows) // len(found)
    for y in range(seeds, len(rows), seeds):
        axes.axhline(y - 0.5, color="white", linewidth=5)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.set_xticks(range(len(places)), [str(slot.position) for slot in places])
    axes.set_xlabel("place in the network")
    axes.set_title(f"Networks found for {target_ms:.3g} ms by tables that differ in their 5×5 rows alone", fontsize=10)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.savefig(path, dpi=150)


def response(table: LatencyTable, seeds: int, epochs: int | None, image: Path, folder: Path) -> list[int]:
    """Searches with each table; the number of layers with 5×5 kernels for each, over all seeds."""
    fastest, slowest = RuntimeModel(scaled(table, "as measured", 1)).range_ms()
    target = fastest + SHARE * (slowest - fastest)
    print(f"digits for {target:.4f} ms by tables made from {table.name}")
    print(f"{'table':>12} {'seed':>4} {'found ms':>9} {'5x5':>4} {'accuracy':>9} {'s':>4}  choices")
    found: dict[str, list[Architecture]] = {name: [] for name in FACTORS}
    for name, seed in itertools.product(FACTORS, range(seeds)):
        model, start = RuntimeModel(scaled(table, name, FACTORS[name])), time.monotonic()
        result = searched(model, folder / f"{name}-{seed}", target_ms=target, seed=seed, epochs=epochs)
        found[name].append(result.architecture)
        print(
            f"{name:>12} {seed:4} {result.predicted_ms:9.4f} {kernels(result.architecture):4} {result.accuracy:9.2%} "
            f"{time.monotonic() - start:4.0f}  {' '.join(result.architecture.choices)}",
            flush=True,
        )
    draw(found, target, image)
    return [sum(map(kernels, networks)) for networks in found.values()]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", help="a table of the space digits: a .json or .csv file, or a name in --db")
    parser.add_argument("--db", type=Path, default=Path("spnas.db"), help="database that --table is looked up in")
    parser.add_argument("--epochs", type=int, help="passes over the images a search [default: as `spnas search`]")
    parser.add_argument("--seeds", type=int, default=3, help="searches with each table [default: 3]")
    parser.add_argument("--image", type=Path, default=IMAGE, help="file of the figure [default: docs/images/table_response.png]")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        table = load_table(arguments.table or measured_table(Path(name)), arguments.db)
        counts = response(table, arguments.seeds, arguments.epochs, arguments.image, Path(name))
    print("layers with 5x5 kernels: " + ", ".join(f"{count} {name}" for name, count in zip(FACTORS, counts, strict=True)))
    if counts[0] <= counts[-1] or counts != sorted(counts, reverse=True):
        sys.exit("slower 5x5 rows did not give fewer 5x5 kernels")


if __name__ == "__main__":
    main()
