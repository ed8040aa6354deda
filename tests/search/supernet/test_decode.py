"""The network within a budget, against trying every architecture."""

from itertools import islice

import numpy as np
import pytest
import torch
from small import every_architecture

from latency_db.runtime_model import RuntimeModel
from search.supernet.decode import hard_architecture, log_likelihoods, within_budget
from search.supernet.supernet import Supernet, superkernel

# A few thousand networks with channels and layers to choose, what stands before a place mattering in every way that it can.
CHAINED = {
    "kernels": [3],
    "expansions": [2, 4],
    "stages": [
        {"layers": [1, 2, 3], "channels": [8, 16]},
        {"layers": [1, 3], "channels": [16, 24, 32], "stride": 2},
        {"layers": 1, "channels": 24},
    ],
}


# A layer that all networks have, and behind it other channels, between two stages to search.
BETWEEN = {
    "stages": [
        {"layers": 2, "channels": 8},
        {"layers": 1, "channels": 16, "kernel": 3, "expansion": 3, "stride": 2},
        {"layers": 2, "channels": 16},
    ]
}
RESOLUTIONS = {"resolution": [8, 12], "stages": [{"layers": [1, 2, 3], "channels": [8, 16]}, {"layers": 2, "channels": 24}]}


@pytest.mark.parametrize(
    ("seed", "changes"),
    [
        *((seed, {}) for seed in range(5)),
        *((seed, changes) for seed in range(2) for changes in (CHAINED, CHAINED | RESOLUTIONS, BETWEEN)),
    ],
)
def test_the_best_score_within_one_percent_below_the_target(make_space, make_table, seed, changes):
    random = np.random.default_rng(seed)
    space = make_space(**changes)
    table = make_table(space)
    # Rows that are no smooth function of channels.
    rows = {key: row.model_copy(update={"ms": row.ms * random.uniform(0.5, 2)}) for key, row in table.rows.items()}
    model = RuntimeModel(table.model_copy(update={"rows": rows}) if changes else table)
    scores = [{name: random.normal() for name in slot.steps} for slot in space.varying]

    def score_of(architecture):
        return sum(score[name] for score, name in zip(scores, architecture.step_names, strict=True))

    everything = [(model.predict(architecture).total_ms, score_of(architecture)) for architecture in every_architecture(space)]
    assert model.range_ms() == pytest.approx((min(everything)[0], max(everything)[0]))
    low, high = model.range_ms()
    for share in np.linspace(0.2, 0.9, 8):
        target = low + share * (high - low)
        likely = within_budget(model, scores, target)
        found = next(likely)
        ms = model.predict(found).total_ms
        score = score_of(found)
        # A hair inside the band, for the grid.
        in_band = [score for ms, score in everything if target * 0.9902 <= ms <= target * 0.9998]
        assert ms <= target * (1 + 1e-9)
        if in_band:
            assert ms >= 0.99 * target
            assert score >= max(in_band)
            others = [found, *islice(likely, 9)]
            totals = [score_of(other) for other in others]
            assert len(set(others)) == len(others)
            assert totals == pytest.approx(sorted(totals, reverse=True))
            assert all(0.99 * target <= model.predict(other).total_ms <= target * (1 + 1e-9) for other in others)
        else:
            assert ms >= max(ms for ms, _ in everything if ms <= target * 0.9998)


def test_both_ends_of_the_range_are_reached(model, space):
    scores = [dict.fromkeys(slot.choices, 0.0) for slot in space.searchable]
    for extreme in model.extremes():
        ms = model.predict(extreme).total_ms
        assert model.predict(next(within_budget(model, scores, ms))).total_ms == pytest.approx(ms, rel=0.01)


@pytest.mark.parametrize("changes", [{}, {"kernels": [3, 5, 7], "expansions": [2, 4, 6]}, {"skip": False}, CHAINED], ids=str)
def test_likelihoods_are_those_of_sampled_indicators(make_space, changes):
    """Summing to one over the steps from what stands before a place, and equal to their share of draws."""
    torch.manual_seed(0)
    supernet = Supernet(make_space(**changes), 10)
    for t in supernet.thresholds():
        t.data.uniform_(0.5, 1.5)
    likelihoods = log_likelihoods(supernet)
    draws = 3000
    counts = [dict.fromkeys(layer, 0) for layer in likelihoods]
    with torch.no_grad():
        for _ in range(draws):
            drawn = hard_architecture(supernet.space, supernet.decide(superkernel.sampled_indicator))
            for count, name in zip(counts, drawn.step_names, strict=True):
                count[name] += 1
    for slot, layer, count in zip(supernet.space.varying, likelihoods, counts, strict=True):
        for state in slot.before:
            names = slot.after(state).values()
            assert sum(np.exp(layer[name]) for name in names) == pytest.approx(1, abs=1e-5)
            visits = sum(count[name] for name in names)
            for name in names:
                # Five standard deviations of a share.
                assert count[name] / visits == pytest.approx(np.exp(layer[name]), abs=2.5 / visits**0.5 + 1e-9)
