"""What the study on the glyph ruler found, as tables; of several runs of the study together, their seeds one after another.

python benchmarks/rulers/glyph_results.py FILE FILE …
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr, t
from seeing import see

sys.path.insert(0, str(Path(__file__).parents[1]))

from study import Result, read_results

from search.finding.additive import correlation_interval

# `shipped` is a search's own network as it leaves it, `tuned` the same after finetune, `found 1` what search 1 found, trained
# from scratch; `rated random 3` a random network, with its rating by a search in the place of an accuracy.
SHIPPED, TUNED, FOUND, RANDOM, UNIFORM, RATED = "shipped", "tuned", "found", "random", "uniform", "rated"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Trained:
    """A network's accuracies from scratch, in percent, seed after seed."""

    name: str
    choices: str
    predicted_ms: float
    accuracies: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return statistics.mean(self.accuracies)


def summary(results: Sequence[Result]) -> str:
    """The tables of the study, in Markdown."""
    trained = _trained(results)
    found, random, uniform = ([each for each in trained if each.name.startswith(kind)] for kind in (FOUND, RANDOM, UNIFORM))
    if not found or len(random) < 2 or not uniform or len(found[0].accuracies) < 2:
        return "The study has not got far enough for its tables."
    return "\n".join(
        [
            f"The ruler: {see([each.accuracies for each in random]).line()}",
            "",
            *_networks(found, random, uniform),
            "",
            *_found_against_others(found, random, uniform),
            "",
            *_shipped(results, found),
            "",
            *_ranking(results, random),
            "",
            *_cost(results),
        ]
    )


def together(files: Sequence[Path]) -> list[Result]:
    """The results of several runs of the study; a seed of one is another draw than the same seed of the next."""
    results: list[Result] = []
    for file in files:
        first = max((result.seed for result in results), default=-1) + 1
        results += [replace(result, seed=first + result.seed) for result in read_results(file)]
    return results


def _trained(results: Sequence[Result]) -> list[Trained]:
    """With the seeds that every network was trained with, so that all comparisons are in pairs."""
    by_name: dict[str, dict[int, Result]] = {}
    for result in results:
        if result.name.partition(" ")[0] in (FOUND, RANDOM, UNIFORM):
            by_name.setdefault(result.name, {})[result.seed] = result
    seeds = sorted(set.intersection(*(set(runs) for runs in by_name.values()))) if by_name else []
    return [
        Trained(name, first.choices, first.predicted_ms, tuple(100 * runs[seed].top1 for seed in seeds))
        for name, runs in by_name.items()
        for first in [next(iter(runs.values()))]
    ]


def _networks(found: Sequence[Trained], random: Sequence[Trained], uniform: Sequence[Trained]) -> list[str]:
    rows = ["| trained from scratch | ms | mean % | each seed |", "|---|---|---|---|"]
    best = max(random, key=lambda each: each.mean)
    for each in (*found, *uniform, best):
        name = f"{each.name}, the best of {len(random)}" if each is best else each.name
        seeds = " ".join(f"{accuracy:.2f}" for accuracy in each.accuracies)
        rows.append(f"| {name} | {each.predicted_ms:.4f} | {each.mean:.2f} | {seeds} |")
    means = [each.mean for each in random]
    latency = statistics.mean(each.predicted_ms for each in random)
    return [
        *rows,
        f"| {len(random)} random, mean | {latency:.4f} | {statistics.mean(means):.2f} | sd {statistics.stdev(means):.2f} |",
    ]


def _found_against_others(found: Sequence[Trained], random: Sequence[Trained], uniform: Sequence[Trained]) -> list[str]:
    mine, others = np.array([each.mean for each in found]), np.array([each.mean for each in random])
    gain, spread = mine.mean() - others.mean(), others.std(ddof=1)
    # Is a found network better than random ones are on average? Which random ones were drawn is chance, and so is every training.
    seeds = len(found[0].accuracies)
    noise = see([each.accuracies for each in random]).paired_sd
    p = welch(
        gain, [(spread**2 / len(others), len(others) - 1), (noise**2 / (len(mine) * seeds), (len(others) - 1) * (seeds - 1))]
    )
    # Would a random network be as good? Were networks found by chance, they would be draws like the random ones.
    p_draw = t.sf(gain / (spread * (1 / len(mine) + 1 / len(others)) ** 0.5), len(others) - 1)
    best = max(uniform, key=lambda each: each.mean)
    paired = np.array([each.accuracies for each in found]) - np.array(best.accuracies)
    return [
        f"Found against random: {gain:+.2f} points, {gain / spread:.1f} standard deviations of the random networks' means "
        f"({len(mine)} {'different networks' if len(mine) > 1 else 'network'} against {len(others)}; better than random ones are "
        f"on average: p = {p:.2g}; than a random one would be by chance: p = {p_draw:.2g}; t-tests, one-sided).",
        f"Found against the best uniform network, {best.name.removeprefix('uniform ')}: {interval(paired.mean(axis=0))} points, "
        "in pairs of the same seed.",
    ]


