"""The arena that LiteRT itself has planned for a model, read from the addresses of its tensors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from profiling.footprint import ARENA_ALIGNMENT
from profiling.models.operators import Operator


def planned_bytes(interpreter: Any, ops: Sequence[Operator]) -> int:
    """Bytes of the arena for input, activations and scratch space.

    Weights are not in it, nor is what is made of them once, such as widened half-precision weights.

    Args:
        interpreter: with tensors allocated, for one thread and without a delegate, which would keep activations to itself.
        ops: of its model.

    Raises:
        ValueError: it has no tensor in an arena.
    """
    made = {tensor["index"] for tensor in interpreter.get_input_details()}
    for op in ops:
        if made.intersection(op.inputs):
            made.update(op.outputs)
    fixed = {index for op in ops for index in (*op.inputs, *op.outputs)} - made
    loose = [tensor["index"] for tensor in interpreter.get_tensor_details() if tensor["index"] not in fixed]
    begin = end = min(start for start, _ in _places(interpreter, made))
    # Each tensor lies right behind another, which may be dead by then; scratch space elsewhere is not in this arena.
    for start, stop in sorted(_places(interpreter, loose)):
        if begin <= start <= end + ARENA_ALIGNMENT:
            end = max(end, stop)
    return end - begin


def _places(interpreter: Any, tensors: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Where each tensor begins and ends; those that are no arrays, or have no place yet, are left out."""
    for index in tensors:
        with suppress(ValueError):
            view = interpreter.tensor(index)()
            if isinstance(view, np.ndarray):
                yield view.ctypes.data, view.ctypes.data + view.nbytes
