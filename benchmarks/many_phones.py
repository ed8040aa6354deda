"""How much more four phones measure in the same time than one, side by side in one command.

    sudo python benchmarks/many_phones.py [--phones 4] [--seconds 6] [--turns 2]

The phones are test phones (tests/phone), which share the processor of this machine. So that what is compared is what the
command itself costs, every run on them waits some seconds instead of computing, as this machine waits for phones that compute.
The command runs on one phone and on all of them in turn; its whole wall time counts. Models come from the cache.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.phone import root
from tests.phone.machine import Phone, running

SPACE = """
name: tiny
resolution: 32
image_channels: 3
classes: 10
kernels: [3, 5]
expansions: [3, 6]
stem: {channels: 16}
stages:
  - {layers: 1, channels: 16}
head: {channels: 64}
"""


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phones", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=6.0, help="that each run waits")
    parser.add_argument("--turns", type=int, default=2)
    chosen = parser.parse_args()
    if reason := root.missing():
        print(reason)
        return 0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "tiny.yaml").write_text(SPACE)
        phones = [stack.enter_context(running(serial=f"PHONE{number}")) for number in range(chosen.phones)]
        profile(phones[:1], folder / "models.db")  # converts
        for phone in phones:
            phone.during("start", f"sleep {chosen.seconds:g}")
        rates: dict[int, list[float]] = {1: [], chosen.phones: []}
        for turn in range(chosen.turns):
            for count, of_count in rates.items():
                visits, seconds = profile(phones[:count], folder / f"{count}-{turn}.db")
                of_count.append(visits / seconds)
                print(f"{count} at once: {visits} measurements in {seconds:.1f} s, {visits / seconds:.3f} a second")
        one, many = (max(of_count) for of_count in rates.values())
        print(f"{chosen.phones} phones: {many / one:.2f} times the throughput of one")
    return 0


def profile(phones: list[Phone], database: Path) -> tuple[int, float]:
    """Profiles the tiny space on these phones at once: measurements made, and seconds of the whole command."""
    devices = [word for phone in phones for word in ("--device", phone.address)]
    measuring = ["--calibrate", "0", "--rounds", "2", "--runs", "3", "--benchmark-tool", str(phones[0].tool)]
    command = [sys.executable, "-m", "spnas_cli", "--quiet", "profile", *devices, "--space", "tiny.yaml", *measuring]
    environment = os.environ | {"XDG_CACHE_HOME": str(database.parent / "cache")}
    start = time.monotonic()
    done = subprocess.run(
        [*command, "--db", str(database), "--json"], cwd=database.parent, env=environment, check=True, capture_output=True
    )
    seconds = time.monotonic() - start
    outcome = json.loads(done.stdout)
    return sum(each["measured"] for each in (outcome if isinstance(outcome, list) else [outcome])), seconds


if __name__ == "__main__":
    sys.exit(main())
