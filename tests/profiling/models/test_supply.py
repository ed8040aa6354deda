"""Models on their way: in order, while a phone measures, and before this machine is measured.

The conversions here are promises that the test keeps when it wants; what they convert is the builder's matter.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import pytest
from waiting import until

from profiling.device import BuiltModel
from profiling.errors import ConversionError
from profiling.layers import Stem
from profiling.models.builder import TfliteBuilder
from profiling.models.supply import ModelSupply
from profiling.network import NetworkSpec

NETWORKS = {network.key: network for network in (NetworkSpec.of(Stem(16, 3, channels, 2, 3)) for channels in (8, 16, 24))}
FIRST, SECOND, THIRD = NETWORKS


class Promises(TfliteBuilder):
    """A builder whose conversions end when `finish` says so."""

    def __init__(self) -> None:
        super().__init__(Path("unused"))
        self.promised: dict[str, Future[BuiltModel]] = {}

    def start(self, networks, precision):
        new = {network.key: Future() for network in networks}
        self.promised |= new
        return new

    def finish(self, key: str) -> None:
        self.promised[key].set_result(BuiltModel(key, Path(key), "", 0))


class Receiver:
    """A device that only takes models."""

    def __init__(self, shares_cpu: bool) -> None:
        self.shares_cpu = shares_cpu
        self.pushed: list[set[str]] = []

    def push(self, models: list[BuiltModel]) -> None:
        self.pushed.append({model.key for model in models})


def supply(builder: Promises, device: Receiver, on_built: Callable[[int, int], None] = lambda done, total: None) -> ModelSupply:
    return ModelSupply(builder, device, NETWORKS, "fp32", on_built)  # type: ignore[arg-type]


def test_a_phone_waits_only_for_the_model_in_hand_and_gets_all_that_is_ready_with_it():
    builder, phone, reports = Promises(), Receiver(shares_cpu=False), []

    def on_built(done: int, total: int) -> None:
        reports.append((done, total))
        if len(reports) == 1:
            time.sleep(0.05)
            builder.finish(THIRD)

    models = supply(builder, phone, on_built)
    models.expect([THIRD, FIRST, SECOND])
    assert list(builder.promised) == [THIRD, FIRST, SECOND], "in the order in which they will be asked for"
    builder.finish(FIRST)
    assert models[THIRD].key == THIRD
    assert phone.pushed == [{THIRD, FIRST}]
    assert reports[0] == (1, 3), "whoever waits is told for what"
    assert models.waited_s >= 0.05
    told = len(reports)
    assert models[FIRST].key == FIRST
    assert len(reports) == told, "nothing was waited for"
    models.expect([SECOND, FIRST])
    assert list(builder.promised) == [THIRD, FIRST, SECOND], "nothing is asked for twice"


def test_on_this_machine_every_conversion_of_a_round_ends_before_its_first_measurement():
    builder, host, reports = Promises(), Receiver(shares_cpu=True), []
    models = supply(builder, host, lambda done, total: reports.append((done, total)))
    told = threading.Thread(target=models.expect, args=([FIRST, SECOND],))
    told.start()
    until(lambda: len(builder.promised) == 2)
    builder.finish(FIRST)
    until(lambda: (1, 2) in reports)
    assert told.is_alive()
    builder.finish(SECOND)
    told.join()
    assert models[SECOND].key == SECOND


def test_a_conversion_that_fails_is_told_at_the_next_model_whichever_that_is():
    builder = Promises()
    models = supply(builder, Receiver(shares_cpu=False))
    models.expect([FIRST, SECOND])
    builder.finish(FIRST)
    builder.promised[SECOND].set_exception(ConversionError("no such operator", where=SECOND))
    with pytest.raises(ConversionError, match="no such operator"):
        models[FIRST]
