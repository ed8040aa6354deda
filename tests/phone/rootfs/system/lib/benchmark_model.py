"""benchmark_model of the test phone: the flags and the text of Google's tool (LiteRT 2.2), around a LiteRT that really runs.

Called as `benchmark_model.py NAME --flag=value...`, NAME being what the launcher was called.
"""

import io
import math
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

FLAGS = {
    "num_runs": (50, "Min num runs"),
    "min_secs": (1.0, "Min runs duration (seconds)"),
    "max_secs": (150.0, "Max runs duration (seconds)"),
    "run_delay": (-1.0, "Inter-run delay (seconds)"),
    "num_threads": (-1, "Num threads"),
    "warmup_runs": (1, "Min warmup runs"),
    "warmup_min_secs": (0.5, "Min warmup runs duration (seconds)"),
    "graph": ("", "Graph"),
    "signature_to_run_for": ("", "Signature to run"),
    "enable_op_profiling": (False, "Enable op profiling"),
    "use_xnnpack": (True, "Use xnnpack"),
    "use_gpu": (False, "Use gpu"),
    "use_nnapi": (False, "Use NNAPI"),
    "require_full_delegation": (False, "Require full delegation"),
    "verbose": (False, "Log parameter values verbosely"),
    "help": (False, "Help"),
}
FAULT, GO = Path("/phone/fault"), Path("/phone/go")
HEAT = Path("/phone/heat")
POLICIES = Path("/sys/devices/system/cpu/cpufreq")
STARTS, MODELS = Path("/phone/starts"), Path("/phone/models")
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # numpy only fills the input; its threads would be noise


class Fault:
    """What the test ordered to go wrong: a line `KIND [ARGUMENT] [xTIMES]` in /phone/fault."""

    def __init__(self) -> None:
        words = FAULT.read_text().split() if FAULT.exists() else []
        if words and words[-1].startswith("x"):
            left = int(words.pop()[1:]) - 1
            FAULT.write_text(f"{' '.join(words)} x{left}\n") if left else FAULT.unlink()
        self.kind = words[0] if words else ""
        self.argument = " ".join(words[1:])


class Heat:
    """A phone that slows down while it works and recovers while it rests, as `/phone/heat` says: SLOWDOWN SECONDS [LEVEL SINCE].

    Work moves the level towards 1, rest towards 0, with that time constant; at 1, the clock is lower by the slowdown. Nothing
    reports it but the clock itself. So that what a run takes is that of this phone and not of the machine below it, every run
    takes COOL_S on the cool phone.
    """

    COOL_S = 0.001

    def __init__(self) -> None:
        words = [float(word) for word in HEAT.read_text().split()] if HEAT.exists() else [0.0, 1.0]
        self.slowdown, self.seconds, level, since = [*words, 0.0, time.time()][:4]
        self.level = level * math.exp(-max(0.0, time.time() - since) / self.seconds)
        self.worked_until, self.shown, self.owed = time.monotonic(), 0.0, 0.0

    def took(self, seconds: float) -> float:
        """What a run takes that took so many seconds on the machine."""
        if not self.slowdown:
            return seconds
        slower = self.COOL_S / (1 - self.slowdown * self.level)
        self.owed += slower - seconds
        if self.owed > 0.005:  # no shorter sleep keeps its time
            time.sleep(self.owed)
            self.owed = 0.0
        passed, self.worked_until = time.monotonic() - self.worked_until, time.monotonic()
        self.level = 1 - (1 - self.level) * math.exp(-passed / self.seconds)
        if time.monotonic() - self.shown > 0.02:
            self.show()
        return slower

    def show(self) -> None:
        self.shown = time.monotonic()
        for policy in POLICIES.glob("policy*"):
            highest = int((policy / "cpuinfo_max_freq").read_text())
            (policy / "scaling_cur_freq").write_text(f"{highest * (1 - self.slowdown * self.level):.0f}\n")
        HEAT.write_text(f"{self.slowdown} {self.seconds} {self.level} {time.time()}\n")


def say(text: str) -> None:
    print(text, flush=False)


def fail(*lines: str) -> None:
    sys.stdout.flush()
    for line in (*lines, "Benchmarking failed."):
        print(f"ERROR: {line}", file=sys.stderr)
    sys.exit(1)


