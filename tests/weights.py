"""`python tests/weights.py FILE` writes random weights as torchvision's are named and shaped, where they cannot be downloaded."""

import sys

import torch

from search.images import vision  # noqa: F401 - torchvision, also where its compiled operators do not load

if __name__ == "__main__":
    from torchvision import models

    torch.save(models.mobilenet_v2().state_dict(), sys.argv[1])
