"""TFLite's `benchmark_model` as text: the command line that starts it, and the figures in what it prints.

The tool prints one statistics line for the warm-up, one for the timed runs, and then a summary that repeats the average of the
latter. Only a summary shows that the timed runs came to their end, so nothing is read without one; the figures come from the
last statistics line, which must agree with it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from profiling.conditions import Delegate
from profiling.cpu_masks import cores_of, mask_of
from profiling.device import RunSettings
from profiling.errors import ToolOutputError
from profiling.measurement import Figures


@dataclass(frozen=True)
class ToolResult:
    """What one run of `benchmark_model` printed, in microseconds; None is what this form of its output does not hold.

    Attributes:
        count: timed runs.
        avg_us, min_us, max_us, std_us: over the timed runs.
        init_us: loading the model; first_us: the first run of all; warmup_avg_us: mean of the warm-up runs.
        median_us, p5_us, p95_us: percentiles of the timed runs, which only newer versions print.
    """

    count: int | None
    avg_us: float
    min_us: float | None = None
    max_us: float | None = None
    std_us: float | None = None
    init_us: float | None = None
    first_us: float | None = None
    warmup_avg_us: float | None = None
    median_us: float | None = None
    p5_us: float | None = None
    p95_us: float | None = None


# Every reason for which an output holds no valid result, with the next step. docs/benchmark-model.md explains each.
NEXT_STEPS = {
    "not found": "the tool is no longer on the device; run again, it is pushed anew",
    "not executable": "the folder must be on a file system that allows execution: use /data/local/tmp",
    "wrong architecture": "take the benchmark_model that is built for the device's ABI",
    "missing library": "take a statically linked benchmark_model, such as the official ones",
    "core mask": "choose other cores with --cores; those asked for do not exist or are offline",
    "unsupported operation": "the tool is older than the model: take a newer benchmark_model",
    "model refused": "the model on the device is missing or damaged, or too large for its memory; run again, it is pushed anew",
    "delegate refused": "choose another --delegate; this one does not take the model on this device",
    "fallback": "choose another --delegate, or a benchmark_model that was built with this one",
    "invocation failed": "choose another --delegate or another version of the tool",
    "usage": "take another version of benchmark_model: this one does not know the flags",
    "illegal instruction": "take a benchmark_model built for this CPU: this one uses instructions that it lacks",
    "killed": "the device ran out of memory or ended the process: close apps, or measure a smaller model",
    "stopped": "run again; somebody ended the process from outside",
    "crash": "run again; if it comes back, take another version of the tool or another --delegate",
    "failed": "run the tool by hand with `adb shell` to see all that it prints",
    "truncated": "run again; the output did not arrive whole",
    "no runs": "ask for at least one run with --runs",
    "contradiction": "run again; the output mixes several runs or lost lines on its way",
    "implausible": "run again; these figures cannot be of real runs",
    "incomplete": "keep the whole output of the tool, not only its summary",
}
# What comes again however often it is tried.
DETERMINISTIC = frozenset(NEXT_STEPS) - {"killed", "stopped", "crash", "truncated", "contradiction", "implausible"}

_NUMBER = r"-?(?:\d+(?:\.\d+)?(?:e[+-]\d+)?|nan)"
# `Stat::OutputToStream` of tensorflow/core/util/stats_calculator.h. Logcat, severities and source files put their prefixes before
# it, so that only its end is tied to the line. The op profiler prints the same form, for the sum over all ops, behind two labels.
_COUNT = r"(?<!Timings \(microseconds\): )(?<!Memory \(bytes\): )\bcount="
_STATISTICS = re.compile(
    rf"{_COUNT}(?P<count>\d+)"
    rf"(?: curr=(?P<same>{_NUMBER})(?:\(all same\))?"
    rf"| first={_NUMBER} curr={_NUMBER} min=(?P<min>{_NUMBER}) max=(?P<max>{_NUMBER})"
    rf" avg=(?P<avg>{_NUMBER}) std=(?P<std>{_NUMBER}))"
    rf"(?: p5=(?P<p5>{_NUMBER}) median=(?P<median>{_NUMBER}) p95=(?P<p95>{_NUMBER}))?\s*$"
)
# A phase of no runs, such as a warm-up that nobody asked for.
_NO_RUNS = re.compile(_COUNT + r"0\s*$")
# Each phase begins with this, and ends with its statistics.
_PHASE = "Running benchmark for "
# What the tool prints first, and what the app for Android prints in its place.
_BEGIN = re.compile(r"STARTING!|Running TensorFlow Lite benchmark with args")
# Colours, as `logcat -v color` and terminals have them.
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# The lines of a summary, each with its unit in microseconds. LiteRT 2's own tool (litert/tools) prints a block of lines.
_MICROSECONDS = (
    # TensorFlow from 2.2 on
    r"Inference timings in us: Init: (?P<init>{0}), First inference: (?P<first>{0}), "
    r"Warmup \(avg\): (?P<warmup>{0}), Inference \(avg\): (?P<avg>{0})",
    # TensorFlow before, and the Android app, which writes the memory right behind the last figure
    r"Average inference timings in us: Warmup: (?P<warmup>{0}), Init: (?P<init>{0}), "
    r"(?:no stats|Inference): (?P<avg>{0})(?:Overall .*)?",
)
_MILLISECONDS = (
    r"Model initialization: +(?P<init>{0}) ms",
    r"(?:Warmup \(first\)|First inference): +(?P<first>{0}) ms",
    r"Warmup \(avg\): +(?P<warmup>{0}) ms \(\d+ runs\)",
    r"Inference \(avg\): +(?P<avg>{0}) ms \((?P<count>\d+) runs\)",
    r"Inference \(min\): +(?P<min>{0}) ms",
    r"Inference \(max\): +(?P<max>{0}) ms",
    r"Inference \(std\): +(?P<std>{0})(?: ms)?",
)
_SUMMARY = (
    *((1, re.compile(line.format(_NUMBER) + r"\s*$")) for line in _MICROSECONDS),
    *((1000, re.compile(line.format(r"\d+\.\d\d") + r"\s*$")) for line in _MILLISECONDS),
)

# By their numbers on Linux; every signal that is not here is a crash.
_SIGNALS = {1: "stopped", 2: "stopped", 4: "illegal instruction", 9: "killed", 15: "stopped"}
# How a shell reports a signal: at the start of a line, or behind "bash: line 1: 4711 "; alone, or before the command, set apart.
# Other words of other programs begin so as well: "Killed process of another app".
_SHELL = r"(?im)^(?:\S+: line \d+: +\d+ |zsh: )?(?:{})(?=\s*$|\s+\(core dumped\)|\s\s+\S|\s\S*/)"
# What shows that a run failed, whatever figures stand beside it; root causes before what follows from them. The word "error" is
# no sign: good runs print "Error in cpuinfo", "nnapi error: unable to open library", and the like.
_SIGNS = tuple(
    (reason, re.compile(sign))
    for reason, sign in (
        ("missing library", r"CANNOT LINK EXECUTABLE|error while loading shared libraries|Library not loaded:"),
        ("wrong architecture", r"not executable: \d+-bit|[Ee]xec format error|cannot execute binary file|[Bb]ad CPU type"),
        ("core mask", r"(?m)^taskset: .*(?:affinity|mask|Invalid argument)"),
        ("unsupported operation", r"Didn't find op for builtin opcode|unresolved custom op|TensorFlow ops? are not supported"),
        ("unsupported operation", r"TensorFlow op\(s\), included in the given model, is\(are\) not supported"),
        (
            "model refused",
            r"Could not open '[^']*\.tflite'|The model allocation is null|Failed to (?:load|mmap) model|has model identifier",
        ),
        ("model refused", r"Failed to (?:initialize|construct) (?:the )?interpreter|Failed to allocate tensors"),
        ("fallback", r"Disallowed CPU fallback detected"),
        ("delegate refused", r"Failed to apply \w+ delegate"),
        ("invocation failed", r"[Ff]ailed to invoke|\bRun failed\b"),
        ("usage", r"usage: \S+ <flags>|Failed to parse flag"),
        ("illegal instruction", _SHELL.format("illegal instruction")),
        ("killed", _SHELL.format("killed")),
        ("stopped", _SHELL.format("terminated|hangup|interrupt")),
        ("crash", _SHELL.format("segmentation fault|aborted|abort|bus error|floating point exception|bad system call")),
        ("crash", r"\bFatal signal \d+"),
        ("failed", r"Benchmarking failed\.|\bFATAL: "),
    )
)

_XNNPACK_RAN = re.compile(
    r"Created TensorFlow Lite XNNPACK delegate|Explicitly applied XNNPACK delegate|delegate \(TfLiteXNNPackDelegate\)"
)
_XNNPACK_GAVE_UP = re.compile(
    r"Though XNNPACK delegate is explicitly applied|Failed to apply the default TensorFlow Lite delegate"
)
# What the tool and the runtime call a delegate that is no CPU. It must have taken the whole graph, by the word of one of them.
_ACCELERATORS: dict[Delegate, tuple[str, str]] = {"gpu": ("GPU", "TfLiteGpu|LITERT_"), "nnapi": ("NNAPI", "TfLiteNnapi")}
_WHOLE_GRAPH = {
    name: re.compile(
        rf"pplied {label} delegate(?:\.|, and the model (?:graph )?will be completely)"
        rf"|Replacing (\d+) out of \1 node\(s\) with delegate \((?:{kernels})\w*\)"
    )
    for name, (label, kernels) in _ACCELERATORS.items()
}


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


def read_result(stdout: str, stderr: str, exit_code: int, *, delegate: Delegate | None = None) -> ToolResult:
    """The figures of one run of the tool.

    Reads the output of TensorFlow 1.12 to LiteRT 2, plain, with severities, or as logcat shows it. Where a text holds several
    runs, the last one counts.

    Args:
        stdout, stderr: what the process printed; both may stand in one of them.
        exit_code: as the shell gives it (128 + n for signal n), or negative for a signal.
        delegate: what was asked for; the output must then show that it did the work. None asks for no such proof.

    Raises:
        ToolOutputError: there is no valid result; its reason is one of `NEXT_STEPS`.
    """
    stdout, stderr = _last_run(stdout), _last_run(stderr)
    _refuse_failure(f"{stdout}\n{stderr}", exit_code)
    out, err = _Reading.of(stdout), _Reading.of(stderr)
    statistics = out.statistics or err.statistics
    # LiteRT 2 prints statistics on stdout and the summary on stderr. A summary on stderr alone means that stdout is cut.
    summary = out.summary or err.summary if statistics else out.summary
    if "avg" not in summary:
        raise _failure("truncated", "the output ends before the summary of benchmark_model")
    if not summary.get("count", summary["avg"]) > 0:
        raise _failure("no runs", "benchmark_model made no timed run")
    if out.lost_statistics or err.lost_statistics:
        raise _failure("truncated", "the output has lost the statistics of the timed runs or of the warm-up")
    result = _from_statistics(statistics, summary) if statistics else _from_summary(summary)
    _refuse_implausible(result, resolution_us=1 if statistics else 10)
    if delegate is not None:
        _refuse_other_delegate(f"{stdout}\n{stderr}", delegate)
    return replace(
        result,
        init_us=summary.get("init"),
        first_us=_unless_zero(summary.get("first")),
        warmup_avg_us=_unless_zero(summary.get("warmup")),
    )


def figures(result: ToolResult) -> Figures:
    """The same in milliseconds, as measurements keep them.

    Raises:
        ToolOutputError: `incomplete` where the output held only a summary.
    """
    if result.count is None or result.min_us is None or result.max_us is None or result.std_us is None:
        raise _failure("incomplete", "the output holds the average alone, without the number of runs and their spread")
    return Figures(
        count=result.count,
        mean_ms=result.avg_us / 1000,
        min_ms=result.min_us / 1000,
        max_ms=result.max_us / 1000,
        std_ms=result.std_us / 1000,
        p5_ms=_ms(result.p5_us),
        median_ms=_ms(result.median_us),
        p95_ms=_ms(result.p95_us),
        init_ms=_ms(result.init_us),
        first_ms=_ms(result.first_us),
        warmup_ms=_ms(result.warmup_avg_us),
    )


def _ms(value_us: float | None) -> float | None:
    return None if value_us is None else value_us / 1000


def _failure(reason: str, problem: str) -> ToolOutputError:
    return ToolOutputError(reason, problem, hint=NEXT_STEPS[reason])


def _refuse_failure(text: str, exit_code: int) -> None:
    for reason, sign in _SIGNS:
        if found := sign.search(text):
            raise _failure(reason, f"benchmark_model failed: {_line_around(text, found)}")
    if exit_code == 126:
        raise _failure("not executable", "the shell may not execute benchmark_model (exit code 126)")
    if exit_code == 127:
        raise _failure("not found", "the shell does not find benchmark_model (exit code 127)")
    number = -exit_code if exit_code < 0 else exit_code - 128
    if 0 < number <= 64:
        raise _failure(_SIGNALS.get(number, "crash"), f"benchmark_model was ended by signal {number}")
    if exit_code != 0:
        last_line = (text.strip().splitlines() or ["it printed nothing"])[-1].strip()[:200]
        raise _failure("failed", f"benchmark_model ended with exit code {exit_code}: {last_line}")


def _line_around(text: str, found: re.Match[str]) -> str:
    start = text.rfind("\n", 0, found.end()) + 1
    return text[start:].partition("\n")[0].strip()[:200]


def _last_run(text: str) -> str:
    """What the last of several processes printed: logcat keeps those before it, and some scripts run one after the other."""
    text = _COLOUR.sub("", text)
    begins = [found.start() for found in _BEGIN.finditer(text)]
    return text[begins[-1] :] if len(begins) > 1 else text


@dataclass
class _Reading:
    """The statistics lines in one text, and the figures of its summary.

    `phases` counts the lines that begin a phase, `ends` those that end one.
    """

    statistics: list[re.Match[str]] = field(default_factory=list)
    summary: dict[str, float] = field(default_factory=dict)
    phases: int = 0
    ends: int = 0

    @property
    def lost_statistics(self) -> bool:
        """Whether a phase began and no statistics end it."""
        return self.ends < self.phases

    @classmethod
    def of(cls, text: str) -> _Reading:
        reading = cls()
        *lines, unfinished = text.split("\n")
        for line in lines:
            reading.phases += _PHASE in line
            if found := _STATISTICS.search(line):
                reading.statistics.append(found)
            reading.ends += bool(found or _NO_RUNS.search(line))
            reading.summary |= _summary_figures(line)
        last = _summary_figures(unfinished)
        # Where a line has no end, a figure at its end may have lost digits. It counts when the statistics confirm it.
        cut = "avg" in last and "count" not in last
        if not cut or (reading.statistics and _agree(last["avg"], _average(reading.statistics[-1]))):
            reading.summary |= last
        return reading


def _summary_figures(line: str) -> dict[str, float]:
    """The figures of a summary line in microseconds, and `count`; nothing for other lines."""
    for unit, pattern in _SUMMARY:
        if found := pattern.search(line):
            return {name: float(value) * (1 if name == "count" else unit) for name, value in found.groupdict().items()}
    return {}


def _average(statistics: re.Match[str]) -> float:
    """Where all runs took the same time, or there was one, the line has no average."""
    return float(statistics["avg"] or statistics["same"])


def _agree(printed: float, average: float, resolution: float = 0) -> bool:
    """Whether two prints of one average agree. Both have six significant digits, or a fixed resolution."""
    return abs(printed - average) <= resolution / 2 + 1e-5 * average


def _from_statistics(lines: list[re.Match[str]], summary: dict[str, float]) -> ToolResult:
    statistics = lines[-1]
    count, average = int(statistics["count"]), _average(statistics)
    # Only the summary of LiteRT 2 states the number of runs; it rounds to 0.01 ms.
    if not _agree(summary["avg"], average, 10 if "count" in summary else 0) or summary.get("count", count) != count:
        raise _failure(
            "contradiction", f"the summary says {summary['avg']:g} µs, the statistics {average:g} µs over {count} runs"
        )
    if len({line["p5"] is None for line in lines}) > 1:
        raise _failure("contradiction", "one statistics line has percentiles and another has lost them")
    same = statistics["same"]
    return ToolResult(
        count=count,
        avg_us=average,
        min_us=float(same or statistics["min"]),
        max_us=float(same or statistics["max"]),
        std_us=0.0 if same else float(statistics["std"]),
        median_us=_optional(statistics["median"]),
        p5_us=_optional(statistics["p5"]),
        p95_us=_optional(statistics["p95"]),
    )


def _from_summary(summary: dict[str, float]) -> ToolResult:
    if "count" not in summary:
        return ToolResult(count=None, avg_us=summary["avg"])
    if not {"min", "max", "std"} <= summary.keys():
        raise _failure("truncated", "the output ends within the summary of benchmark_model")
    return ToolResult(
        count=int(summary["count"]),
        avg_us=summary["avg"],
        min_us=summary["min"],
        max_us=summary["max"],
        std_us=summary["std"],
    )


def _optional(number: str | None) -> float | None:
    return None if number is None else float(number)


def _unless_zero(value: float | None) -> float | None:
    """Without warm-up runs, the tool prints 0 or nan for their times."""
    return value if value is not None and value > 0 else None


def _refuse_implausible(result: ToolResult, resolution_us: float) -> None:
    """Refuses figures that are no times of real runs, such as those of a line that has lost digits."""
    ordered = [v for v in (result.min_us, result.p5_us, result.median_us, result.p95_us, result.max_us) if v is not None]
    low, high = (ordered[0], ordered[-1]) if ordered else (result.avg_us, result.avg_us)
    rounding = 1e-5 * result.avg_us
    if low <= 0 or result.avg_us < 1:
        raise _failure("implausible", f"runs of {low:g} µs with an average of {result.avg_us:g} µs")
    if ordered != sorted(ordered) or not low - rounding <= result.avg_us <= high + rounding:
        raise _failure("implausible", f"out of order: {ordered} µs with an average of {result.avg_us:g} µs")
    if result.count is None or result.std_us is None:
        return
    # The two extremes alone give the least variance that these runs can have, and all runs at the extremes the greatest, that
    # over n - 1, should a version print the deviation of a sample.
    above, below = high - result.avg_us, result.avg_us - low
    least = ((above**2 + below**2) / result.count) ** 0.5
    greatest = (max(above * below, 0) * result.count / max(1, result.count - 1)) ** 0.5
    if not least - rounding - resolution_us <= result.std_us <= greatest + rounding + resolution_us:
        raise _failure("implausible", f"a deviation of {result.std_us:g} µs between {low:g} and {high:g} µs")


def _refuse_other_delegate(text: str, delegate: Delegate) -> None:
    """The tool goes on without a delegate that it was not built with, or that takes nothing of the graph, and reports success."""
    xnnpack_ran, gave_up = _XNNPACK_RAN.search(text), _XNNPACK_GAVE_UP.search(text)
    if delegate == "none" and xnnpack_ran:
        raise _failure("fallback", f"asked to run without a delegate, but XNNPACK ran: {_line_around(text, xnnpack_ran)}")
    if delegate == "xnnpack" and gave_up:
        raise _failure("fallback", f"the delegate xnnpack did not run the model: {_line_around(text, gave_up)}")
    if (delegate == "xnnpack" and not xnnpack_ran) or (delegate in _WHOLE_GRAPH and not _WHOLE_GRAPH[delegate].search(text)):
        raise _failure("fallback", f"nothing in the output shows that the delegate {delegate} ran the whole model")
