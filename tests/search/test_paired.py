"""Two ways of guessing the same images: the fall in accuracy and what chance makes of it."""

import numpy as np
import pytest

from search.paired import Paired


def test_accuracies_and_their_difference_count_the_same_images():
    guesses = Paired(images=200, right=200, lost=14, gained=0)
    assert (guesses.first, guesses.second, guesses.drop) == (1, 0.93, 7)
    assert guesses.interval_in_words == "95 % interval 3.30 to 10.57, 200 images"


@pytest.mark.parametrize(("lost", "gained"), [(0.02, 0.02), (0.05, 0.01), (0.004, 0.001), (0.3, 0.1)])
@pytest.mark.parametrize("images", [60, 1000])
def test_the_interval_holds_the_true_drop_as_often_as_it_says(lost, gained, images):
    draws = np.random.default_rng(0).multinomial(images, [lost, gained, 1 - lost - gained], 2000)
    intervals = [Paired(images, images, int(first), int(second)).drop_interval for first, second, _ in draws]
    held = np.mean([low <= (lost - gained) * 100 <= high for low, high in intervals])
    assert 0.93 <= held <= 1


@pytest.mark.parametrize("images", [1, 2, 50])
def test_it_stays_within_what_is_possible_and_never_claims_certainty(images):
    for lost, gained in ((0, 0), (images, 0), (0, images)):
        low, high = Paired(images, lost, lost, gained).drop_interval
        assert -100 <= low < high <= 100
