"""Check 300 answer boxes as a teacher would, in a real browser, and take pictures of every page.

``python -m benchmarks.teacher mnist.npz pictures``
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click
import cv2
import numpy as np
from playwright.sync_api import sync_playwright

from support import programs
from support.daemon import DIGITD
from support.site import Server, Site

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

_BOXES, _DOUBTFUL = 300, 8
_LOOK_SECONDS = 2.0  # at each file before the key is pressed
_SIZES = {"laptop": (1440, 900), "tablet": (768, 1024), "phone": (390, 844)}
_PAGES = {"check": "", "gallery": "gallery", "live": "live"}


def _fill(inbox: Path, digits: Path) -> None:
    """Write boxes as a form has them: a digit in a printed frame; some have two digits in one."""
    rng = np.random.default_rng(0)
    with np.load(digits) as sets:
        images = sets["x_test"]
    for number in range(1, _BOXES + 1):
        first, second = (images[at].astype(int) for at in rng.integers(len(images), size=2))
        is_doubtful = number % (_BOXES // _DOUBTFUL) == 0
        ink = np.maximum(first, second) if is_doubtful else first
        page = np.full((110, 110, 3), (232, 240, 244), np.uint8)
        cv2.rectangle(page, (8, 8), (101, 101), (90, 90, 90), 1)
        large = cv2.resize(ink.astype(np.uint8), (84, 84), interpolation=cv2.INTER_CUBIC)
        share = large[..., None] / 255
        place = page[13:97, 13:97]
        place[:] = place * (1 - share) + np.array((120, 50, 30)) * share
        cv2.imwrite(str(inbox / f"digit{number}.png"), page)


def _check_all(context: BrowserContext, url: str) -> tuple[int, float]:
    """Answer everything that is doubtful and download the results; return how many, and seconds."""
    page = context.new_page()
    started = time.perf_counter()
    page.goto(url)
    page.wait_for_selector("#file:not(:empty)")
    answered = 0
    while page.is_visible("#item") and "random one" not in page.inner_text("#why"):
        file = page.inner_text("#file")
        page.wait_for_timeout(1000 * _LOOK_SECONDS)
        page.keyboard.press("Enter" if page.is_enabled("[data-action=accept]") else "n")
        page.wait_for_function(
            "file => document.querySelector('#item').hidden"
            " || document.querySelector('#file').textContent !== file",
            arg=file,
        )
        answered += 1
    with page.expect_download() as download:
        page.click("header a[download]")
    lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    took = time.perf_counter() - started
    if len(lines) != _BOXES + 1:
        raise click.ClickException(f"the results have {len(lines)} lines, not {_BOXES + 1}")
    return answered, took


def _photograph(browser: Browser, server: Server, pictures: Path) -> None:
    """Save a picture of each page, on each screen, light and dark."""
    for screen, (width, height) in _SIZES.items():
        for scheme in ("light", "dark"):
            context = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme="dark" if scheme == "dark" else "light",
            )
            page = context.new_page()
            page.goto(server.url)
            for name, path in _PAGES.items():
                page.goto(f"{server.base}/{path}")
                if name == "check":
                    _go_to_a_guess(page)
                page.wait_for_timeout(700)  # pictures fade in
                page.screenshot(path=pictures / f"{name}-{screen}-{scheme}.png")
            context.close()


def _go_to_a_guess(page: Page) -> None:
    """Show the first file that the model has a guess for."""
    page.wait_for_selector("#file:not(:empty)")
    for _ in range(_DOUBTFUL):
        if "Perhaps" in page.inner_text("#guess"):
            break
        page.keyboard.press("ArrowRight")


@click.command()
@click.argument("digits", type=click.Path(exists=True, path_type=Path))
@click.argument("pictures", type=click.Path(path_type=Path))
def main(digits: Path, pictures: Path) -> None:
    """Print what it took."""
    chromium = programs.browser()
    if chromium is None:
        raise click.ClickException("no browser: install chromium, or name one in DIGITD_BROWSER")
    pictures.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        site = Site(Path(folder))
        _fill(site.inbox, digits)
        command = [*DIGITD, "run", "--once", "--quiet", "--config", str(site.config)]
        started = time.perf_counter()
        subprocess.run(command, check=True)
        click.echo(f"{_BOXES} boxes read in {time.perf_counter() - started:.1f} s")
        with Server(site) as server, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            _photograph(browser, server, pictures)
            answered, took = _check_all(browser.new_context(accept_downloads=True), server.url)
            browser.close()
        click.echo(
            f"{answered} checked, looking at each for {_LOOK_SECONDS:g} s, and the results "
            f"downloaded: {took:.1f} s"
        )


if __name__ == "__main__":
    main()
