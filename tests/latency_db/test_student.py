"""Student's t distribution against scipy's."""

import pytest
from scipy.stats import t

from latency_db.student import two_sided_quantile


@pytest.mark.parametrize("confidence", [0.01, 0.5, 0.95, 0.999])
def test_quantiles_are_those_of_scipy(confidence):
    degrees = [*range(1, 60), 98, 99, 1000, 1001]
    expected = [t.ppf((1 + confidence) / 2, each) for each in degrees]
    assert [two_sided_quantile(confidence, each) for each in degrees] == pytest.approx(expected, rel=1e-10)
