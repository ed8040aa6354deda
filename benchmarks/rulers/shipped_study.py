"""Does a search replace a training? What searches leave, against the same network trained alone, in pairs of the same seed.

On the glyph ruler, by the table and for the target of the study on glyphs: a search, the network that it leaves untouched and
after the recipe `finetune` on a twelfth of the images, and that network trained from scratch on as many images as the search saw.
Every finished run is a line of the results, and is not done again:

    python benchmarks/rulers/shipped_study.py --images FOLDER
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from glyph_results import FOUND, SHIPPED, TUNED, interval
from glyph_study import GlyphStudy, study_parser
from glyphs import load_glyphs
from study import Result, Run, in_processes, read_results

from latency_db.runtime_model import RuntimeModel
from latency_db.table_files import read_table
from profiling.space import Architecture

PAIRS = 8


class ShippedStudy(GlyphStudy):
    """All runs of the study."""

    def runs(self) -> Iterator[tuple[str, str, int, Run]]:
        """As `Study.runs`; the training of a network once it is found."""
        for seed in range(PAIRS):
            yield SHIPPED, SHIPPED, seed, partial(self._search, seed)
        for result in read_results(self._file):
            if result.name == SHIPPED:
                network = Architecture(space=self._model.space, choices=tuple(result.choices.split()))
                yield FOUND, FOUND, result.seed, partial(self._train, FOUND, network, result.seed)


def summary(results: Sequence[Result]) -> str:
    """The table of the study, in Markdown."""
    top1 = {(result.name, result.seed): 100 * result.top1 for result in results}
    seeds = [seed for seed in range(PAIRS) if (SHIPPED, seed) in top1 and (FOUND, seed) in top1]
    if len(seeds) < 2:
        return "The study has not got far enough for its table."
    rows = ["| seed | untouched % | after finetune % | from scratch % |", "|---|---|---|---|"]
    rows += [f"| {seed} | {' | '.join(f'{top1[name, seed]:.2f}' for name in (SHIPPED, TUNED, FOUND))} |" for seed in seeds]
    lines = []
    for name, words in ((SHIPPED, "Untouched"), (TUNED, "After finetune")):
        difference = np.array([top1[name, seed] - top1[FOUND, seed] for seed in seeds])
        lines.append(f"{words}, against from scratch: {interval(difference)} points ({len(seeds)} pairs).")
    seconds = {name: np.mean([each.cpu_s for each in results if each.name == name]) for name in (SHIPPED, TUNED, FOUND)}
    networks = len({each.choices for each in results if each.name == SHIPPED})
    lines.append(
        f"{networks} different network(s). Processor seconds: a search {seconds[SHIPPED]:.0f}, finetune {seconds[TUNED]:.0f},"
        f" a training from scratch {seconds[FOUND]:.0f}."
    )
    return "\n".join([*rows, "", *lines])


def work(table: Path, results: Path, images: Path) -> None:
    """What each process does."""
    torch.set_num_threads(1)
    ShippedStudy(RuntimeModel(read_table(table)), results, images).run([SHIPPED, FOUND])


def main() -> None:
    """The command line."""
    arguments = study_parser(__doc__, "shipped.csv", "fashion-mnist-table.json").parse_args()
    load_glyphs(arguments.images, RuntimeModel(read_table(arguments.table)).space, 0)  # once, before several processes need them
    in_processes(arguments.processes, work, arguments.table, arguments.results, arguments.images)
    print(summary(read_results(arguments.results)))


if __name__ == "__main__":
    sys.exit(main())
