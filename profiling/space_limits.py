"""How large a search space may be as a whole, so that no file asks for more than a machine has."""

from __future__ import annotations

from collections.abc import Sequence

from profiling.layers import LayerSpec
from profiling.specfile import FieldError

MAX_LAYERS = 1000
MAX_CHOICES = 20_000
MAX_CHOICES_OF_ONE = 255
TFLITE_BYTES = 2**31


def require_few(layers: int, searchable: int, choices: int) -> None:
    """Checks the numbers of layers, of those that can be searched, and of the choices that each of these has.

    Raises:
        FieldError: there are too many; it leads to the stages.
    """
    for number, what, most in (
        (layers, "layers", MAX_LAYERS),
        (choices, "choices of one layer", MAX_CHOICES_OF_ONE),
        (searchable * choices, "choices of all layers", MAX_CHOICES),
    ):
        if number > most:
            raise FieldError(("stages",), f"{number} {what} are more than the {most} that a space may have")


def require_convertible(largest: Sequence[LayerSpec]) -> None:
    """Checks that the largest network of a space, given by its layers, can become a TFLite file.

    Raises:
        ValueError: the file, or a tensor in it, would be too large.
    """
    if 4 * sum(layer.parameters for layer in largest) >= TFLITE_BYTES:
        raise ValueError("its largest network would not fit into the 2 GiB of a TFLite file")
    tensors = [part.out_resolution**2 * part.out_channels for layer in largest for part in layer.convolutions]
    inputs = [layer.resolution**2 * layer.in_channels for layer in largest]
    if 4 * max(*tensors, *inputs) >= TFLITE_BYTES:
        raise ValueError("its largest activation would not fit into the 2 GiB of a TFLite tensor")
