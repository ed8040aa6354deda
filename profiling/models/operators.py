"""The operators of a TFLite file, read from the file itself by its public schema."""

from __future__ import annotations

from dataclasses import dataclass

from ai_edge_litert import schema_py_generated as schema

_NAMES = {code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")}


@dataclass(frozen=True)
class Operator:
    """One operator of a model.

    Attributes:
        name: in the TFLite schema, e.g. `CONV_2D`.
        inputs, outputs: indices of its tensors; -1 is an optional input that is not there.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def operators(model: bytes) -> list[Operator]:
    """The operators of the first graph of a TFLite file, in order of execution.

    Args:
        model: the content of a file that is known to be a TFLite model; anything else raises whatever flatbuffers raises.
    """
    parsed = schema.Model.GetRootAs(model, 0)
    graph = parsed.Subgraphs(0)
    codes = [parsed.OperatorCodes(index) for index in range(parsed.OperatorCodesLength())]
    # Older files hold the code in the field that was one byte wide.
    names = [_NAMES[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())] for code in codes]
    ops = (graph.Operators(index) for index in range(graph.OperatorsLength()))
    return [
        Operator(
            names[op.OpcodeIndex()],
            tuple(op.Inputs(index) for index in range(op.InputsLength())),
            tuple(op.Outputs(index) for index in range(op.OutputsLength())),
        )
        for op in ops
    ]
