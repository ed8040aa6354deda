"""The network within limits of time, memory and size, against trying every architecture."""

import itertools

import numpy as np
import pytest
from small import every_architecture, small_space, table_from_multiply_adds

from latency_db.limits import Limits
from latency_db.runtime_model import RuntimeModel
from search.supernet.decode import fastest_within_limits, within_budget

# Their arenas have gaps, so that no layer is to blame alone.
SPACES = {
    "falling": small_space(
        resolution=32,
        stem={"channels": 16},
        stages=[{"layers": 2, "channels": 24}, {"layers": 2, "channels": 40, "stride": 2}, {"layers": 1, "channels": 64}],
    ),
    "excited": small_space(
        resolution=24,
        expansions=[2, 3, 6],
        kernels=[3],
        stem={"channels": 8, "activation": "hswish"},
        stages=[
            {"layers": 3, "channels": 17, "se_ratio": 0.5, "activation": "hswish"},
            {"layers": 3, "channels": 24, "stride": 2},
        ],
    ),
    "wide": small_space(
        resolution=24,
        expansions=[2, 6],
        kernels=[3],
        stem={"channels": 8},
        stages=[
            {"layers": [1, 2, 3], "channels": [8, 16, 24]},
            {"layers": [2, 3], "channels": [16, 32], "stride": 2},
        ],
    ),
}


@pytest.fixture(scope="module", params=SPACES)
def everything(request):
    """A space's table, and of every network the latency, memory and size."""
    space = SPACES[request.param]
    table = table_from_multiply_adds(space)
    model = RuntimeModel(table)
    networks = every_architecture(space)
    needs = [model.limited.footprint(each) for each in networks]
    ms = np.array([model.predict(each).total_ms for each in networks])
    return table, networks, ms, np.array([each.memory_mb for each in needs]), np.array([each.size_mb for each in needs])


@pytest.mark.parametrize("seed", range(3))
def test_the_best_score_within_all_limits(everything, seed):
    table, networks, ms, memory, size = everything
    random = np.random.default_rng(seed)
    scores = [{name: random.normal() for name in slot.steps} for slot in table.space.varying]
    totals = np.array([sum(score[name] for score, name in zip(scores, each.step_names, strict=True)) for each in networks])
    levels = np.unique(memory)
    tried = 0
    for level, share, part in itertools.product(levels[:: max(1, len(levels) // 4)], (0.3, 0.6), (None, 0.2, 0.6)):
        most_mb = None if part is None else float(np.quantile(size, part))
        model = RuntimeModel(table, Limits(memory_mb=float(level), size_mb=most_mb))
        allowed = (memory <= level) & (size <= (np.inf if most_mb is None else most_mb))
        target = float(np.quantile(ms[allowed], share))
        found = next(within_budget(model, scores, target))
        number = networks.index(found)
        assert allowed[number]
        assert ms[number] <= target * (1 + 1e-9)
        assert fastest_within_limits(model) in [networks[index] for index in np.flatnonzero(ms == ms[allowed].min())]
        # A hair inside the limits, for the grid.
        hair = 1 if most_mb is None else 0.995
        inside = allowed & (size <= hair * (most_mb or np.inf)) & (ms >= 0.9905 * target) & (ms <= 0.9995 * target)
        if inside.any():
            assert ms[number] >= 0.99 * target
            assert totals[number] >= totals[inside].max() - 1e-9
            tried += 1
    assert tried > 5
