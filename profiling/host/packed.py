"""The process that prints how much memory LiteRT keeps the weights of models in, as one JSON list: bytes, model by model.

What an interpreter allocates grows with the number of images by its activations. The rest stays: the weights, in the order and
with the padding that the kernels of this machine want (XNNPACK packs a 7×7 depthwise convolution into 16 times its size on
AVX-512), and tables of pointers. So twice the memory for one image less that for two is what is looked for, but for some kB that
the heap's gaps make of it. Only glibc says what is allocated (`mallinfo2`, from 2.33 on); elsewhere the list is empty.
"""

import argparse
import ctypes
import json
from typing import Any


class Allocated(ctypes.Structure):
    """glibc's `struct mallinfo2`."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    ]  # fmt: skip


def main() -> None:
    """Loads each model for one image and for two, and prints what does not depend on their number."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--delegate", choices=("xnnpack", "none"), required=True)
    parser.add_argument("models", nargs="+")
    options = parser.parse_args()
    mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo is None:
        print("[]")  # noqa: T201
        return
    mallinfo.restype = Allocated

    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.AUTO if options.delegate == "xnnpack" else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES

    def allocated() -> int:
        now = mallinfo()
        return int(now.uordblks + now.hblkhd)

    def loaded(model: str, images: int) -> Any:
        interpreter = Interpreter(model, num_threads=options.threads, experimental_op_resolver_type=resolver)
        for tensor in interpreter.get_input_details() if images > 1 else ():
            interpreter.resize_tensor_input(tensor["index"], [images, *tensor["shape"][1:]])
        interpreter.allocate_tensors()
        return interpreter

    def memory(model: str, images: int) -> int:
        before = allocated()
        interpreter = loaded(model, images)
        taken = allocated() - before
        del interpreter
        return taken

    loaded(options.models[0], 1)  # what the runtime allocates once and for all
    print(json.dumps([2 * memory(model, 1) - memory(model, 2) for model in options.models]))  # noqa: T201


if __name__ == "__main__":
    main()
