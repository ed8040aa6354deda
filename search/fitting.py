"""Whether what a checkpoint contains fits the run or network that it is for: names, types, shapes, finite numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

import torch
from pydantic import TypeAdapter
from torch import Tensor

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R", bound="DataclassInstance")


def fitting_records(kind: type[R], values: Any) -> list[R]:
    """Records of a dataclass from mappings of its fields.

    Raises:
        ValueError: there is no list of these; TypeError: one has other fields.
    """
    if not isinstance(values, list):
        raise ValueError(f"there is no list of {kind.__name__}")
    records = [kind(**each) for each in values]
    checks = {name: TypeAdapter(annotation) for name, annotation in get_type_hints(kind).items()}
    for record in records:
        for name, check in checks.items():
            value = check.validate_python(getattr(record, name), strict=True)
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{name} is {value}")
    return records


def require_weights(given: Any, expected: Mapping[str, Tensor]) -> None:
    """Checks the names and shapes of tensors, and that all that is in them is finite.

    Raises:
        ValueError: they differ from those expected; names the first.
    """
    if not isinstance(given, Mapping):
        raise ValueError("there are no weights")
    odd = next((name for name in (*expected, *given) if name not in expected or name not in given), None)
    if odd is not None:
        raise ValueError(f"{odd} is {'missing' if odd in expected else 'not a part of it'}")
    for name, tensor in expected.items():
        value = given[name]
        if not isinstance(value, Tensor) or value.is_floating_point() != tensor.is_floating_point():
            raise ValueError(f"{name} is not a tensor of {'floating-point' if tensor.is_floating_point() else 'whole'} numbers")
        if value.shape != tensor.shape:
            raise ValueError(f"{name} has the shape {tuple(value.shape)}, not {tuple(tensor.shape)}")
        if not torch.isfinite(value).all():
            raise ValueError(f"{name} contains numbers that are not finite")


def require_number(value: Any, least: float = -math.inf) -> None:
    """Checks a single number of a state.

    Raises:
        ValueError: it is none, not finite, or less.
    """
    if not isinstance(value, float | int) or not math.isfinite(value) or value < least:
        raise ValueError(f"{value!r} is not a number in its range")
