"""Imports go in one direction, and the daemon process stays small."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import daemon

PACKAGE = Path(daemon.__file__).parent
FILES = [
    file
    for file in sorted(PACKAGE.rglob("*.py"))
    if file.relative_to(PACKAGE).as_posix() not in {"__init__.py", "__main__.py"}
]


def documented_order() -> list[str]:
    """Return the dotted module names in the package's docstring, from top to bottom."""
    order: list[str] = []
    parents: dict[int, str] = {}
    for indent, name, folder in re.findall(
        r"^( {4,})(\w+)(/?) {2,}", daemon.__doc__ or "", re.MULTILINE
    ):
        parent = parents.get(len(indent) - 4, "")
        dotted = f"{parent}.{name}" if parent else name
        if folder:
            parents[len(indent)] = dotted
        order.append(dotted)
    return order


ORDER = documented_order()


def documented_name(dotted: str) -> str:
    """Return the listed name of a module: its own, or that of its folder."""
    while dotted not in ORDER and "." in dotted:
        dotted = dotted.rpartition(".")[0]
    return dotted


def module_of(file: Path) -> str:
    dotted = ".".join(file.relative_to(PACKAGE).with_suffix("").parts)
    return dotted.removesuffix(".__init__")


def imported(file: Path) -> set[str]:
    """Return digitd's modules that a file imports at run time, at any level."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        # Imports for type checkers do not happen at run time.
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}".removeprefix("daemon.")
                file_of = PACKAGE.joinpath(*submodule.split("."))
                is_module = file_of.is_dir() or file_of.with_suffix(".py").is_file()
                found.add(f"daemon.{submodule}" if is_module else node.module)
    ours = {name.removeprefix("daemon.") for name in found if name.startswith("daemon.")}
    return {documented_name(name) for name in ours}


def test_docstring_lists_every_module_once() -> None:
    modules = [module_of(file) for file in FILES]
    within_training = {name for name in modules if name.startswith("training.")}
    assert sorted(ORDER) == sorted(set(modules) - within_training)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_module_imports_only_modules_below_it(file: Path) -> None:
    module = documented_name(module_of(file))
    below = set(ORDER[ORDER.index(module) + 1 :])
    if module == "training":  # its modules may import each other
        below.add(module)
    assert imported(file) <= below


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_folder_imports_only_folders_below_it(file: Path) -> None:
    folders = list(dict.fromkeys(name.partition(".")[0] for name in ORDER))
    folder = module_of(file).partition(".")[0]
    used = {name.partition(".")[0] for name in imported(file)}
    assert used <= set(folders[folders.index(folder) :])


def test_only_one_module_imports_keras() -> None:
    keras = re.compile(r"^\s*(import|from) (keras|tensorflow)", re.MULTILINE)
    found = {module_of(file) for file in FILES if keras.search(file.read_text())}
    assert found == {"training.frameworks"}


def test_daemon_process_loads_neither_tensorflow_nor_a_decoder() -> None:
    program = (
        "import sys, daemon.service.service, daemon.cli, daemon.service.status\n"
        "import daemon.service.check\n"
        "heavy = {'tensorflow', 'keras', 'ai_edge_litert', 'cv2', 'matplotlib', 'numpy'}\n"
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
