"""TFLite's `benchmark_model` as text: the command line that starts it, and the figures in what it prints.

The tool prints one statistics line for the warm-up, one for the timed runs, and then a summary that repeats the average of the timed
runs. Only a summary shows that the timed runs came to their end, so nothing is read without one; the figures come from the last
statistics line, which must agree with it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from profiling.conditions import Delegate
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
        median_us, p5_us, p95_us: percentiles of the timed runs (LiteRT and TensorFlow from about 2.19 on).
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


# Every reason for which an output holds no valid result, with the next step for the person. docs/benchmark-model.md explains each.
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
    "failed": "look at what the tool printed: spnas -v shows it",
    "truncated": "run again; the output did not arrive whole",
    "no runs": "ask for at least one run with --runs",
    "contradiction": "run again; the output mixes several runs or lost lines on its way",
    "implausible": "run again; these figures cannot be of real runs",
    "incomplete": "keep the whole output of the tool, not only its summary",
}
# What comes again however often it is tried.
DETERMINISTIC = frozenset(NEXT_STEPS) - {"killed", "stopped", "crash", "truncated", "contradiction", "implausible"}

_NUMBER = r"-?(?:\d+(?:\.\d+)?(?:e[+-]\d+)?|nan)"
# `Stat::OutputToStream` of tensorflow/core/util/stats_calculator.h. The op profiler prints the same form behind the labels
# "Timings (microseconds): " and "Memory (bytes): ", there for the sum over all ops. Prefixes of logcat, of severities and of source files
# may stand before it, so that only its end is tied to the end of the line.
_STATISTICS = re.compile(
    r"(?<!\(microseconds\): )(?<!\(bytes\): )\bcount=(?P<count>\d+)"
    rf"(?: curr=(?P<same>{_NUMBER})(?:\(all same\))?"
    rf"| first={_NUMBER} curr={_NUMBER} min=(?P<min>{_NUMBER}) max=(?P<max>{_NUMBER}) avg=(?P<avg>{_NUMBER}) std=(?P<std>{_NUMBER}))"
    rf"(?: p5=(?P<p5>{_NUMBER}) median=(?P<median>{_NUMBER}) p95=(?P<p95>{_NUMBER}))?\s*$"
)
_MS = r" +(?P<{}>\d+\.\d\d)"
# The lines of a summary and their unit in microseconds: TensorFlow from 2.1 on, TensorFlow before and the Android app (which prints the
# memory behind the figure, without a space), and litert/tools of LiteRT 2, whose summary is a block of lines.
_SUMMARY = tuple(
    (unit, re.compile(pattern + r"\s*$"))
    for unit, pattern in (
        (
            1,
            rf"Inference timings in us: Init: (?P<init>{_NUMBER}), First inference: (?P<first>{_NUMBER}), "
            rf"Warmup \(avg\): (?P<warmup>{_NUMBER}), Inference \(avg\): (?P<avg>{_NUMBER})",
        ),
        (
            1,
            rf"Average inference timings in us: Warmup: (?P<warmup>{_NUMBER}), Init: (?P<init>{_NUMBER}), "
            rf"(?:no stats|Inference): (?P<avg>{_NUMBER})(?:Overall .*)?",
        ),
        (1000, "Model initialization:" + _MS.format("init") + " ms"),
        (1000, r"(?:Warmup \(first\)|First inference):" + _MS.format("first") + " ms"),
        (1000, r"Warmup \(avg\):" + _MS.format("warmup") + r" ms \(\d+ runs\)"),
        (1000, r"Inference \(avg\):" + _MS.format("avg") + r" ms \((?P<count>\d+) runs\)"),
        (1000, r"Inference \(min\):" + _MS.format("min") + " ms"),
        (1000, r"Inference \(max\):" + _MS.format("max") + " ms"),
        (1000, r"Inference \(std\):" + _MS.format("std")),
    )
)

_SIGNALS = {1: "stopped", 2: "stopped", 4: "illegal instruction", 9: "killed", 15: "stopped"}  # Linux numbers; all others: crash
_SIGNAL_NAMES = {
    4: "SIGILL",
    5: "SIGTRAP",
    6: "SIGABRT",
    7: "SIGBUS",
    8: "SIGFPE",
    9: "SIGKILL",
    11: "SIGSEGV",
    15: "SIGTERM",
    31: "SIGSYS",
}
_SHELL_SAYS = r"(?im)^(?:\S+: line \d+: +\d+ |zsh: )?(?:{})(?:\s|$)"
# What shows that a run failed, whatever figures stand beside it; the root cause before what follows from it. The word "error" alone is no
# sign: good runs print "Error in cpuinfo", "nnapi error: unable to open library" and their like.
_SIGNS = tuple(
    (reason, re.compile(pattern))
    for reason, pattern in (
        ("missing library", r"CANNOT LINK EXECUTABLE|error while loading shared libraries|Library not loaded:"),
        ("wrong architecture", r"not executable: \d+-bit|[Ee]xec format error|cannot execute binary file|[Bb]ad CPU type"),
        ("core mask", r"(?m)^taskset: .*(?:affinity|mask|Invalid argument)"),
        (
            "unsupported operation",
            r"Didn't find op for builtin opcode|unresolved custom op|TensorFlow op(?:s|\(s\)).* not supported by this",
        ),
        (
            "model refused",
            r"Could not open '|The model allocation is null|Failed to (?:load|mmap) model|has model identifier|"
            r"Failed to (?:initialize|construct) (?:the )?interpreter|Failed to allocate tensors",
        ),
        ("fallback", r"Disallowed CPU fallback detected"),
        ("delegate refused", r"Failed to apply \w+ delegate"),
        ("invocation failed", r"[Ff]ailed to invoke|\bRun failed\b"),
        ("usage", r"usage: \S+ <flags>|Failed to parse flag"),
        ("illegal instruction", _SHELL_SAYS.format("illegal instruction")),
        ("killed", _SHELL_SAYS.format("killed")),
        ("stopped", _SHELL_SAYS.format("terminated|hangup|interrupt")),
        (
            "crash",
            _SHELL_SAYS.format(
                "segmentation fault|aborted|abort|bus error|floating point exception|bad system call|trace/.*trap"
            ),
        ),
        ("crash", r"\bFatal signal \d+"),
        ("failed", r"Benchmarking failed\.|\bFATAL: "),
    )
)

_XNNPACK = r"Created TensorFlow Lite XNNPACK delegate|pplied XNNPACK delegate|with delegate \(TfLiteXNNPackDelegate\)"
_WHOLE = r"pplied {} delegate(?:\.|, and the model (?:graph )?will be completely)|Replacing (\d+) out of \1 node\(s\) with delegate \({}\w*\)"
# What shows that a delegate did what was asked of it. A part of the graph is enough for XNNPACK, since all of it runs on the CPU then.
_DELEGATE_AT_WORK: dict[Delegate, re.Pattern[str]] = {
    "xnnpack": re.compile(_XNNPACK),
    "gpu": re.compile(_WHOLE.format("GPU", "(?:TfLiteGpu|LITERT_)")),
    "nnapi": re.compile(_WHOLE.format("NNAPI", "TfLiteNnapi")),
}
_XNNPACK_GAVE_UP = re.compile(
    r"Though XNNPACK delegate is explicitly applied|Failed to apply the default TensorFlow Lite delegate"
)


def command(tool: str, graph: str, settings: RunSettings) -> list[str]:
    """The argument list that runs the tool on a model.

    The flags are those of TFLite's and of LiteRT's `benchmark_model`; each warns of the few that only the other knows and goes on.

    Args:
        tool: path of the executable on the device.
        graph: path of the model on the device.
        settings: `cores` must be resolved: `any`, or a mask in hexadecimal.

    Raises:
        ValueError: `cores` is a name; only the device knows which cores it means.
    """
    pinned = [] if settings.cores == "any" else ["taskset", f"{int(settings.cores, 16):x}"]
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

    Reads the output of TensorFlow 1.12 to LiteRT 2, plain, with severities, or as logcat shows it. Where one text holds several runs
    the last one counts.

    Args:
        stdout, stderr: what the process printed; both may stand in one of them.
        exit_code: as the shell gives it (128 + n for signal n), or negative for a signal.
        delegate: what was asked for; the output must then show that it did the work. None asks for no such proof.

    Raises:
        ToolOutputError: there is no valid result; its reason is one of `NEXT_STEPS`.
    """
    _refuse_failure(f"{stdout}\n{stderr}", exit_code)
    out, err = _Reading.of(stdout), _Reading.of(stderr)
    statistics = out.statistics or err.statistics
    # LiteRT 2 prints statistics on stdout and the summary on stderr. A summary on stderr alone means that stdout is cut.
    summary = out.summary if statistics is None else out.summary or err.summary
    if "avg" not in summary:
        raise _failure("truncated", "the output ends before the summary of benchmark_model")
    if not summary["avg"] > 0:
        raise _failure("no runs", "benchmark_model made no timed run")
    result = _from_summary(summary) if statistics is None else _from_statistics(statistics, summary)
    _refuse_implausible(result)
    if delegate is not None:
        _refuse_other_delegate(f"{stdout}\n{stderr}", delegate)
    return replace(
        result,
        init_us=summary["init"],
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
        raise _failure(
            _SIGNALS.get(number, "crash"), f"benchmark_model was ended by {_SIGNAL_NAMES.get(number, f'signal {number}')}"
        )
    if exit_code != 0:
        raise _failure("failed", f"benchmark_model ended with exit code {exit_code}")


def _line_around(text: str, found: re.Match[str]) -> str:
    start = text.rfind("\n", 0, found.end()) + 1
    return text[start:].partition("\n")[0].strip()[:200]


@dataclass
class _Reading:
    """The last statistics line and the figures of the last summary in one text."""

    statistics: re.Match[str] | None = None
    summary: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str) -> _Reading:
        reading = cls()
        *lines, unfinished = text.split("\n")
        for line in lines:
            if "STARTING!" in line:  # what stands above is of an earlier process: logcat keeps it
                reading = cls()
            reading.statistics = _STATISTICS.search(line) or reading.statistics
            reading.summary |= _summary_figures(line)
        # A line without its end may have lost digits. It counts only when the statistics confirm its average.
        last = _summary_figures(unfinished)
        if "count" in last or (reading.statistics and "avg" in last and _agree(last["avg"], _average(reading.statistics))):
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