def parse(arguments: list[str]) -> tuple[dict[str, object], list[str], list[str]]:
    """Values of all flags, the names that were given, and what no flag consumed."""
    values: dict[str, object] = {name: default for name, (default, _) in FLAGS.items()}
    given, unconsumed = [], []
    for argument in arguments:
        name, _, text = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or name not in FLAGS:
            unconsumed.append(argument)
            continue
        kind = type(FLAGS[name][0])
        values[name] = text in ("true", "1", "") if kind is bool else kind(text)
        given.append(name)
    return values, given, unconsumed


def stats(times: list[int]) -> str:
    """The `count=` line over times in microseconds."""
    ordered = sorted(times)
    p5, median, p95 = (ordered[min(len(ordered) - 1, int(len(ordered) * q))] for q in (0.05, 0.5, 0.95))
    percentiles = f"p5={p5} median={median} p95={p95}"
    if len(times) == 1:
        return f"count=1 curr={times[0]} {percentiles}"
    if ordered[0] == ordered[-1]:
        return f"count={len(times)} curr={times[-1]}(all same) {percentiles}"
    mean = sum(times) / len(times)
    deviation = int((sum((t - mean) ** 2 for t in times) / len(times)) ** 0.5)
    return (
        f"count={len(times)} first={times[0]} curr={times[-1]} min={ordered[0]} max={ordered[-1]} "
        f"avg={mean:.6g} std={deviation} {percentiles}"
    )


def act(moment: str) -> None:
    """Runs what the test ordered for this moment of the run: a shell script, once or always, with this process as $PID."""
    script = Path(f"/phone/on_{moment}")
    if script.exists():
        text = script.read_text()
        subprocess.run(["/system/bin/sh", "-c", text], env=os.environ | {"PID": str(os.getpid())}, check=True)
        if text.startswith("# once"):
            script.unlink()


def invoke_repeatedly(invoke, runs: int, min_seconds: float, max_seconds: float, delay: float, fault: Fault) -> list[int]:
    say(
        f"INFO: Running benchmark for at least {runs} iterations and at least {min_seconds:g} seconds "
        f"but terminate if exceeding {max_seconds:g} seconds."
    )
    times: list[int] = []
    heat = Heat()
    begin = time.perf_counter()
    while True:
        elapsed = time.perf_counter() - begin
        if (len(times) >= runs and elapsed >= min_seconds) or elapsed > max_seconds:
            break
        start = time.perf_counter_ns()
        invoke()
        took = heat.took((time.perf_counter_ns() - start) / 1e9)
        times.append(int(fault.argument) if fault.kind == "equal" else int(took * 1e6))
        if delay > 0:
            time.sleep(delay)
    if heat.slowdown:
        heat.show()
    say(f"INFO: {stats(times)}\n")
    return times


def megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def print_help(tool: str) -> None:
    sys.stdout.flush()
    print(f"ERROR: usage: {tool} <flags>\nFlags:", file=sys.stderr)
    for name, (default, text) in FLAGS.items():
        print(f"\t--{name}={default}\t{type(default).__name__}\toptional\t{text}", file=sys.stderr)
    sys.exit(1)


def say_flags(values: dict[str, object], given: list[str], unconsumed: list[str]) -> None:
    if unconsumed:
        say(f"WARN: Unconsumed cmdline flags: {' '.join(unconsumed)}")
    say(f"INFO: Log parameter values verbosely: [{int(values['verbose'])}]")
    for name in FLAGS:
        if name in given and name != "verbose":
            value = values[name]
            say(f"INFO: {FLAGS[name][1]}: [{value if isinstance(value, str) else f'{value:g}'}]")


def find_model(values: dict[str, object]) -> Path:
    graph = Path(str(values["graph"]))
    if not graph.is_file():
        fail(f"Could not open '{graph}'.", "The model allocation is null/empty", f"Failed to load model {graph}")
    say(f"INFO: Loaded model {graph}")
    return graph


def say_delegates(values: dict[str, object], fault: Fault) -> None:
    if values["use_gpu"]:
        say(
            "WARN: The GPU delegate compile options are only supported on Android or iOS platforms "
            "or when the tool was built with -DCL_DELEGATE_NO_GL."
        )
    if values["use_nnapi"]:
        say("WARN: NNAPI acceleration is unsupported on this platform.")
    accelerated = values["use_gpu"] or values["use_nnapi"]
    if accelerated and values["require_full_delegation"]:
        fail("Disallowed CPU fallback detected.")
    if fault.kind == "fallback":
        say(
            f"INFO: Though {fault.argument} delegate is explicitly applied, the model graph will not be executed by the delegate."
        )


