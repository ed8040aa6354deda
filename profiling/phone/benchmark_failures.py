"""Failures of `benchmark_model`, recognised by its output and exit code, each with the next step."""

from __future__ import annotations

import re

from profiling.conditions import Delegate
from profiling.errors import ToolOutputError

# Every reason for which an output holds no valid result, with the next step. docs/benchmark-model.md explains each.
NEXT_STEPS = {
    "not found": "the tool is no longer on the device; run again to push it again",
    "no taskset": "this system cannot keep a process on some of its cores: use --cores any",
    "page size": "use another build of benchmark_model, linked for pages of 16 KiB; a static one is no remedy by itself",
    "not executable": "the device forbids it: a mount without exec, SELinux (see `adb logcat` for avc: denied) or a managed user",
    "wrong architecture": "use the benchmark_model built for the device's ABI",
    "missing library": "use a statically linked benchmark_model, such as the official ones",
    "core mask": "choose other cores with --cores; the requested ones do not exist or are offline",
    "unsupported operation": "the tool is older than the model: use a newer benchmark_model",
    "model refused": "the model on the device is missing or damaged, or too large for its memory; run again to push it again",
    "delegate refused": "choose another --delegate; this one cannot run the model on this device",
    "fallback": "choose another --delegate, or use a benchmark_model built with this one",
    "invocation failed": "choose another --delegate or another version of the tool",
    "usage": "use another version of benchmark_model: this one does not know the flags",
    "illegal instruction": "use another version of benchmark_model, or another --delegate: the CPU lacks instructions it uses",
    "killed": "the device ran out of memory or ended the process: close apps, or measure a smaller model",
    "stopped": "run again; the process was ended from outside",
    "crash": "run again; if it happens again, use another version of the tool or another --delegate",
    "failed": "choose another --delegate or version of the tool, or run it by hand with `adb shell` to see its full output",
    "truncated": "run again; the output arrived incomplete",
    "no runs": "ask for at least one run with --runs",
    "contradiction": "run again; the output mixes several runs or lost lines on its way",
    "implausible": "run again; these figures cannot come from real runs",
    "incomplete": "keep the whole output of the tool, not only its summary",
}
# Another try may succeed after these; all others recur.
_MAY_PASS = {"killed", "stopped", "crash", "truncated", "contradiction", "implausible"}

# By their numbers on Linux; every signal that is not here is a crash.
_SIGNALS = {1: "stopped", 2: "stopped", 4: "illegal instruction", 9: "killed", 15: "stopped"}
# How a shell reports a signal: at the start of a line, or behind "bash: line 1: 4711 "; alone, or before the command, set apart.
# Other output begins like this too: "Killed process of another app".
_SHELL = r"(?im)^(?:\S+: line \d+: +\d+ |zsh: )?(?:{})(?=\s*$|\s+\(core dumped\)|\s\s+\S|\s\S*/)"
# What shows that a run failed, whatever figures stand beside it; root causes before what follows from them. The word "error" is
# no sign: good runs print "Error in cpuinfo", "nnapi error: unable to open library", and the like.
_SIGNS = tuple(
    (reason, re.compile(sign))
    for reason, sign in (
        # Of the program that starts the tool, in the words of several shells; "taskset: exec FILE: ..." is about the tool.
        (
            "no taskset",
            r"(?m)(?:^|[\s:])taskset: (?:(?:inaccessible or |command |applet )?not found|(?:can't execute: )?Permission denied)"
            r"|command not found: taskset|Unknown command taskset|[‘']taskset[’']: No such file",
        ),
        ("page size", r"program alignment \(\d+\) cannot be smaller than system page size"),
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
        ("usage", r"usage: \S+ <flags>|Failed to parse flag|Unknown command line flag '|: unrecognized option '--"),
        ("illegal instruction", _SHELL.format("illegal instruction")),
        ("killed", _SHELL.format("killed")),
        ("stopped", _SHELL.format("terminated|hangup|interrupt")),
        ("crash", _SHELL.format("segmentation fault|aborted|abort|bus error|floating point exception|bad system call")),
        ("crash", r"\bFatal signal \d+"),
        ("failed", r"Benchmarking failed\.|\bFATAL: "),
    )
)

_ABORT = 6
# An error in the words of the tool, of logcat or of abseil, without its severity and source file.
_ERROR = re.compile(
    r"(?m)^(?:(?:.*\s)?(?:ERROR|FATAL|E/\w+\s*\(\s*\d+\)|[EF] \w+ *): |[EF]\d{4} [^]\n]*\] )"
    r"(?:\[[^]\n]*\] ?)?(?P<words>\S.*?)\s*$"
)
# An abort that a heap in disorder or a lack of memory causes may pass.
_BAD_HEAP = re.compile(r"(?i)scudo|bad_alloc|corrupt|out of memory|double free")
_NOT_COMPILED = "Failed to compile model"
_SUMS_UP = re.compile(r"Benchmarking failed\.")
_UNKNOWN_FLAGS = re.compile(r"Unconsumed cmdline flags: (.*\S)")
# LiteRT's own tool has XNNPACK in its CPU accelerator, and TFLite's has no such accelerator.
_NEEDLESS_FLAGS = ("--use_xnnpack=true", "--use_cpu=false")
_DELEGATE_FLAG = re.compile(r"--use_(?:gpu|nnapi|npu)=true")

