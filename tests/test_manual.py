"""The reference and the man pages, which are made from the code, and the files of a forge."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import yaml

import daemon
from daemon.config import KEYS
from daemon.errors import EX_CONFIG, EX_FOUND_WRONG, EX_NOT_RUNNING, EX_TEMPFAIL
from daemon.outbox.labels import COLUMNS as ANSWERS
from daemon.outbox.rows import COLUMNS
from support import manual
from support.daemon import ROOT

if TYPE_CHECKING:
    from pathlib import Path

WORKFLOW = ROOT / ".github" / "workflows" / "test.yml"
MAN = "digitd.1", "digitd.yaml.5"


def test_man_pages_are_those_of_the_code(tmp_path: Path) -> None:
    # In a process of its own, because click keeps the --help of commands that were called before.
    subprocess.run([sys.executable, "-m", "support.manual", "man", tmp_path], cwd=ROOT, check=True)
    for name in MAN:
        text = (ROOT / "docs" / "man" / name).read_text(encoding="utf-8")
        assert text == (tmp_path / name).read_text(encoding="utf-8"), (
            "run `make man` and commit docs/man"
        )


@pytest.mark.parametrize("name", MAN)
def test_man_page_can_be_shown(name: str) -> None:
    if not shutil.which("groff"):
        pytest.skip("needs groff")
    command = ["groff", "-man", "-ww", "-Tutf8", "-Kutf8", str(ROOT / "docs" / "man" / name)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert shown.stderr == ""
    assert daemon.__version__ in shown.stdout


def test_reference_has_all_there_is() -> None:
    assert sorted(one.key for one in manual.settings()) == sorted(KEYS)
    assert all(one.about for one in manual.settings())
    commands = [name for name, _ in manual.commands()]
    assert {"digitd run", "digitd reload", "digitd model promote"} <= set(commands)
    assert all(f"\n## {name}\n" in manual.commands_page() for name in commands)
    assert set(manual.exit_statuses()) == {
        *(0, EX_FOUND_WRONG, 2, EX_NOT_RUNNING, EX_TEMPFAIL, EX_CONFIG)
    }
    for column in (*COLUMNS, *ANSWERS):
        assert f"\n| `{column}` | " in manual.tables_page()
    for name in daemon.__all__:
        assert name == "__version__" or f"\n## {name}\n" in manual.python_page()


def test_site_has_every_page_and_what_it_links_to(tmp_path: Path) -> None:
    manual.write_site(tmp_path)
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.md")}
    listed = re.findall(r"^ +- (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(written)
    for page in tmp_path.rglob("*.md"):
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_site_is_built_without_a_warning(tmp_path: Path) -> None:
    mkdocs = ROOT / "build" / "mkdocs" / "bin" / "mkdocs"
    if not mkdocs.exists():
        pytest.skip("needs `make docs`, which installs MkDocs")
    manual.write_site(ROOT / "build" / "site")
    command = [str(mkdocs), "build", "--strict", "--site-dir", str(tmp_path / "docs")]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    loaded = re.compile(r"<(?:script|link|img)[^>]*(?:src|href)=.?https?://")
    for page in (tmp_path / "docs").rglob("*.html"):
        assert not loaded.search(page.read_text(encoding="utf-8")), page


def test_workflow_is_valid() -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema"]
    if subprocess.run([*check[:-1], "--version"], capture_output=True, check=False).returncode:
        pytest.skip("needs check-jsonschema")
    for schema, file in (
        ("vendor.github-workflows", WORKFLOW),
        ("vendor.compose-spec", ROOT / "compose.yaml"),
    ):
        done = subprocess.run(
            [*check, schema, str(file)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout


def test_workflow_tests_every_python_that_digitd_supports() -> None:
    jobs = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    supported = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', project)
    assert jobs["wheel"]["strategy"]["matrix"]["python"] == supported
    for job in jobs.values():
        for step in job["steps"]:
            for target in re.findall(r"make (\w+)", step.get("run", "")):
                assert f"\n{target}:" in (ROOT / "Makefile").read_text(encoding="utf-8")
