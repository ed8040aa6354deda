"""Whether MediaPipe can run here."""

import os
import sys
from ctypes.util import find_library
from importlib.util import find_spec

import pytest

# Where MediaPipe has no wheel (Macs with Intel processors) or its graphics libraries are missing; never with the variable set.
LIBRARIES = ("GL", "EGL", "GLESv2") if sys.platform == "linux" else ()
MISSING = [*(f"lib{name}" for name in LIBRARIES if not find_library(name)), *([] if find_spec("mediapipe") else ["mediapipe"])]
needs_mediapipe = pytest.mark.skipif(
    bool(MISSING) and os.environ.get("SPNAS_REQUIRE_MEDIAPIPE") != "1",
    reason=f"MediaPipe cannot run without {', '.join(MISSING)}",
)
