"""Reading `benchmark_model`: logs of every generation of the tool, whole and broken. Each file of benchmark_logs says what it is.

Files named recorded_* are real output; the others are written in the form of the real output, with figures of their own.
"""

from __future__ import annotations

import re
import statistics
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profiling.device import RunSettings
from profiling.errors import ToolOutputError
from profiling.phone.benchmark_command import command
from profiling.phone.benchmark_failures import NEXT_STEPS, unknown_flags
from profiling.phone.benchmark_output import ToolResult, figures, read_result

FOLDER = Path(__file__).parent / "benchmark_logs"
PAGE = Path(__file__).parents[3] / "docs" / "benchmark-model.md"


@dataclass(frozen=True)
class Log:
    """One file: its head says the exit code, the delegate that was asked for, and what it holds."""

    name: str
    exit_code: int
    delegate: str | None
    expected: ToolResult | str
    stdout: str
    stderr: str

    @classmethod
    def read(cls, path: Path) -> Log:
        head, _, text = path.read_bytes().decode().partition("=== stdout\n")
        stdout, _, stderr = text.partition("=== stderr\n")
        *options, expected = (line.removeprefix("# ") for line in head.splitlines()[1:])
        settings = dict(option.split(" ", 1) for option in options)
        kind, _, rest = expected.partition("=")
        if kind == "reason":
            return cls(path.stem, int(settings["exit"]), settings.get("delegate"), rest, stdout, stderr)
        values = {name: float(value) for name, value in (pair.split("=") for pair in expected.split())}
        result = ToolResult(**{"count": None} | values)
        return cls(path.stem, int(settings["exit"]), settings.get("delegate"), result, stdout, stderr)


LOGS = [Log.read(path) for path in sorted(FOLDER.glob("*.log"))]
WHOLE = [log for log in LOGS if isinstance(log.expected, ToolResult)]
MAY_PASS = {"killed", "stopped", "crash", "truncated", "contradiction", "implausible"}
ONE_RUN = [log for log in WHOLE if (log.stdout + log.stderr).count("STARTING!") <= 1]


def attempt(stdout: str, stderr: str, exit_code: int = 0) -> ToolResult | None:
    try:
        return read_result(stdout, stderr, exit_code)
    except ToolOutputError:
        return None


def text_of(name: str) -> str:
    return next(log.stdout for log in LOGS if log.name == name)


def test_there_are_logs_of_every_age_and_of_every_reason():
    assert len(WHOLE) >= 30
    assert {log.expected for log in LOGS if isinstance(log.expected, str)} == set(NEXT_STEPS) - {"stopped", "incomplete"}
    ages = {log.name.partition("_")[0] for log in WHOLE}
    assert {"tf1.12", "tf1.13", "tf1.15", "tf2.1", "tf2.4", "tf2.7", "tf2.13", "litert2", "logcat", "ios", "recorded"} <= ages


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.name)
def test_each_log_is_read_rightly(log: Log):
    if isinstance(log.expected, ToolResult):
        assert read_result(log.stdout, log.stderr, log.exit_code, delegate=log.delegate) == log.expected
    else:
        with pytest.raises(ToolOutputError) as caught:
            read_result(log.stdout, log.stderr, log.exit_code, delegate=log.delegate)
        assert caught.value.reason == log.expected
        assert caught.value.hint == NEXT_STEPS[log.expected]
        assert caught.value.recurs == (log.expected not in MAY_PASS)


@pytest.mark.parametrize("log", WHOLE, ids=lambda log: log.name)
def test_all_text_in_one_stream_gives_the_same(log: Log):
    """adb before Android 7 merges the streams; loggers write all to stderr."""
    assert attempt(log.stdout + log.stderr, "") == log.expected
    if log.expected.count is not None:
        assert attempt("", log.stdout + log.stderr) in (log.expected, None)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "\r\n"),
        ("", "\r\r\n"),  # a terminal of Android before 7
        ("I/tflite  ( 4711): ", "\n"),
        ("\x1b[38;5;40m04-01 12:00:00.123  4711  4712 I tflite  : ", "\x1b[0m\n"),  # logcat -v color
        ("[ 04-01 12:00:00.123  4711: 4712 I/tflite ]\n", "\n\n"),  # logcat -v long
        ("04-01 12:00:00.123  4711  4712 I tflite  : ", "\r\n"),
        ("[./tensorflow/lite/tools/benchmark/benchmark_model.cc:161] ", "\n"),
        ("2026-01-01T10:00:00Z  > ", "\n"),
    ],
)
def test_line_ends_and_prefixes_of_loggers_change_nothing(before: str, after: str):
    def dressed(text: str) -> str:
        return re.sub(r"^(.+?)\r?\n", lambda line: f"{before}{line[1]}{after}", text, flags=re.MULTILINE)

    for log in WHOLE:
        assert attempt(dressed(log.stdout), dressed(log.stderr)) == log.expected, log.name


