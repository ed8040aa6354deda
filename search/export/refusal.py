"""Why an exported file was not kept, and what to try."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from profiling.conditions import Precision
from profiling.errors import ConversionError
from search.convnet.saved import SavedNetwork
from search.export.card import Pixels
from search.export.check import Bound, ExportCheck, bound_for
from search.export.layer_errors import IMAGES, layer_errors
from search.images.data import Data
from search.listener import Listener

# Of the images that an int8 file's ranges were estimated on, or that it was compared on: what to try next.
MORE = 5
# Points of accuracy that somebody may want to give up.
TOLERABLE = 10.0


@dataclass(frozen=True)
class Attempt:
    """A file that does not agree with its network.

    Attributes:
        saved: the network.
        target: where the file was to go.
        precision: of the file.
        content: of the file.
        data: that it was compared on, None for random pixels.
        representative: pixels that its ranges were estimated on, for int8.
    """

    saved: SavedNetwork
    target: Path
    precision: Precision
    content: bytes
    data: Data | None
    representative: Pixels | None


def refusal(faults: Sequence[str], check: ExportCheck, bound: Bound, attempt: Attempt, listener: Listener) -> ConversionError:
    """The error that a file does not agree with its network: figures, the worst layer in 8 bits, and what to try.

    Args:
        faults: in words.
        check: that found them.
        bound: that it was made with.
        attempt: the file.
        listener: told the error of each layer in 8 bits.
    """
    problem = f"the {attempt.precision} model does not agree with the network: {'; '.join(faults)}"
    if attempt.representative is not None:
        errors = layer_errors(attempt.saved, attempt.content, attempt.representative)
        worst = sorted(errors, key=lambda layer: layer.error, reverse=True)
        listener.note(f"What 8 bits in each layer change of the logits (rms on {IMAGES} images, as a share of their spread):")
        for layer in worst:
            listener.note(f"  {layer.error:6.1%}  {layer.name}")
        most, middle = worst[0], statistics.median(layer.error for layer in errors)
        problem += (
            f"; 8 bits change the logits most in {most.name}, by {most.error:.1%} of their spread (median layer {middle:.1%})"
        )
    tries = _tries(check, bound, attempt)
    hint = "nothing was written" + (f"; to try: {', '.join(tries)}" if tries else "")
    return ConversionError(problem, where=str(attempt.target), hint=hint)


def _tries(check: ExportCheck, bound: Bound, attempt: Attempt) -> list[str]:
    """Options that may give a file that is kept; none without labels, where the arithmetic must be at fault."""
    data, used, guesses, found = attempt.data, attempt.representative, check.guesses, []
    if data is None or guesses is None:
        return []
    if used is not None and len(used) < data.train_images:
        more = min(MORE * len(used), data.train_images)
        found.append(f"--representative-images {more} (the ranges come from {len(used)} of {data.train_images} training images)")
    if guesses.drop_interval[0] <= bound.top1_drop < guesses.drop and check.images < data.held_out_images:
        more = min(MORE * check.images, data.held_out_images)
        found.append(f"--check-images {more} ({bound.top1_drop:g} points are within the interval)")
    if used is not None:
        if attempt.saved.trained_for == "fp32":
            found.append("spnas train NETWORK --precision int8, which trains it on with the rounding of an int8 file")
        found.append("--precision fp16")
    acceptable = max(0.0, math.ceil(round(guesses.drop * 10, 6)) / 10)
    if acceptable <= TOLERABLE and not check.faults(bound_for(attempt.precision, acceptable)):
        found.append(f"--accept-drop {acceptable:g} to keep it as it is")
    return found