_XNNPACK_RAN = re.compile(
    r"Created TensorFlow Lite XNNPACK delegate|Explicitly applied XNNPACK delegate|delegate \(TfLiteXNNPackDelegate\)"
)
_XNNPACK_GAVE_UP = re.compile(
    r"Though XNNPACK delegate is explicitly applied|Failed to apply the default TensorFlow Lite delegate"
)
# What the tool and the runtime call a delegate that is not the CPU. One of them must say that it took the whole graph.
_ACCELERATORS: dict[Delegate, tuple[str, str]] = {"gpu": ("GPU", "TfLiteGpu|LITERT_"), "nnapi": ("NNAPI", "TfLiteNnapi")}
_WHOLE_GRAPH = {
    name: re.compile(
        rf"pplied {label} delegate(?:\.|, and the model (?:graph )?will be completely)"
        rf"|Replacing (\d+) out of \1 node\(s\) with delegate \((?:{kernels})\w*\)"
    )
    for name, (label, kernels) in _ACCELERATORS.items()
}


def failure(reason: str, problem: str) -> ToolOutputError:
    """The error of this reason, one of `NEXT_STEPS`, with its next step."""
    return ToolOutputError(reason, problem, recurs=reason not in _MAY_PASS, hint=NEXT_STEPS[reason])


def refuse_failure(text: str, exit_code: int) -> None:
    """Refuses what a run printed that failed, whatever figures stand in it.

    Args:
        text: all that it printed.
        exit_code: as the shell gives it (128 + n for signal n), or negative for a signal.

    Raises:
        ToolOutputError: the run failed.
    """
    for reason, sign in _SIGNS:
        if found := sign.search(text):
            raise _failure_at(reason, text, found)
    if exit_code == 126:
        raise failure("not executable", "the shell may not execute benchmark_model (exit code 126)")
    if exit_code == 127:
        raise failure("not found", "the shell does not find benchmark_model (exit code 127)")
    number = -exit_code if exit_code < 0 else exit_code - 128
    if number == _ABORT and (errors := _errors(text)):
        raise failure("failed", f"benchmark_model failed: {errors[-1]}{_beside_unknown_flags(text)}")
    if 0 < number <= 64:
        raise failure(_SIGNALS.get(number, "crash"), f"benchmark_model was ended by signal {number}")
    if exit_code != 0:
        last_line = (text.strip().splitlines() or ["it printed nothing"])[-1].strip()[:200]
        raise failure("failed", f"benchmark_model ended with exit code {exit_code}: {last_line}")


def _failure_at(reason: str, text: str, found: re.Match[str]) -> ToolOutputError:
    """The error that a sign shows, in the words of the tool: where these say little, in those of the errors above."""
    line, errors = _line_around(text, found), _errors(text[: _line_start(text, found)])
    if error := _ERROR.match(line):
        line = error["words"]
    aborted = reason == "crash" and "abort" in found[0].lower()
    if errors and aborted:  # it gave up of its own accord, and will again
        reason, line = "failed", errors[-1]
    elif errors and _SUMS_UP.search(line):
        line = errors[-1]
        if _NOT_COMPILED in line:  # not a failure by itself: the CPU may take over where an accelerator cannot be used
            reason, line = "delegate refused", "; ".join(errors[-2:])
    unknown = _beside_unknown_flags(text)
    if _DELEGATE_FLAG.search(unknown):
        reason = "fallback"
    return failure(reason, f"benchmark_model failed: {line}{unknown}")


def _errors(text: str) -> list[str]:
    """What the tool printed as errors; nothing where they tell of a heap in disorder, for what follows from that is chance."""
    words = [found["words"] for found in _ERROR.finditer(text) if not _SUMS_UP.search(found[0])]
    return [] if _BAD_HEAP.search(text) else [each[:200] for each in words]


def unknown_flags(text: str) -> str:
    """The flags that the tool says it does not know, without those that only ask for what it does anyway."""
    found = _UNKNOWN_FLAGS.search(text)
    return " ".join(flag for flag in found[1].split() if flag not in _NEEDLESS_FLAGS)[:200] if found else ""


def _beside_unknown_flags(text: str) -> str:
    flags = unknown_flags(text)
    return f" (it does not know {flags})" if flags else ""


def _line_start(text: str, found: re.Match[str]) -> int:
    return text.rfind("\n", 0, found.end()) + 1


def _line_around(text: str, found: re.Match[str]) -> str:
    return text[_line_start(text, found) :].partition("\n")[0].strip()[:200]


def refuse_other_delegate(text: str, delegate: Delegate) -> None:
    """Refuses what a run printed that does not show that the delegate asked for did the work.

    The tool goes on without a delegate that it was not built with, or that takes nothing of the graph, and reports success.

    Raises:
        ToolOutputError: `fallback`.
    """
    xnnpack_ran, gave_up = _XNNPACK_RAN.search(text), _XNNPACK_GAVE_UP.search(text)
    if delegate == "none" and xnnpack_ran:
        raise failure("fallback", f"asked to run without a delegate, but XNNPACK ran: {_line_around(text, xnnpack_ran)}")
    if delegate == "xnnpack" and gave_up:
        raise failure("fallback", f"the delegate xnnpack did not run the model: {_line_around(text, gave_up)}")
    if (delegate == "xnnpack" and not xnnpack_ran) or (delegate in _WHOLE_GRAPH and not _WHOLE_GRAPH[delegate].search(text)):
        problem = f"nothing in the output shows that the delegate {delegate} ran the whole model"
        raise failure("fallback", problem + _beside_unknown_flags(text))
