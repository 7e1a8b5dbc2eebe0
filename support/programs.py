"""Programs that some tests start; a test whose program is missing is skipped.

``python -m support.programs`` installs the missing ones, as root on Debian.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

# For each Debian package what is looked for in PATH: one program of each group.
PACKAGES: dict[str, tuple[tuple[str, ...], ...]] = {
    "build-essential": (("gcc",),),
    "caddy": (("caddy",),),
    "chromium": (("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"),),
    "curl": (("curl",),),
    "faketime": (("faketime",),),
    "firefox-esr": (("firefox-esr",),),
    "jq": (("jq",),),
    "logrotate": (("logrotate",),),
    "nginx": (("nginx",),),
    "openssl": (("openssl",),),
    "prometheus": (("prometheus",), ("promtool",)),
}


def browser() -> str | None:
    """Return the browser that DIGITD_BROWSER names, or else a Chromium or Chrome in PATH."""
    ((*names,),) = PACKAGES["chromium"]
    return os.environ.get("DIGITD_BROWSER") or _first(names)


def require(name: str) -> str:
    """Return the path of a program, or skip the test."""
    sys.audit("support.programs.require")  # `make check` skips it, too
    path = browser() if name == "chromium" else shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def _first(names: list[str]) -> str | None:
    return next((path for name in names if (path := shutil.which(name))), None)


def _missing() -> list[str]:
    """Return the packages of which a program is missing."""
    found = {
        package: all(_first([*names]) for names in groups) for package, groups in PACKAGES.items()
    }
    if os.environ.get("DIGITD_BROWSER"):
        found["chromium"] = True
    return [package for package, is_there in found.items() if not is_there]


def main() -> None:
    """Install what is missing, and say so in one line."""
    missing = _missing()
    if not missing:
        return
    names = " ".join(missing)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(f"Tests that need {names} are skipped: install them to run these tests, too.")
        return
    print(f"Installing what some tests need: apt-get install {names}", flush=True)
    for command in ("apt-get -q update", f"apt-get -q install -y --no-install-recommends {names}"):
        done = subprocess.run(  # noqa: PLW1510 - its output is shown when it fails
            command.split(),
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            print(f"`{command}` failed, their tests are skipped:\n{done.stderr}")
            return


if __name__ == "__main__":
    main()
