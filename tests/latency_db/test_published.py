"""The tables of a Pixel 3 and a Raspberry Pi 4 that ship with spnas, and what docs/own-table.md makes of them."""

import re
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from latency_db.published import published_names, published_table
from latency_db.runtime_model import RuntimeModel
from latency_db.sampling import networks_between
from latency_db.store import Store
from latency_db.table_files import load_table
from profiling.errors import StoreError
from profiling.layers import FBNetBlock
from profiling.space import Architecture, load_space
from search.convnet.zoo import load_zoo_network

PAGE = Path(__file__).parents[2] / "docs" / "own-table.md"


@pytest.mark.parametrize("name", ["pixel3", "raspi4"])
def test_they_are_whole_tables_of_the_space_that_ships_and_say_what_is_unknown(name):
    table = published_table(name)
    table.require_space(load_space("fbnet"))
    table.require_complete()
    assert table.source.startswith("lookup sums published 2021")
    assert {field for field, value in table.conditions.model_dump().items() if value == "unknown"} == {
        "os_build", "runtime", "tool", "threads", "cores", "precision", "delegate"
    }  # fmt: skip
    assert "unknown" not in table.profile_command


def test_networks_have_the_sums_of_the_published_figures():
    """Worked out by hand from the figures by choice and place."""
    space = load_space("fbnet")
    wide, narrow = space.uniform("5x5-6"), space.uniform("3x3-1")
    sums = {name: [published_table(name).predict(each).total_ms for each in (wide, narrow)] for name in ("pixel3", "raspi4")}
    assert sums["pixel3"] == pytest.approx([47.0918, 7.788973], abs=1e-6)
    assert sums["raspi4"] == pytest.approx([79.221631, 17.618579], abs=1e-6)


def test_the_space_has_the_layers_of_fbnet_b():
    """All but the one with two depthwise convolutions, which is not among the choices of the paper either."""
    layers = load_zoo_network("fbnet-b").layers
    missing = [layer for layer in layers if layer not in load_space("fbnet").layers]
    assert [layer.depthwise for layer in missing if isinstance(layer, FBNetBlock)] == [2]
    assert len(missing) == 1


def test_the_page_states_what_the_tables_give():
    pixel3, raspi4 = (RuntimeModel(published_table(name)) for name in ("pixel3", "raspi4"))
    rows = re.findall(r"^\| (.+) ms ±1 % \| (.+) ms \| (.+) % \| (.+) to (.+) ms \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    assert len(rows) == 3
    for target, *stated in rows:
        target_ms = float(target)
        networks = list(islice(networks_between(pixel3, 0.99 * target_ms, 1.01 * target_ms, 0), 1000))
        x, y = (np.array([milliseconds(model, network) for network in networks]) for model in (pixel3, raspi4))
        found = (y.mean(), y.std() / y.mean() * 100, y.min(), y.max(), spearmanr(x, y).statistic)
        assert [f"{value:.{digits}f}" for value, digits in zip(found, (1, 1, 1, 1, 2), strict=True)] == stated


def milliseconds(model: RuntimeModel, network: Architecture) -> float:
    return model.fixed_ms + sum(costs[choice] for costs, choice in zip(model.costs, network.choices, strict=True))


def test_a_table_of_the_same_name_in_an_older_database_comes_first(tmp_path, table, monkeypatch):
    """`pixel3` was a name like any other before a table of that name shipped."""
    database, own = tmp_path / "spnas.db", table.model_copy(update={"name": "pixel3"})
    with Store(database) as store:
        campaign = store.campaign("profile", table.space, table.conditions, {"visits": 4})
        with pytest.raises(StoreError, match="ships with spnas"):
            store.save_table(own, campaign)
        monkeypatch.setattr("latency_db.store.published_names", list)
        store.save_table(own, campaign)
        monkeypatch.undo()
        assert "pixel3" in published_names()
        store.save_table(own, campaign)
    assert load_table("pixel3", database) == own
    assert load_table("pixel3", tmp_path / "none.db") == published_table("pixel3")
