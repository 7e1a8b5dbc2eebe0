"""Find programs that the tests need, or install them."""

from __future__ import annotations

import os
import shutil
import subprocess


def find(package: str, *names: str) -> str | None:
    """Return the path of the first program in PATH; ``None`` if there is none.

    As root on a system with apt, its Debian package is installed first.
    """
    return _found(names) or (_install(package, names) if _can_install() else None)


def _found(names: tuple[str, ...]) -> str | None:
    return next((path for name in names if (path := shutil.which(name))), None)


def _can_install() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def _install(package: str, names: tuple[str, ...]) -> str | None:
    for command in ("apt-get update", f"apt-get install -y --no-install-recommends {package}"):
        subprocess.run(
            command.split(),
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    return _found(names)
