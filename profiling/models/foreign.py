"""TFLite files that were built elsewhere: what is in them, so that they can be measured beside networks of this project."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from profiling.device import BuiltModel
from profiling.errors import InputError
from profiling.outside import read_bytes
from profiling.space_limits import TFLITE_BYTES

if TYPE_CHECKING:
    from profiling.models.operators import Operator

WITH_WEIGHTS = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}


@dataclass(frozen=True)
class TfliteFile:
    """A TFLite model that somebody else built.

    Attributes:
        model: the file, under a key made from its content.
        parameters: weights and biases of its convolutions and fully connected layers; batch norm is folded into these.
        multiply_adds: of the same operators, for one run.
        classes: length of its output.
        memory_bytes: of the arena that LiteRT plans for it; see `profiling.models.arena`.
    """

    model: BuiltModel
    parameters: int
    multiply_adds: int
    classes: int
    memory_bytes: int

    @property
    def key(self) -> str:
        """Names its measurements."""
        return self.model.key


def read_tflite(path: Path) -> TfliteFile:
    """Reads a TFLite file.

    Raises:
        InputError: it cannot be read, is not a TFLite model that LiteRT can run, or does not have one input and one output.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    from profiling.models.arena import planned_bytes
    from profiling.models.operators import operators

    content = read_bytes(path, TFLITE_BYTES)
    try:
        # Inspecting a file needs no delegate.
        resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        interpreter = Interpreter(model_content=content, experimental_op_resolver_type=resolver)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise InputError(f"LiteRT cannot load it: {str(error).splitlines()[0]}", where=str(path)) from error
    given, results = interpreter.get_input_details(), interpreter.get_output_details()
    if len(given) != 1 or len(results) != 1:
        raise InputError(f"has {len(given)} inputs and {len(results)} outputs, not one of each", where=str(path))
    shapes = {tensor["index"]: tuple(map(int, tensor["shape"])) for tensor in interpreter.get_tensor_details()}
    try:
        ops = operators(content)
        parameters, multiply_adds = _counts(ops, shapes)
        memory_bytes = planned_bytes(interpreter, ops)
        classes = int(results[0]["shape"][-1])
    except (LookupError, TypeError, ValueError, ArithmeticError, struct.error) as error:
        raise InputError("LiteRT can load it, but its operators cannot be read", where=str(path)) from error
    digest = hashlib.sha256(content).hexdigest()
    model = BuiltModel(f"file-{digest[:16]}", path.resolve(), digest, len(content), multiply_adds)
    return TfliteFile(model, parameters, multiply_adds, classes, memory_bytes)


def _counts(ops: Sequence[Operator], shapes: Mapping[int, tuple[int, ...]]) -> tuple[int, int]:
    """Parameters and multiply-adds of all operators that have weights; shapes of tensors by index."""
    parameters = multiply_adds = 0
    for op in ops:
        if op.name in WITH_WEIGHTS:
            _, weights, *bias = [shapes[index] for index in op.inputs if index >= 0]
            parameters += math.prod(weights) + sum(math.prod(shape) for shape in bias)
            # Every output of an operator is made from one input pixel or window: all weights but those of other channels.
            outputs = math.prod(shapes[op.outputs[0]])
            multiply_adds += outputs * math.prod(weights) // weights[-1 if op.name == "DEPTHWISE_CONV_2D" else 0]
    return parameters, multiply_adds
