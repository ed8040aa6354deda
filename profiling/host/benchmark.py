"""The process that runs one model on this machine and prints its figures, as `benchmark_model` does on a phone.

It is started anew for every measurement, so it imports nothing of the package and little else. The last line that it prints is
one JSON object, from which any figure can be worked out again later: every run in nanoseconds, or of many runs a summary.
"""

import argparse
import ctypes
import json
import os
import signal
import sys
import time
from typing import Any

# Part of the conditions: raise it when the same model would give different figures.
VERSION = 1
KEPT_RUNS = 200


def kept(runs_ns: list[int]) -> list[int] | dict[str, Any]:
    """What is printed of some runs: all while they are few. Layers of microseconds run tens of thousands of times."""
    return runs_ns if len(runs_ns) <= KEPT_RUNS else summary(runs_ns)


def summary(runs_ns: list[int]) -> dict[str, Any]:
    """What the figures of runs follow from exactly: their moments, and the runs that each whole percentile lies between."""
    ordered = sorted(runs_ns)
    return {
        "count": len(runs_ns),
        "sum": sum(runs_ns),
        "sum_of_squares": sum(run * run for run in runs_ns),
        "first": runs_ns[0],
        "percentiles": [ordered[rank] for rank in ranks(len(runs_ns))],
    }


def ranks(count: int) -> list[int]:
    """The places, among so many runs in order of their time, of those next to each whole percentile from 0 to 100."""
    places = ((count - 1) * percent for percent in range(101))
    return sorted({rank for place in places for rank in (place // 100, -(-place // 100))})


def die_with(parent: int) -> None:
    """On Linux, has the kernel end this process when its parent is killed; elsewhere the timeout of the parent has to do."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:  # killed before this was asked for
        sys.exit(1)


def main() -> None:
    """Loads the model, warms up, times runs until both the count and the seconds are reached, prints the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--delegate", choices=("xnnpack", "none"), required=True)
    parser.add_argument("--cores", default="")
    parser.add_argument("--runs", type=int, required=True)
    parser.add_argument("--min-seconds", type=float, required=True)
    parser.add_argument("--warmup-runs", type=int, required=True)
    parser.add_argument("--warmup-seconds", type=float, required=True)
    options = parser.parse_args()
    die_with(options.parent)
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
        "warmup_ns": kept(warmup),
        "timed_ns": kept(timed(options.runs, options.min_seconds)),
    }
    print(json.dumps(result, separators=(",", ":")))  # noqa: T201


if __name__ == "__main__":
    main()
