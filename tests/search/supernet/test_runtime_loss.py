"""R of decisions is what `spnas predict` says of the decoded network; the paper's ratio form beside it."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import WIDE

from latency_db.runtime_model import RuntimeModel
from latency_db.table import CalibrationNetwork
from latency_db.table_files import published_table
from profiling.draws import random_architectures
from profiling.space import Architecture
from search.supernet.decisions import encode
from search.supernet.runtime_loss import RuntimeTerm, eq9_loss, eq10_runtime, eq11_eq12_layer_runtimes


@pytest.mark.parametrize(
    "changes",
    [{}, {"kernels": [3, 5, 7], "expansions": [2, 4, 6]}, {"skip": False}, WIDE, WIDE | {"resolution": [16, 20, 24]}],
    ids=str,
)
def test_r_of_hard_decisions_is_exactly_the_prediction(make_space, make_table, changes):
    """With a calibration that counts packed weights, and rows that are no smooth function of kernel and ratio."""
    random = np.random.default_rng(0)
    table = make_table(make_space(**changes))
    rows = {
        key: row.model_copy(update={"ms": row.ms * random.uniform(0.5, 2), "packed_bytes": int(random.integers(10**6))})
        for key, row in table.rows.items()
    }
    calibration = tuple(
        CalibrationNetwork(
            key=f"network-{index}", sum_ms=value, packed_bytes=packed, measured_ms=1.07 * (value + 5e-8 * packed) + 0.11
        )
        for index, (value, packed) in enumerate(
            zip(random.uniform(1, 2, 12), random.integers(10**7, size=12).tolist(), strict=True)
        )
    )
    model = RuntimeModel(table.model_copy(update={"rows": rows, "calibration": calibration}))
    assert model.calibration.scale == pytest.approx(1.07)
    assert model.calibration.packed_ms_per_mb == pytest.approx(0.05)
    term = RuntimeTerm(model)
    for architecture in itertools.islice(random_architectures(model.space, 0), 50):
        runtime = term(encode(architecture), architecture.resolution)
        assert runtime.item() == pytest.approx(model.predict(architecture).total_ms, rel=1e-5)


def test_r_of_the_paper_network_is_the_papers_figure():
    model = RuntimeModel(published_table("pixel1"))
    from profiling.space import load_architecture

    assert RuntimeTerm(model)(encode(load_architecture("single-path-nas"))).item() == pytest.approx(80.44, abs=0.005)


def eq11_then_eq12(costs, use_5, use_layer, use_6):
    """The paper's own form, for 3×3 and 5×5, ratios 3 and 6."""
    r_e = use_layer * (costs["5x5-3"] + use_6 * (costs["5x5-6"] - costs["5x5-3"]))
    ratio = costs["3x3-6"] / costs["5x5-6"]
    return ratio * r_e + r_e * (1 - ratio) * use_5


def test_the_papers_ratio_form_agrees_but_for_its_3x3_3_corner():
    """Eq. 11 and 12 give the table's entry for every choice but 3x3-3, which they scale by the ratio of the large kernels."""
    model = RuntimeModel(published_table("pixel1"))
    errors = []
    for costs, slot in zip(model.costs, model.space.searchable, strict=True):
        for name, choice in slot.choices_by_name.items():
            theirs = eq11_then_eq12(costs, choice.kernel == 5, name != "skip", choice.expansion == 6)
            if name == "3x3-3":
                errors.append(abs(theirs / costs[name] - 1))
            else:
                assert theirs == pytest.approx(costs[name])
    assert 0.005 < np.mean(errors) < 0.1, f"mean error of the corner {np.mean(errors):.1%}"


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_r_of_probabilities_is_the_expectation_over_architectures(seed):
    """Every layer's R is linear in each of its indicators, so that R of probabilities is the mean over all draws."""
    random = np.random.default_rng(seed)
    differences = torch.from_numpy(random.normal(size=(3, 2, 2)))
    probabilities = random.uniform(size=(3, 3))
    runtimes = eq11_eq12_layer_runtimes(differences, uses(*probabilities.T))
    for layer, (p_5, p_6, p_layer) in enumerate(probabilities):
        expectation = 0.0
        for five, six, used in itertools.product((0, 1), repeat=3):
            weight = np.prod([p if use else 1 - p for p, use in ((p_5, five), (p_6, six), (p_layer, used))])
            costs = differences[layer].tolist()
            ms = costs[0][0] + five * costs[0][1] + six * (costs[1][0] + five * costs[1][1])
            expectation += weight * used * ms
        assert runtimes[layer].item() == pytest.approx(expectation)


def uses(five, six, layer):
    five, six, layer = (torch.as_tensor(values, dtype=torch.float64) for values in (five, six, layer))
    return [torch.stack((layer, layer * six), 1), torch.stack((torch.ones_like(five), five), 1)]


def test_eq10_adds_the_layers_up():
    assert eq10_runtime(torch.tensor([1.0, 0.25, 4.0]), 2.5).item() == 7.75


def test_gradients_of_eq10_to_eq12_match_finite_differences():
    differences = torch.randn(3, 2, 2, dtype=torch.float64)
    drawn = torch.rand(3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda u: torch.log(eq10_runtime(eq11_eq12_layer_runtimes(differences, uses(*u.unbind())), 50.0)), drawn
    )


def test_eq9_adds_the_weighted_logarithm():
    assert eq9_loss(torch.tensor(2.0), torch.tensor(80.0), 0.5).item() == pytest.approx(2 + 0.5 * np.log(80))


def test_every_choice_is_priced_alone(model, space):
    """One layer at a time against a base network: the difference in R is the difference of two table rows."""
    term = RuntimeTerm(model)
    base = space.uniform("3x3-3")
    for index, slot in enumerate(space.searchable):
        for name in slot.choices:
            choices = (*base.choices[:index], name, *base.choices[index + 1 :])
            delta = term(encode(Architecture(space=space, choices=choices))) - term(encode(base))
            assert delta.item() == pytest.approx(model.costs[index][name] - model.costs[index]["3x3-3"], abs=1e-6)
