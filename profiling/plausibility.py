"""Whether a figure can be a latency: no processor does more multiply-adds a second than it has units for, and work takes time.

A tool that counts in other units, or times the start of the work instead of its end, as some paths to a GPU do, prints figures
that nothing else gives away.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from profiling.conditions import Delegate, Precision
from profiling.device import BuiltModel, RunSettings
from profiling.errors import ToolOutputError
from profiling.measurement import Figures
from profiling.visits import Visits

# Multiply-adds of one core in one cycle, as many as any core has: two units of 512 bits (AVX-512), or six of 128 bits, which for
# 8 bits multiply 2×8 by 8×2 matrices (Arm Cortex-X925).
PER_CYCLE: Mapping[Precision, int] = {"fp32": 32, "fp16": 64, "int8": 192}
# Cores with a unit for matrices (Arm SME, Intel AMX) do so many times as much.
MATRIX_UNIT = 16
# Some cores boost beyond the clock that they report.
BEYOND_CLOCK = 2
# Where the clock is not known: no core has a higher one.
HIGHEST_KHZ = 6_000_000
# Multiply-adds a second that no accelerator of a phone reaches: the largest GPUs have about 4e12, the largest NPUs 5e13.
ACCELERATORS: Mapping[Delegate, float] = {"gpu": 2e13, "nnapi": 2e14}

# Times that differ by less are the same.
SAME = 1.1
MORE_WORK = 100
# Models with less work than this may all take what starting takes: some µs on a CPU, some 100 µs on an accelerator.
LEAST_WORK, LEAST_WORK_ACCELERATED = 10**6, 10**7

_MATRIX_UNIT = re.compile(r"(?m)^(?:Features\s*:.*\bsme2?\b|flags\s*:.*\bamx_)")
_HINT = "these are no times of the work: use another --benchmark-tool or another --delegate"


def has_matrix_unit(cpuinfo: str) -> bool:
    """Whether cores have a unit for matrices, from `/proc/cpuinfo`."""
    return _MATRIX_UNIT.search(cpuinfo) is not None


def most_per_second(settings: RunSettings, clocks_khz: Sequence[float | None], *, matrix_unit: bool) -> float:
    """Multiply-adds a second that runs with these settings cannot exceed.

    Args:
        settings: of the runs.
        clocks_khz: the highest clock of each core that they may use, in kHz; None where it is unknown.
        matrix_unit: see `has_matrix_unit`.
    """
    if settings.delegate in ACCELERATORS:
        return ACCELERATORS[settings.delegate]
    fastest = sorted((khz or HIGHEST_KHZ for khz in clocks_khz), reverse=True) or [HIGHEST_KHZ] * settings.threads
    per_cycle = PER_CYCLE[settings.precision] * (MATRIX_UNIT if matrix_unit else 1) * BEYOND_CLOCK
    return sum(fastest[: settings.threads]) * 1000 * per_cycle


def refuse_impossible(model: BuiltModel, figures: Figures, most: float) -> None:
    """Refuses figures of a run that did more multiply-adds a second than `most`.

    Raises:
        ToolOutputError: `impossible`.
    """
    if model.multiply_adds is None:
        return
    ms = figures.fastest_ms + figures.fastest_resolution_ms
    a_second = model.multiply_adds / (ms / 1000)
    if a_second > most:
        raise ToolOutputError(
            "impossible",
            f"{_millions(model.multiply_adds)} in {figures.fastest_ms:.3g} ms would be {a_second / 1e9:,.0f} billion a second; "
            f"this device does fewer than {most / 1e9:,.0f} billion",
            where=model.key,
            hint=_HINT,
        )


def refuse_equal_times(key: str, figures: Figures, work: Mapping[str, int], made: Visits, delegate: Delegate) -> None:
    """Refuses figures of a model that took as long as another did with a hundredth of the work, or a hundred times the work.

    Args:
        key: of the model.
        figures: of its last run.
        work: multiply-adds by key, where they are known.
        made: the visits before that run.
        delegate: what ran the models.

    Raises:
        ToolOutputError: `impossible`.
    """
    if key not in work:
        return
    least = LEAST_WORK_ACCELERATED if delegate in ACCELERATORS else LEAST_WORK
    ms, mine = figures.fastest_ms + figures.fastest_resolution_ms, work[key]
    for other, its in work.items():
        less, more = sorted((mine, its))
        if more < max(least, MORE_WORK * less) or not made.count(other):
            continue
        other_ms = min(made.ms(other)) + made.resolution_ms(other)
        if (ms <= SAME * other_ms) if mine > its else (other_ms <= SAME * ms):
            raise ToolOutputError(
                "impossible",
                f"{_millions(mine)} took {ms:.3g} ms, as long as {_millions(its)} did in {other} ({other_ms:.3g} ms)",
                where=key,
                hint=_HINT,
            )


def _millions(multiply_adds: int) -> str:
    return f"{multiply_adds / 1e6:.3g} million multiply-adds"
