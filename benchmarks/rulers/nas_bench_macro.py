"""Selection by a fitted model, offline: on NAS-Bench-Macro every network's accuracy is known, so its choice can be graded.

NAS-Bench-Macro (Su et al., CVPR 2021) has 6,561 networks of 8 layers, each `skip`, 3x3-3 or 5x5-6, each trained three times on
CIFAR-10. At five costs `search.finding.additive` picks a network with an evaluator about as noisy as shared weights are. Its cost
is in multiply-adds, which are a sum over layers (this is checked); a million of them stands for 1 ms here.

The noise: normal, added to the log error, one draw for each distinct network (codes that name the same network share it) and
repetition, so scoring again tells nothing new. It is as wide as makes the mean Kendall correlation of scores and accuracies 0.31
among the networks within 2 % of the cost. `--misjudged 0.5` makes half of its variance a sum of one error per layer and choice,
which no additive fit can average away: shared weights may well misjudge whole layers.

A band is what a search may end with: the cost or up to 1 % less. The gain of a choice is its accuracy over the band's mean, as a
share of the best network's. The goal, set before the runs that decided: at least 70 % on average over the five costs and 50
repetitions, with at most 120 scores.

    python benchmarks/rulers/nas_bench_macro.py --file nas_bench_macro.json
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.stats import kendalltau
from seeing import see

from latency_db.runtime_model import RuntimeModel
from latency_db.table import LatencyTable, Row, row_key
from profiling.conditions import Conditions
from profiling.places import SKIP, Choice
from profiling.space import Architecture, SearchSpace
from search.finding.additive import ALLOWANCE, BAND, select_by_fit
from search.supernet.decode import TOLERANCE

POINTS = (10, 25, 50, 75, 90)  # percentiles of cost
TAU = 0.31
REPETITIONS = 50
GOAL = 0.70
IMAGES = 10_000  # that a score is out of
PER_MS = 1e6  # multiply-adds
LAYERS = 8
ADDITIVE = 1e-6  # most that a cost may differ from the sum of its layers' costs, relative
FEW = 20
WAYS = ("selection by a fit", f"best of {ALLOWANCE} scored", f"best of {FEW} scored")

Floats = npt.NDArray[np.float64]


class MacroSpace(SearchSpace):
    """Three choices for each layer instead of every kernel with every ratio."""

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        """As the digits of NAS-Bench-Macro's keys stand for them."""
        return (SKIP, Choice(3, 3), Choice(5, 6))


SPACE = MacroSpace.model_validate(
    {
        "name": "nas-bench-macro",
        "resolution": 32,
        "classes": 10,
        "kernels": [3, 5],
        "expansions": [3, 6],
        "stem": {"channels": 32, "stride": 1},
        # Every layer of the benchmark may be skipped, so each stage begins with a fixed layer that may not.
        "stages": [
            stage
            for layers, channels in ((2, 64), (3, 128), (3, 256))
            for stage in (
                {"layers": 1, "channels": channels, "stride": 2, "kernel": 3, "expansion": 3},
                {"layers": layers, "channels": channels},
            )
        ],
        "head": {"channels": 1280},
    },
    strict=False,
)


