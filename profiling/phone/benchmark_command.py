"""The command line that runs `benchmark_model`."""

from __future__ import annotations

from profiling.cpu_masks import cores_of, mask_of
from profiling.device import RunSettings


def command(tool: str, graph: str, settings: RunSettings) -> list[str]:
    """The argument list that runs the tool on a model.

    The flags are those of TFLite's and of LiteRT's `benchmark_model`. Each warns of the few that only the other knows.

    Args:
        tool: path of the executable on the device.
        graph: path of the model on the device.
        settings: `cores` must be resolved: `any`, or a mask in hexadecimal.

    Raises:
        ValueError: `cores` is a name; only the device knows which cores it means.
    """
    pinned = [] if settings.cores == "any" else ["taskset", mask_of(cores_of(settings.cores))]
    flags = {
        "graph": graph,
        "num_threads": settings.threads,
        "num_runs": settings.runs,
        "min_secs": settings.min_seconds,
        # Holds for the warm-up and for the timed runs, each; what is left of the time limit is for loading the model.
        "max_secs": settings.timeout_s / 3,
        "warmup_runs": settings.warmup_runs,
        "warmup_min_secs": settings.warmup_seconds,
        "use_xnnpack": settings.delegate == "xnnpack",
    }
    if settings.delegate == "gpu":
        # LiteRT's tool refuses full delegation while its CPU accelerator is on.
        flags |= {"use_gpu": True, "use_cpu": False, "require_full_delegation": True}
    if settings.delegate == "nnapi":
        flags |= {"use_nnapi": True, "disable_nnapi_cpu": True, "require_full_delegation": True}
    return [*pinned, tool, *(f"--{name}={_flag_value(value)}" for name, value in flags.items())]


def _flag_value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)
