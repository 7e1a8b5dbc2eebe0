"""What keeps a person from using a page: barriers that axe-core finds, and a layout that breaks."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize

DESKTOP: ViewportSize = {"width": 1440, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
ZOOMED: ViewportSize = {
    "width": 640,
    "height": 400,
}  # CSS pixels of a window of 1280 x 800 at 200 %
_LAYOUT = Path(__file__).parent / "layout.js"
_AXE = "rules => axe.run(rules ? { runOnly: rules } : {}).then((found) => found.violations)"


def context(browser: Browser, **options: Any) -> BrowserContext:  # noqa: ANN401 - Playwright's
    """Return a context in whose pages ``find`` can be called."""
    package = importlib.util.find_spec("axe_playwright_python")
    if package is None or package.origin is None:
        pytest.skip("axe-playwright-python is not installed")
    # In the middle of a transition, a colour is none of the style sheet's.
    made = browser.new_context(bypass_csp=True, reduced_motion="reduce", **options)
    for script in (Path(package.origin).parent / "axe.min.js", _LAYOUT):
        made.add_init_script(path=script)
    return made


def find(page: Page) -> list[str]:
    """Return the barriers of a page as it is now, large and small, light and dark, and zoomed."""
    before = page.viewport_size
    found = []
    for size in (DESKTOP, PHONE):
        page.set_viewport_size(size)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            # The two schemes differ in colours only.
            rules = ["color-contrast"] if scheme == "dark" else None
            found += [
                f"{scheme}, {size['width']} px: {rule['id']}: {node['html']}: "
                f"{node['failureSummary']}"
                for rule in page.evaluate(_AXE, rules)
                for node in rule["nodes"]
            ]
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(ZOOMED)
    found += [f"zoomed: {fault}" for fault in page.evaluate("() => findLayoutFaults()")]
    if before is not None:
        page.set_viewport_size(before)
    return found


def check(page: Page) -> None:
    """Fail if a page has a barrier as it is now."""
    found = find(page)
    assert found == [], page.url + "\n" + json.dumps(found, indent=1)
