"""Runs that are not finished, on the report: interrupted ones as far as they got, running ones followed with --watch."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest
from click.testing import CliRunner

from search.run_folder import RunFolder
from spnas_cli.main import cli

MADE = Path(__file__).parent.parent.parent / "made_before"
PATIENCE_S = 60


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    for name in ("stopped-search", "stopped-training", "trained"):
        shutil.copytree(MADE / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def report(*arguments: str) -> str:
    result = CliRunner().invoke(cli, ["report", *arguments, "-o", "report.html"])
    assert result.exit_code == 0, result.stderr
    return unescape(Path("report.html").read_text(encoding="utf-8"))


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


def test_an_interrupted_run_is_shown_as_far_as_it_got():
    page = report("stopped-search", "stopped-training")
    assert "Interrupted, step 160 of 176; the same command with --resume continues it." in page
    assert re.search(r"Interrupted, step 150 of \d+;", page)
    assert "<dt>R</dt><dd>" in page
    assert re.search(r"<dt>loss</dt><dd>\d\.\d+</dd>", page)
    assert page.count("data:image/png") == 2, "the progress of each, drawn from what is there"
    assert 'http-equiv="refresh"' not in page
    shutil.copy("trained/accuracy.csv", "stopped-training/accuracy.csv")
    assert re.search(r"<dt>top-1</dt><dd>[\d.]+% after epoch \d+</dd>", report("stopped-training"))


def test_a_run_that_was_only_begun_and_one_that_is_damaged():
    Path("stopped-search/metrics.csv").unlink()
    assert "Interrupted, before its first step" in report("stopped-search")
    Path("stopped-training/metrics.csv").write_text("step,steps,loss,learning_rate\n1,2,nan,0.1\n", encoding="utf-8")
    result = CliRunner().invoke(cli, ["report", "stopped-training"])
    assert result.exit_code == 2
    assert "stopped-training/metrics.csv:2: loss cannot be 'nan'" in result.stderr


def test_a_running_one_says_which_process_runs_it():
    run = RunFolder("stopped-search")
    with run.held():
        assert f"Running, step 160 of 176 (process {os.getpid()} on" in report("stopped-search")
    assert run.holder is None


def test_a_process_that_was_killed_runs_no_more(folder):
    script = "from search.run_folder import RunFolder\nwith RunFolder('trained').held(): print('held', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert f"process {process.pid} on" in RunFolder("trained").holder
        process.kill()
    assert (folder / "trained" / ".lock").exists()
    assert RunFolder("trained").holder is None


@pytest.fixture
def watching(folder):
    """`spnas report --watch` as a process of its own."""
    words = [sys.executable, "-m", "spnas_cli", "report", "stopped-training", "--watch", "-o", "live.html"]
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def test_a_watched_page_follows_the_run_to_its_end(watching, folder):
    page = folder / "live.html"
    until(page.exists)
    assert 'http-equiv="refresh"' in page.read_text(encoding="utf-8")
    metrics = folder / "stopped-training" / "metrics.csv"
    last = metrics.read_text(encoding="utf-8").splitlines()[-1].split(",")
    with metrics.open("a", encoding="utf-8") as file:
        file.write(f"{int(last[0]) + 1},{last[1]},0.75,0.001\n")
    until(lambda: f"step {int(last[0]) + 1} of {last[1]}" in page.read_text(encoding="utf-8"))
    for name in ("network.pt", "result.json"):
        shutil.copy(folder / "trained" / name, folder / "stopped-training" / name)
    assert watching.wait(PATIENCE_S) == 0
    text = page.read_text(encoding="utf-8")
    assert 'http-equiv="refresh"' not in text
    assert "Recognises" in text
    assert watching.stdout.read() == "live.html\n"


def test_ctrl_c_ends_watching_and_leaves_a_page_that_stays(watching, folder):
    page = folder / "live.html"
    until(page.exists)
    assert "live.html follows stopped-training; Ctrl-C ends this." in watching.stderr.readline()
    watching.send_signal(signal.SIGINT)
    assert watching.wait(PATIENCE_S) == 0
    assert 'http-equiv="refresh"' not in page.read_text(encoding="utf-8")


def test_a_page_in_the_folder_of_the_run_is_not_written_again_for_itself(folder):
    words = [sys.executable, "-m", "spnas_cli", "report", "stopped-training", "--watch", "-o", "stopped-training/live.html"]
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        page = folder / "stopped-training" / "live.html"
        until(page.exists)
        written = page.stat().st_mtime_ns
        time.sleep(5)
        assert page.stat().st_mtime_ns == written
        process.send_signal(signal.SIGINT)


def test_watching_what_is_finished_ends_at_once():
    assert 'http-equiv="refresh"' not in report("trained", "--watch")


def test_a_title_of_ones_own_is_the_heading_and_the_page_is_still_known_as_a_report():
    page = report("trained", "--title", "Birds & <b>bees</b>")
    assert "<h1>Birds & <b>bees</b></h1>" in page, "escaped in the file"
    assert "<title>Birds &amp; &lt;b&gt;" in Path("report.html").read_text(encoding="utf-8")
    report("trained", "--title", "x" * 2000)
    report("trained")
