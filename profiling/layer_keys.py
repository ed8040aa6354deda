"""How the fields of a layer are spelt in its key.

Databases hold measurements under these keys, so a key must never change. A field that came later is keyword-only and is spelt
only where it differs from its default, which is what all layers were before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from profiling.convolutions import ACTIVATIONS

if TYPE_CHECKING:
    from profiling.layers import LayerSpec

# In the order in which a key spells them. An activation is a word of its own.
LETTERS = {
    "resolution": "r",
    "in_channels": "i",
    "out_channels": "o",
    "stride": "s",
    "kernel": "k",
    "expansion": "e",
    "residual": "x",
    "depthwise": "d",
    "start": "j",
    "classes": "c",
    "hidden": "h",
    "norm": "n",
    "squeeze": "se",
    "activation": "",
}
NAMES = {letters: name for name, letters in LETTERS.items()}
TRUTHS = ("residual", "norm")


def words_of(layer: LayerSpec) -> list[str]:
    """A word for each field, e.g. `r112`; `x0` and `x1` for false and true."""
    values = ((each, getattr(layer, each.name)) for each in fields(layer))
    spelt = {each.name: value for each, value in values if not (each.kw_only and value == each.default)}
    return [LETTERS[name] + str(int(spelt[name]) if name in TRUTHS else spelt[name]) for name in LETTERS if name in spelt]


def values_of(words: Iterable[str]) -> dict[str, Any]:
    """The values that words spell, by the names of their fields.

    Raises:
        ValueError: a word spells no field.
    """
    values: dict[str, Any] = {}
    for word in words:
        found = re.fullmatch("([a-z]+)([0-9]{1,9})", word)
        if word in ACTIVATIONS:
            values["activation"] = word
        elif found and found[1] in NAMES:
            name, number = NAMES[found[1]], int(found[2])
            values[name] = bool(number) if name in TRUTHS else number
        else:
            raise ValueError(f"{word!r} spells no field of a layer")
    return values
