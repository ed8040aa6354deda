"""Does one supernet serve all devices and targets? On the glyph ruler: its networks cut out, after finetune, and trained alone.

A supernet is trained for all given tables, on four and a half times as many images as the searches of the study on glyphs, in
smaller batches. For each table networks for five targets are cut out of it and tested untouched. Those of the first table are
also tested after the recipe `from-supernet` on a twelfth of the images, and trained from scratch on as many images as the
supernet saw, with the same seed. One search is made for what it costs. Every finished run is a line of the results, and is not
done again:

    python benchmarks/rulers/supernet_study.py --images FOLDER
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from glyph_study import RESULTS, GlyphStudy
from glyphs import load_glyphs
from study import Result, Run, in_processes, read_results

from latency_db.runtime_model import RuntimeModel
from latency_db.table_files import read_table
from profiling.space import Architecture
from search.config import SupernetConfig, sensible_learning_rate, steps_of, supernet_schedule
from search.finding.derive import Source, best_rated, cut_out
from search.finding.search import table_digest
from search.finding.whole_range import SupernetTraining
from search.images.data import Data
from search.run_folder import RunFolder

SHARES = (10, 30, 50, 70, 90)  # of the range, in percent
CUT, TUNED, ALONE, SUPERNET, SEARCH = "cut", "tuned", "alone", "supernet", "search"
SEARCHED_FOR = 30  # of these
OURS = [RESULTS / f"glyphs-{name}-table.json" for name in ("wide", "int8", "threads2", "fp16", "none", "int8-none")]
SEEDS = 2


class SupernetStudy(GlyphStudy):
    """All runs of the study.

    Args:
        models: of one space; the first one's networks are trained alone too.
        file: of the results.
        images: folder of the glyphs.
    """

    epochs, tuned_on, tuned_epochs, tuned_by = 18, 2, 3, "from-supernet"

    def __init__(self, models: Sequence[RuntimeModel], file: Path, images: Path) -> None:
        super().__init__(models[0], file, images)
        self._models = models

    def runs(self) -> Iterator[tuple[str, str, int, Run]]:
        """As `Study.runs`; trainings alone once the networks are cut out."""
        for seed in range(SEEDS):
            yield SUPERNET, SUPERNET, seed, partial(self._supernet, seed)
        for result in sorted(read_results(self._file), key=lambda result: result.predicted_ms):
            kind, _, target = result.name.partition(" ")
            if kind == CUT and target.partition(" ")[0] == self._model.table.name:
                network = Architecture(space=self._model.space, choices=tuple(result.choices.split()))
                name = f"{ALONE} {target}"
                yield ALONE, name, result.seed, partial(self._train, name, network, result.seed)
        yield SEARCH, SEARCH, 0, self._search_once

    def _search_once(self, folder: Path) -> list[Result]:
        fastest, slowest = self._model.range_ms()
        self._target_ms = fastest + SEARCHED_FOR / 100 * (slowest - fastest)
        return [replace(self._search(0, folder)[0], name=SEARCH)]

    def _supernet(self, seed: int, folder: Path) -> list[Result]:
        start, data = time.process_time(), self._data(seed, choosing=True)
        training, source = trained_supernet(self._models, data, self.epochs, seed, RunFolder(folder))
        images = self.epochs * data.train_images
        results = [self._result(SUPERNET, seed, self._model.extremes()[1], 0.0, images, start)]
        for model, share in itertools.product(self._models, SHARES):
            start, target = time.process_time(), f"{model.table.name} {share}"
            fastest, slowest = model.range_ms()
            architecture = best_rated(model, source, fastest + share / 100 * (slowest - fastest))
            [score] = cut_out([model], source, data, [architecture], training.steps)
            cut = self._result(f"{CUT} {target}", seed, architecture, self._tested(score.network), images, start)
            results.append(replace(cut, predicted_ms=round(model.predict(architecture).total_ms, 6)))
            if model is self._model:
                results.append(self._tune(f"{TUNED} {target}", architecture, score.network, seed, folder / str(share)))
        return results


def trained_supernet(
    models: Sequence[RuntimeModel],
    data: Data,
    epochs: int,
    seed: int,
    folder: RunFolder,
    kind: type[SupernetTraining] = SupernetTraining,
) -> tuple[SupernetTraining, Source]:
    """A supernet, trained as `spnas search --supernet` does it but for the epochs, and what networks are cut out of."""
    batch_size, _ = supernet_schedule(data.train_images, None, None)
    config = SupernetConfig(
        tables=tuple(model.table.name for model in models),
        space_digest=models[0].space.digest,
        tables_digest=" ".join(table_digest(model.table) for model in models),
        data="glyphs",
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=sensible_learning_rate(batch_size, steps_of(data.train_images, batch_size, epochs)),
        seed=seed,
    )
    training = kind(models, data, config, folder)
    training.run(on_step=lambda step: None)
    return training, Source(folder, config, training.supernet)


def targets(models: Sequence[RuntimeModel], results: Sequence[Result]) -> str:
    """How far below their targets the networks are, in words."""
    off = []
    for model, share in itertools.product(models, SHARES):
        fastest, slowest = model.range_ms()
        target_ms = fastest + share / 100 * (slowest - fastest)
        name = f"{CUT} {model.table.name} {share}"
        off += [100 * (each.predicted_ms / target_ms - 1) for each in results if each.name == name]
    below = sum(-1 <= each <= 1e-3 for each in off)
    within = f"{below} of {len(off)} networks for {len(models)} tables are within 1 % below their target"
    return f"{within}: {min(off):+.2f} to {max(off):+.2f} %."


def summary(results: Sequence[Result]) -> str:
    """The table of the study, in Markdown."""
    top1 = {(result.name, result.seed): 100 * result.top1 for result in results}
    rows = ["| target, % of the range | ms | cut out % | after finetune % | alone % |", "|---|---|---|---|---|"]
    less: dict[str, list[float]] = {CUT: [], TUNED: []}
    for result in sorted(results, key=lambda result: (result.predicted_ms, result.seed)):
        kind, _, target = result.name.partition(" ")
        if kind != CUT or (f"{ALONE} {target}", result.seed) not in top1:
            continue
        cut, tuned, alone = (top1[f"{each} {target}", result.seed] for each in (CUT, TUNED, ALONE))
        rows.append(
            f"| {target.split()[-1]}, seed {result.seed} | {result.predicted_ms:.4f} | {cut:.2f} | {tuned:.2f} | {alone:.2f} |"
        )
        less[CUT].append(cut - alone)
        less[TUNED].append(tuned - alone)
    if not less[CUT]:
        return "The study has not got far enough for its table."
    seconds = {
        kind: statistics.mean(result.cpu_s for result in results if result.name.partition(" ")[0] == kind)
        for kind in (SUPERNET, CUT, TUNED, ALONE, SEARCH)
        if any(result.name.partition(" ")[0] == kind for result in results)
    }
    return "\n".join(
        [
            *rows,
            "",
            f"Against the same network trained alone, mean over {len(less[CUT])}: cut out {statistics.mean(less[CUT]):+.2f}"
            f" points, after finetune {statistics.mean(less[TUNED]):+.2f}.",
            f"Processor seconds: {', '.join(f'{kind} {value:.0f}' for kind, value in seconds.items())}.",
        ]
    )


def work(tables: Sequence[Path], results: Path, images: Path) -> None:
    """What each process does."""
    torch.set_num_threads(1)
    SupernetStudy([RuntimeModel(read_table(table)) for table in tables], results, images).run([SUPERNET, ALONE, SEARCH])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, default=Path(tempfile.gettempdir()) / "glyphs", help="folder of the glyphs")
    parser.add_argument("--table", type=Path, action="append", help="latency tables of one space [default: ours, six]")
    parser.add_argument("--results", type=Path, default=RESULTS / "supernet.csv", help="results so far [default: ours]")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    tables = arguments.table or OURS
    models = [RuntimeModel(read_table(table)) for table in tables]
    load_glyphs(arguments.images, models[0].space, 0)  # once, before several processes need them
    in_processes(arguments.processes, work, tables, arguments.results, arguments.images)
    results = read_results(arguments.results)
    print(targets(models, results), summary(results), sep="\n\n")


if __name__ == "__main__":
    sys.exit(main())
