"""Figures that cannot be: more work a second than the cores can do, and the same time for a hundred times the work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from profiling.conditions import Delegate
from profiling.device import BuiltModel, RunResult, RunSettings
from profiling.errors import MeasurementError, ToolOutputError
from profiling.host.host import HostDevice
from profiling.layers import MBConv
from profiling.measurement import DeviceState, Figures
from profiling.models.builder import TfliteBuilder
from profiling.network import NetworkSpec
from profiling.plausibility import ACCELERATORS, has_matrix_unit, most_per_second, refuse_impossible
from profiling.session import Session
from profiling.visit_plan import VisitPlan
from profiling.visits import Visits

PIXEL = [1_803_000.0] * 4 + [2_850_000.0] * 4


def figures(ms: float, **options: float) -> Figures:
    return Figures(count=15, mean_ms=ms, min_ms=ms, max_ms=ms, std_ms=0, **options)


def model(multiply_adds: int | None) -> BuiltModel:
    return BuiltModel("model", Path("unused"), "0", 1, multiply_adds)


def most(clocks: list[float | None] = PIXEL, *, matrix_unit: bool = False, **settings: object) -> float:
    return most_per_second(RunSettings(**settings), clocks, matrix_unit=matrix_unit)  # type: ignore[arg-type]


class TestBound:
    def test_times_in_another_unit_are_refused_with_the_reason(self) -> None:
        with pytest.raises(ToolOutputError) as caught:
            refuse_impossible(model(300_000_000), figures(0.0795), most())
        assert (caught.value.reason, caught.value.where) == ("impossible", "model")
        assert str(caught.value).startswith(
            "model: 300 million multiply-adds in 0.0795 ms would be 3,774 billion a second; this device does fewer "
            "than 182 billion"
        )
        assert "--benchmark-tool" in str(caught.value.hint)

    def test_what_the_fastest_known_cores_do_is_possible(self) -> None:
        """Peaks by the makers: of an Arm Cortex-X925 at 3.62 GHz, and of two AVX-512 units at 5 GHz, in fp32 and in int8."""
        for clock_khz, fp32, int8 in ((3_620_000, 24, 192), (5_000_000, 32, 128)):
            for precision, per_cycle in (("fp32", fp32), ("int8", int8)):
                a_second = clock_khz * 1000 * per_cycle
                refuse_impossible(model(10**9), figures(1e12 / a_second), most([clock_khz], precision=precision))

    def test_more_threads_and_matrix_units_can_do_more(self) -> None:
        assert most(threads=4) == 4 * most()
        assert most([2_850_000.0], threads=4) == most([2_850_000.0]), "as many as there are cores"
        assert most(matrix_unit=True) >= 8 * most()

    def test_clocks_that_nobody_knows_are_taken_as_high(self) -> None:
        assert most([None]) > most()
        assert most([]) == most([None])

    def test_an_accelerator_has_its_own_bound(self) -> None:
        refuse_impossible(model(300_000_000), figures(0.15), most(delegate="gpu"))
        with pytest.raises(ToolOutputError):
            refuse_impossible(model(300_000_000), figures(0.001), most(delegate="gpu"))
        assert set(ACCELERATORS) == {*get_args(Delegate)} - {"xnnpack", "none"}

    def test_a_coarse_grid_has_the_benefit_of_the_doubt(self) -> None:
        refuse_impossible(model(300_000), figures(0.001, mean_resolution_ms=0.01, resolution_ms=0.01), most())

    def test_work_that_nobody_counted_is_not_judged(self) -> None:
        refuse_impossible(model(None), figures(1e-9), 1.0)

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("Features\t: fp asimd sve2 sme sme2\n", True),
            ("Features\t: fp asimd asimddp i8mm\n", False),
            ("flags\t\t: fpu smep avx512f amx_tile amx_int8\n", True),
            ("flags\t\t: fpu smep sme sev avx2\n", False),  # AMD's encryption of memory
        ],
    )
    def test_matrix_units_are_read_from_the_features(self, text: str, found: bool) -> None:
        assert has_matrix_unit(f"processor\t: 0\n{text}") is found

    def test_this_machine_is_within_its_own_bound_and_refuses_what_is_beyond(self, builder: TfliteBuilder) -> None:
        network = NetworkSpec.of(MBConv(56, 24, 24, 1, 3, 6, True))
        [built] = builder.build([network], "fp32").values()
        assert built.multiply_adds == network.multiply_adds
        device, settings = HostDevice(), RunSettings(runs=5, min_seconds=0, warmup_runs=1, warmup_seconds=0)
        device.run(built, settings)
        with pytest.raises(ToolOutputError, match="billion a second") as caught:
            device.run(replace(built, multiply_adds=10**15), settings)
        assert caught.value.state is not None


class Timed:
    """Takes what `times` says, in ms, and its supply builds nothing."""

    name = "timed"

    def __init__(self, times: dict[str, float]) -> None:
        self.times = times

    def run(self, model: BuiltModel, settings: RunSettings) -> RunResult:
        return RunResult(figures(self.times[model.key]), "", DeviceState())

    def expect(self, keys: object) -> None:
        """Nothing to do."""

    def __getitem__(self, key: str) -> BuiltModel:
        return BuiltModel(key, Path("unused"), "0", 1)


def measured(times: dict[str, float], work: dict[str, int], made: Visits | None = None, delegate: Delegate = "xnnpack"):
    device = Timed(times)
    plan = VisitPlan(list(times), visits=2, seed=0, made=made, work=work)
    return list(Session(device, device, RunSettings(delegate=delegate), sleep=lambda seconds: None).measure(plan))  # type: ignore[arg-type]


LAYERS = {f"layer-{index}": 1_000_000 + index for index in range(6)}
NETWORKS = {f"network-{index}": 300_000_000 + index for index in range(6)}
WORK = LAYERS | NETWORKS


class TestEqualTimes:
    def test_the_time_of_the_start_alone_ends_the_session_with_the_reason(self) -> None:
        with pytest.raises(
            MeasurementError, match=r"5 models in a row could not be measured, the last one: .* million"
        ) as caught:
            measured(dict.fromkeys(WORK, 0.3), WORK, delegate="gpu")
        assert "million multiply-adds took 0.3 ms, as long as" in caught.value.problem

    def test_what_an_earlier_run_measured_counts(self) -> None:
        """Or the same command again would fill the table."""
        before = measured(dict.fromkeys(LAYERS, 0.3), LAYERS)
        with pytest.raises(MeasurementError, match=r"million multiply-adds took 0.3 ms, as long as"):
            measured(dict.fromkeys(WORK, 0.3), WORK, Visits(before))

    def test_the_one_with_less_work_is_refused_too_and_keeps_its_reason(self) -> None:
        networks = measured(dict.fromkeys(NETWORKS, 0.3), NETWORKS)
        times = {**dict.fromkeys(NETWORKS, 0.3), "layer-0": 0.5}
        failed = [one for one in measured(times, WORK, Visits(networks)) if one.model == "layer-0"]
        assert {(one.status, one.reason, one.figures) for one in failed} == {("failed", "impossible", None)}
        assert "1 million multiply-adds took 0.5 ms, as long as 300 million multiply-adds did in network-" in failed[0].output

    def test_times_that_follow_the_work_pass_also_where_starting_takes_most(self) -> None:
        """A network is launched as 22 layers are, and does not take a hundred times one of them."""
        times = dict.fromkeys(LAYERS, 0.3) | dict.fromkeys(NETWORKS, 0.6)
        assert {one.status for one in measured(times, WORK, delegate="gpu")} == {"ok"}

    def test_models_with_so_little_work_that_all_take_what_starting_takes_pass(self) -> None:
        work = {"stem": 400, "layer": 40_000}
        assert {one.status for one in measured(dict.fromkeys(work, 0.002), work)} == {"ok"}
