"""The figures in what TFLite's `benchmark_model` prints, as text alone.

The tool prints one statistics line for the warm-up, one for the timed runs, and then a summary that repeats the average of the
latter. Only a summary shows that the timed runs came to their end, so nothing is read without one; the figures come from the
last statistics line, which must agree with it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from profiling.conditions import Delegate
from profiling.measurement import Figures
from profiling.phone.benchmark_failures import failure, refuse_failure, refuse_other_delegate


@dataclass(frozen=True)
class ToolResult:
    """What one run of `benchmark_model` printed, in microseconds; None is what this form of its output does not hold.

    Attributes:
        count: timed runs.
        avg_us, min_us, max_us, std_us: over the timed runs.
        init_us: loading the model; first_us: the first run of all; warmup_avg_us: mean of the warm-up runs.
        median_us, p5_us, p95_us: percentiles of the timed runs, which only newer versions print.
        resolution_us: of the times of single runs, which are whole microseconds.
        avg_resolution_us: of their average, which has six digits. In a summary alone, both are 10 µs.
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
    resolution_us: float = field(default=1.0, compare=False)
    avg_resolution_us: float = field(default=0.0, compare=False)


# What the summary of LiteRT 2 rounds to.
_SUMMARY_US = 10.0
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
_NO_RUNS = re.compile(rf"{_COUNT}0(?: p5=(?P<p5>{_NUMBER}) median={_NUMBER} p95={_NUMBER})?\s*$")
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


def read_result(stdout: str, stderr: str, exit_code: int, *, delegate: Delegate | None = None) -> ToolResult:
    """The figures of one run of the tool.

    Reads the output of TensorFlow 1.12 to LiteRT 2, plain, with severities, or as logcat shows it. Where a text holds several
    runs, the last one counts.

    Args:
        stdout, stderr: what the process printed; both may stand in one of them.
        exit_code: as the shell gives it (128 + n for signal n), or negative for a signal.
        delegate: what was asked for; the output must then show that it did the work. None asks for no such proof.

    Raises:
        ToolOutputError: there is no valid result; its reason is one of `benchmark_failures.NEXT_STEPS`.
    """
    stdout, stderr = _last_run(stdout), _last_run(stderr)
    refuse_failure(f"{stdout}\n{stderr}", exit_code)
    out, err = _Reading.of(stdout), _Reading.of(stderr)
    statistics = out.statistics or err.statistics
    # LiteRT 2 prints statistics on stdout and the summary on stderr. A summary on stderr alone means that stdout is cut.
    summary = out.summary or err.summary if statistics else out.summary
    if "avg" not in summary:
        raise failure("truncated", "the output ends before the summary of benchmark_model")
    if not summary.get("count", summary["avg"]) > 0:
        raise failure("no runs", "benchmark_model made no timed run")
    if out.lost_statistics or err.lost_statistics:
        raise failure("truncated", "the output has lost the statistics of the timed runs or of the warm-up")
    if len(out.percentiles | err.percentiles) > 1:
        raise failure("contradiction", "one statistics line has percentiles and another has lost them")
    result = _from_statistics(statistics, summary) if statistics else _from_summary(summary)
    _refuse_implausible(result, result.resolution_us)
    if delegate is not None:
        refuse_other_delegate(f"{stdout}\n{stderr}", delegate)
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
        raise failure("incomplete", "the output has only the average, without the number of runs and their spread")
    return Figures(
        count=result.count,
        mean_ms=result.avg_us / 1000,
        min_ms=result.min_us / 1000,
        max_ms=result.max_us / 1000,
        std_ms=result.std_us / 1000,
        resolution_ms=result.resolution_us / 1000,
        mean_resolution_ms=result.avg_resolution_us / 1000,
        p5_ms=_ms(result.p5_us),
        median_ms=_ms(result.median_us),
        p95_ms=_ms(result.p95_us),
        init_ms=_ms(result.init_us),
        first_ms=_ms(result.first_us),
        warmup_ms=_ms(result.warmup_avg_us),
    )


def _ms(value_us: float | None) -> float | None:
    return None if value_us is None else value_us / 1000


def _last_run(text: str) -> str:
    """What the last of several processes printed: logcat keeps those before it, and some scripts run one after the other."""
    text = _COLOUR.sub("", text)
    begins = [found.start() for found in _BEGIN.finditer(text)]
    return text[begins[-1] :] if len(begins) > 1 else text


@dataclass
class _Reading:
    """The statistics lines in one text, and the figures of its summary.

    `phases` counts the lines that begin a phase, `ends` those that end one; `percentiles` is whether these have some.
    """

    statistics: list[re.Match[str]] = field(default_factory=list)
    summary: dict[str, float] = field(default_factory=dict)
    phases: int = 0
    ends: int = 0
    percentiles: set[bool] = field(default_factory=set)

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
                reading.percentiles.add(found["p5"] is not None)
            empty = _NO_RUNS.search(line)
            if empty and empty["p5"] is not None:
                reading.percentiles.add(True)
            reading.ends += bool(found or empty)
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
    if not _agree(summary["avg"], average, _SUMMARY_US if "count" in summary else 0) or summary.get("count", count) != count:
        raise failure("contradiction", f"the summary says {summary['avg']:g} µs, the statistics {average:g} µs over {count} runs")
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
        raise failure("truncated", "the output ends within the summary of benchmark_model")
    return ToolResult(
        count=int(summary["count"]),
        avg_us=summary["avg"],
        min_us=summary["min"],
        max_us=summary["max"],
        std_us=summary["std"],
        resolution_us=_SUMMARY_US,
        avg_resolution_us=_SUMMARY_US,
    )


def _optional(number: str | None) -> float | None:
    return None if number is None else float(number)


def _unless_zero(value: float | None) -> float | None:
    """Without warm-up runs, the tool prints 0 or nan for their times."""
    return value if value is not None and value > 0 else None


def _refuse_implausible(result: ToolResult, resolution_us: float) -> None:
    """Refuses figures that cannot be times of real runs, such as those of a line that has lost digits."""
    ordered = [v for v in (result.min_us, result.p5_us, result.median_us, result.p95_us, result.max_us) if v is not None]
    low, high = (ordered[0], ordered[-1]) if ordered else (result.avg_us, result.avg_us)
    rounding = 1e-5 * result.avg_us
    if low <= 0 or result.avg_us < 1:
        raise failure("implausible", f"runs of {low:g} µs with an average of {result.avg_us:g} µs")
    if ordered != sorted(ordered) or not low - rounding <= result.avg_us <= high + rounding:
        raise failure("implausible", f"out of order: {ordered} µs with an average of {result.avg_us:g} µs")
    if result.count is None or result.std_us is None:
        return
    # The two extremes alone give the least variance that these runs can have, and all runs at the extremes the greatest, that
    # over n - 1, should a version print the deviation of a sample.
    above, below = high - result.avg_us, result.avg_us - low
    least = ((above**2 + below**2) / result.count) ** 0.5
    greatest = (max(above * below, 0) * result.count / max(1, result.count - 1)) ** 0.5
    if not least - rounding - resolution_us <= result.std_us <= greatest + rounding + resolution_us:
        raise failure("implausible", f"a deviation of {result.std_us:g} µs between {low:g} and {high:g} µs")
