"""The daemon process stays small."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import daemon

PACKAGE = Path(daemon.__file__).parent
FILES = [
    file
    for file in sorted(PACKAGE.rglob("*.py"))
    if file.relative_to(PACKAGE).as_posix() not in {"__init__.py", "__main__.py"}
]


def module_of(file: Path) -> str:
    dotted = ".".join(file.relative_to(PACKAGE).with_suffix("").parts)
    return dotted.removesuffix(".__init__")


def test_only_one_module_imports_keras() -> None:
    keras = re.compile(r"^\s*(import|from) (keras|tensorflow)", re.MULTILINE)
    found = {module_of(file) for file in FILES if keras.search(file.read_text())}
    assert found == {"training.frameworks"}


def test_daemon_process_loads_neither_tensorflow_nor_a_decoder() -> None:
    program = (
        "import sys, daemon.loop.service, daemon.cli, daemon.loop.status\n"
        "import daemon.loop.check\n"
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