def _from_statistics(statistics: re.Match[str], summary: dict[str, float]) -> ToolResult:
    count, average = int(statistics["count"]), _average(statistics)
    # Only the summary of LiteRT 2 states the number of runs; it rounds to 0.01 ms.
    if not _agree(summary["avg"], average, 10 if "count" in summary else 0) or summary.get("count", count) != count:
        raise _failure(
            "contradiction", f"the summary says {summary['avg']:g} µs, the statistics {average:g} µs over {count} runs"
        )
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
    if "std" not in summary:
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


def _refuse_implausible(result: ToolResult) -> None:
    """Refuses figures that are no times of real runs. Averages are rounded to six digits, or all figures to 0.01 ms."""
    ordered = [v for v in (result.min_us, result.p5_us, result.median_us, result.p95_us, result.max_us) if v is not None]
    if ordered != sorted(ordered):
        raise _failure("implausible", f"minimum, percentiles and maximum are out of order: {ordered} µs")
    low, high = (ordered[0], ordered[-1]) if ordered else (result.avg_us, result.avg_us)
    if low <= 0 or result.avg_us < 1 or (result.std_us or 0) < 0:
        raise _failure("implausible", f"runs of {low:g} µs with an average of {result.avg_us:g} µs")
    if not low * (1 - 1e-5) <= result.avg_us <= high * (1 + 1e-5):
        raise _failure("implausible", f"the average of {result.avg_us:g} µs is not between {low:g} and {high:g} µs")


def _refuse_other_delegate(text: str, delegate: Delegate) -> None:
    """The tool goes on without a delegate that it was not built with, or that takes nothing of the graph, and reports success."""
    if delegate == "none":
        if found := _DELEGATE_AT_WORK["xnnpack"].search(text):
            raise _failure("fallback", f"asked to run without a delegate, but XNNPACK ran: {_line_around(text, found)}")
        return
    gave_up = _XNNPACK_GAVE_UP.search(text) if delegate == "xnnpack" else None
    if gave_up or not _DELEGATE_AT_WORK[delegate].search(text):
        says = _line_around(text, gave_up) if gave_up else "nothing in the output shows it at work"
        raise _failure("fallback", f"the delegate {delegate} did not run the model: {says}")
