"""The commands of the tutorial run as they stand there: from the wheel, without a checkout.

Not in the file with the README's, so that the two run at the same time.
"""

from pathlib import Path

import pytest
from installed import build_wheel, whole_environment
from pages import run_page

TUTORIAL = Path(__file__).parent.parent / "docs" / "tutorial.md"


@pytest.mark.timeout(800)
def test_every_command_of_the_tutorial_runs(tmp_path):
    programs = whole_environment(tmp_path / "environment", build_wheel(tmp_path / "wheel"))
    (tmp_path / "user").mkdir()
    assert len(run_page(TUTORIAL, programs, tmp_path / "user")) >= 5
