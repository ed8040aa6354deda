"""The pages of the studies say what their results say."""

from pathlib import Path

from latency_db.runtime_model import RuntimeModel
from latency_db.table_files import read_table

ROOT = Path(__file__).parents[2]


def missing_lines(page, *texts):
    """The lines of these texts that are not on a page of the documentation."""
    there = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return [line for text in texts for line in text.splitlines() if line not in there]


def test_the_page_on_glyphs_holds_the_tables_of_the_committed_results(ruler):
    study, tables = ruler("glyph_study"), ruler("glyph_results")
    first, more, again = (study.RESULTS / f"{name}.csv" for name in ("glyphs", "glyphs-more-seeds", "glyphs-one-command"))
    for files in ([first], [first, more], [again], [more, again]):
        results = tables.together(files)
        missing = missing_lines("glyph-study.md", tables.summary(results))
        assert not missing, "run benchmarks/rulers/glyph_results.py and paste its tables"
        assert len({(result.name, result.seed) for result in results}) == len(results), "a run stands there twice"


def test_the_page_on_many_devices_holds_the_table_of_the_committed_results(ruler):
    study = ruler("supernet_study")
    results = study.read_results(study.RESULTS / "supernet.csv")
    models = [RuntimeModel(read_table(table)) for table in study.OURS]
    missing = missing_lines("many-devices.md", study.summary(results), study.targets(models, results))
    assert not missing, "run benchmarks/rulers/supernet_study.py and paste what it prints"
