from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support import programs
from support.site import Server, Site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    api = pytest.importorskip("playwright.sync_api", reason="no browser tests: no playwright")
    path = programs.require("chromium")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def row(site: Site) -> str:
    """Return the id of the first row of the module's own ``site``."""
    return site.rows()[0]["id"]


@pytest.fixture(scope="module")
def server(site: Site) -> Iterator[Server]:
    """Yield a page of the module's own ``site``, with all its rows."""
    with Server(site) as running:
        running.wait_for_rows(len(site.rows()))
        yield running
