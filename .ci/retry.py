"""Runs what failed once more, one test at a time, and names at the end what passed only then.

The machines that this runs on are shared, and some tests wait for real processes, kills and links. A test that is named here
more than once in a while is to be mended. Leaves build/retried.json: {"passed_on_retry": [...], "failed_twice": [...]}.
"""

import json
import subprocess
import sys
from pathlib import Path

FAILED = Path(".pytest_cache/v/cache/lastfailed")
RECORD = Path("build/retried.json")


def failed() -> set[str]:
    """The tests that pytest remembers as failed."""
    return set(json.loads(FAILED.read_text())) if FAILED.exists() else set()


def main() -> int:
    """Exit code 0 where every test passed at last."""
    first = failed()
    print(f"\nOnce more, one at a time: {len(first)} failed.", flush=True)
    code = subprocess.run([sys.executable, "-m", "pytest", "--last-failed", "--last-failed-no-failures", "none"]).returncode
    twice = failed() if code in (0, 1) else first
    record = {"passed_on_retry": sorted(first - twice), "failed_twice": sorted(twice)}
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text(json.dumps(record, indent=2) + "\n")
    for says, tests in record.items():
        print(f"\n{says.replace('_', ' ')}: {len(tests)}", *tests, sep="\n    ")
    print(f"\nKept in {RECORD}")
    return code


if __name__ == "__main__":
    sys.exit(main())
