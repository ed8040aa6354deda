"""What the commands that measure have in common: options, the words of errors, and what is shown meanwhile."""

import json
import re

import click
import pytest
from click.testing import CliRunner

from latency_db import comparison, profile, validate
from latency_db.campaign import Outcome
from latency_db.table_files import load_table
from profiling import conditions
from profiling.adb.routes import Via
from profiling.device import RunSettings
from profiling.devices import PhoneOptions
from spnas_cli import measuring
from spnas_cli.main import cli

SPACE = """
name: tiny
resolution: 16
image_channels: 1
classes: 10
kernels: [3, 5]
expansions: [3, 6]
stem: {channels: 8}
stages:
  - {layers: 1, channels: 8}
head: {channels: 32}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    (tmp_path / "tiny.yaml").write_text(SPACE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def default(command: str, option: str):
    found = cli.get_command(click.Context(cli), command)
    return found.make_context(command, []).params[option]


def test_what_the_options_spell_out_is_what_the_core_has():
    assert (measuring.PRECISIONS, measuring.DELEGATES) == (conditions.PRECISIONS, conditions.DELEGATES)
    assert Via.__args__ == measuring.ROUTES
    settings, phone = RunSettings(), PhoneOptions()
    for command, module in (("profile", profile), ("validate", validate), ("compare", comparison)):
        assert (default(command, "rounds"), default(command, "seed")) == (module.ROUNDS, module.SEED)
        for name in ("threads", "cores", "precision", "delegate", "runs"):
            assert default(command, name) == getattr(settings, name)
        assert (default(command, "timeout"), default(command, "via")) == (settings.timeout_s, phone.via)
        assert (default(command, "reconnect"), default(command, "max_temp")) == (phone.reconnect_limit_s, None)
    assert default("profile", "calibrate") == profile.CALIBRATE
    assert default("validate", "networks") == validate.NETWORKS


def test_verbose_prints_every_visit_and_quiet_prints_none():
    command = ("profile", "--space", "tiny.yaml", "--calibrate", "0", "--rounds", "2", "--runs", "3", "--json")
    verbose = CliRunner().invoke(cli, ["-v", *command])
    assert verbose.exit_code == 0, verbose.stderr
    summary = json.loads(verbose.stdout)
    lines = [line for line in verbose.stderr.splitlines() if re.match(r"  host: \d+/\d+ ", line)]
    assert any("converting to TFLite" in line for line in lines)
    assert sum("converting" not in line for line in lines) == summary["measured"] >= 12
    source = load_table(summary["table"]).source
    assert source == f"spnas -v {' '.join(command)}", "the table says by which command it was measured"
    again = CliRunner().invoke(cli, ["-q", *command])
    assert json.loads(again.stdout)["resumed"] == summary["measured"]
    assert again.stderr == ""
    assert load_table(summary["table"]).source == source, "a command that measured nothing did not make it"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("profile", "--space", "nowhere"), 2, "digits, fashion-mnist, fbnet, imagenet"),
        (("profile", "--device", "nobody"), 3, "nobody"),
        (("profile", "--calibrate", "3"), 2, "at least 5"),
        (("profile", "--space", "tiny.yaml", "--delegate", "gpu"), 2, "allowed: xnnpack, none"),
        (("profile", "--space", "tiny.yaml", "--db", "no/such/folder/x.db"), 6, "folder"),
        (("profile", "--space", "tiny.yaml", "--db", "tiny.yaml"), 6, "--db"),
        (("validate", "--table", "nothing"), 6, "pixel1"),
        (("validate", "--table", "pixel1", "--device", "host", "--networks", "2"), 6, "different conditions"),
        (("validate", "--table", "pixel1", "--rounds", "3"), 2, "even"),
    ],
)
def test_bad_input_is_one_line_and_its_exit_code(arguments, code, words):
    result = CliRunner().invoke(cli, ["-q", *arguments])
    assert result.exit_code == code, result.stderr
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_a_campaign_says_how_much_heat_slowed_the_phone_and_how_long_it_rested():
    cool = Outcome(wall_s=312.0, device_s=62.0, conversion_s=12.0)
    hot = Outcome(wall_s=560.0, device_s=62.0, conversion_s=12.0, rest_s=224.0, slowdown_pct=7.06)
    assert measuring.outcome_facts(cool) == [("time", "5 min 12 s; 1 min 02 s measuring, 12 s converting")]
    assert measuring.outcome_facts(hot) == [
        ("slowed down by heat", "by up to 7.1 %; figures are put back to full speed"),
        ("time", "9 min 20 s; 1 min 02 s measuring, 12 s converting, 3 min 44 s resting (40%)"),
    ]
