"""Found networks against random and uniform ones: by how much they are more accurate, and whether that is beyond chance."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from pydantic import RootModel

from profiling.specfile import read_spec

if TYPE_CHECKING:
    from search.run_folder import RunFolder

CONFIDENCE = 0.95
SAME_LATENCY = 0.01
ROUNDING = 1e-6

Row = Mapping[str, Any]
"""A row of `compare.json`; those of earlier versions do not say what a network is, and are left out."""

Seed = int | str
"""Of a training; a word where it is not known."""


@dataclass(frozen=True)
class Advantage:
    """What found networks are better by, in percentage points of top-1; negative where they are worse.

    Attributes:
        against: the mean of the random networks, or the best uniform one.
        difference, low, high: with the 95 % interval; None where it cannot be known.
        beyond_chance: whether the interval leaves out 0.
        words: all of it, for people.
    """

    against: Literal["random", "uniform"]
    difference: float | None
    low: float | None
    high: float | None
    beyond_chance: bool | None
    words: str


class Advantages(RootModel[list[Advantage]]):
    """Those of a comparison, as its file has them."""


@dataclass(frozen=True)
class Trainings:
    """The trainings of one network.

    Attributes:
        rows: of the comparison, one for each training.
        top1: in percent, by seed.
    """

    rows: Sequence[Row]
    top1: Mapping[Seed, float]

    def mean(self, seeds: Sequence[Seed]) -> float:
        """Over these seeds, or over all where none is given."""
        return fmean(self.top1[seed] for seed in seeds or self.top1)


def advantages(rows: Sequence[Row]) -> list[Advantage]:
    """Compares the found networks of a comparison with its random ones, and with the best of its uniform ones.

    Networks are compared on the seeds that all of them were trained with, if there are such: what a seed is worth to all networks
    then cancels out. Several found networks are compared with several random ones by Welch's t-test over the networks. A single
    one is taken as one more draw from the random ones (Crawford and Howell 1998). A uniform network is compared in pairs of the
    same seed by a t-test.

    Returns:
        At most one for each of both kinds; none where no network is known to be found, or none to be of that kind.
    """
    found, random, uniform = (_trainings(rows, role) for role in ("found", "random", "uniform"))
    made = []
    if found and random:
        whom = f"the mean of {len(random)} random networks" if len(random) > 1 else f"a random one, {random[0].rows[0]['name']}"
        made.append(_against(found, random, "random", whom))
    if found and uniform:
        seeds = _shared_seeds(uniform)
        best = max(uniform, key=lambda network: network.mean(seeds))
        made.append(_against(found, [best], "uniform", f"the best uniform network, {best.rows[0]['name']}"))
    return made


def read_advantages(folder: RunFolder, rows: Sequence[Row]) -> list[Advantage]:
    """As the comparison in a folder left them; computed from its rows where it is of a version that left none.

    Raises:
        InputError: the file cannot be read.
    """
    if folder.advantages.is_file():
        return read_spec(folder.advantages, Advantages).root
    return advantages(rows)


def _trainings(rows: Sequence[Row], role: str) -> list[Trainings]:
    by_network: dict[str, list[Row]] = {}
    for row in rows:
        if row.get("role") == role and row["top1"] is not None:
            by_network.setdefault(row["network"], []).append(row)
    return [
        Trainings(some, {row["name"] if row["seed"] is None else row["seed"]: 100 * row["top1"] for row in some})
        for some in by_network.values()
    ]


def _shared_seeds(networks: Sequence[Trainings]) -> list[Seed]:
    shared = set.intersection(*(set(network.top1) for network in networks))
    return [seed for seed in shared if isinstance(seed, int)]


def _against(
    found: Sequence[Trainings], others: Sequence[Trainings], against: Literal["random", "uniform"], whom: str
) -> Advantage:
    unlike = _unlike([row for network in (*found, *others) for row in network.rows])
    if unlike:
        words = f"Found networks were not compared with {whom}: they were trained differently ({unlike})."
        return Advantage(against, None, None, None, None, words)
    seeds = _shared_seeds([*found, *others])
    difference = fmean(network.mean(seeds) for network in found) - fmean(network.mean(seeds) for network in others)
    text = f"Found: {abs(difference):.2f} points {'above' if difference >= 0 else 'below'} {whom}"
    interval = _interval(found, others, seeds)
    if interval is None:
        more = "There are too few trainings for an interval: train each network with the same two or more seeds."
        return Advantage(against, difference, None, None, None, " ".join([f"{text}.", more, *_notes(found, others, difference)]))
    low, high = interval
    beyond = low > 0 or high < 0
    verdict = f"(95 % interval {low:+.2f} to {high:+.2f}), {'beyond' if beyond else 'within'} chance."
    pairs = f"In pairs of the same seed, {len(seeds)} each." if seeds else "Their seeds differ: the same ones would show more."
    words = " ".join([text, verdict, pairs, *_notes(found, others, difference)])
    return Advantage(against, difference, low, high, beyond, words)


def _interval(found: Sequence[Trainings], others: Sequence[Trainings], seeds: Sequence[Seed]) -> tuple[float, float] | None:
    """The 95 % interval of the difference of means in points, None where nothing shows by how much chance makes it vary."""
    import numpy as np
    from scipy import stats

    ours, theirs = (np.array([network.mean(seeds) for network in group]) for group in (found, others))
    all_ours, all_theirs = ([top1 for network in group for top1 in network.top1.values()] for group in (found, others))
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # of figures that are nearly identical
        if len(theirs) > 1 and len(ours) > 1:
            interval = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(CONFIDENCE)
        elif len(theirs) > 1:
            spread = theirs.std(ddof=1) * math.sqrt(1 + 1 / len(theirs))
            interval = stats.t.interval(CONFIDENCE, len(theirs) - 1, loc=ours[0] - theirs.mean(), scale=spread)
        elif len(seeds) > 1:
            pairs = [fmean(network.top1[seed] for network in found) - others[0].top1[seed] for seed in seeds]
            interval = stats.ttest_1samp(pairs, 0).confidence_interval(CONFIDENCE)
        elif not seeds and min(len(all_ours), len(all_theirs)) > 1:
            interval = stats.ttest_ind(all_ours, all_theirs, equal_var=False).confidence_interval(CONFIDENCE)
        else:
            return None
    low, high = map(float, interval)
    # Figures that agree to the last digit do so by chance, since accuracies are counts of images.
    return (low, high) if high - low > ROUNDING else None


def _notes(found: Sequence[Trainings], others: Sequence[Trainings], difference: float) -> Iterator[str]:
    """What else a reader has to know: another latency, and how few images the accuracies rest on."""
    from scipy.stats import binomtest

    for kind in ("predicted_ms", "measured_ms"):
        if any(network.rows[0][kind] is None for network in (*found, *others)):
            continue
        ours, theirs = (fmean(network.rows[0][kind] for network in group) for group in (found, others))
        if abs(theirs / ours - 1) > SAME_LATENCY:
            yield f"Not at one latency: found takes {ours:.4g} ms, the other {theirs:.4g} ms ({theirs / ours - 1:+.1%})."
        break
    counts = [row["held_out_images"] for network in (*found, *others) for row in network.rows]
    if None not in counts:
        images, top1 = min(counts), fmean(network.mean([]) for network in found) / 100
        alone = binomtest(round(top1 * images), images).proportion_ci(CONFIDENCE)
        half = 50 * (alone.high - alone.low)
        if half > abs(difference):
            yield f"Other held-out images may say otherwise: with {images} of them, an accuracy is known to ±{half:.1f} points."


def _unlike(rows: Sequence[Row]) -> str:
    """The settings that differ between trainings, in words; empty where all were trained alike, or nothing is known of any."""
    known = [row["settings"] for row in rows if row["settings"] is not None]
    if 0 < len(known) < len(rows):
        return "of some no training is known"
    # Trainings of earlier versions lack the settings that came later.
    names = [name for name in (known[0] if known else ()) if all(name in settings for settings in known)]
    values = {name: list(dict.fromkeys(str(settings[name]) for settings in known)) for name in names}
    return "; ".join(f"{name} {' or '.join(some)}" for name, some in values.items() if len(some) > 1)