def load(graph: Path, values: dict[str, object]):
    """The interpreter with its inputs filled, and how long that took in microseconds."""
    sys.path.insert(0, "/system/lib/python")
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    begin = time.perf_counter()
    resolver = OpResolverType.AUTO if values["use_xnnpack"] else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    threads = None if int(values["num_threads"]) < 0 else int(values["num_threads"])
    try:
        interpreter = Interpreter(str(graph), num_threads=threads, experimental_op_resolver_type=resolver)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        fail(str(error).replace("\n", " "), "Failed to initialize the interpreter")
    import numpy

    random = numpy.random.default_rng(0)
    for tensor in interpreter.get_input_details():
        floating = numpy.issubdtype(tensor["dtype"], numpy.floating)
        data = random.random(tensor["shape"]) - 0.5 if floating else random.integers(0, 127, tensor["shape"])
        interpreter.set_tensor(tensor["index"], data.astype(tensor["dtype"]))
    initialised = int((time.perf_counter() - begin) * 1e6)
    say(f"INFO: The input model file size (MB): {graph.stat().st_size / 1e6:g}")
    say(f"INFO: Initialized session in {initialised / 1000:g}ms.")
    return interpreter, initialised


def fail_once_loaded(fault: Fault) -> None:
    if fault.kind in ("signal", "hang", "abort"):
        sys.stdout.flush()
    if fault.kind == "abort":
        print(f"ERROR: [litert/tools/benchmark_litert_model.cc:47] {fault.argument}", file=sys.stderr, flush=True)
        os.abort()
    if fault.kind == "signal":
        os.kill(os.getpid(), getattr(signal, f"SIG{fault.argument}"))
    if fault.kind == "hang":
        time.sleep(3600)
    if fault.kind == "refuse":
        fail(fault.argument)
    while fault.kind == "wait" and not GO.exists():
        time.sleep(0.02)


def measure(interpreter, initialised: int, values: dict[str, object], fault: Fault) -> None:
    longest, delay = float(values["max_secs"]), float(values["run_delay"])
    warmup = invoke_repeatedly(
        interpreter.invoke, int(values["warmup_runs"]), float(values["warmup_min_secs"]), longest, -1, fault
    )
    act("start")
    timed = invoke_repeatedly(interpreter.invoke, int(values["num_runs"]), float(values["min_secs"]), longest, delay, fault)
    act("end")
    say(
        f"INFO: Inference timings in us: Init: {initialised}, First inference: {warmup[0]}, "
        f"Warmup (avg): {sum(warmup) / len(warmup):.6g}, Inference (avg): {sum(timed) / len(timed):.6g}"
    )


def main(tool: str, arguments: list[str]) -> None:
    fault = Fault()
    with STARTS.open("a") as starts:
        starts.write(".")
    if fault.kind == "library":
        print(f'CANNOT LINK EXECUTABLE "{tool}": library "libfault.so" not found: needed by main executable', file=sys.stderr)
        sys.exit(1)
    if fault.kind == "truncate":
        sys.stdout = io.StringIO()
    say("INFO: STARTING!")
    values, given, unconsumed = parse(arguments)
    with MODELS.open("a") as models:
        print(Path(str(values["graph"])).name, file=models)
    if values["help"]:
        print_help(tool)
    say_flags(values, given, unconsumed)
    graph = find_model(values)
    say_delegates(values, fault)

    before = megabytes()
    interpreter, initialised = load(graph, values)
    fail_once_loaded(fault)
    measure(interpreter, initialised, values, fault)
    say(
        "INFO: Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE to the actual "
        "memory footprint of the model at runtime. Take the information at your discretion."
    )
    grown = f"{megabytes() - before:g}"
    say(f"INFO: Memory footprint delta from the start of the tool (MB): init={grown} overall={grown}")
    if fault.kind == "fail_late":
        fail("Failed to invoke!")
    if fault.kind == "noise":
        print("X" * int(fault.argument), file=sys.stderr)

    if fault.kind == "truncate":
        kept = sys.stdout.getvalue()[: int(fault.argument)]
        sys.stdout = sys.__stdout__
        sys.stdout.write(kept)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
