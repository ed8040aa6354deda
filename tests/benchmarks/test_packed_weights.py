"""The comparison with and without packed weights, on a table and networks that are measured here."""

from __future__ import annotations

import pytest
from tiny import TINY

from latency_db.bench import Bench
from profiling.device import RunSettings
from profiling.space import SearchSpace
from profiling.specfile import parse_spec


@pytest.fixture
def packed_weights(benchmark):
    return benchmark("packed_weights")


def test_both_models_are_judged_on_the_networks_of_one_validation(packed_weights, tmp_path, builder, capsys):
    db, space = tmp_path / "spnas.db", parse_spec(TINY, SearchSpace, where="tiny.yaml", is_json=False)
    with Bench(db=db, rounds=2, settings=RunSettings(runs=3, min_seconds=0), builder=builder) as bench:
        table = bench.profile(space, name="tiny", calibrate=10)
        with pytest.raises(SystemExit, match="has no validation of tiny"):
            packed_weights.compare("tiny", db)
        validation = bench.validate(table, networks=4)
    packed_weights.compare("tiny", db)
    without, counted = capsys.readouterr().out.strip().split("\n\n")
    assert without.startswith("tiny, without packed weights:")
    assert counted == f"tiny, with them:\n{validation.report}"
    floors = {each.splitlines()[-1] for each in (without, counted)}
    assert len(floors) == 1, "one noise floor, since the networks are the same"
