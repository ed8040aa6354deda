"""`python -m spnas_cli` is `spnas`."""

import sys
from pathlib import Path

# `-m` has Python look into the current folder first, where the user may have packages of the same names as ours.
if not sys.flags.safe_path and Path(sys.path[0]).resolve() != Path(__file__).resolve().parent.parent:
    del sys.path[0]

from spnas_cli.main import main

main()
