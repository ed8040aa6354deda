"""Our packages have everyday names: no installed command meets a user's own of the same names in the current folder."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from installed import build_wheel, environment, make_namesakes, whole_environment
from small import small_space, table_from_multiply_adds

from latency_db.runtime_model import RuntimeModel
from latency_db.table_files import write_table

PAGE = Path(__file__).parent.parent / "docs" / "several-gpus.md"
SEARCH = "search --table table.json --data digits --epochs 1 --batch-size 64"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Runs a command of an environment with the wheel, in a folder with the user's own packages and a table."""
    folder = tmp_path_factory.mktemp("user")
    programs = whole_environment(tmp_path_factory.mktemp("environment"), build_wheel(tmp_path_factory.mktemp("wheel")))
    make_namesakes(folder)
    table = table_from_multiply_adds(small_space())
    write_table(table, folder / "table.json")
    target = f"--target-ms {sum(RuntimeModel(table).range_ms()) / 2:.4g}"

    def run(command: str) -> Path:
        words = shlex.split(command.format(search=f"{SEARCH} {target}"))
        variables = environment(programs, folder)
        done = subprocess.run([programs / words[0], *words[1:]], cwd=folder, env=variables, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return folder

    return run


def test_the_packages_in_the_way_would_be_met_otherwise(run):
    with pytest.raises(AssertionError, match="met the search of the user"):
        run("python -m search.runs.search")


def test_several_processes_of_the_installed_command_search_as_the_page_says(run):
    """`torchrun` itself is a program of PyTorch's, and as such does not look into the current folder."""
    assert re.search(r"^    torchrun .*--no-python spnas search ", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    folder = run("python -P -m torch.distributed.run --standalone --nproc-per-node 2 --no-python spnas {search} -o several")
    assert (folder / "several" / "network.pt").is_file()


@pytest.mark.parametrize("words", ["devices", "predict single-path-nas --table pixel1"])
def test_the_module_takes_the_current_folder_out_of_the_way(run, words):
    run(f"python -m spnas_cli {words}")
