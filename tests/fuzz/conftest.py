"""How many cases were tried, at the end of a run."""

from __future__ import annotations

import pytest

from fuzz.fuzzing import CASES


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if CASES:
        terminalreporter.write_line(f"fuzz: {CASES.total():,} cases in {len(CASES)} tests")
