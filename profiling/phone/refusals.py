"""What to do when a phone does not let a file be written, by its own words."""

from __future__ import annotations

_HINTS = (
    (("no space", "quota"), "free some storage on it"),
    (("read-only",), "its storage is read-only: restart the phone"),
    (
        ("permission denied", "operation not permitted"),
        "its shell may not write there: if a run as root left the folder, use `adb root` and `adb shell rm -r {folder}`; "
        "a work profile or the maker may forbid it too",
    ),
)


def next_step(words: str, folder: str) -> str:
    """The hint for an error.

    Args:
        words: what the phone says.
        folder: which it was about.
    """
    said = words.lower()
    for signs, hint in _HINTS:
        if any(sign in said for sign in signs):
            return hint.format(folder=folder)
    return "free some storage on it, or restart it"
