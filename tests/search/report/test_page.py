"""The report page, read back from its HTML and looked at in a real browser."""

from __future__ import annotations

import importlib.util
import io
import os
import re
import shutil
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure
from PIL import Image

from latency_db.published import published_table
from spnas_cli.main import cli

MAX_BYTES = 3 * 10**6


@pytest.fixture(scope="module")
def pictures() -> ModuleType:
    """The script that makes the pictures of the documentation."""
    spec = importlib.util.spec_from_file_location("pictures", Path(__file__).parents[3] / "docs" / "pictures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def report(*arguments: str):
    return CliRunner().invoke(cli, ["report", *arguments])


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """The report of the published table, a search run with two figures, and a comparison with awkward rows."""
    folder = tmp_path_factory.mktemp("report")
    run, comparison = folder / "run", folder / "side-by-side"
    for made in (run, comparison):
        made.mkdir()
        figure = Figure(figsize=(10, 3), dpi=100)
        figure.add_subplot().plot([1, 2, 3])
        figure.savefig(made / ("progress.png" if made == run else "compare.png"))
    (run / "command.txt").write_text("spnas search --table pixel1 --data digits --target-ms 80 -o run\n")
    (run / "config.yaml").write_text("table: pixel1\nepochs: 8\n")
    (run / "architecture.json").write_text("{}")
    (run / "result.json").write_text(
        '{"architecture": ["3x3-6", "skip"], "predicted_ms": 79.9, "target_ms": 80.0, "accuracy": 0.1,'
        ' "doubts": [{"kind": "accuracy", "words": "Not above <i>chance</i>.", "advice": "Train for longer."}]}'
    )
    (comparison / "compare.json").write_text(
        '[{"name": "<b>odd & name</b>", "parameters": 3504872, "multiply_adds": 300774272, "predicted_ms": null,'
        ' "measured_ms": 8.25, "low_ms": 8.125, "high_ms": 8.5, "top1": null},'
        ' {"name": "chamnet-b", "parameters": null, "multiply_adds": null, "predicted_ms": null,'
        ' "measured_ms": null, "low_ms": null, "high_ms": null, "top1": 0.738}]'
    )
    file = folder / "report.html"
    result = report(str(run), str(comparison), "--table", "pixel1", "-o", str(file), "--db", str(folder / "none.db"))
    assert result.exit_code == 0, result.stderr
    return file


def test_the_page_shows_every_latency_of_the_table_and_needs_no_other_file(page):
    text = page.read_text()
    assert page.stat().st_size < MAX_BYTES
    table = published_table("pixel1")
    shown = re.findall(r'<td class="heat"[^>]*>([\d.]+)', text)
    expected = [row.ms for row in table.rows.values()]
    assert sorted(map(float, shown)) == pytest.approx(sorted(expected), rel=1e-3)
    assert not re.findall(r'(?:src|href)="(?!data:|#)', text), "something would be loaded from elsewhere"


def test_what_stands_in_files_is_shown_and_never_taken_for_html(page):
    text = page.read_text()
    assert "<b>odd" not in text
    assert "<b>odd & name</b>" in unescape(text)
    assert "8.250 <small>(8.125 to 8.500)</small>" in text
    assert "spnas search --table pixel1 --data digits --target-ms 80 -o run" in text
    assert "73.80 %" in text
    assert "<dd>3x3-6 skip</dd>" in text


def test_a_doubtful_result_is_said_before_anything_else(page):
    text = page.read_text()
    assert 0 < text.index("Do not rely on the result of the search") < text.index("<nav>")
    assert "Not above &lt;i&gt;chance&lt;/i&gt;.<br>What to change: Train for longer." in text
    assert 'href="#run-1">run</a>' in text


@pytest.fixture(scope="module")
def browser(pictures) -> Iterator[object]:
    """Debian's Chromium without a window."""
    if shutil.which("chromium") is None or shutil.which("chromedriver") is None:
        reason = "needs a browser (Debian: apt-get install chromium chromium-driver)"
        if os.environ.get("SPNAS_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with pictures.browser() as driver:
        yield driver


def paper_of(browser, image) -> float:
    """The brightness of the paper of a figure as it is shown, 0 to 255: the most frequent one."""
    shown = Image.open(io.BytesIO(image.screenshot_as_png)).convert("L")
    counts = shown.histogram()
    return counts.index(max(counts))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 390, 1280])
def test_the_page_in_a_browser(page, pictures, browser, width, scheme):
    """No error, every figure drawn, nothing wider than the screen but what scrolls by itself, and enough contrast."""
    pictures.open_page(browser, page, width, scheme)
    assert browser.get_log("browser") == []
    images = browser.execute_script("return [...document.images].map(i => [i.complete, i.naturalWidth, i.width, i.alt])")
    assert len(images) == 2
    assert all(complete and natural > 100 and shown > 100 and alt for complete, natural, shown, alt in images)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    dark, bright = browser.execute_script(
        "const of = name => getComputedStyle(document.body)[name].match(/\\d+/g).slice(0, 3).reduce((a, b) => a + +b, 0) / 3;"
        "return [of('backgroundColor'), of('color')].sort((a, b) => a - b)"
    )
    assert bright - dark > 150
    background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    paper = paper_of(browser, browser.find_element("css selector", "figure img"))
    assert (paper > 240) == (scheme == "light"), "the paper of figures is dark on a dark page"
    assert (paper < 60) == (scheme == "dark")


def test_bad_input_is_one_line_and_nothing_is_overwritten(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "result.json").write_text('{"top1": 0.5, "doubts": [{"kind": "weather"}]}')
    other = tmp_path / "thesis.html"
    other.write_text("<h1>mine</h1>")
    for arguments, words in (
        ([], "the folder of a run"),
        ([str(empty)], "no finished run"),
        ([str(tmp_path / "nowhere")], "no such folder"),
        ([str(broken)], "result.json:1: the field network is missing"),
        (["--table", "pixel1", "-o", str(other)], "a file of this name exists and is not a report"),
        (["--table", "pixel1", "-o", str(tmp_path / "no" / "folder.html")], "cannot be written"),
    ):
        result = report(*arguments, "--db", str(tmp_path / "none.db"))
        assert result.exit_code == 2, result.output
        assert words in result.stderr
    assert other.read_text() == "<h1>mine</h1>"


@pytest.mark.skipif(shutil.which("chromedriver") is None, reason="needs a browser")
def test_the_pictures_of_the_documentation_are_figures_of_a_report(page, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "IMAGES", tmp_path)
    pictures.figures(page, "some-")
    pictures.screens(page, "report")
    sizes = {file.name: Image.open(file).size for file in tmp_path.iterdir()}
    assert {name for name in sizes if name.startswith("some-")} == {"some-progress.png", "some-compare.png"}
    assert sizes["report-1280-dark.png"][0] == 1280
    assert sizes["report-390-light.png"][0] == 390
