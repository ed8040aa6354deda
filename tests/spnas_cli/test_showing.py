"""What Python code and notebooks call: the runs of the commands, shown on stderr, with nothing of a command line in them."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from profiling.space import load_space
from search.config import TrainingOptions
from search.runs.run import load_run
from spnas_cli import showing

TINY = TrainingOptions(epochs=1, batch_size=256)


def test_a_training_is_shown_and_keeps_no_command(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("spnas_cli.output.PLAIN_PROGRESS_SECONDS", 0.0)
    (tmp_path / "a.json").write_text(load_space("digits").uniform("3x3-3").to_json())
    run = showing.train(tmp_path / "a.json", "digits", tmp_path / "run", options=TINY)
    printed, shown = capfd.readouterr()
    assert printed == ""
    assert "5 steps of 256" in shown
    trained, doubted = shown.index("\nTrained in "), shown.index("Do not rely on this result")
    assert trained < doubted, "five steps learn nothing, which is said last, where it is read"
    assert load_run(run) == run
    assert not run.folder.command.exists()


def test_it_works_beside_the_main_thread_where_signals_cannot_be_caught(tmp_path):
    (tmp_path / "a.json").write_text(load_space("digits").uniform("3x3-3").to_json())
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(showing.train, tmp_path / "a.json", "digits", tmp_path / "run", options=TINY).result()
    assert load_run(run) == run


def test_a_bar_goes_away_when_something_goes_wrong(monkeypatch):
    closed = []

    @contextmanager
    def bar(label):
        try:
            yield [None]
        finally:
            closed.append(label)

    def work():
        with showing.Shown("work") as shown:
            shown.begin(0, 10)
            raise RuntimeError

    monkeypatch.setattr(showing, "progress", bar)
    with pytest.raises(RuntimeError):
        work()
    assert closed == ["work"]
