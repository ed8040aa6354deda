"""The results of the study on Fashion-MNIST: a line for each finished run, and the tables made of them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from scipy.stats import spearmanr
from study import Result

TELLING_LAYER = 8  # searchable layer, from 0: the first of the last stage

LONGER = "longer"
# Named with the epochs of a search: `search-6`; `found-6 1`, what it found by seed 1; `shared-6 random 1`, another network with
# the weights of its supernet.
SEARCH, FOUND, SHARED = "search", "found", "shared"
CORE, WHOLE = "subset 3x3", "subset 5x5"


def summary(results: Sequence[Result]) -> str:
    """The tables of the study, in Markdown."""
    by_name: dict[str, list[Result]] = {}
    for result in results:
        by_name.setdefault(result.name, []).append(result)

    def named(*kinds: str) -> dict[str, list[Result]]:
        return {name: runs for name, runs in by_name.items() if name.split()[0].partition("-")[0] in kinds}

    networks = named(FOUND, "random", "uniform")
    longer = {name.removeprefix(f"{LONGER} "): runs for name, runs in named(LONGER).items()}
    lines = [*_networks_tables(networks), "", *_networks_tables(longer), "", *_ranking_table(longer, named(SHARED))]

    lines += ["", "| kernels | trained | top-1 | seeds |", "|---|---|---|---|"]
    for name, kernels, trained in (
        ("uniform 3x3-6", "3×3", "alone"),
        (CORE, "3×3", "as the inner part of 5×5"),
        ("uniform 5x5-6", "5×5", "alone"),
        (WHOLE, "5×5", "together with their inner 3×3"),
    ):
        runs = by_name.get(name, [])
        lines.append(f"| {kernels} | {trained} | {_spread([run.top1 for run in runs])} | {len(runs)} |")

    lines += ["", "| run | images | processor seconds |", "|---|---|---|"]
    kinds = {
        **{f"a search of {name.partition('-')[2]} epochs": runs for name, runs in named(SEARCH).items()},
        "a training": [run for runs in networks.values() for run in runs],
        "a longer training": [run for runs in longer.values() for run in runs],
    }
    for kind, runs in kinds.items():
        if runs:
            lines.append(f"| {kind} | {runs[0].images:,} | {_number([run.cpu_s for run in runs])} |")
    return "\n".join(lines)


def _networks_tables(networks: Mapping[str, Sequence[Result]]) -> list[str]:
    """A line for each network, the most accurate first; then what the random ones come to."""
    means = {name: statistics.mean(run.top1 for run in runs) for name, runs in networks.items()}
    lines = ["| network | predicted ms | top-1 | seeds | choices |", "|---|---|---|---|---|"]
    for name in sorted(networks, key=lambda name: -means[name]):
        first, accuracies = networks[name][0], [run.top1 for run in networks[name]]
        lines.append(f"| {name} | {first.predicted_ms:.4f} | {_spread(accuracies)} | {len(accuracies)} | {first.choices} |")
    random = {name: mean for name, mean in means.items() if name.startswith("random")}
    lines += ["", "| random networks | how many | mean ± standard deviation of their means |", "|---|---|---|"]
    lines.append(f"| all | {len(random)} | {_spread(list(random.values()))} |")
    for ratio in ("6", "3"):
        some = [mean for name, mean in random.items() if networks[name][0].choices.split()[TELLING_LAYER].endswith(f"-{ratio}")]
        lines.append(f"| ratio {ratio} in the first layer at 4×4 | {len(some)} | {_spread(some)} |")
    return lines


def _ranking_table(trained: Mapping[str, Sequence[Result]], shared: Mapping[str, Sequence[Result]]) -> list[str]:
    """What shared weights tell of random networks: their accuracies with them beside those when trained from scratch."""
    random = {name: statistics.mean(run.top1 for run in runs) for name, runs in trained.items() if name.startswith("random")}
    order = sorted(random, key=lambda name: -random[name])
    by_search: dict[tuple[int, int], dict[str, float]] = {}
    for name, runs in shared.items():
        kind, _, network = name.partition(" ")
        for run in runs:
            by_search.setdefault((int(kind.partition("-")[2]), run.seed), {})[network] = run.top1
    searches = dict(sorted(by_search.items()))
    heads = (f"{epochs} epochs, seed {seed}" for epochs, seed in searches)
    lines = [f"| network | trained | {' | '.join(heads)} |", "|---|---|" + "---|" * len(searches)]
    for name in order:
        lines.append(f"| {name} | {random[name]:.2%} | {' | '.join(f'{top1[name]:.2%}' for top1 in searches.values())} |")
    correlations = (spearmanr([random[name] for name in order], [top1[name] for name in order]) for top1 in searches.values())
    return [*lines, f"| rank correlation | | {' | '.join(f'{correlation.statistic:+.2f}' for correlation in correlations)} |"]


def _number(values: Sequence[float]) -> str:
    """Mean and standard deviation."""
    return f"{statistics.mean(values):.0f} ± {statistics.stdev(values) if len(values) > 1 else 0:.0f}"


def _spread(shares: Sequence[float]) -> str:
    """Mean and standard deviation, in percent."""
    if not shares:
        return "–"
    deviation = f" ± {statistics.stdev(shares):.2%}" if len(shares) > 1 else ""
    return f"{statistics.mean(shares):.2%}{deviation}"
