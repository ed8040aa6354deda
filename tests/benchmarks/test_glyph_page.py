"""The page of the study on glyphs says what its results say."""

from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_holds_the_tables_of_the_committed_results(ruler):
    study, tables = ruler("glyph_study"), ruler("glyph_results")
    page = (ROOT / "docs" / "glyph-study.md").read_text(encoding="utf-8")
    first, more, again = (study.RESULTS / f"{name}.csv" for name in ("glyphs", "glyphs-more-seeds", "glyphs-one-command"))
    for files in ([first], [first, more], [again], [more, again]):
        results = tables.together(files)
        missing = [line for line in tables.summary(results).splitlines() if line and line not in page]
        assert not missing, "run benchmarks/rulers/glyph_results.py and paste its tables"
        assert len({(result.name, result.seed) for result in results}) == len(results), "a run stands there twice"
