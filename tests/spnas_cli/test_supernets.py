"""`spnas search --supernet` and `--from`: which options go together, and what is printed."""

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from latency_db.limits import UNLIMITED
from latency_db.published import published_table
from spnas_cli.main import cli
from spnas_cli.supernets import wanted

RUN = Path(__file__).parents[1] / "made_before" / "run"
PIXEL1, PIXEL3 = published_table("pixel1"), published_table("pixel3")
TABLE = ["--table", str(RUN / "table.json")]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--from", str(RUN), *TABLE], "--from needs a --target-ms"),
        (["--from", str(RUN), *TABLE, "--target-ms", "50%", "--epochs", "2"], "--epochs has no meaning with --from, unless"),
        (["--from", str(RUN), *TABLE, "--target-ms", "50%", "--supernet"], "--supernet has no meaning with --from"),
        (["--from", str(RUN), *TABLE, "--target-ms", "50%", "--explore", "random"], "--explore has no meaning with --from"),
        (["--from", str(RUN), *TABLE, *TABLE, *["--target-ms", "50%"] * 3], "2 --table and 3 --target-ms make no pairs"),
        (["--from", str(RUN), *TABLE, *["--target-ms", "50%"] * 2], "are given twice"),
        (["--supernet", *TABLE, "--data", "digits", "--target-ms", "50%"], "--target-ms has no meaning with --supernet"),
        (["--supernet", *TABLE], "Missing option '--data'"),
        ([*TABLE, "--data", "digits", "--target-ms", "50%", "--finetune"], "--finetune goes with --from"),
        ([*TABLE, "--data", "digits", "--target-ms", "50%", "--target-ms", "60%"], "a search is for one --table and one"),
        ([*TABLE, *TABLE, "--data", "digits", "--target-ms", "50%"], "a search is for one --table and one"),
        ([*TABLE, "--target-ms", "50%"], "Missing option '--data'"),
        ([*TABLE, "--data", "digits"], "give either --target-ms or --runtime-weight"),
    ],
)
def test_options_that_do_not_go_together_are_refused_before_anything_is_done(options, problem, tmp_path):
    result = CliRunner().invoke(cli, ["search", *options, "-o", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert problem in result.stderr
    assert not (tmp_path / "out").exists()


def test_tables_and_targets_are_paired_in_order_and_one_goes_with_all(tmp_path):
    pairs = [(each.table.name, each.target_ms) for each in wanted([PIXEL1, PIXEL3], [80.0, 20.0], tmp_path, UNLIMITED)]
    assert pairs == [("pixel1", 80.0), ("pixel3", 20.0)]
    several = wanted([PIXEL1], [60.0, 80.5], tmp_path, UNLIMITED)
    assert [each.folder for each in several] == [tmp_path / "pixel1-60ms", tmp_path / "pixel1-80.5ms"]
    assert [each.target_ms for each in wanted([PIXEL1, PIXEL3], [30.0], tmp_path, UNLIMITED)] == [30.0, 30.0]
    assert wanted([PIXEL1], [80.0], tmp_path, UNLIMITED)[0].folder == tmp_path, "a single network has the folder itself"
    with pytest.raises(click.UsageError, match="make no pairs"):
        wanted([PIXEL1, PIXEL3], [1.0, 2.0, 3.0], tmp_path, UNLIMITED)


def test_networks_of_two_targets_are_cut_out_finetuned_and_listed(tmp_path):
    targets = ["--target-ms", "30%", "--target-ms", "70%"]
    command = ["search", "--from", str(RUN), *TABLE, *targets, "-o", str(tmp_path / "out"), "--finetune", "--epochs", "1"]
    result = CliRunner().invoke(cli, [*command, "--json"], catch_exceptions=False)
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert [each["predicted_ms"] <= each["target_ms"] for each in found] == [True, True]
    assert found[0]["predicted_ms"] < found[1]["predicted_ms"]
    for each in found:
        assert json.loads((Path(each["folder"]) / "result.json").read_text())["accuracy"] == each["accuracy"]
        tuned = Path(each["folder"]) / "finetuned"
        assert json.loads((tuned / "result.json").read_text())["top1"] == each["top1_after_finetune"]
        assert "recipe: from-supernet\n" in (tuned / "config.yaml").read_text()
    shown = CliRunner().invoke(cli, [*command, "--resume"], catch_exceptions=False)
    for each in found:
        assert f"{each['accuracy']:.2%}" in shown.stdout, "what is there stays"
    assert "Next: spnas export" in shown.stderr
