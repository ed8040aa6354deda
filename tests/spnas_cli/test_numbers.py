"""Every number on every command line is finite and within bounds, and every seed that is accepted works."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from latency_db.published import published_table
from latency_db.runtime_model import RuntimeModel
from latency_db.sampling import networks_between
from profiling.draws import random_architectures
from profiling.space import load_space
from spnas_cli.main import cli
from spnas_cli.options import Count, Number, Seed

MADE = Path(__file__).parent.parent / "made_before"
BAD = ["nan", "-nan", "inf", "-inf", "infinity", "1e400", "-1e400", "9" * 5000, "-" + "9" * 400, "", "abc", "0x10", "1e", "--5"]
SEEDS = [-(2**63), -1, 0, 2**32, 2**63 - 1]


def numeric(command: click.Command = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Parameter]]:
    for parameter in command.params:
        if isinstance(parameter.type, click.types.IntParamType | click.types.FloatParamType):
            yield path, parameter
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            child = command.get_command(click.Context(command), name)
            assert child is not None
            yield from numeric(child, (*path, name))


NUMERIC = list(numeric())


def spnas(*arguments: str) -> str:
    result = CliRunner().invoke(cli, [*arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_there_are_numbers_in_most_commands():
    assert len(NUMERIC) > 50
    assert len({path for path, _ in NUMERIC}) >= 8


@pytest.mark.parametrize(("path", "parameter"), NUMERIC, ids=lambda value: getattr(value, "name", None) or " ".join(value))
def test_every_number_is_finite_and_bounded(path, parameter):
    kind, option = parameter.type, parameter.opts[-1]
    assert isinstance(kind, Count | Number | Seed)
    beyond = [2**63, -(2**63) - 1] if isinstance(kind, Seed) else [kind.min - 1, kind.max + 1]
    assert all(math.isfinite(bound) for bound in beyond)
    for word in [*BAD, *map(str, beyond)]:
        # As `--option=value`, so that a minus sign begins no option.
        given = [f"{option}={word}"] if parameter.nargs == 1 else [option, "1", word]
        refused = CliRunner().invoke(cli, [*path, *given])
        assert refused.exit_code == 2, (given[0][:50], refused.output)
        assert option in refused.stderr or "No such option" in refused.stderr
        assert max(map(len, refused.stderr.splitlines())) < 1000
        assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("form", ["--width={}", "--width=1.0,{}", "--top1=mine={}"])
@pytest.mark.parametrize("word", [*BAD, "-1", "17"])
def test_numbers_within_words_are_bounded_too(form, word):
    refused = CliRunner().invoke(cli, ["compare", form.format(word)])
    assert refused.exit_code == 2
    assert f"Invalid value for '{form.partition('=')[0]}'" in refused.stderr


def test_a_range_upside_down_is_refused():
    refused = CliRunner().invoke(cli, ["random", "--table", "pixel1", "--between", "80", "75", "-o", "nowhere"])
    assert refused.exit_code == 2
    assert "LOW must be below HIGH" in refused.stderr
    assert not Path("nowhere").exists()


@pytest.mark.parametrize("seed", SEEDS)
def test_every_seed_draws_networks(seed):
    model = RuntimeModel(published_table("pixel1"))
    assert next(networks_between(model, 75, 80, seed)).choices
    assert next(random_architectures(load_space("digits"), seed)).choices


@pytest.mark.parametrize("seed", [SEEDS[0], SEEDS[-1]])
def test_every_seed_trains_evaluates_and_exports(tmp_path, monkeypatch, seed):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(MADE / "run", "run")
    options = ["--data", "digits", f"--seed={seed}"]
    spnas("train", "run", *options, "--epochs", "1", "--batch-size", "512", "--recipe", "modern", "-o", "trained")
    assert f"seed: {seed}\n" in Path("trained/config.yaml").read_text()
    trained = json.loads(Path("trained/result.json").read_text())["top1"]
    assert json.loads(spnas("evaluate", "trained", *options, "--json"))["top1"] == pytest.approx(trained, abs=0.01)
    spnas("export", "trained", "--to", "onnx", f"--seed={seed}", "--check-images", "10")
