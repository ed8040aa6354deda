"""The study on Fashion-MNIST: what its page says is what its results say, and its subset networks are real ones."""

from pathlib import Path

import pytest
import torch

from profiling.space import load_space
from search.convnet.network import Network
from search.supernet.supernet import Supernet, extract

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def study(benchmark):
    return benchmark("fashion_study")


def test_the_page_holds_the_tables_of_the_committed_results(study):
    results = study.read_results(study.RESULTS / "fashion-mnist.csv")
    page = (ROOT / "docs" / "fashion-study.md").read_text(encoding="utf-8")
    missing = [line for line in study.summary(results).splitlines() if line and line not in page]
    assert not missing, "run benchmarks/fashion_study.py and paste its tables"
    assert len({(result.name, result.seed) for result in results}) == len(results), "a run stands there twice"


def test_the_inner_kernels_of_a_network_are_the_network_with_smaller_kernels(study):
    space = load_space("fashion-mnist")
    torch.manual_seed(0)
    supernet = Supernet(space, 10)
    large, small = (extract(supernet, space.uniform(choice)).eval() for choice in ("5x5-6", "3x3-6"))
    images = torch.randn(2, 1, 28, 28)
    assert isinstance(small, Network)
    assert torch.allclose(study.Core(large)(images), small(images), atol=1e-5)
    assert not torch.allclose(large(images), small(images), atol=1e-3)
