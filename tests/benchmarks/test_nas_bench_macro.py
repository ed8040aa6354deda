"""Grading a selection offline: the short form, on a made-up benchmark of the same shape as NAS-Bench-Macro."""

import json
import sys
from itertools import product

import numpy as np
import pytest

COSTS = np.array([[0, 4, 10], [0, 7, 15], [0, 4, 10], [0, 6, 14], [0, 6, 14], [0, 4, 9], [0, 6, 13], [0, 6, 13]]) * 1_000_003


@pytest.fixture(scope="module")
def macro(ruler):
    return ruler("nas_bench_macro")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Log error nearly additive, later layers worth more; multiply-adds additive; two symmetric layers make equal networks."""
    generator = np.random.default_rng(0)
    gains = 0.1 * generator.random(8)[:, None] * [0, 1, 1.3] + 0.02 * generator.random((8, 3))
    gains[7], networks = gains[6], {}
    for key in product(range(3), repeat=8):
        twin = (*key[:6], *sorted(key[6:]))
        rest = np.random.default_rng(twin).normal(size=4) * [0.02, 0.005, 0.005, 0.005]
        error = np.exp(-1.5 - sum(gains[layer][choice] for layer, choice in enumerate(key)) + rest[0] + rest[1:])
        cost = 8_000_000 + sum(COSTS[layer][choice] for layer, choice in enumerate(key))
        networks["".join(map(str, key))] = [*(100 * (1 - error)).round(2).tolist(), 1_000_000, int(cost)]
    path = tmp_path_factory.mktemp("macro") / "macro.json"
    path.write_text(json.dumps({"networks": networks}), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def benchmark(macro, file):
    return macro.read_benchmark(file)


@pytest.fixture(scope="module")
def grader(macro, benchmark):
    return macro.Grader(benchmark, benchmark.runtime_model(), float(np.median(benchmark.cost)))


def test_the_runtime_model_predicts_the_cost_of_every_network(macro, benchmark, grader):
    assert benchmark.misfit() < 1e-12
    for choices, number in list(benchmark.by_choices.items())[::97]:
        architecture = macro.Architecture(space=macro.SPACE, choices=choices)
        assert grader.model.predict(architecture).total_ms == pytest.approx(benchmark.cost[number], rel=1e-12)


def test_costs_that_do_not_add_up_are_refused(macro, file, tmp_path, monkeypatch):
    networks = json.loads(file.read_text(encoding="utf-8"))
    networks["networks"]["12121212"][4] *= 1.5
    (tmp_path / "other.json").write_text(json.dumps(networks), encoding="utf-8")
    assert macro.read_benchmark(tmp_path / "other.json").misfit() == pytest.approx(1 / 3, abs=0.01)
    monkeypatch.setattr(sys, "argv", ["nas_bench_macro.py", "--file", str(tmp_path / "other.json")])
    with pytest.raises(SystemExit, match="not sums over layers: one is 33"):
        macro.main()


@pytest.mark.parametrize("misjudged", [0.0, 0.5])
def test_the_noise_leaves_the_correlation_that_is_wanted(macro, benchmark, grader, misjudged):
    noisy = macro.Grader(benchmark, grader.model, grader.target, misjudged)
    near, true = noisy.near, noisy.log_error[noisy.near]
    scores = [true + noisy.noise_sd * noisy.noise(seed)[near] for seed in range(40)]
    assert np.mean([macro.kendalltau(each, true).statistic for each in scores]) == pytest.approx(0.31, abs=0.04)


def test_keys_of_one_network_get_one_score(benchmark, grader):
    numbers = {"".join(map(str, row)): number for number, row in enumerate(benchmark.choices.tolist())}
    noise = grader.noise(0)
    assert noise[numbers["11111102"]] == noise[numbers["11111120"]]
    assert noise[numbers["11111102"]] != noise[numbers["11111112"]]


def test_shares_run_from_the_mean_of_the_band_to_its_best(benchmark, grader):
    assert np.mean([grader.share(number) for number in grader.band]) == pytest.approx(0, abs=1e-9)
    assert max(grader.share(number) for number in grader.band) == pytest.approx(1)
    assert all(0.99 * grader.target <= benchmark.cost[number] <= grader.target * (1 + 1e-9) for number in grader.band)


def test_the_selection_gains_more_than_the_best_of_as_many_scores(macro, grader):
    shares = [grader.shares(seed) for seed in range(8)]
    selection, most, few = (np.mean([each[way] for each in shares]) for way in macro.WAYS)
    assert selection > 0.6
    assert selection > most > 0
    assert selection > few


def test_the_command_prints_what_the_ruler_sees_the_table_and_the_verdict(macro, file, monkeypatch, capsys):
    monkeypatch.setattr(macro, "POINTS", (50,))
    monkeypatch.setattr(macro, "GOAL", 0.0)
    monkeypatch.setattr(sys, "argv", ["nas_bench_macro.py", "--file", str(file), "--repetitions", "2"])
    macro.main()
    printed = capsys.readouterr().out
    assert "50 % point" in printed
    assert "reliability of the means" in printed
    assert "| all |" in printed
    assert "at most 120 scores: met" in printed
    monkeypatch.setattr(macro, "GOAL", 1.01)
    with pytest.raises(SystemExit, match="1"):
        macro.main()
