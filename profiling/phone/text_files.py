"""The text of many small files that one command on a phone printed."""

from __future__ import annotations


def parse_files(text: str) -> dict[str, str]:
    """`grep -H .` over files of one line each: `PATH:VALUE`. Files that could not be read are not there."""
    files = {}
    for line in text.splitlines():
        path, found, value = line.partition(":")
        if found and path.startswith("/"):
            files[path] = value.strip()
    return files
