"""Each block of commands in the documentation is run by a test, or says why it is not."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import pytest

from support.daemon import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
NOT_RUN = re.compile(r"<!-- not run by a test: \S.* -->")
# By page and heading: the file that takes the block from the page and runs it, or runs the same.
RUN_BY = {
    "README.md": {
        "The outbox": "tests/test_readme.py",
        "In Python": "tests/test_readme.py",
        "Check the doubtful answers": "tests/review/test_server.py",
        "Settings": "tests/test_wheel.py",
        "As a service": "tests/system/test_system.py",
        "The review page as a service": "tests/system/test_system.py",
        "In a container": "tests/system/test_container.py",
    },
    "docs/cluster.md": {"Two machines, step by step": "tests/system/test_system.py"},
    "docs/following.md": {
        "A webhook": "tests/outbox/test_follow.py",
        "SQLite": "tests/outbox/test_follow.py",
    },
    "docs/operating.md": dict.fromkeys(
        (
            *("Install", "Upgrade", "Downgrade", "Move to another disk"),
            *("Back up", "Restore", "Rotate", "Remove"),
        ),
        "tests/system/test_operating.py",
    ),
    "docs/reverse-proxy.md": {
        "The review page behind a reverse proxy": "tests/review/test_proxy.py"
    },
}


class Block(NamedTuple):
    """A fenced block of commands: the heading above it, its line, and whether it is marked."""

    heading: str
    line: int
    is_marked: bool


def blocks(page: Path) -> list[Block]:
    found, heading, fence, above = [], "", False, ""
    for number, text in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        line = text.strip()
        if line.startswith("```"):
            if not fence and line in {"```sh", "```python"}:
                found.append(Block(heading, number, NOT_RUN.fullmatch(above) is not None))
            fence = not fence
        elif not fence and line.startswith("#"):
            heading = line.lstrip("# ")
        above = line
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_command_is_run_or_marked(page: Path) -> None:
    run_by = RUN_BY.get(page.relative_to(ROOT).as_posix(), {})
    unmarked = [block for block in blocks(page) if not block.is_marked]
    assert {block.heading for block in unmarked} == run_by.keys(), unmarked
    assert all((ROOT / file).is_file() for file in run_by.values())
