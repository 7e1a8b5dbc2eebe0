"""The README's commands are ones that the program has."""

from __future__ import annotations

import re

import pytest

from tests.harness import ROOT, digitd

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = sorted(set(re.findall(r"(?:`|/bin/)digitd ([a-z]+(?: --[a-z]+)?)", README)))


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_in_the_readme_exists(command: str) -> None:
    name, *options = command.split()
    shown = digitd(name, "--help")
    assert shown.returncode == 0, f"the README names `digitd {command}`"
    assert all(option in shown.stdout for option in options)


def test_every_file_that_the_readme_links_is_there() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert "docs/annotated.png" in links
    assert [link for link in links if not (ROOT / link).exists()] == []
