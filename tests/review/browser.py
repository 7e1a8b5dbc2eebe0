"""Find a browser to test with, or install Debian's."""

from __future__ import annotations

import os
import shutil
import subprocess

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def find() -> str | None:
    """Return the path of a Chromium or Chrome; ``None`` if there is none and none can be installed.

    DIGITD_BROWSER names one. As root on a system with apt, Debian's chromium is installed.
    """
    if named := os.environ.get("DIGITD_BROWSER"):
        return named
    return _installed() or (_install() if os.geteuid() == 0 and shutil.which("apt-get") else None)


def _installed() -> str | None:
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


def _install() -> str | None:
    for command in ("apt-get update", "apt-get install -y --no-install-recommends chromium"):
        subprocess.run(
            command.split(),
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    return _installed()
