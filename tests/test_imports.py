"""Imports point one way, and the daemon's own process stays small."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import daemon

PACKAGE = Path(daemon.__file__).parent
ORDER = re.findall(r"^ {4,}(\w+) {2,}", daemon.__doc__ or "", re.MULTILINE)


def module_of(file: Path) -> str:
    """Return the name that the docstring has: a package within ours counts as one module."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = [
    file
    for file in sorted(PACKAGE.rglob("*.py"))
    if module_of(file) not in {"__init__", "__main__"}
]


def imported(file: Path) -> set[str]:
    """Return our modules that a file imports when it runs, wherever in it that stands."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        # What only a type checker reads makes no module load another.
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "daemon":
            found |= {f"daemon.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    ours = {name.split(".")[1] for name in found if name.startswith("daemon.")}
    return ours - {"__version__"}


def test_the_docstring_lists_every_module_once() -> None:
    assert sorted(ORDER) == sorted({module_of(file) for file in FILES})


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_module_imports_only_what_stands_below_it(file: Path) -> None:
    module = module_of(file)
    below = set(ORDER[ORDER.index(module) + 1 :])
    if file.parent != PACKAGE:  # a package's modules may import each other
        below.add(module)
    assert imported(file) <= below


def test_only_the_model_imports_keras() -> None:
    keras = re.compile(r"^\s*(import|from) (keras|tensorflow)", re.MULTILINE)
    assert {module_of(file) for file in FILES if keras.search(file.read_text())} == {"model"}


def test_a_daemon_process_loads_neither_tensorflow_nor_a_decoder() -> None:
    program = (
        "import sys, daemon.service, daemon.cli, daemon.status, daemon.check\n"
        "heavy = {'tensorflow', 'keras', 'cv2', 'matplotlib', 'numpy', 'pandas'}\n"
        "print(*sorted(heavy & sys.modules.keys()))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert found.stdout.split() == []
