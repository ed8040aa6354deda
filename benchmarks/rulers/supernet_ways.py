"""How is a supernet for all targets best trained? On the glyph ruler, in two ways, for as much processor time.

`one` is what `spnas search --supernet` does: in every step one network, drawn from the whole range, or the largest. `sandwich`
is the rule of BigNAS (Yu et al., arXiv:2003.11142): in every step the largest network learns from the labels, and the smallest
one and one that is drawn learn what the largest one says (in-place distillation). A step of it costs about two and a half times
as much, so that it has fewer epochs. Accuracies are of networks for five targets as they are cut out. Every finished run is a
line of the results, and is not done again:

    python benchmarks/rulers/supernet_ways.py --images FOLDER --table FILE
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from glyph_study import GlyphStudy, study_parser
from glyphs import load_glyphs
from study import Result, Run, in_processes, read_results
from supernet_study import SHARES, trained_supernet
from torch import Tensor
from torch.nn.functional import cross_entropy

from latency_db.runtime_model import RuntimeModel
from latency_db.table_files import read_table
from profiling.space import Architecture
from search.finding.derive import best_rated, cut_out
from search.finding.whole_range import SupernetTraining
from search.run_folder import RunFolder
from search.steps import SupernetStep

ONE, SANDWICH = "one", "sandwich"
EPOCHS = {ONE: 5, SANDWICH: 2}  # for about the same processor time
SEEDS = 2


class SandwichTraining(SupernetTraining):
    """The same with three networks a step."""

    def _train_step(self, images: Tensor, labels: Tensor) -> SupernetStep:
        engine, config, rate = self._engine, self._config, self._set_rate()
        smallest, drawn = self._best[0], self._draw()
        self.supernet.train()
        self.supernet.zero_grad()
        logits = self.supernet(images, steps=self._largest.steps)
        entropy = cross_entropy(logits, labels, label_smoothing=config.label_smoothing)
        entropy.backward()
        soft = logits.detach().softmax(-1)
        for network in (smallest, drawn):
            cross_entropy(self.supernet(images, steps=network.steps), soft).backward()
        self._optimizer.step()
        return SupernetStep(engine.step + 1, engine.steps, entropy.item(), rate, drawn.choices)


class WaysStudy(GlyphStudy):
    """All runs of the study."""

    def runs(self) -> Iterator[tuple[str, str, int, Run]]:
        """As `Study.runs`."""
        for seed in range(SEEDS):
            yield ONE, f"{ONE} {SHARES[0]}", seed, partial(self._supernet, ONE, SupernetTraining, seed)
            yield SANDWICH, f"{SANDWICH} {SHARES[0]}", seed, partial(self._supernet, SANDWICH, SandwichTraining, seed)

    def _supernet(self, way: str, kind: type[SupernetTraining], seed: int, folder: Path) -> list[Result]:
        start, data = time.process_time(), self._data(seed, choosing=True)
        training, source = trained_supernet([self._model], data, EPOCHS[way], seed, RunFolder(folder), kind)
        seconds, (fastest, slowest) = time.process_time() - start, self._model.range_ms()
        results = []
        for share in SHARES:
            architecture: Architecture = best_rated(self._model, source, fastest + share / 100 * (slowest - fastest))
            [score] = cut_out([self._model], source, data, [architecture], training.steps)
            top1, images = self._tested(score.network), EPOCHS[way] * data.train_images
            result = self._result(f"{way} {share}", seed, architecture, top1, images, start)
            results.append(replace(result, cpu_s=round(seconds, 1)))
        return results


def summary(results: Sequence[Result]) -> str:
    """The table of the study, in Markdown."""
    seeds = [seed for seed in range(SEEDS) if sum(result.seed == seed for result in results) == 2 * len(SHARES)]
    if len(seeds) < 2:
        return "The study has not got far enough for its table."
    rows = [f"| way | processor s | {' | '.join(f'{share} %' for share in SHARES)} | mean |", "|---" * (3 + len(SHARES)) + "|"]
    means: dict[str, list[float]] = {}
    for way in (ONE, SANDWICH):
        mine = {(each.name, each.seed): each for each in results if each.name.startswith(way)}
        cells = [statistics.mean(100 * mine[f"{way} {share}", seed].top1 for seed in seeds) for share in SHARES]
        means[way] = [statistics.mean(100 * mine[f"{way} {share}", seed].top1 for share in SHARES) for seed in seeds]
        seconds = statistics.mean(each.cpu_s for each in mine.values())
        rows.append(f"| {way} | {seconds:.0f} | {' | '.join(f'{cell:.2f}' for cell in cells)} | {statistics.mean(cells):.2f} |")
    differences = [one - other for one, other in zip(means[ONE], means[SANDWICH], strict=True)]
    error = statistics.stdev(differences) / len(seeds) ** 0.5
    return "\n".join(
        [
            *rows,
            "",
            f"One network a step is {statistics.mean(differences):+.2f} ± {error:.2f} points better ({len(seeds)} pairs).",
        ]
    )


def work(table: Path, results: Path, images: Path) -> None:
    """What each process does."""
    torch.set_num_threads(1)
    WaysStudy(RuntimeModel(read_table(table)), results, images).run(list(EPOCHS))


def main() -> None:
    """The command line."""
    arguments = study_parser(__doc__, "supernet-ways.csv", "glyphs-wide-table.json").parse_args()
    load_glyphs(arguments.images, RuntimeModel(read_table(arguments.table)).space, 0)  # once, before several processes need them
    in_processes(arguments.processes, work, arguments.table, arguments.results, arguments.images)
    print(summary(read_results(arguments.results)))


if __name__ == "__main__":
    sys.exit(main())
