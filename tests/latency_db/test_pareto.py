"""The Pareto front against its definition."""

from hypothesis import given
from hypothesis import strategies as st

from latency_db.pareto import pareto_front

points = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), max_size=12)


@given(points)
def test_the_pareto_front_is_what_no_other_beats(points):
    def beats(one, other):
        return one[0] <= other[0] and one[1] >= other[1] and one != other

    front = [points[index] for index in pareto_front(points)]
    assert front == sorted({point for point in points if not any(beats(other, point) for other in points)})
