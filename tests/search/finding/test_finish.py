"""The last phase of a search: the network found starts from the supernet's weights and learns alone at a rate that falls to 0."""

import pytest
import torch

from search import checkpoint
from search.config import SearchConfig, course, falling_rate
from search.finding import finish
from search.finding.search import Search, table_digest
from search.images.data import load_data
from search.run_folder import RunFolder
from search.supernet.supernet import extract


@pytest.fixture
def config(model):
    fastest, slowest = model.range_ms()
    return SearchConfig(
        table="test", space_digest=model.space.digest, table_digest=table_digest(model.table), data="digits", epochs=2,
        batch_size=64, learning_rate=0.032, target_ms=fastest + 0.35 * (slowest - fastest), **course(44, 1.0),
    )  # fmt: skip


@pytest.fixture
def start(model, config, tmp_path):
    data = load_data("digits", model.space, 0)
    return lambda: Search(model, data, config, RunFolder(tmp_path))


@pytest.mark.parametrize("steps", [2, 19, 20, 1000])
def test_the_rate_warms_up_and_falls_to_nothing(config, steps):
    most = config.rate_at(0)
    rates = [falling_rate(most, step, steps) for step in range(steps + 1)]
    warm_up = max(1, round(steps / 20))
    assert rates[:warm_up] == pytest.approx([most * (step + 1) / warm_up for step in range(warm_up)])
    assert rates[warm_up:] == sorted(rates[warm_up:], reverse=True)
    assert rates[-1] == pytest.approx(0, abs=1e-12)
    if steps == 1000:
        assert rates[525] == pytest.approx(most / 2)


def test_the_network_starts_from_the_supernets_weights_and_alone_learns(start, tmp_path):
    steps = []
    with pytest.raises(KeyboardInterrupt):
        start().run(steps.append, lambda: steps[-1].step == 18)
    supernet = checkpoint.load(RunFolder(tmp_path).checkpoint, {})["supernet"]
    found = start().run(steps.append)
    assert [step.phase for step in steps] == ["dropout"] * 4 + ["search"] * 14 + ["final"] * 26
    for name, value in found.supernet.state_dict().items():
        assert torch.equal(value, supernet[name]), f"{name} of the supernet moved"
    cut_out = dict(extract(found.supernet, found.architecture).named_parameters())
    for name, value in found.network.named_parameters():
        assert not torch.equal(value, cut_out[name]), f"{name} did not learn"
    final = steps[18:]
    assert {step.choices for step in final} == {found.architecture.choices}
    assert {step.runtime_ms for step in final} == {found.predicted_ms}
    assert sum(step.cross_entropy for step in final[-10:]) < sum(step.cross_entropy for step in final[:10])


def test_for_int8_it_goes_on_bit_for_bit_wherever_it_is_stopped_and_what_comes_before_is_as_for_fp32(model, config, tmp_path):
    data = load_data("digits", model.space, 0)

    def start(folder, **settings):
        (tmp_path / folder).mkdir(exist_ok=True)
        return Search(model, data, config.model_copy(update=settings), RunFolder(tmp_path / folder))

    plain, whole, parts = [], [], []
    start("plain").run(plain.append)
    unbroken = start("whole", trained_for="int8").run(whole.append)
    for last in (18, 30):
        with pytest.raises(KeyboardInterrupt):
            start("parts", trained_for="int8").run(parts.append, lambda last=last: parts[-1].step == last)
    found = start("parts", trained_for="int8").run(parts.append)
    assert parts == whole
    assert [step == same for step, same in zip(whole, plain, strict=True)] == [True] * 18 + [False] * 26
    for name, value in unbroken.network.state_dict().items():
        assert torch.equal(found.network.state_dict()[name], value), name


def test_at_a_rate_of_nothing_it_stays_as_it_was_cut_out(start, monkeypatch):
    monkeypatch.setattr(finish, "falling_rate", lambda rate, step, steps: 0.0)
    found = start().run(lambda step: None)
    cut_out = dict(extract(found.supernet, found.architecture).named_parameters())
    for name, value in found.network.named_parameters():
        assert torch.equal(value, cut_out[name]), name
