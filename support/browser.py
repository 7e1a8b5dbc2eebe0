"""Find a browser to test with, or install Debian's."""

from __future__ import annotations

import os

from support import packages


def find() -> str | None:
    """Return the path of a Chromium or Chrome, or the one that DIGITD_BROWSER names.

    As root on a system with apt, Debian's chromium is installed. ``None`` if there is none.
    """
    names = "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"
    return os.environ.get("DIGITD_BROWSER") or packages.find("chromium", *names)
