"""Recipes: the schedules against their formulas, and what is refused."""

import math

import pytest

from profiling.errors import InputError
from search.training.recipe import Distillation, Recipe, TrainConfig, load_recipe, recipe_names
from search.training.train import sensible_training


def config(recipe: Recipe, batch_size: int = 1024) -> TrainConfig:
    return TrainConfig(**dict(recipe), data="any", network="any", batch_size=batch_size)


def test_mnasnet_is_the_published_schedule():
    """Rises over 5 epochs to 0.016 per 256 images, then × 0.97 for every 2.4 epochs since the beginning."""
    recipe = load_recipe("mnasnet")
    assert (recipe.epochs, recipe.optimizer, recipe.label_smoothing, recipe.weight_decay) == (350, "rmsprop", 0.1, 1e-5)
    settings = config(recipe)
    for step in range(0, 350 * 1251, 997):
        epoch = step / 1251
        expected = 0.064 * step / (5 * 1251) if step < 5 * 1251 else 0.064 * 0.97 ** math.floor(epoch / 2.4)
        assert settings.rate_at(epoch) == pytest.approx(expected, rel=1e-9)


def test_modern_rises_and_then_falls_as_a_cosine_to_nothing():
    settings = config(load_recipe("modern"), batch_size=256)
    assert settings.rate_at(0) == 0
    assert settings.rate_at(2.5) == pytest.approx(settings.learning_rate / 2)
    for share in (0, 0.25, 0.5, 0.75, 1):
        expected = settings.learning_rate * math.cos(math.pi * share / 2) ** 2
        assert settings.rate_at(5 + share * 295) == pytest.approx(expected, abs=1e-12)


def test_finetune_is_short_and_falls_to_nothing():
    recipe = load_recipe("finetune")
    settings = config(recipe, batch_size=256)
    assert settings.rate_at(0.1) == settings.learning_rate == recipe.learning_rate < load_recipe("modern").learning_rate
    assert settings.rate_at(0.999) < 1e-4 * settings.learning_rate


def test_weights_of_a_supernet_are_tuned_at_ten_times_the_rate():
    finetune, from_supernet = load_recipe("finetune"), load_recipe("from-supernet")
    faster = {"recipe": "from-supernet", "learning_rate": 10 * finetune.learning_rate}
    assert from_supernet == finetune.model_copy(update=faster)


@pytest.mark.parametrize(
    ("images", "batch", "finetune", "mnasnet"),
    [(240, 16, 3, 100), (1438, 64, 2, 70), (25_600, 256, 1, 40), (60_000, 256, 1, 40), (1_281_167, 1024, 1, 350)],
)
def test_finetune_takes_few_steps_yet_enough_on_small_data(images, batch, finetune, mnasnet):
    """A search takes 8 epochs, or on small data 300 steps; the steps of a network are also cheaper than those of a supernet."""
    assert sensible_training(load_recipe("finetune"), images) == (batch, finetune)
    assert sensible_training(load_recipe("mnasnet"), images) == (batch, mnasnet)


def test_without_a_teacher_a_run_is_that_of_versions_that_had_none():
    settings = config(load_recipe("mnasnet"))
    with_field = settings.model_copy(update={"distillation": Distillation(weight=0.1), "least_steps": 3})
    assert settings.decisive == with_field.decisive
    assert "teacher" not in settings.decisive
    taught = settings.model_copy(update={"teacher": "a.pt", "teacher_digest": "1"})
    assert '"teacher":"a.pt","teacher_digest":"1"' in taught.decisive
    assert taught.decisive != taught.model_copy(update={"distillation": Distillation(weight=0.1)}).decisive


@pytest.mark.parametrize("name", recipe_names())
def test_fewer_epochs_go_through_the_same_schedule(name):
    recipe = load_recipe(name)
    whole, short = config(recipe), config(recipe.adapted(epochs=recipe.epochs // 10))
    for share in (0, 0.003, 0.01, 0.3017, 0.777, 0.999):
        assert short.rate_at(share * short.epochs) == pytest.approx(whole.rate_at(share * whole.epochs), rel=1e-9)
    assert config(recipe.adapted(learning_rate=0.5)).rate_at(recipe.warmup_epochs) == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "recipe: a\nepochs: 3\noptimizer: sgd\nschedule: cosine\nlearning_rate: 0.1\nwarmup_epochs: 5\n",
            "less than the 3 epochs",
        ),
        ("recipe: a\nepochs: 3\noptimizer: lion\nschedule: cosine\nlearning_rate: 0.1\n", ":3: optimizer"),
        ("recipe: a\nepochs: 3\noptimizer: sgd\nschedule: cosine\nlearningrate: 0.1\n", ":5: unknown field learningrate"),
    ],
    ids=["warm-up", "optimizer", "misspelt"],
)
def test_a_wrong_recipe_names_its_line(tmp_path, text, words):
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=words):
        load_recipe(str(path))


def test_an_unknown_recipe_names_those_there_are():
    with pytest.raises(InputError, match="mnasnet, modern"):
        load_recipe("mnas")
