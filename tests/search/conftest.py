"""Fixtures of the search tests: small spaces, and a table for each made from multiply-adds, not measured."""

import pytest
from small import small_space, table_from_multiply_adds

from latency_db.runtime_model import RuntimeModel
from profiling.space import SearchSpace


@pytest.fixture(scope="session")
def make_space():
    return small_space


@pytest.fixture
def space() -> SearchSpace:
    return small_space()


@pytest.fixture
def make_table():
    return table_from_multiply_adds


@pytest.fixture
def model(space: SearchSpace) -> RuntimeModel:
    return RuntimeModel(table_from_multiply_adds(space))
