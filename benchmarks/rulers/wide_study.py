"""Is a wide space worth it? On the glyph ruler: networks found in it, and in the narrow one, at one latency of one device.

The narrow space has kernels, ratios and skipped layers to choose, the wide one channels and layers of stages as well. Searches
of both see as many images, with the same seeds; then the networks that they found train from scratch, likewise. Every finished
run is a line of the results, and is not done again. Both tables were measured on one machine, one after the other:

    python benchmarks/rulers/wide_study.py --images FOLDER
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from glyph_results import FOUND, RANDOM, SHIPPED, TUNED, interval
from glyph_study import BAND, EPOCHS, RECIPE, RESULTS, TARGET, GlyphStudy
from glyphs import load_glyphs
from scipy.stats import spearmanr, ttest_rel
from study import Result, Run, Study, in_processes, read_results

from latency_db.runtime_model import RuntimeModel
from latency_db.sampling import networks_between
from latency_db.table_files import read_table
from profiling.space import Architecture
from search.finding.rating import activations, rating
from search.run_folder import RunFolder
from search.training.train import Training

NARROW, WIDE = "narrow", "wide"
PARTS = (RANDOM, "search", "alone")
SEEDS = 8
RANDOM_NETWORKS = 16


class OneSpace(GlyphStudy):
    """Searches of one space to a latency, and trainings of what they found."""

    def __init__(self, model: RuntimeModel, file: Path, images: Path, target_ms: float) -> None:
        super().__init__(model, file, images)
        self._target_ms = target_ms

    @property
    def _random(self) -> dict[str, Architecture]:
        """None: they would only be rated."""
        return {}

    def some(self) -> list[Architecture]:
        """Random networks of the latency."""
        low_ms, high_ms = self._target_ms * (1 - BAND), self._target_ms
        return list(islice(networks_between(self._model, low_ms, high_ms, seed=1), RANDOM_NETWORKS))

    def looked_at(self, name: str, network: Architecture, folder: Path) -> list[Result]:
        """A training from scratch, tested on the families that are for choosing: it decides how networks are rated."""
        start, layers = time.process_time(), [layer for _, layer in network.placed_layers()]
        data = self._data(0, choosing=True)
        trained = Training(layers, data, RECIPE, RunFolder(folder)).run(on_step=lambda step: None)
        return [self._result(name, 0, network, trained.top1, EPOCHS * data.train_images, start)]

    def found(self, seed: int, folder: Path) -> list[Result]:
        """A search: its network untouched and fine-tuned."""
        return self._search(seed, folder)

    def alone(self, choices: str, seed: int, folder: Path) -> list[Result]:
        """A training from scratch."""
        return self._train(FOUND, Architecture(space=self._model.space, choices=tuple(choices.split())), seed, folder)


class WideStudy(Study):
    """All runs of the study.

    Args:
        models: of the narrow and the wide space, on one device.
        file: of the results.
        images: folder of the glyphs.
    """

    def __init__(self, models: dict[str, RuntimeModel], file: Path, images: Path) -> None:
        super().__init__(file)
        fastest, slowest = models[NARROW].range_ms()
        target_ms = fastest + TARGET * (slowest - fastest)
        self._spaces = {name: OneSpace(model, file, images, target_ms) for name, model in models.items()}

    def runs(self) -> Iterator[tuple[str, str, int, Run]]:
        """As `Study.runs`; trainings once their network is found."""
        for number, network in enumerate(self._spaces[WIDE].some()):
            name = f"{WIDE} {RANDOM} {number}"
            yield RANDOM, name, 0, partial(self._spaces[WIDE].looked_at, name, network)
        found = {(result.name, result.seed): result.choices for result in read_results(self._file)}
        for seed in range(SEEDS):
            for name, space in self._spaces.items():
                yield "search", f"{name} {SHIPPED}", seed, partial(_named, name, partial(space.found, seed))
            for name, space in self._spaces.items():
                choices = found.get((f"{name} {SHIPPED}", seed))
                if choices is not None:
                    yield "alone", f"{name} {FOUND}", seed, partial(_named, name, partial(space.alone, choices, seed))


def _named(name: str, run: Run, folder: Path) -> list[Result]:
    return [replace(result, name=f"{name} {result.name}") for result in run(folder)]


def summary(results: Sequence[Result]) -> str:
    """The tables of the study, in Markdown, with paired differences and their 95 % intervals."""
    top1 = {(result.name, result.seed): 100 * result.top1 for result in results}
    seeds = [seed for seed in range(SEEDS) if all((f"{name} {FOUND}", seed) in top1 for name in (NARROW, WIDE))]
    if len(seeds) < 2:
        return "The study has not got far enough for its table."
    lines = ["| seed | narrow: ms | from scratch % | wide: ms | from scratch % |", "|---|---|---|---|---|"]
    ms = {(result.name, result.seed): result.predicted_ms for result in results}
    for seed in seeds:
        cells = [f"{ms[f'{name} {FOUND}', seed]:.4f} | {top1[f'{name} {FOUND}', seed]:.2f}" for name in (NARROW, WIDE)]
        lines.append(f"| {seed} | {' | '.join(cells)} |")
    for kind, words in ((FOUND, "from scratch"), (SHIPPED, "as the search leaves them"), (TUNED, "after finetune")):
        narrow, wide = ([top1[f"{name} {kind}", seed] for seed in seeds] for name in (NARROW, WIDE))
        differences = [one - other for one, other in zip(wide, narrow, strict=True)]
        lines += [
            "",
            f"{words}: narrow {statistics.mean(narrow):.2f} %, wide {statistics.mean(wide):.2f} %, wide is"
            f" {interval(np.array(differences))} points better ({len(seeds)} pairs,"
            f" p = {ttest_rel(wide, narrow).pvalue:.2g}).",
        ]
    return "\n".join(lines)


def what_orders(model: RuntimeModel, results: Sequence[Result]) -> str:
    """How the random networks' accuracies go with what a rating may count, in words."""
    random = [result for result in results if result.name.startswith(f"{WIDE} {RANDOM}")]
    if len(random) < 4:
        return ""
    networks = [Architecture(space=model.space, choices=tuple(result.choices.split())) for result in random]
    counts = {
        "activations": [rating(activations(model.space), network) for network in networks],
        "multiply-adds": [network.network.multiply_adds for network in networks],
        "layers": [len(network.network.layers) for network in networks],
    }
    top1 = [100 * result.top1 for result in random]
    words = [f"{name} {spearmanr(values, top1).statistic:+.2f}" for name, values in counts.items()]
    return (
        f"{len(random)} random networks of the wide space, on the families for choosing: {statistics.mean(top1):.2f} ±"
        f" {statistics.stdev(top1):.2f} %; rank correlation with {', '.join(words)}."
    )


