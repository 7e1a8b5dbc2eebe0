"""The dependencies of pyproject.toml are those that digitd imports, and the locks pin them."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest
from packaging.requirements import Requirement

from support.daemon import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
REQUIREMENTS = [Requirement(text) for text in PROJECT["dependencies"]]
OPTIONAL = [Requirement(text) for texts in EXTRAS.values() for text in texts]
# What only one folder of daemon/ imports: packages of extras, and what its error message names.
IMPORTED_BY = {
    "training": {"keras", "tensorflow"},
    "cluster": {"distributed"},
    "outbox": {"pyarrow"},
}


def pinned(lock: str) -> set[tuple[str, str]]:
    """Return the names and versions in a lock; one that depends on Python has several."""
    text = (ROOT / lock).read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z0-9-]+)==([^\s;]+)", text, re.MULTILINE))


RUN = pinned("requirements.lock")
DEV = pinned("requirements-dev.lock")


def imported() -> set[tuple[str, str]]:
    """Return each folder of daemon/ with each distribution that it imports."""
    distributions = packages_distributions()
    found = set()
    for file in (ROOT / "daemon").rglob("*.py"):
        folder = file.relative_to(ROOT / "daemon").parts[0]
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            modules: list[str] = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules = [node.module]
            for module in (each.partition(".")[0] for each in modules):
                if module not in sys.stdlib_module_names and module != "daemon":
                    names = {normalized(each) for each in distributions[module]}
                    found |= {(folder, name) for name in names}
    return found


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda each: each.name)
def test_pinned_version_is_in_the_allowed_range(requirement: Requirement) -> None:
    versions = [version for name, version in RUN if name == requirement.name]
    assert versions
    assert all(requirement.specifier.contains(version) for version in versions)


@pytest.mark.parametrize("requirement", OPTIONAL, ids=lambda each: each.name)
def test_pinned_version_of_an_extra_is_in_the_allowed_range(requirement: Requirement) -> None:
    versions = [version for name, version in DEV if name == normalized(requirement.name)]
    assert versions
    assert all(requirement.specifier.contains(version) for version in versions)


def test_both_locks_pin_the_same_versions() -> None:
    assert RUN < DEV
    assert {"tensorflow", "keras"} & {name for name, _ in RUN} == set()


def test_only_what_is_imported_is_a_dependency() -> None:
    needed = {name for folder, name in imported() if name not in IMPORTED_BY.get(folder, set())}
    assert needed == {requirement.name for requirement in REQUIREMENTS}


def test_allowed_watchdog_versions_have_what_watch_imports() -> None:
    (watchdog,) = (each for each in REQUIREMENTS if each.name == "watchdog")
    assert not watchdog.specifier.contains("6.0.0")
