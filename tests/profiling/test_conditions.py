"""What people have on their disks stays readable and keeps its identity, whatever a field is called in code."""

from __future__ import annotations

import json

import pytest

from profiling.conditions import Conditions
from profiling.device import DeviceSummary
from profiling.errors import InputError
from profiling.specfile import parse_spec

# As every release has written it. The digest identifies the campaigns of a database.
STORED = (
    '{"device":"phone-1","model":"Pixel 4","os_build":"build","soc":"chip","runtime":"LiteRT 2.3.0","tool":"tool 1",'
    '"threads":1,"cores":"f0","precision":"fp32","delegate":"xnnpack"}'
)
DIGEST = "417ec393c44a3fd0"


def test_stored_conditions_are_read_and_written_byte_for_byte_with_their_digest() -> None:
    read = Conditions.model_validate_json(STORED)
    made = Conditions(
        device="phone-1", product="Pixel 4", os_build="build", soc="chip", runtime="LiteRT 2.3.0", tool="tool 1",
        threads=1, cores="f0", precision="fp32", delegate="xnnpack",
    )  # fmt: skip
    assert read == made
    assert read.product == "Pixel 4"
    assert made.model_dump_json() == STORED
    assert made.model_dump() == json.loads(STORED)
    assert made.digest == DIGEST


def test_differences_have_the_names_that_files_have() -> None:
    first = Conditions.model_validate_json(STORED)
    assert first.differences(first.model_copy(update={"product": "Pixel 6"})) == {"model": ("Pixel 4", "Pixel 6")}


def test_a_file_has_one_name_for_each_field() -> None:
    with pytest.raises(InputError, match="unknown field product; allowed fields: device, model, os_build"):
        parse_spec(STORED.replace("model", "product"), Conditions, where="table.json", is_json=True)


def test_the_summary_of_a_device_is_printed_as_before() -> None:
    summary = DeviceSummary(name="phone-1", product="Pixel 4", soc="chip", state="ready", cores="8 at 1800 MHz")
    assert summary.model_dump() == {
        "name": "phone-1", "model": "Pixel 4", "soc": "chip", "state": "ready", "cores": "8 at 1800 MHz",
        "temperature_c": None, "missing": None,
    }  # fmt: skip