@pytest.mark.parametrize("log", ONE_RUN, ids=lambda log: log.name)
def test_no_prefix_of_a_log_is_read_as_another_result(log: Log):
    """Cut anywhere in either stream (profiles of ops: at every 101st place), the output gives the whole result or none."""
    for end in (*range(min(len(log.stdout), 2500)), *range(2500, len(log.stdout), 101)):
        assert attempt(log.stdout[:end], log.stderr) in (None, log.expected), log.stdout[:end][-80:]
    for end in range(len(log.stderr)):
        assert attempt(log.stdout, log.stderr[:end]) in (None, log.expected), log.stderr[:end][-80:]


@pytest.mark.parametrize(
    "log", [log for log in ONE_RUN if "count=" in log.stdout and len(log.stdout) < 9000], ids=lambda log: log.name
)
def test_no_figure_comes_from_a_line_that_was_cut(log: Log):
    """Statistics and summary lose their ends one after the other, while all other lines stay whole."""
    for line in re.findall(r"(?m)^.*(?:(?<!\): )count=\d|timings in us|Inference \(avg\)).*$", log.stdout):
        for length in range(len(line)):
            read = attempt(log.stdout.replace(line, line[:length], 1), log.stderr)
            if read is not None:
                assert read == log.expected, line[:length]


@settings(max_examples=300, deadline=None)
@given(
    times=st.lists(st.integers(1, 5_000_000), min_size=1, max_size=40),
    warmup=st.lists(st.integers(1, 5_000_000), max_size=5),
    percentiles=st.booleans(),
)
def test_whatever_runs_take_their_figures_are_read(times: list[int], warmup: list[int], percentiles: bool):
    """The tool's own arithmetic (stats_calculator.h), over any times: nothing real is implausible."""

    def line(values: list[int]) -> str:
        if not values:
            return "count=0"
        ranks = sorted(values)
        tail = " p5={} median={} p95={}".format(*(ranks[int((len(ranks) - 1) * q)] for q in (0.05, 0.5, 0.95)))
        if ranks[0] == ranks[-1]:
            text = f"count={len(values)} curr={values[-1]}" + ("(all same)" if len(values) > 1 else "")
        else:
            std = int(int(max(0, statistics.fmean(v * v for v in values) - statistics.fmean(values) ** 2)) ** 0.5)
            text = f"count={len(values)} first={values[0]} curr={values[-1]} min={ranks[0]} max={ranks[-1]}"
            text += f" avg={statistics.fmean(values):g} std={std}"
        return text + tail * percentiles

    average = f"{statistics.fmean(warmup):g}" if warmup else "0"
    log = (
        f"INFO: {line(warmup)}\n\nINFO: {line(times)}\n\nINFO: Inference timings in us: Init: 5, First inference: "
        f"{warmup[0] if warmup else 0}, Warmup (avg): {average}, Inference (avg): {statistics.fmean(times):g}\n"
    )
    result = read_result(log, "", 0)
    assert (result.count, result.min_us, result.max_us) == (len(times), min(times), max(times))
    assert result.avg_us == pytest.approx(statistics.fmean(times), rel=1e-5)
    assert (result.first_us, result.median_us is not None) == (warmup[0] if warmup else None, percentiles)


@pytest.mark.parametrize(
    ("exit_codes", "reason"),
    [
        ((1, 2, 255), "failed"),
        ((126,), "not executable"),
        ((127,), "not found"),
        ((129, 130, 143, -15), "stopped"),
        ((132, -4), "illegal instruction"),
        ((133, 134, 135, 136, 139, 159, -11), "crash"),
        ((137, -9), "killed"),
    ],
)
def test_an_exit_code_wins_over_whole_figures(exit_codes: tuple[int, ...], reason: str):
    for exit_code in exit_codes:
        with pytest.raises(ToolOutputError) as caught:
            read_result(text_of("tf2.13_xnnpack"), "", exit_code)
        assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("Segmentation fault \n", "crash"),
        ("Aborted (core dumped)\n", "crash"),
        ("Bus error\r\n", "crash"),
        ("zsh: segmentation fault  ./benchmark_model\n", "crash"),
        ("bash: line 1:  4711 Floating point exception   ./benchmark_model --graph=x\n", "crash"),
        ("06-01 10:00:00.000  4711  4711 F libc    : Fatal signal 11 (SIGSEGV), code 1\n", "crash"),
        ("Illegal instruction \n", "illegal instruction"),
        ("Killed \n", "killed"),
        ("Terminated \n", "stopped"),
    ],
)
def test_what_a_shell_says_of_a_crash_wins_over_whole_figures(said: str, reason: str):
    """For the outputs whose exit code was lost on the way."""
    with pytest.raises(ToolOutputError) as caught:
        read_result(text_of("tf2.13_xnnpack"), said, 0)
    assert caught.value.reason == reason


