"""The long description for package indexes: the README, whose links and pictures lead into the repository from there.

Everything else about the package is in setup.cfg.
"""

import re
from pathlib import Path

from setuptools import setup

PAGES = "https://github.com/spnas/spnas/blob/main/"
PICTURES = "https://raw.githubusercontent.com/spnas/spnas/main/"


def absolute(link: re.Match[str]) -> str:
    """A link or picture of the README as it works outside of the repository."""
    return f"{link['text']}({PICTURES if link['text'].startswith('!') else PAGES}{link['target']})"


readme = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
setup(long_description=re.sub(r"(?P<text>!?\[[^\]]*\])\((?!https?:|#)(?P<target>[^)]+)\)", absolute, readme))