def work(tables: dict[str, Path], results: Path, images: Path, parts: Sequence[str]) -> None:
    """What each process does."""
    torch.set_num_threads(1)
    models = {name: RuntimeModel(read_table(table)) for name, table in tables.items()}
    WideStudy(models, results, images).run(parts)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, default=Path(tempfile.gettempdir()) / "glyphs", help="folder of the glyphs")
    parser.add_argument("--narrow", type=Path, default=RESULTS / "glyphs-narrow-table.json", help="its table [default: ours]")
    parser.add_argument("--wide", type=Path, default=RESULTS / "glyphs-wide-table.json", help="its table [default: ours]")
    parser.add_argument("--results", type=Path, default=RESULTS / "wide.csv", help="results so far [default: ours]")
    parser.add_argument("--part", choices=PARTS, action="append", help="of the study [default: all]")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    parts = arguments.part or PARTS
    tables = {NARROW: arguments.narrow, WIDE: arguments.wide}
    load_glyphs(arguments.images, read_table(arguments.narrow).space, 0)  # once, before several processes need them
    in_processes(arguments.processes, work, tables, arguments.results, arguments.images, parts)
    results = read_results(arguments.results)
    print(summary(results), what_orders(RuntimeModel(read_table(arguments.wide)), results), sep="\n\n")


if __name__ == "__main__":
    sys.exit(main())
