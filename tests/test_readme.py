"""The README's commands and code work, and so do the links of all pages."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from daemon import ids
from daemon.outbox import rows
from support.daemon import ROOT, digitd

if TYPE_CHECKING:
    from pathlib import Path

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = sorted(set(re.findall(r"(?:`|/bin/)digitd ([a-z]+(?: --[a-z]+)?)", README)))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_in_the_readme_exists(command: str) -> None:
    name, *options = command.split()
    shown = digitd(name, "--help")
    assert shown.returncode == 0, f"the README names `digitd {command}`"
    assert all(option in shown.stdout for option in options)


def anchors_of(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_the_documentation_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    if page.name == "README.md":
        assert "docs/annotated.png" in links
    broken = []
    for link in links:
        target, _, anchor = link.partition("#")
        if target.startswith("https://"):
            continue
        file = page.parent / target if target else page
        if not file.exists() or (anchor and anchor not in anchors_of(file)):
            broken.append(link)
    assert broken == []


def test_package_description_has_no_relative_links() -> None:
    hook = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"][
        "metadata"
    ]["hooks"]["fancy-pypi-readme"]
    assert hook["fragments"] == [{"path": "README.md"}]
    shown = README
    for substitution in hook["substitutions"]:
        shown = re.sub(substitution["pattern"], substitution["replacement"], shown)
    assert "](docs/" in README
    links = re.findall(r"\]\(([^)]+)\)", shown)
    assert links
    assert all(link.startswith(("https://", "#")) for link in links)
    assert "![" not in shown


def test_readme_snippet_reads_digits_as_text_and_no_incomplete_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snippet, _ = SNIPPETS
    (tmp_path / "outbox").mkdir()
    cells = dict.fromkeys(rows.COLUMNS, "0.1") | {"id": ids.Ids().next(), "file": "digit1.png"}
    text = rows.HEADER + "".join(
        ",".join((cells | {"digit": digit}).values()) + "\n" for digit in ("0471", "7", "", "7")
    )
    text = text[:-20]
    (tmp_path / "outbox" / "predictions.csv").write_text(text)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(snippet, names)  # noqa: S102 - as a reader of the README does
    assert names["rows"]["file"].tolist() == ["digit1.png"] * 3
    assert names["rows"]["digit"].tolist()[:2] == ["0471", "7"]


def test_readme_snippet_reads_an_image(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, snippet = SNIPPETS
    monkeypatch.chdir(ROOT)
    exec(snippet, {})  # noqa: S102 - as a reader of the README does
    assert capsys.readouterr().out.startswith("7 ok 0.9")
