"""`python -m tests.phone start|stop|status [--port PORT]`: a test phone for hand use."""

from __future__ import annotations

import argparse
import sys

from . import root
from .machine import Phone

PHONES = root.CACHE / "phones"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.phone", description=__doc__)
    parser.add_argument("action", choices=("start", "stop", "status"))
    parser.add_argument("--port", type=int, default=5599, help="on 127.0.0.1 (default: 5599)")
    parser.add_argument("--serial", default="SPNASTEST01", help="what ro.serialno says (default: SPNASTEST01)")
    chosen = parser.parse_args()
    if reason := root.missing():
        print(reason, file=sys.stderr)
        return 1
    folder = PHONES / str(chosen.port)
    phone = Phone(folder, chosen.port, chosen.serial)
    if folder.exists() and (chosen.action == "stop" or not phone.running):
        phone.stop()
    if chosen.action == "start" and not phone.running:
        phone.start(outlive=True)
    if phone.running:
        print(f"running: spnas profile --device {phone.address} --benchmark-tool {phone.tool}")
    else:
        print(f"no test phone at {phone.address}")
    return 0


sys.exit(main())
