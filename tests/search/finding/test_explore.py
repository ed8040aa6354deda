"""Exploration: it stays within its band, goes on where it stopped, and evolution finds better networks than chance."""

import random
from types import SimpleNamespace

import pytest
import torch

from latency_db.published import published_table
from latency_db.runtime_model import RuntimeModel
from profiling.errors import InputError
from profiling.space import load_architecture
from search.finding.explore import Explored, Explorer, best_by_fronts, front
from search.finding.scoring import Score
from search.finding.selection import near


class LikenessScorer:
    """As if a network guessed right the more, the more layers it had in common with the paper's; keeps what it is asked."""

    def __init__(self, model):
        self.model, self.asked = model, []
        self.ideal = load_architecture("single-path-nas").choices

    def score(self, architectures):
        self.asked += [architecture.choices for architecture in architectures]
        return [
            Score(each, self.model.predict(each).total_ms, torch.arange(200) < 10 * self.worth(each.choices), SimpleNamespace())
            for each in architectures
        ]

    def worth(self, choices):
        return sum(name == wanted for name, wanted in zip(choices, self.ideal, strict=True))


@pytest.fixture
def explorer(tmp_path):
    """Of the paper's space around 80 ms, with its published table."""
    model = RuntimeModel(published_table("pixel1"))

    def make(way="random", run="these weights", name="explored.json"):
        return Explorer(way, model, LikenessScorer(model), near(80), 0, tmp_path / name, run)

    return make


def ignore(done):
    pass


def test_evolution_finds_better_networks_than_chance_and_both_keep_to_the_band(explorer):
    best, mean = {}, {}
    for way in ("random", "evolution"):
        networks = explorer(way, name=f"{way}.json").explore(100, ignore)
        assert len({network.choices for network in networks}) == 100
        assert all(77.6 <= network.predicted_ms <= 82.4 for network in networks)
        latest = [network.choosing_accuracy for network in networks[40:]]
        best[way], mean[way] = max(latest), sum(latest) / len(latest)
    assert best["evolution"] > best["random"]
    assert mean["evolution"] > mean["random"] + 0.1


@pytest.mark.parametrize("way", ["random", "evolution"])
def test_stopped_anywhere_it_goes_on_to_the_same_networks_and_scores_none_twice(explorer, way):
    whole = explorer(way, name="whole.json").explore(43, ignore)
    counts = []
    with pytest.raises(KeyboardInterrupt):
        explorer(way).explore(43, counts.append, lambda: counts[-1] >= 30)
    assert counts == list(range(0, 31, 5))
    again = explorer(way)
    assert again.explore(43, ignore) == whole
    assert len(again.scorer.asked) == 13
    finished = explorer(way)
    assert finished.explore(43, ignore) == whole
    assert finished.scorer.asked == []


def test_each_way_counts_its_own_and_evolution_starts_from_what_random_found(explorer):
    found = explorer("random").explore(25, ignore)
    networks = explorer("evolution").explore(10, ignore)
    assert networks[:25] == found
    assert [network.found_by for network in networks[25:]] == ["evolution"] * 10
    mean = sum(network.choosing_accuracy for network in found) / 25
    assert sum(network.choosing_accuracy for network in networks[25:]) / 10 > mean


def test_a_file_of_other_weights_or_a_damaged_one_is_refused_and_kept(explorer, tmp_path):
    explorer().explore(5, ignore)
    file = tmp_path / "explored.json"
    text = file.read_text()
    with pytest.raises(InputError, match="weights of another run; move it away"):
        explorer(run="others").explore(10, ignore)
    for damaged in (text[:200], text.replace("3x3-3", "7x7-3"), text.replace('"run"', '"walk"')):
        file.write_text(damaged)
        with pytest.raises(InputError, match="not the file of an exploration of this space"):
            explorer().explore(10, ignore)
        assert file.read_text() == damaged


def made_up(ms, accuracy):
    return Explored(found_by="random", choices=("skip",), predicted_ms=ms, choosing_accuracy=accuracy, accuracy=0.0)


def test_the_front_is_what_no_network_beats():
    generator = random.Random(0)
    for _ in range(50):
        networks = [made_up(generator.randint(1, 9), generator.randint(0, 9) / 10) for _ in range(30)]
        best = front(networks)

        def beats(one, other):
            one, other = ((each.predicted_ms, -each.choosing_accuracy) for each in (one, other))
            return one != other and all(a <= b for a, b in zip(one, other, strict=True))

        values = {(each.predicted_ms, each.choosing_accuracy) for each in networks if not any(beats(o, each) for o in networks)}
        assert {(each.predicted_ms, each.choosing_accuracy) for each in best} == values
        assert len(best) == len(values)


def test_parents_come_front_by_front_and_by_accuracy_alone_where_latencies_are_alike():
    networks = [made_up(1, 0.5), made_up(2, 0.6), made_up(2, 0.4), made_up(3, 0.55), made_up(4, 0.3)]
    assert best_by_fronts(networks, 3, 1.0) == networks[:3]
    assert len(best_by_fronts(networks, 10, 1.0)) == 5
    near_80 = [made_up(78, 0.1), made_up(79, 0.3), made_up(80, 0.2), made_up(82, 0.25)]
    assert [each.choosing_accuracy for each in best_by_fronts(near_80, 3, 77.6)] == [0.3, 0.25, 0.2]
