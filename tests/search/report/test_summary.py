"""The report of real runs: what a reader sees first, in the words and numbers that the commands print."""

from __future__ import annotations

import json
import re
import shutil
from html import unescape
from pathlib import Path

import pytest
from click.testing import CliRunner

from latency_db.table_files import read_table, write_table
from search.report.summary import accuracy_interval
from spnas_cli.main import cli

MADE = Path(__file__).parent.parent.parent / "made_before"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """A finished search, a training of its network and a comparison, with the database they were made from."""
    shutil.copytree(MADE, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPNAS_DB", "spnas.db")
    return tmp_path


def spnas(*arguments: str) -> str:
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def report(*arguments: str) -> str:
    spnas("report", *arguments, "-o", "report.html")
    return unescape(Path("report.html").read_text(encoding="utf-8"))


def facts(text: str) -> dict[str, str]:
    return dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", text))


def summary(page: str) -> list[str]:
    return re.findall(r"<article>.*?</article>", page, re.DOTALL)


def row(name: str, role: str | None, top1: float, seed: int) -> dict[str, object]:
    return {
        "name": name, "parameters": 1000, "multiply_adds": 2000, "predicted_ms": 0.5, "measured_ms": 0.505,
        "low_ms": 0.5, "high_ms": 0.52, "top1": top1, "top1_from": "trained network", "network": name.partition("-")[0],
        "role": role,
        "seed": seed, "held_out_images": 359,
    }  # fmt: skip


def test_a_search_says_first_how_good_it_is_and_how_far_to_trust_that(folder):
    result = json.loads(Path("run/result.json").read_text(encoding="utf-8"))
    result |= {"held_out_images": 180, "chance": 0.1031}
    Path("run/result.json").write_text(json.dumps(result), encoding="utf-8")
    page = report("run")
    [article] = summary(page)
    assert page.index("<article>") < page.index("<nav>")
    shown = facts(article)
    assert (
        f"Recognises {result['accuracy']:.2%} of 180 held-out images, in {result['predicted_ms']:.4g} ms each on host" in article
    )
    assert shown["network"] == " ".join(result["architecture"])
    low, high = accuracy_interval(result["accuracy"], 180)
    assert f"{low:.1%} to {high:.1%}" in shown["accuracy"]
    assert shown["by guessing"].startswith("10.31%")
    assert "spnas random, train and compare" in shown["against baselines"]
    assert "spnas validate --table tiny" in shown["latency model"]
    assert "180 held-out images tell the accuracy to ±" in article
    assert "The predicted latency was not validated." in article
    assert re.search(r"95 % interval [\d.]+ to [\d.]+ ms", shown["predicted latency"])


def test_numbers_are_those_that_the_commands_print(folder):
    page = report("run", "compared", "--table", "large")
    predicted = spnas("predict", "run/architecture.json", "--table", "run/table.json")
    interval = re.search(r"95 % interval  (.*)", predicted)[1]
    assert interval in facts(summary(page)[0])["predicted latency"]
    table = spnas("table", "show", "large")
    for number in re.findall(r"\d+\.\d+(?=\*? )", table.partition("\n\n")[0].partition("spread\n")[2]):
        if "%" not in number:
            assert number in page, number
    validation = json.loads((MADE / "printed" / "validate.json").read_text(encoding="utf-8"))
    assert f"{validation['rmse_ms']:.3g} ms, {validation['rmse_pct']:.2f} %" in page
    assert f"{validation['noise_floor_ms']:.3g} ms" in page


def test_layers_stand_in_their_order_each_in_its_column():
    page = report("--table", "large")
    rows = re.findall(r"<tr><td>(\d+)</td>(.*?)</tr>", page, re.DOTALL)
    assert [int(position) for position, _ in rows] == list(range(len(rows)))
    cells = [re.findall(r"<td[^>]*>(?!\d+² )(.*?)</td>", cells) for _, cells in rows]
    assert all(len(each) == 6 for each in cells)
    slots = read_table(Path("table.json")).space.slots
    assert [bool(each[0]) for each in cells] == [not slot.is_searchable for slot in slots]
    assert [each[1] for each in cells] == ["0" if "skip" in slot.choices else "" for slot in slots]


def test_runs_and_networks_have_the_names_that_the_user_gave(folder):
    for place in ("monday", "tuesday"):
        shutil.copytree("run", Path(place, "run"))
    page = report("monday/run", "tuesday/run")
    assert "Search monday/run" in page
    assert "Search tuesday/run" in page
    assert ">Training trained<" in report("trained")
    assert ">Search run<" in report(str(folder / "run"))
    page = report(str(folder / "monday" / "run"), str(folder / "tuesday" / "run"))
    assert f">Search {folder / 'tuesday' / 'run'}<" in page


def test_commands_are_those_that_were_typed(folder):
    """Those that continued a run too; a table says by which command it was measured, or none is made up."""
    first = Path("run/command.txt").read_text(encoding="utf-8").strip()
    again = "spnas search --data 'my images' --resume -o run"
    Path("run/command.txt").write_text(f"{first}\n{again}\n", encoding="utf-8")
    assert "spnas profile --" not in report("run", "--table", "table.json").partition('<section id="made">')[2]
    command = "spnas profile --device host --space tiny.yaml --calibrate 5"
    write_table(read_table(Path("table.json")).model_copy(update={"name": "mine", "source": command}), Path("mine.json"))
    assert f"\n{command}\n{first}\n{again}\n" in report("run", "--table", "mine.json")


def test_a_comparison_with_baselines_is_told_beside_the_network_that_it_is_about(folder):
    rows = [row("trained", "found", 0.95 + seed / 1000, seed) for seed in (0, 1)][:1]
    rows += [row(f"found-{seed}", "found", 0.95 + seed / 1000, seed) for seed in (1,)]
    for each in rows:
        each["network"] = "f"
    rows += [row(f"random{number}-{seed}", "random", 0.90 + seed / 1000, seed) for number in (1, 2, 3) for seed in (0, 1)]
    Path("compared/compare.json").write_text(json.dumps(rows), encoding="utf-8")
    page = report("trained", "compared")
    [training, comparison] = summary(page)
    words = "points above the mean of 3 random networks"
    assert words in facts(training)["against random networks"]
    assert words in facts(comparison)["against random networks"]
    assert "0.505 ms, nine in ten measurements 0.500 to 0.520 ms (compared)" in facts(training)["measured latency"]
    assert "Recognises" in training
    assert "in 0.505 ms each" in training
    assert "within chance" not in training
    assert facts(comparison)["most accurate"] == "found-1, 95.10% in 0.505 ms"


def test_a_comparison_with_one_accuracy_draws_no_front(folder):
    """Neither now nor from a folder of an earlier version, which has the figure."""
    assert Path("compared/compare.png").is_file()
    page = report("compared")
    assert "Pareto" not in page
    assert "data:image/png" not in page
    assert "fewer than two networks" in summary(page)[0]


def test_a_table_alone_is_summarised_too():
    [article] = summary(report("--table", "large"))
    assert "Networks of tiny take" in article
    assert "networks that it had not seen" in facts(article)["latency model"]


@pytest.mark.parametrize(
    ("top1", "images", "low", "high"), [(0.5, 100, 0.4038, 0.5962), (1.0, 20, 0.8389, 1.0), (0.0, 10, 0.0, 0.2775)]
)
def test_the_interval_of_an_accuracy(top1, images, low, high):
    """Against published values of Wilson's score interval."""
    assert accuracy_interval(top1, images) == pytest.approx((low, high), abs=1e-4)
