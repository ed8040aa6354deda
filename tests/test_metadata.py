"""What the outside sees of the project: the wheel's metadata, its citation, the forms for issues, the versions of Python."""

import re
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
import yaml
from installed import build_wheel
from packaging.specifiers import SpecifierSet

from spnas_cli import __version__

ROOT = Path(__file__).parent.parent
IN_REPOSITORY = re.compile(
    r"https://(?:github\.com/spnas/spnas/(?:blob|tree)|raw\.githubusercontent\.com/spnas/spnas)/main/([^)#\s]+)"
)


@pytest.fixture(scope="module")
def metadata(tmp_path_factory):
    wheel = build_wheel(tmp_path_factory.mktemp("wheel"))
    with zipfile.ZipFile(wheel) as content:
        (name,) = [name for name in content.namelist() if name.endswith(".dist-info/METADATA")]
        return message_from_bytes(content.read(name))


def minors(metadata) -> list[int]:
    """The versions of Python 3 that the package may be installed with."""
    allowed = SpecifierSet(metadata["Requires-Python"])
    return [minor for minor in range(40) if f"3.{minor}.9" in allowed]


def test_links_and_pictures_of_the_long_description_lead_somewhere_from_outside(metadata):
    text = metadata.get_payload()
    targets = re.findall(r"\]\(([^)]+)\)", text)
    assert len(targets) > 20
    assert [target for target in targets if not target.startswith(("https://", "#"))] == []
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert pictures
    assert all(picture.startswith("https://raw.githubusercontent.com/") for picture in pictures)
    assert [path for path in IN_REPOSITORY.findall(text) if not (ROOT / path).exists()] == []


def test_project_urls_lead_into_the_repository(metadata):
    urls = dict(each.split(", ") for each in metadata.get_all("Project-URL"))
    assert {"Documentation", "Changelog", "Issues"} <= urls.keys()
    assert all((ROOT / path).exists() for url in urls.values() for path in IN_REPOSITORY.findall(url))
    assert metadata["Home-page"] == "https://github.com/spnas/spnas"


def test_versions_of_python_are_the_same_everywhere(metadata):
    first, *_, last = supported = minors(metadata)
    classified = re.findall(
        r"^Programming Language :: Python :: 3\.(\d+)$", "\n".join(metadata.get_all("Classifier")), re.MULTILINE
    )
    assert sorted(map(int, classified)) == supported
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8") + (ROOT / "setup.cfg").read_text(encoding="utf-8")
    assert f'target-version = "py3{first}"' in settings
    assert f"\npython_version = 3.{first}\n" in settings
    for page in ("README.md", "CONTRIBUTING.md"):
        ranges = re.findall(r"Python 3\.(\d+)(?: to |–|-)3\.(\d+)", (ROOT / page).read_text(encoding="utf-8"))
        assert set(ranges) == {(str(first), str(last))}, page


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(citation["version"]) == __version__
    assert {"cff-version", "message", "title", "authors", "references"} <= citation.keys()


@pytest.mark.parametrize("form", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml")), ids=lambda form: form.stem)
def test_forms_for_issues_are_what_github_reads(form):
    content = yaml.safe_load(form.read_text(encoding="utf-8"))
    assert content["name"]
    assert content["description"]
    fields = content["body"]
    assert all(field["type"] in ("input", "textarea", "dropdown") and field["attributes"]["label"] for field in fields)
    assert len({field["id"] for field in fields}) == len(fields)