def test_of_several_runs_in_one_text_the_last_one_counts():
    """What failed before it does not take its figures away, and what went well before does not hide its failure."""
    good, failed = text_of("tf2.13_xnnpack"), text_of("tf2.13_invoke_fails_late") + "ERROR: Benchmarking failed.\n"
    other = text_of("recorded_tf2.14.1_threads1_runs50_warm5")
    alone = attempt(good, "")
    assert alone is not None
    assert attempt(other + good, "") == attempt(failed + "Segmentation fault \n" + good, "") == alone
    begin = "Running TensorFlow Lite benchmark with args: --graph=/data/local/tmp/net.tflite"  # of the app for Android
    assert attempt((failed + good).replace("STARTING!", begin), "") == alone
    assert attempt(good + failed, "") is None
    cut = other[: other.rindex("count=")]
    assert attempt(good + cut, "") is None, "the warm-up of a run that was cut, and the figures of the one before"


def test_a_phase_without_its_statistics_is_cut_even_where_the_warm_up_took_as_long():
    line = "INFO: count=3 first=21 curr=20 min=20 max=22 avg=21 std=0\n\n"
    head = "INFO: Running benchmark for at least {} iterations and at least 0 seconds but terminate if exceeding 150 seconds.\n"
    summary = "INFO: Inference timings in us: Init: 5, First inference: 21, Warmup (avg): 21, Inference (avg): 21\n"
    assert attempt(head.format(3) + line + head.format(3) + line + summary, "") is not None
    assert attempt(head.format(3) + line + head.format(3) + summary, "") is None
    assert attempt(head.format(0) + "INFO: count=0\n\n" + head.format(3) + line + summary, "") is not None


def test_harmless_errors_do_not_fail():
    harmless = (
        "Error in cpuinfo: prctl(PR_SVE_GET_VL) failed\n"
        "nnapi error: unable to open library libneuralnetworks.so\n"
        "Error opening trace file: Permission denied (13)\n"
        "ERROR: Following operations are not supported by GPU delegate:\n"
        'INFO: Failed to load OpenCL library with dlopen: dlopen failed: library "libOpenCL.so" not found\n'
        "WARNING: linker: benchmark_model: unsupported flags DT_FLAGS_1=0x8000001\n"
        "I/lowmemorykiller: Killed process of another app\n"
        "Killed process 4711 of another app\n"  # logcat -v long
        "Could not open '/vendor/lib64/libOpenCL.so'\n"
        "WARN: Unconsumed cmdline flags: --use_cpu=false\n"
    )
    assert attempt(text_of("tf2.13_xnnpack"), harmless) is not None


def test_figures_in_milliseconds():
    read = figures(read_result(text_of("recorded_litert2.2.0_threads1_runs50_warm5"), "", 0))
    assert (read.count, read.mean_ms, read.p5_ms, read.median_ms, read.first_ms) == (50, 22.789, 19.013, 22.979, 27.144)
    with pytest.raises(ToolOutputError, match="only the average") as caught:
        figures(read_result(text_of("logcat_app_result_line"), "", 0))
    assert caught.value.reason == "incomplete"


def test_command_line():
    settings = RunSettings(threads=2, cores="0xC0", runs=50, min_seconds=0.5, warmup_runs=2, warmup_seconds=0, timeout_s=90)
    assert command("/d/benchmark_model", "/d/net.tflite", settings) == [
        "taskset", "c0", "/d/benchmark_model", "--graph=/d/net.tflite", "--num_threads=2", "--num_runs=50", "--min_secs=0.5",
        "--max_secs=30", "--warmup_runs=2", "--warmup_min_secs=0", "--use_xnnpack=true",
    ]  # fmt: skip
    plain = command("tool", "net", RunSettings(delegate="none"))
    assert plain[0] == "tool"
    assert "--use_xnnpack=false" in plain
    assert {"--use_gpu=true", "--use_cpu=false", "--require_full_delegation=true"} <= {
        *command("tool", "net", RunSettings(delegate="gpu"))
    }
    assert {"--use_nnapi=true", "--require_full_delegation=true"} <= {*command("tool", "net", RunSettings(delegate="nnapi"))}
    with pytest.raises(ValueError, match="big"):
        command("tool", "net", RunSettings(cores="big"))


