"""`spnas table` and its subcommands, called as a person does."""

import json

import pytest
from click.testing import CliRunner

from spnas_cli.main import cli


def spnas(*arguments, code=0):
    result = CliRunner().invoke(cli, [*arguments])
    assert result.exit_code == code, result.output
    if code:
        assert len(result.stderr.strip().splitlines()) == 1, "an error is one line"
    return result


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty folder to work in, with a copy of the published table under another name in the database."""
    monkeypatch.chdir(tmp_path)
    spnas("table", "export", "pixel1", "-o", "pixel1.json")
    spnas("table", "import", "pixel1.json", "--name", "mine")
    return tmp_path


def test_list_names_the_tables_of_the_database_and_those_that_ship():
    rows = json.loads(spnas("table", "list", "--json").stdout)
    assert [row["name"] for row in rows] == ["mine", "pixel1", "pixel3", "raspi4"]
    assert [row["rows"] for row in rows] == [80, 80, 72, 72]
    assert "mine" in spnas("table", "list").stdout
    assert "mine" not in spnas("table", "list", "--db", "elsewhere.db").stdout


def test_show_has_a_line_for_every_place_and_the_conditions():
    shown = spnas("table", "show").stdout.splitlines()
    places = [line.split() for line in shown if line[:1].isdecimal()]
    assert [line[0] for line in places] == [str(place) for place in range(24)]
    # place 2 cannot be skipped; place 3 can; the fixed layers are known as a sum only
    assert places[2][-4:] == ["4.490", "5.925", "9.201", "11.59"]
    assert places[3][-5:] == ["0", "3.411", "4.885", "6.402", "9.152"]
    assert places[0][-2:] == ["in", "sum"]
    assert any(line.split() == ["precision", "fp32"] for line in shown)
    assert any("19.60 ms together" in line for line in shown)


def test_show_marks_what_was_flagged_what_is_missing_and_the_spread(folder):
    table = json.loads((folder / "pixel1.json").read_text())
    first, second, *_ = table["rows"]
    table["rows"][first] |= {"flag": "noisy [bold]", "spread_ms": 0.44905, "visits": 9}
    del table["rows"][second]
    (folder / "edited.json").write_text(json.dumps(table))
    shown = spnas("table", "show", "edited.json").stdout
    place = next(line for line in shown.splitlines() if line.startswith("2 "))
    assert place.split()[-6:] == ["4.490*", "?", "9.201", "11.59", "±10.0", "%"]
    assert f"{first}: noisy [bold]" in shown


def test_show_passes_no_control_characters_on(folder):
    table = json.loads((folder / "pixel1.json").read_text())
    table["source"] = "\x1b]0;owned\x07"
    table["conditions"]["device"] = "\x1b[31mred [red]x"
    (folder / "edited.json").write_text(json.dumps(table))
    spnas("table", "import", "edited.json", "--name", "edited")
    for command in (("show", "edited"), ("list",), ("diff", "edited", "pixel1")):
        shown = spnas("table", *command).stdout
        assert "\x1b" not in shown
        assert "\x07" not in shown
    assert "[red]x" in spnas("table", "list").stdout


@pytest.mark.parametrize("name", ["copy.csv", "copy.json"])
def test_a_table_that_went_out_and_in_again_is_the_same(name):
    spnas("table", "export", "mine", "-o", name)
    difference = json.loads(spnas("table", "diff", "mine", name, "--json").stdout)
    assert (difference["same_space"], difference["conditions"], difference["median_ratio"]) == (True, {}, 1.0)
    assert {row["ratio"] for row in difference["rows"]} == {1.0}


def test_import_takes_the_name_in_the_file_and_never_replaces(folder):
    table = json.loads((folder / "pixel1.json").read_text())
    (folder / "phone.json").write_text(json.dumps(table | {"name": "phone"}))
    spnas("table", "import", "phone.json")
    assert "phone" in spnas("table", "list").stdout
    assert "choose another name with --name" in spnas("table", "import", "phone.json", code=6).stderr
    assert "cannot name a table" in spnas("table", "import", "phone.json", "--name", "my phone", code=2).stderr


def test_diff_shows_ratios_and_conditions(folder):
    table = json.loads((folder / "pixel1.json").read_text())
    for row in table["rows"].values():
        row["ms"] *= 0.5
    table["conditions"]["device"] = "Pixel 8"
    (folder / "fast.json").write_text(json.dumps(table | {"name": "fast"}))
    shown = spnas("table", "diff", "mine", "fast.json").stdout
    assert shown.count("0.5000") >= 80
    assert "Pixel 1, Pixel 8" in shown
    assert "median 0.5000, from 0.5000 to 1.0000, 81 layers" in shown, "the fixed layers are the same"
    halved, fixed = sum(row["ms"] for row in table["rows"].values()), table["fixed"]["ms"]
    assert f"{2 * halved + fixed:.3f} ms, {halved + fixed:.3f} ms" in shown


def test_merge_fills_the_holes_and_wants_a_word_where_the_two_differ(folder):
    table = json.loads((folder / "pixel1.json").read_text())
    first, *others = table["rows"]
    (folder / "hole.json").write_text(json.dumps(table | {"rows": {key: table["rows"][key] for key in others}}))
    spnas("table", "merge", "hole.json", "mine", "--name", "whole")
    assert json.loads(spnas("table", "show", "whole", "--json").stdout)["rows"] == table["rows"]
    table["rows"][first]["ms"] = 1.0
    (folder / "other.json").write_text(json.dumps(table))
    assert "--prefer" in spnas("table", "merge", "other.json", "mine", "--name", "x", code=6).stderr
    for side, ms in (("first", 1.0), ("second", 4.4905)):
        spnas("table", "merge", "other.json", "mine", "--name", side, "--prefer", side)
        assert json.loads(spnas("table", "show", side, "--json").stdout)["rows"][first]["ms"] == ms


def test_tables_are_renamed_and_deleted(folder):
    assert "table mine is now called yours" in spnas("table", "rename", "mine", "yours").stderr
    assert json.loads(spnas("table", "show", "yours", "--json").stdout)["name"] == "yours"
    spnas("table", "import", "pixel1.json", "--name", "theirs")
    said = spnas("table", "delete", "yours", "theirs").stderr
    assert said.splitlines() == ["spnas.db: table yours deleted", "spnas.db: table theirs deleted"]
    left = {row["name"] for row in json.loads(spnas("table", "list", "--json").stdout)}
    assert "pixel1" in left
    assert not left & {"mine", "yours", "theirs"}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("show", "nothing"), 6, "spnas.db holds mine; pixel1, pixel3, raspi4 ship with spnas"),
        (("show", "nothing.json"), 2, "nothing.json: No such file"),
        (("show", "--db", "elsewhere.db"), 6, "no table; spnas profile makes one"),
        (("list", "--db", "pixel1.json"), 6, "is not a database"),
        (("export", "mine", "-o", "mine.xlsx"), 2, "ends in .json or .csv"),
        (("export", "mine", "-o", "no/such/folder/mine.csv"), 2, "cannot be written: No such file or directory"),
        (("import", "bad.csv"), 2, "bad.csv:7: "),
        (("delete", "nothing"), 6, "there is no table 'nothing'; spnas table list shows all"),
        (("delete", "pixel1"), 6, "pixel1 ships with spnas"),
        (("delete", "mine", "--db", "elsewhere.db"), 6, "elsewhere.db: there is no such database"),
        (("rename", "mine", "../x"), 2, "cannot name a table"),
        (("rename", "mine", "pixel1"), 6, "ships with spnas"),
    ],
)
def test_bad_input_is_one_line_and_its_exit_code(folder, arguments, code, words):
    spnas("table", "export", "pixel1", "-o", "bad.csv")
    lines = (folder / "bad.csv").read_text().splitlines()
    lines[6] = lines[6].replace(",", ",-", 1)
    (folder / "bad.csv").write_text("\n".join(lines) + "\n")
    assert words in spnas("table", *arguments, code=code).stderr
    assert not (folder / "elsewhere.db").exists(), "looking must not make a database"
