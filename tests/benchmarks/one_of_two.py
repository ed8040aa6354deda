"""What each process of `test_study.py` runs: a study whose runs wait for what the other process does.

python one_of_two.py RESULTS
"""

import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import study
from study import Result, Study, read_results

PATIENCE_S = 60


class Together(Study):
    """A run that another opens two with, each of which needs the other to be running."""

    def __init__(self, file: Path, folder: Path) -> None:
        super().__init__(file)
        self._folder = folder

    def runs(self):
        """As `Study.runs`."""
        yield "all", "opener", 0, partial(self._meet, "opener", "waiting")
        if any(result.name == "opener" for result in read_results(self._file)):
            yield "all", "left", 0, partial(self._meet, "left", "right")
            yield "all", "right", 0, partial(self._meet, "right", "left")

    def _meet(self, name, other, folder):
        assert not list(folder.iterdir())
        (self._folder / name).touch()
        deadline = time.monotonic() + PATIENCE_S
        while not (self._folder / other).exists():
            assert time.monotonic() < deadline, f"{other} has not come"
            time.sleep(0.01)
        return [Result(name, 0, "skip", 1.0, 0.5, 10, 1.0)]


def wait(seconds):
    """Stands for the sleep of a process that has nothing to do for now."""
    (results.parent / "waiting").touch()
    time.sleep(0.01)


if __name__ == "__main__":
    results = Path(sys.argv[1])
    study.time = SimpleNamespace(sleep=wait)
    Together(results, results.parent).run(["all"])
