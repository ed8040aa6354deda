"""torchvision, of which only the Python part is used here: data sets and transforms."""

from __future__ import annotations

import sys
from unittest import mock

import torch


def _import_torchvision() -> None:
    """Imports torchvision also where its compiled operators do not load.

    A torchvision wheel built for CUDA beside a PyTorch built for the CPU (or the other way round) stops at its import with
    "operator torchvision::nms does not exist", as it lacks operators for detection models, which nothing here uses. Without the
    registration of their shape functions everything else works.
    """
    try:
        import torchvision
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        unregistered = mock.patch.object(torch.library, "register_fake", return_value=lambda function: function)
        with unregistered:
            import torchvision  # noqa: F401


_import_torchvision()

from torchvision import datasets  # noqa: E402
from torchvision.transforms import v2 as transforms  # noqa: E402

__all__ = ["datasets", "transforms"]
