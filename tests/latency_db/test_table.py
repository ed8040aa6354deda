"""The latency table: the published one, its rows, what it is asked for and refuses."""

import pytest

from latency_db.published import published_table
from latency_db.runtime_model import RuntimeModel
from latency_db.table import LatencyTable, Row
from profiling.errors import InputError, MissingRowsError, TableError
from profiling.layers import MBConv, Stem
from profiling.space import SearchSpace, load_architecture, load_space


@pytest.mark.parametrize(("choice", "sum_ms"), [("3x3-3", 65.6914), ("3x3-6", 110.6524), ("5x5-3", 76.3622), ("5x5-6", 131.4578)])
def test_pixel1_gives_the_sums_that_were_worked_out_from_the_authors_file(choice, sum_ms):
    model = RuntimeModel(published_table("pixel1"))
    assert model.predict(model.space.uniform(choice)).total_ms == pytest.approx(sum_ms, abs=1e-4)


def test_pixel1_gives_the_network_of_the_paper():
    """Figure 5; the phone itself took 79.48 ms."""
    prediction = RuntimeModel(published_table("pixel1")).predict(load_architecture("single-path-nas"))
    assert prediction.total_ms == pytest.approx(80.4411, abs=1e-4)
    assert (prediction.interval_low_ms, prediction.interval_high_ms) == (None, None)
    assert next(layer.ms for layer in prediction.layers if layer.choice == "skip") == 0


def test_a_table_predicts_a_network_by_itself_by_name_by_file_and_by_its_one_choice(tmp_path, space, table, architecture):
    pixel1 = published_table("pixel1")
    assert pixel1.predict("single-path-nas").total_ms == pytest.approx(80.4411, abs=1e-4)
    assert pixel1.predict("3x3-6").total_ms == pytest.approx(110.6524, abs=1e-4)
    file = tmp_path / "network.json"
    file.write_text(architecture.to_json())
    assert table.predict(file) == table.predict(architecture) == RuntimeModel(table).predict(architecture)
    with pytest.raises(InputError, match="nobody"):
        pixel1.predict("nobody")
    with pytest.raises(TableError, match="not to imagenet"):
        table.predict("single-path-nas")


def test_the_noise_of_a_table_is_the_spread_of_its_rows(table):
    """Fifteen rows of 0.1 to 1.5 ms, each with a spread of 0.001 ms."""
    assert table.noise_pct == (pytest.approx(100 * 0.001 / 0.8), pytest.approx(1.0))
    assert published_table("pixel1").noise_pct is None


def test_pixel1_is_for_the_space_that_ships():
    published_table("pixel1").require_space(load_space("imagenet"))
    published_table("pixel1").require_complete()


def test_a_row_for_one_place_comes_before_the_row_of_the_layer(space, table):
    """Places 3 and 4 of the space hold the same layers."""
    layer = space.slots[3].layers["3x3-3"]
    assert layer == space.slots[4].layers["3x3-3"]
    rows = {**table.rows, f"{layer.key}@4": Row(ms=7.0)}
    told_apart = LatencyTable.model_validate({**dict(table), "rows": rows})
    assert told_apart.row(layer, 4).ms == 7.0
    assert told_apart.row(layer, 3) == told_apart.row(layer) == table.rows[layer.key]


def test_a_missing_row_is_never_guessed(space, table):
    with pytest.raises(MissingRowsError) as caught:
        table.row(Stem(224, 3, 32, 2, 3))
    assert caught.value.keys == ("stem-r224-i3-o32-s2-k3",)


def test_all_missing_rows_are_listed_with_the_command_that_measures_them(space, table, conditions):
    gone = [space.layers[1].key, space.layers[4].key, space.layers[-1].key]
    rows = {key: row for key, row in table.rows.items() if key not in gone}
    other = conditions.model_copy(update={"device": "my phone", "threads": 4, "precision": "int8", "cores": "f0"})
    holed = table.model_copy(update={"rows": rows, "conditions": other})
    with pytest.raises(MissingRowsError) as caught:
        RuntimeModel(holed)
    assert list(caught.value.keys) == gone
    assert caught.value.hint.endswith(
        "spnas profile --device 'my phone' --space small.yaml --threads 4 --cores f0 --precision int8 --delegate xnnpack"
    )


def test_the_command_names_the_parameters_of_a_space_that_ships(conditions):
    for changes, words in (
        ({}, "--space imagenet --threads"),
        ({"resolution": 192, "width_multiplier": 0.5}, "--space imagenet --resolution 192 --width 0.5 --threads"),
    ):
        space = load_space("imagenet").with_parameters(**changes)
        empty = LatencyTable(name="t", space=space, conditions=conditions, rows={}, created_at="2025", source="a test")
        with pytest.raises(MissingRowsError, match=words):
            empty.require_complete()


def test_another_space_is_named_with_its_first_difference(space, table):
    table.require_space(SearchSpace.model_validate(space.model_dump() | {"name": "renamed"}))
    with pytest.raises(TableError, match="the space small, not to imagenet: resolution is 16 there and 224 here"):
        table.require_space(load_space("imagenet"))
    wider = SearchSpace.model_validate(space.model_dump() | {"stages": space.stages[:-1]})
    with pytest.raises(TableError, match="their stages differ"):
        table.require_space(wider)


def test_other_conditions_are_named_all(table, conditions):
    table.require_conditions(conditions)
    with pytest.raises(TableError, match="device was host and is Pixel 4; precision was fp32 and is int8"):
        table.require_conditions(conditions.model_copy(update={"device": "Pixel 4", "precision": "int8"}))


def test_rows_must_be_of_the_space(table):
    with pytest.raises(ValueError, match="not a layer of the space small"):
        LatencyTable.model_validate({**dict(table), "rows": {MBConv(112, 16, 24, 2, 3, 6, False).key: Row(ms=1.0)}})
