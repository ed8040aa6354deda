"""What a ruler can see: from the accuracies of some networks, each trained with the same seeds, what a comparison can tell apart.

An accuracy is taken as the sum of what the network is worth, what the seed is worth to all networks (the order of the images, the
first weights) and a rest that belongs to this one training: the two-way analysis of variance without repetition.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Seeing:
    """What a ruler can see; standard deviations in the unit of the accuracies.

    Attributes:
        networks, seeds: how many.
        networks_sd: between networks, of what they are worth: chance taken out.
        seeds_sd: between trainings of one network with different seeds.
        paired_sd: the same with what a seed is worth to all networks taken out, so the noise of one training where networks are
            compared in pairs of the same seed.
        reliability: of a network's mean over the seeds, 0 to 1: the share of the means' variance that is the networks' own.
    """

    networks: int
    seeds: int
    networks_sd: float
    seeds_sd: float
    paired_sd: float
    reliability: float

    @property
    def best_spearman(self) -> float:
        """The rank correlation with such means that knowing what each network is worth would reach, all normally distributed."""
        return 6 / math.pi * math.asin(math.sqrt(self.reliability) / 2)

    @property
    def best_kendall(self) -> float:
        """As `best_spearman`, of Kendall's correlation."""
        return 2 / math.pi * math.asin(math.sqrt(self.reliability))

    def line(self, unit: str = "points") -> str:
        """All of it in words, for people."""
        return (
            f"{self.networks} networks x {self.seeds} seeds: standard deviation between networks {self.networks_sd:.2f} {unit}, "
            f"between seeds {self.seeds_sd:.2f}, in pairs of the same seed {self.paired_sd:.2f}; reliability of the means "
            f"{self.reliability:.2f}; a perfect predictor would reach Spearman {self.best_spearman:.2f}, "
            f"Kendall {self.best_kendall:.2f}"
        )


def see(accuracies: npt.ArrayLike) -> Seeing:
    """What can be seen with these accuracies.

    Args:
        accuracies: (networks, seeds), each column of the same seed.

    Raises:
        ValueError: fewer than two networks or seeds, or a training is missing (NaN).
    """
    table = np.asarray(accuracies, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2 or not np.isfinite(table).all():
        raise ValueError(f"at least two networks by two seeds are needed, none missing, not {table.shape}")
    networks, seeds = table.shape
    of_networks, of_seeds = table.mean(axis=1, keepdims=True), table.mean(axis=0, keepdims=True)
    rest = table - of_networks - of_seeds + table.mean()
    rest_variance = float((rest**2).sum()) / ((networks - 1) * (seeds - 1))
    means_variance = float(of_networks.var(ddof=1))
    # The means vary by what their networks are worth and by what is left of the rest.
    own_variance = max(0.0, means_variance - rest_variance / seeds)
    return Seeing(
        networks,
        seeds,
        networks_sd=math.sqrt(own_variance),
        seeds_sd=math.sqrt(float(table.var(axis=1, ddof=1).mean())),
        paired_sd=math.sqrt(rest_variance),
        reliability=own_variance / means_variance if means_variance > 0 else 0.0,
    )