@dataclass(frozen=True)
class Benchmark:
    """The networks of NAS-Bench-Macro.

    Attributes:
        choices: (networks, layers): indices into the choices of SPACE.
        top1: (networks, seeds), in percent.
        cost: (networks,) in millions of multiply-adds.
    """

    choices: npt.NDArray[np.int64]
    top1: Floats
    cost: Floats

    @cached_property
    def accuracy(self) -> Floats:
        """(networks,): the mean over the seeds, in percent."""
        return self.top1.mean(axis=1)

    @cached_property
    def distinct(self) -> npt.NDArray[np.int64]:
        """(networks,): the same number for keys with the same results, which name the same network."""
        return np.unique(np.column_stack([self.top1, self.cost]), axis=0, return_inverse=True)[1].reshape(-1)

    @cached_property
    def by_choices(self) -> Mapping[tuple[str, ...], int]:
        """The number of each network by the names of its choices."""
        names = [choice.name for choice in SPACE.choices]
        return {tuple(names[index] for index in row): number for number, row in enumerate(self.choices.tolist())}

    def numbers(self, architectures: Iterable[Architecture]) -> list[int]:
        """The numbers of networks."""
        return [self.by_choices[architecture.choices] for architecture in architectures]

    def between(self, at_least: float, at_most: float) -> npt.NDArray[np.int64]:
        """Numbers of the networks whose cost is in this range."""
        slack = 1e-9 * at_most
        return np.flatnonzero((self.cost >= at_least - slack) & (self.cost <= at_most + slack))

    def misfit(self) -> float:
        """The largest relative deviation of a cost from the sum of its layers' costs."""
        fixed, layers = self.layer_costs()
        sums = fixed + sum(layers[layer][self.choices[:, layer]] for layer in range(LAYERS))
        return float(np.max(np.abs(sums / self.cost - 1)))

    def layer_costs(self) -> tuple[float, Floats]:
        """What every network costs, and (layers, choices) what each choice adds to that, from networks of a single layer."""
        cost = {tuple(row): cost for row, cost in zip(self.choices.tolist(), self.cost.tolist(), strict=True)}
        fixed = cost[(0,) * LAYERS]
        alone = [[(0,) * layer + (c,) + (0,) * (LAYERS - layer - 1) for c in range(3)] for layer in range(LAYERS)]
        return fixed, np.array([[cost[key] - fixed for key in keys] for keys in alone])

    def runtime_model(self) -> RuntimeModel:
        """A runtime model of these costs, exact because they are additive."""
        fixed, costs = self.layer_costs()
        names = [choice.name for choice in SPACE.choices]
        rows = {
            row_key(layer.key, slot.position): Row(ms=costs[index, names.index(name)])
            for index, slot in enumerate(SPACE.searchable)
            for name, layer in slot.layers.items()
        }
        conditions = Conditions(
            device="none", model="none", os_build="none", soc="none", runtime="none", tool="multiply-adds",
            threads=1, cores="any", precision="fp32", delegate="none",
        )  # fmt: skip
        return RuntimeModel(
            LatencyTable(
                name="nas-bench-macro", space=SPACE, conditions=conditions, rows=rows, fixed=Row(ms=fixed),
                created_at="2021-06-01T00:00:00Z", source="multiply-adds of NAS-Bench-Macro, in millions",
            )
        )  # fmt: skip


def read_benchmark(file: Path) -> Benchmark:
    """NAS-Bench-Macro from its file: by key of eight digits, three accuracies in percent, parameters and multiply-adds."""
    networks = json.loads(file.read_text(encoding="utf-8"))["networks"]
    keys = ["".join(key) for key in product("012", repeat=LAYERS)]
    figures = np.array([networks[key] for key in keys])
    choices = np.array([[int(digit) for digit in key] for key in keys])
    return Benchmark(choices, figures[:, :3], figures[:, 4] / PER_MS)


@dataclass(frozen=True)
class Grader:
    """Grades choices at one cost.

    Attributes:
        benchmark: the networks.
        model: their runtime model.
        target: the cost.
        misjudged: share of the noise's variance that is a sum over layers.
        tau: Kendall correlation of scores and accuracies that the noise is to leave.
    """

    benchmark: Benchmark
    model: RuntimeModel
    target: float
    misjudged: float = 0.0
    tau: float = TAU

    @cached_property
    def band(self) -> npt.NDArray[np.int64]:
        """The networks that a search may end with."""
        return self.benchmark.between(self.target * (1 - TOLERANCE), self.target)

    @cached_property
    def near(self) -> npt.NDArray[np.int64]:
        """The networks that may be scored."""
        return self.benchmark.between(self.target * (1 - BAND), self.target * (1 + BAND))

    @cached_property
    def log_error(self) -> Floats:
        """(networks,): what a score without noise would be."""
        return np.log(1 - self.benchmark.accuracy / 100)

    def noise(self, seed: int) -> Floats:
        """(networks,) of standard deviation 1 among those near."""
        generator = np.random.default_rng([seed, round(1000 * self.target)])
        distinct, choices = self.benchmark.distinct, self.benchmark.choices
        alone = generator.normal(size=distinct.max() + 1)[distinct]
        of_layers = generator.normal(size=(LAYERS, 3))[np.arange(LAYERS), choices].sum(axis=1)
        parts = ((alone, 1 - self.misjudged), (of_layers, self.misjudged))
        return sum((part / part[self.near].std() * share**0.5 for part, share in parts), np.zeros(len(alone)))

    @cached_property
    def noise_sd(self) -> float:
        """Of the log error, found by bisection over other seeds than the repetitions have."""
        true = self.log_error[self.near]
        noises = [self.noise(seed)[self.near] for seed in range(10_000, 10_020)]
        low, high = 0.0, 3.0
        for _ in range(20):
            middle = (low + high) / 2
            tau = np.mean([kendalltau(true + middle * noise, true).statistic for noise in noises])
            low, high = (middle, high) if tau > self.tau else (low, middle)
        return low

    @property
    def gain(self) -> float:
        """Of the best network over the band's mean, in points."""
        accuracy = self.benchmark.accuracy[self.band]
        return float(accuracy.max() - accuracy.mean())

    def share(self, number: int | np.int64) -> float:
        """The gain of a network as a share of the best one's."""
        accuracy = self.benchmark.accuracy
        return float(accuracy[number] - accuracy[self.band].mean()) / self.gain

    def shares(self, seed: int) -> dict[str, float]:
        """The shares that each way of choosing gains in one repetition, all with the same evaluator."""
        scores = self.log_error + self.noise_sd * self.noise(seed)

        def evaluate(architectures: Sequence[Architecture]) -> list[float]:
            errors = np.exp(np.minimum(scores[self.benchmark.numbers(architectures)], 0))
            # Half an image is added to each side, so that no error is 0.
            shares = (np.rint(IMAGES * errors) + 0.5) / (IMAGES + 1)
            return [-math.log(share) for share in shares.tolist()]

        [selected] = self.benchmark.numbers([select_by_fit(self.model, evaluate, self.target, seed=seed).architecture])
        drawn = np.random.default_rng(seed).permutation(self.band)
        best_of_most, best_of_few = (some[np.argmin(scores[some])] for some in (drawn[:ALLOWANCE], drawn[:FEW]))
        return dict(zip(WAYS, map(self.share, (selected, best_of_most, best_of_few)), strict=True))


