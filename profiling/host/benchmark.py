"""The process that runs one model on this machine and prints its figures, as `benchmark_model` does on a phone.

It is started anew for every measurement, so it imports nothing of the package and little else. The last line that it prints is
one JSON object: every timed run in nanoseconds, so that any figure can be worked out again later.
"""

import argparse
import ctypes
import json
import os
import signal
import sys
import time

# Part of the conditions: raise it when the same model would give different figures.
VERSION = 1


def die_with_parent() -> None:
    """On Linux, has the kernel end this process when its parent is killed; elsewhere the timeout of the parent has to do."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def main() -> None:
    """Loads the model, warms up, times runs until both the count and the seconds are reached, prints the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--delegate", choices=("xnnpack", "none"), required=True)
    parser.add_argument("--cores", default="")
    parser.add_argument("--runs", type=int, required=True)
    parser.add_argument("--min-seconds", type=float, required=True)
    parser.add_argument("--warmup-runs", type=int, required=True)
    parser.add_argument("--warmup-seconds", type=float, required=True)
    options = parser.parse_args()
    die_with_parent()
    if options.cores:
        os.sched_setaffinity(0, [int(core) for core in options.cores.split(",")])

    import numpy as np
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.AUTO if options.delegate == "xnnpack" else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    start = time.perf_counter_ns()
    interpreter = Interpreter(options.model, num_threads=options.threads, experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    init_ns = time.perf_counter_ns() - start
    generator = np.random.default_rng(0)
    for tensor in interpreter.get_input_details():
        values = generator.standard_normal(tensor["shape"])
        interpreter.set_tensor(tensor["index"], values.astype(tensor["dtype"]))
    # Only the runtime knows what a delegate has taken over, and only this method reports it.
    delegated = any(op["op_name"] == "DELEGATE" for op in interpreter._get_ops_details())

    def timed(runs: int, seconds: float) -> list[int]:
        samples: list[int] = []
        end = time.perf_counter() + seconds
        while len(samples) < runs or time.perf_counter() < end:
            begin = time.perf_counter_ns()
            interpreter.invoke()
            samples.append(time.perf_counter_ns() - begin)
        return samples

    warmup = timed(max(1, options.warmup_runs), options.warmup_seconds)
    result = {
        "delegated": delegated,
        "init_ns": init_ns,
        "warmup_ns": warmup,
        "timed_ns": timed(options.runs, options.min_seconds),
    }
    print(json.dumps(result, separators=(",", ":")))  # noqa: T201


if __name__ == "__main__":
    main()
