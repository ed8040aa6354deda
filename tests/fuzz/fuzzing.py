"""What the fuzz tests share: hostile values, ways to damage what is valid, and limits on time and memory.

`SPNAS_FUZZ=10 pytest tests/fuzz` tries ten times as many cases, for ten times as long, and other ones each time.
"""

from __future__ import annotations

import copy
import functools
import math
import os
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from profiling.errors import InputError

T = TypeVar("T")

FACTOR = float(os.environ.get("SPNAS_FUZZ", "1"))
MOST_SECONDS, MOST_BYTES = 10.0, 2**30

CASES: Counter[str] = Counter()  # tried, by test

ESCAPES = "\x1b]0;owned\x07\x1b[31m\u202ename\u2066\x9b1m"
SCALARS = [
    None, True, 0, -1, 2**31, 10**15, 10**18, -(2**63), 1e308, math.nan, math.inf, -math.inf, 0.5, "", "x" * 3000, "a\nb",
    ESCAPES, "nan", "../up", "\N{ARABIC-INDIC DIGIT THREE}", "2020-13-45", "\x00", "3x3-3", "skip",
    "mbconv-r112-i16-o24-s2-k3-e6-x0",
]  # fmt: skip
VALUES: list[Any] = [*SCALARS, [], {}, [[]], {"": None}, [None] * 50, {"a": {"a": {"a": {}}}}, list(range(2000))]
TOKENS = [
    "*a", "&a ", "!!python/object:os.system ", "!foo ", "!!binary ", "? [a, b]\n: 1\n", "<<: {a: 1}\n", "<<: *a\n", "---\n",
    "%YAML 9.9\n", "\t", "\x00", "\ufeff", "\ud800", "\\ud800", "2020-13-45", "0x_", "0b_", "1:99", "9" * 5000, "1" + "0" * 400,
    "1e999", ".nan", "NaN", "-Infinity", "[" * 100, "{" * 100, "[" * 5000, '{"a":' * 5000, "]", "}", '"', "'", "|\n", ">\n",
    "#", ",", ":", "-", "{}", "[]", "null", ESCAPES, "\r", "\n", "=", "~", "yes", '"\\u0000"', "x" * 3000,
    ",1" * 3000, "\n- 1" * 3000,
]  # fmt: skip

Edit = tuple[str, float, Any]
text_edits: st.SearchStrategy[list[Edit]] = st.lists(
    st.tuples(st.sampled_from(("insert", "replace", "cut", "end", "repeat")), st.floats(0, 1), st.sampled_from(TOKENS)),
    min_size=1,
    max_size=3,
)
byte_edits: st.SearchStrategy[list[Edit]] = st.lists(
    st.tuples(st.sampled_from(("insert", "replace", "cut", "end", "repeat")), st.floats(0, 1), st.binary(min_size=1, max_size=8)),
    min_size=1,
    max_size=3,
)


def tree_edits(values: list[Any]) -> st.SearchStrategy[list[Edit]]:
    """Changes of data that is made of mappings and lists."""
    edit = st.tuples(st.sampled_from(("replace", "remove", "add", "repeat")), st.floats(0, 1), st.sampled_from(values))
    return st.lists(edit, min_size=1, max_size=2)


def edited(text: Any, edits: list[Edit]) -> Any:
    """A text or bytes with these changes, each at a share of its length."""
    for how, where, token in edits:
        at = round(where * len(text))
        match how:
            case "insert":
                text = text[:at] + token + text[at:]
            case "replace":
                text = text[:at] + token + text[at + len(token) :]
            case "cut":
                text = text[:at] + text[at + 1 + len(token) :]
            case "end":
                text = text[:at]
            case "repeat":
                text = text[:at] + text[max(0, at - 100) : at] * 3 + text[at:]
    return text


def altered(tree: Any, edits: list[Edit]) -> Any:
    """A copy of the data with these changes, each at a share of all places in it."""
    tree = copy.deepcopy(tree)
    for how, where, given_value in edits:
        places, value = list(_places(tree)), copy.deepcopy(given_value)
        if not places:
            return value
        inside, key = places[min(int(where * len(places)), len(places) - 1)]
        match how:
            case "replace":
                inside[key] = value
            case "remove":
                del inside[key]
            case "add" if isinstance(inside, dict):
                inside["more"] = value
            case "add":
                inside.append(value)
            case "repeat" if isinstance(inside, list):
                inside.extend([inside[key]] * 3)
    return tree


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(tree, dict | list):
        for key, value in list(tree.items() if isinstance(tree, dict) else enumerate(tree)):
            yield tree, key
            yield from _places(value)


def read_or_refused(path: Path, read: Callable[[], T]) -> T | None:
    """What is read, None where it is refused: in one line, after which nothing is wrong that the file is not named for."""
    try:
        return read()
    except InputError as error:
        refused = str(error)
    assert str(path) in refused
    return None


def fuzz(cases: int, seconds: float, **strategies: Any) -> Callable[[Callable[..., None]], Any]:
    """A test of so many cases, or of fewer where they take longer: each within the limits on time and memory."""

    def decorate(test: Callable[..., None]) -> Any:
        until: float | None = None

        @functools.wraps(test)
        def bounded(**given_to_it: Any) -> None:
            nonlocal until
            until = until or time.monotonic() + seconds * FACTOR
            if time.monotonic() > until:
                return
            start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            CASES[test.__name__] += 1
            test(**given_to_it)
            assert time.process_time() - start < MOST_SECONDS
            assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MOST_BYTES

        phases = (Phase.generate, Phase.shrink) if FACTOR > 1 else (Phase.generate,)
        bound = settings(max_examples=round(cases * FACTOR), derandomize=FACTOR == 1, database=None, phases=phases)
        return bound(given(**strategies)(bounded))

    return decorate