@pytest.mark.parametrize("tool", ["recorded_tf2.14.1_help_eq_true", "recorded_litert2.2.0_help_eq_true"])
def test_the_recorded_tools_know_every_flag(tool: str):
    """Those of the GPU and NNAPI are only in builds for Android."""
    help_text = next(log.stderr for log in LOGS if log.name == tool)
    for argument in command("tool", "net", RunSettings())[1:]:
        assert f"{argument.partition('=')[0]}=" in help_text


@pytest.mark.parametrize(
    ("said", "flags"),
    [
        ("WARN: Unconsumed cmdline flags: --use_xnnpack=true", ""),  # LiteRT's own tool, whose CPU accelerator it is
        ("WARN: Unconsumed cmdline flags: --use_xnnpack=true --brand_new=1\r", "--brand_new=1"),
        ("WARN: Unconsumed cmdline flags: --use_xnnpack=false", "--use_xnnpack=false"),
        ("INFO: STARTING!", ""),
    ],
)
def test_flags_that_ask_for_what_the_tool_does_anyway_are_not_missed(said: str, flags: str):
    assert unknown_flags(f"INFO: STARTING!\n{said}\nINFO: Graph: [x]\n") == flags


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (
            "litert2_abort_unknown_delegate",
            "Requesting full delegation and CPU acceleration are incompatible. "
            "(it does not know --use_xnnpack=false --use_nnapi=true --disable_nnapi_cpu=true)",
        ),
        ("litert2_abort_with_error", "Signature nonsense is not in the model."),
        ("logcat_abort_with_error", "Signature nonsense is not in the model."),
        (
            "litert2_compile_failed",
            "Failed to initialize NPU accelerator: No usable Dispatch runtime found; Failed to compile model.",
        ),
    ],
)
def test_the_error_above_is_shown_where_the_last_line_says_little(log: str, words: str):
    found = next(each for each in LOGS if each.name == log)
    with pytest.raises(ToolOutputError) as caught:
        read_result(found.stdout, found.stderr, found.exit_code)
    assert caught.value.problem == f"benchmark_model failed: {words}"
    assert caught.value.recurs


@pytest.mark.parametrize(
    "line",
    [
        "ERROR: [litert/compiler/plugin/compiler_plugin.cc:80] Failed to compile model",  # for the NPU, which nobody asked for
        "I/Adreno: Unknown option -cl-fast",
        "ERROR: Unknown flag 0x40 of a driver",
    ],
)
def test_errors_that_a_good_run_may_print_do_not_fail_it(line: str):
    log = next(each for each in LOGS if each.name == "litert2_no_warmup")
    assert attempt(log.stdout, f"{line}\n{log.stderr}") == log.expected


def test_an_abort_that_only_the_exit_code_shows_is_told_by_its_error():
    with pytest.raises(ToolOutputError, match=r"failed: No such signature\.") as caught:
        read_result("INFO: STARTING!\n", "ERROR: No such signature.\n", 134)
    assert (caught.value.reason, caught.value.recurs) == ("failed", True)


def test_the_page_explains_every_reason():
    rows = re.findall(r"^\| `([a-z ]+)` \| .+ \| .+ \|$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert rows == list(NEXT_STEPS)


def test_figures_say_how_finely_they_are_printed():
    """Single runs in whole microseconds; LiteRT's own tool, in its summary, in hundredths of a millisecond."""
    whole = figures(read_result(text_of("recorded_litert2.2.0_threads1_runs50_warm5"), "", 0))
    assert (whole.resolution_ms, whole.mean_resolution_ms) == (0.001, 0.0)
    lines = ["Inference (avg):      0.13 ms (50 runs)", "Inference (min):      0.12 ms", "Inference (max):      0.14 ms"]
    summary = figures(read_result("\n".join([*lines, "Inference (std):      0.00", ""]), "", 0))
    assert (summary.resolution_ms, summary.mean_resolution_ms) == (0.01, 0.01)