def welch(gain: float, variances: Sequence[tuple[float, int]]) -> float:
    """The chance of a gain at least this large where there is none, by the t-test of Welch.

    Args:
        gain: a difference of means.
        variances: of it, one for each thing that makes it vary, with the degrees of freedom that it was estimated with.
    """
    total = sum(variance for variance, _ in variances)
    freedom = total**2 / sum(variance**2 / free for variance, free in variances)
    return float(t.sf(gain / total**0.5, freedom))


def _shipped(results: Sequence[Result], found: Sequence[Trained]) -> list[str]:
    scratch = {each.choices: each.mean for each in found}
    architecture = {result.seed: result.choices for result in results if result.name == SHIPPED}
    rows = ["| search | untouched % | after finetune % | the same network from scratch % |", "|---|---|---|---|"]
    differences: dict[str, list[float]] = {SHIPPED: [], TUNED: []}
    accuracy = {(result.name, result.seed): 100 * result.top1 for result in results}
    for (name, seed), untouched in sorted(accuracy.items()):
        if name == SHIPPED and (own := scratch.get(architecture[seed])) is not None:
            tuned = accuracy[TUNED, seed]
            rows.append(f"| {seed} | {untouched:.2f} | {tuned:.2f} | {own:.2f} |")
            differences[SHIPPED].append(untouched - own)
            differences[TUNED].append(tuned - own)
    words = {SHIPPED: "Untouched", TUNED: "After finetune"}
    return [
        *rows,
        "",
        *(f"{words[kind]}, against from scratch: {interval(np.array(some))} points." for kind, some in differences.items()),
    ]


def _ranking(results: Sequence[Result], random: Sequence[Trained]) -> list[str]:
    best = see([each.accuracies for each in random]).best_spearman
    lines = []
    for seed in sorted({result.seed for result in results if result.name == SHIPPED}):
        ratings = {result.name: result.top1 for result in results if result.name.startswith(RATED) and result.seed == seed}
        pairs = [(ratings[f"{RATED} {each.name}"], each.mean) for each in random]
        rho = float(spearmanr(*zip(*pairs, strict=True)).statistic)
        low, high = correlation_interval(rho, len(pairs))
        lines.append(f"Search {seed} rates the random networks with a rank correlation of {rho:.2f} ({low:.2f} to {high:.2f}).")
    return [*lines, f"The ruler allows {best:.2f}; 0.6 of that is {0.6 * best:.2f}."]


def _cost(results: Sequence[Result]) -> list[str]:
    seconds = {
        kind: statistics.mean(result.cpu_s for result in results if result.name.partition(" ")[0] in kinds)
        for kind, kinds in (
            ("a search", (SHIPPED,)),
            ("finetune", (TUNED,)),
            ("a training from scratch", (FOUND, RANDOM, UNIFORM)),
        )
    }
    total = sum(result.cpu_s for result in results if not result.name.startswith(RATED))
    return [f"Processor seconds: {', '.join(f'{kind} {value:.0f}' for kind, value in seconds.items())}; in all {total:.0f}."]


def interval(differences: Floats) -> str:
    """The mean with its 95 % interval."""
    mean, count = differences.mean(), len(differences)
    if count < 2:
        return f"{mean:+.2f}"
    half = t.ppf(0.975, count - 1) * differences.std(ddof=1) / count**0.5
    return f"{mean:+.2f} ± {half:.2f}"


if __name__ == "__main__":
    print(summary(together([Path(file) for file in sys.argv[1:]])))
