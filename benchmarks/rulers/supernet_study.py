"""Does one supernet serve all targets? On the glyph ruler: its networks as cut out, after finetune, and trained alone.

A supernet is trained on as many images as a search or a training from scratch sees. Networks for five targets are cut out of it,
and tested untouched, after the recipe `finetune` on a twelfth of the images, and trained from scratch on as many images as the
supernet saw, with the same seed. Every finished run is a line of the results, and is not done again:

    python benchmarks/rulers/supernet_study.py --images FOLDER
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from glyph_study import BATCH, EPOCHS, RATE, RESULTS, GlyphStudy
from glyphs import load_glyphs
from study import Result, Run, read_results

from latency_db.runtime_model import RuntimeModel
from latency_db.table_files import read_table
from profiling.space import Architecture
from search.config import SupernetConfig
from search.finding.derive import Source, best_rated, cut_out
from search.finding.search import table_digest
from search.finding.whole_range import SupernetTraining
from search.run_folder import RunFolder

SHARES = (10, 30, 50, 70, 90)  # of the range, in percent
CUT, TUNED, ALONE, SUPERNET = "cut", "tuned", "alone", "supernet"
SEEDS = 2


class SupernetStudy(GlyphStudy):
    """All runs of the study."""

    def runs(self) -> Iterator[tuple[str, str, int, Run]]:
        """As `Study.runs`; trainings alone once the networks are cut out."""
        for seed in range(SEEDS):
            yield SUPERNET, SUPERNET, seed, partial(self._supernet, seed)
        for result in read_results(self._file):
            kind, _, share = result.name.partition(" ")
            if kind == CUT:
                network = Architecture(space=self._model.space, choices=tuple(result.choices.split()))
                name = f"{ALONE} {share}"
                yield ALONE, name, result.seed, partial(self._train, name, network, result.seed)

    def _supernet(self, seed: int, folder: Path) -> list[Result]:
        start, data = time.process_time(), self._data(seed, choosing=True)
        config = SupernetConfig(
            tables=(self._model.table.name,),
            space_digest=self._model.space.digest,
            tables_digest=table_digest(self._model.table),
            data="glyphs",
            epochs=EPOCHS,
            batch_size=BATCH,
            learning_rate=RATE,
            seed=seed,
        )
        training = SupernetTraining([self._model], data, config, RunFolder(folder))
        training.run(on_step=lambda step: None)
        source, images = Source(RunFolder(folder), config, training.supernet), EPOCHS * data.train_images
        fastest, slowest = self._model.range_ms()
        results = [self._result(SUPERNET, seed, self._model.extremes()[1], 0.0, images, start)]
        for share in SHARES:
            start = time.process_time()
            architecture = best_rated(self._model, source, fastest + share / 100 * (slowest - fastest))
            [score] = cut_out([self._model], source, data, [architecture], training.steps)
            top1 = self._tested(score.network)
            results.append(self._result(f"{CUT} {share}", seed, architecture, top1, images, start))
            results.append(self._tune(f"{TUNED} {share}", architecture, score.network, seed, folder / str(share)))
        return results


def summary(results: Sequence[Result]) -> str:
    """The table of the study, in Markdown."""
    top1 = {(result.name, result.seed): 100 * result.top1 for result in results}
    rows = ["| target, % of the range | ms | cut out % | after finetune % | alone % |", "|---|---|---|---|---|"]
    less: dict[str, list[float]] = {CUT: [], TUNED: []}
    for result in sorted(results, key=lambda result: (result.predicted_ms, result.seed)):
        kind, _, share = result.name.partition(" ")
        if kind != CUT or (f"{ALONE} {share}", result.seed) not in top1:
            continue
        cut, tuned, alone = (top1[f"{each} {share}", result.seed] for each in (CUT, TUNED, ALONE))
        rows.append(f"| {share}, seed {result.seed} | {result.predicted_ms:.4f} | {cut:.2f} | {tuned:.2f} | {alone:.2f} |")
        less[CUT].append(cut - alone)
        less[TUNED].append(tuned - alone)
    if not less[CUT]:
        return "The study has not got far enough for its table."
    seconds = {
        kind: statistics.mean(result.cpu_s for result in results if result.name.partition(" ")[0] == kind)
        for kind in (SUPERNET, CUT, TUNED, ALONE)
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


def work(table: Path, results: Path, images: Path) -> None:
    """What each process does."""
    torch.set_num_threads(1)
    SupernetStudy(RuntimeModel(read_table(table)), results, images).run([SUPERNET, ALONE])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, default=Path(tempfile.gettempdir()) / "glyphs", help="folder of the glyphs")
    parser.add_argument("--table", type=Path, default=RESULTS / "fashion-mnist-table.json", help="latency table [default: ours]")
    parser.add_argument("--results", type=Path, default=RESULTS / "supernet.csv", help="results so far [default: ours]")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    load_glyphs(arguments.images, RuntimeModel(read_table(arguments.table)).space, 0)  # once, before several processes need them
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        pool.starmap(work, [(arguments.table, arguments.results, arguments.images)] * arguments.processes, chunksize=1)
    print(summary(read_results(arguments.results)))


if __name__ == "__main__":
    sys.exit(main())
