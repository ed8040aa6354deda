"""The page of the study on glyphs says what its results say."""

from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_holds_the_tables_of_the_committed_results(ruler):
    study = ruler("glyph_study")
    results = study.read_results(study.RESULTS / "glyphs.csv")
    page = (ROOT / "docs" / "glyph-study.md").read_text(encoding="utf-8")
    missing = [line for line in study.summary(results).splitlines() if line and line not in page]
    assert not missing, "run benchmarks/rulers/glyph_study.py and paste its tables"
    assert len({(result.name, result.seed) for result in results}) == len(results), "a run stands there twice"