def report(graders: Sequence[Grader], repetitions: int) -> tuple[list[str], float]:
    """A table in Markdown of what each way of choosing gains, and the share that the selection gains on average."""
    lines = [f"| cost | networks | best over mean | {' | '.join(WAYS)} |", "|---|---|---|" + "---|" * len(WAYS)]
    shares = np.array([[list(grader.shares(seed).values()) for seed in range(repetitions)] for grader in graders])
    for grader, mine in zip(graders, shares, strict=True):
        cells = " | ".join(f"{mean:.0%} ± {sd:.0%}" for mean, sd in zip(mine.mean(axis=0), mine.std(axis=0, ddof=1), strict=True))
        lines.append(f"| {grader.target:.1f} M | {len(grader.band)} | {grader.gain:.2f} points | {cells} |")
    of_repetitions = shares.mean(axis=0)
    means, errors = of_repetitions.mean(axis=0), of_repetitions.std(axis=0, ddof=1) / repetitions**0.5
    cells = " | ".join(f"{mean:.1%} (± {error:.1%})" for mean, error in zip(means, errors, strict=True))
    return [*lines, f"| all | | | {cells} |"], float(means[0])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path, required=True, help="NAS-Bench-Macro as JSON, 'networks' by key")
    parser.add_argument("--repetitions", type=int, default=REPETITIONS, help=f"evaluators at each cost [default: {REPETITIONS}]")
    parser.add_argument("--misjudged", type=float, default=0.0, help="share of the noise that is a sum over layers [default: 0]")
    arguments = parser.parse_args()
    benchmark = read_benchmark(arguments.file)
    if benchmark.misfit() > ADDITIVE:
        sys.exit(f"the costs are not sums over layers: one is {benchmark.misfit():.1%} off")
    print(
        f"{len(benchmark.cost):,} networks; a cost differs from the sum of its layers' costs by {benchmark.misfit():.1e} at most"
    )
    model = benchmark.runtime_model()
    targets = np.percentile(benchmark.cost, POINTS)
    graders = [Grader(benchmark, model, float(target), arguments.misjudged) for target in targets]
    print("\nWhat the ruler can see among the networks that a search may end with:")
    for point, grader in zip(POINTS, graders, strict=True):
        print(f"- {grader.target:.1f} M ({point} % point): {see(benchmark.top1[grader.band]).line()}")
    print(
        f"\nShares of the best network's gain, mean ± standard deviation of {arguments.repetitions} repetitions; in the last line"
        f" the average over costs (± its standard error). The noise of log error is"
        f" {', '.join(f'{grader.noise_sd:.3f}' for grader in graders)}; {arguments.misjudged:.0%} of it misjudges layers.\n"
    )
    lines, share = report(graders, arguments.repetitions)
    print("\n".join(lines))
    if arguments.misjudged:
        return  # the goal is about noise that a fit can average
    verdict = "met" if share >= GOAL else "missed"
    print(f"\nGoal: the selection gains at least {GOAL:.0%} on average with at most {ALLOWANCE} scores: {verdict}, {share:.1%}")
    if share < GOAL:
        sys.exit(1)


if __name__ == "__main__":
    main()
