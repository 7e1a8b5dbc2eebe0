"""The versions allowed by pyproject.toml can be imported and include the pinned ones."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement

from support.daemon import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
REQUIREMENTS = [Requirement(text) for text in [*PROJECT["dependencies"], *EXTRAS["review"]]]
PINNED = dict(
    re.findall(r"^([a-z0-9-]+)==([^\s;]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
)


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda each: each.name)
def test_pinned_version_is_in_the_allowed_range(requirement: Requirement) -> None:
    assert requirement.specifier.contains(PINNED[requirement.name])


def test_allowed_watchdog_versions_have_what_watch_imports() -> None:
    (watchdog,) = (each for each in REQUIREMENTS if each.name == "watchdog")
    assert not watchdog.specifier.contains("6.0.0")
