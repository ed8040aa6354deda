"""`spnas doctor`: what is installed and whether it works, found by looking at real packages, some of them broken on purpose."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from json_page import schemas
from jsonschema import Draft202012Validator

from profiling import extras
from profiling.errors import MissingExtraError
from profiling.extras import Package
from spnas_cli import doctor

PROJECT = Path(doctor.__file__).parent.parent


def distribution(folder: Path, name: str, version: str, code: str | None = "", requires: tuple[str, ...] = ()) -> None:
    """A package as pip leaves it: its metadata, and a module of that name unless `code` is None."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {each}" for each in requires)]
    (info / "METADATA").write_text("\n".join(["Metadata-Version: 2.4", *lines, ""]))
    if code is not None:
        (folder / f"{name.replace('-', '_')}.py").write_text(code)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The distribution spnas with extras of its own, and packages that are found before those of this environment."""
    packages = ("good-one", "fails", "crashes", "old>=2", "absent", "spnas-renamed")
    needs = [f'{name}; extra == "search"' for name in packages]
    needs += ['spnas[search]; extra == "export"', 'elsewhere; extra == "export" and sys_platform == "plan9"', "click"]
    distribution(tmp_path, "spnas", "0.1.0", None, tuple(needs))
    distribution(tmp_path, "good-one", "1.0", "x = 1")
    distribution(tmp_path, "fails", "1.0", "raise RuntimeError('operator nms does not exist')")
    distribution(tmp_path, "crashes", "1.0", "import os; os.abort()")
    distribution(tmp_path, "old", "1.5")
    (tmp_path / "spnas_renamed.py").touch()  # as tensorflow is there where tensorflow-cpu is installed
    monkeypatch.syspath_prepend(tmp_path)
    path = os.pathsep.join([str(tmp_path), str(PROJECT), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    return tmp_path


def run(*words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "spnas_cli", "doctor", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **(env or {})}, timeout=120)


def test_an_extra_has_the_packages_of_those_it_contains_and_those_of_this_system(installed):
    assert [each.name for each in extras.packages("export")] == [each.name for each in extras.packages("search")]
    assert [each.name for each in extras.packages("core")] == ["click"]


def test_a_missing_package_is_named_with_the_command_that_installs_it(installed):
    with pytest.raises(MissingExtraError) as caught:
        extras.require("search")
    assert str(caught.value) == "absent is not installed; to install what this needs: pip install 'spnas[search]'"
    error = extras.missing_extra(ModuleNotFoundError(name="absent.inner"))
    assert str(error) == str(caught.value)
    assert extras.missing_extra(ModuleNotFoundError(name="good_one.inner")) is None  # it is there, and lacks something itself


@pytest.mark.parametrize(
    ("wanted", "version", "fits"), [(">=2", "2.13.0+cpu", True), (">=2", "3.0rc1", True), (">=2", "1.9", False)]
)
def test_whether_a_version_will_do(wanted, version, fits):
    assert Package("some", wanted, version).fits is fits


def test_doctor_says_what_is_missing_what_is_broken_and_what_to_do(installed, tmp_path):
    cache = tmp_path / "cache" / "spnas" / "tflite"
    cache.mkdir(parents=True)
    (cache / "x.tflite").write_bytes(bytes(1_500_000))
    done = run(env={"XDG_CACHE_HOME": str(tmp_path / "cache")})
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    said = " ".join(done.stdout.split())
    for words in (
        "search broken data, init, search, train, evaluate",
        "fails: RuntimeError: operator nms does not exist install it again: pip install --force-reinstall 'fails'",
        "crashes: importing it ends the process (SIGABRT)",
        "old: version 1.5 is installed, >=2 is needed install it again: pip install --force-reinstall 'old>=2'",
        "(absent not installed) pip install 'spnas[search]'",
        f"{cache} 1.5",
    ):
        assert words in said
    assert "spnas-renamed:" not in said
    assert "good-one:" not in said


def test_doctor_for_machines_and_with_nothing_wrong(tmp_path):
    done = run("--json", env={"XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(PROJECT)})
    found = json.loads(done.stdout)
    assert done.returncode == 0, found["advice"]
    assert [part["extra"] for part in found["installed"]] == list(extras.PURPOSES)
    assert "host" in [device["name"] for device in found["devices"]]
    assert found["system"]["training_on"] in ("cpu", "cuda", "mps", "xpu")
    assert found["caches"] == []
    assert not any(each["broken"] for each in found["advice"])
    Draft202012Validator(schemas()["doctor"]).validate(found)


def test_a_package_of_the_same_name_in_the_way_is_reported(installed, tmp_path):
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "__init__.py").touch()
    done = run()
    assert done.returncode == 1
    assert f"the package search of spnas is hidden by another one, {tmp_path / 'search'}" in " ".join(done.stdout.split())


def test_a_cache_that_cannot_be_written_is_broken(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    core = doctor.Installed("core", "everything", [Package("click", ">=8", "8.1")], {})
    (advice,) = doctor.advise([core], [])
    assert advice.broken
    assert "XDG_CACHE_HOME" in advice.advice


def test_without_metadata_nothing_is_called_ready(monkeypatch):
    monkeypatch.setattr(extras, "DISTRIBUTION", "spnas-as-nobody-installed-it")
    extras.require("search")  # it may be there
    core = doctor.Installed("core", "everything", extras.packages("core"), {})
    assert core.state == "unknown"
    assert "spnas runs from a folder" in next(doctor.advise([core], [])).problem


def test_a_variable_of_adb_that_makes_no_sense_is_one_of_the_findings(monkeypatch):
    monkeypatch.setenv("ADB_SERVER_SOCKET", "garbage")
    _, _, (advice,) = doctor.look_for_devices()
    assert advice.broken
    assert "ADB_SERVER_SOCKET" in advice.problem
    assert "unset" in advice.advice
