"""A space with 13 layers, and tables of it; and a smaller one to measure for real, with commands that do."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny import TINY

from latency_db.table import LatencyTable, Row
from profiling.conditions import Conditions
from profiling.space import Architecture, SearchSpace
from profiling.specfile import parse_spec

SPACE = """
name: small
resolution: 16
image_channels: 1
classes: 10
kernels: [3, 5]
expansions: [3, 6]
stem: {channels: 8}
stages:
  - {layers: 1, channels: 8, kernel: 3, expansion: 1}
  - {layers: 3, channels: 8}
  - {layers: 2, channels: 16, stride: 2}
head: {channels: 32}
"""


@pytest.fixture(scope="session")
def space() -> SearchSpace:
    return parse_spec(SPACE, SearchSpace, where="small.yaml", is_json=False)


@pytest.fixture(scope="session")
def conditions() -> Conditions:
    return Conditions(
        device="host", product="a board", os_build="Linux 6.1", soc="a chip", runtime="LiteRT 2.3.0", tool="spnas 0.1",
        threads=1, cores="any", precision="fp32", delegate="xnnpack",
    )  # fmt: skip


@pytest.fixture(scope="session")
def table(space, conditions) -> LatencyTable:
    """Every layer has a latency of its own: 0.1 ms, 0.2 ms and so on in the order of `space.layers`."""
    rows = {layer.key: Row(ms=0.1 * number, spread_ms=0.001, visits=5) for number, layer in enumerate(space.layers, start=1)}
    return LatencyTable(
        name="small-host", space=space, conditions=conditions, rows=rows, created_at="2025-01-01T00:00:00+00:00", source="a test"
    )


@pytest.fixture(scope="session")
def architecture(space) -> Architecture:
    return Architecture(space=space, choices=("skip", "3x3-6", "5x5-3", "5x5-6", "skip"))


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder to work in, with the file of a space whose layers and networks take microseconds."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    return tmp_path


@pytest.fixture
def spnas(folder) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A command as it is typed there, in a process of its own."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "spnas_cli", "-q", *arguments]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)

    return run
