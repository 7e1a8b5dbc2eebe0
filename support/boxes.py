"""300 answer boxes of which 11 need a person, and a person who checks them in a browser."""

from __future__ import annotations

import csv
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.records import Status, Verdict
from support.factories import doubtful
from support.site import png

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from support.site import Site

BOXES = 300
DOUBTFUL = 8
WRONG = (37, 142, 251)  # of the sure ones


@dataclass(frozen=True)
class Pauses:
    """How long a person takes, in seconds: at a doubtful file, at a tile, for a correction."""

    file: float = 0.0
    tile: float = 0.0
    correction: float = 0.0


def add_boxes(site: Site) -> dict[str, str]:
    """Add the boxes; return the digit in each file."""
    digits = {f"box{number}.png": str(number % 10) for number in range(BOXES)}
    rows = []
    for number, (name, digit) in enumerate(digits.items()):
        wrong = str((number + 5) % 10)
        if number < DOUBTFUL:
            guess = digit if number % 2 else wrong
            rows.append((name, doubtful(int(guess), 0.3 + number / 20), digit))
        else:
            read = wrong if number in WRONG else digit
            rows.append((name, Verdict(Status.OK, read, 0.99, (0.09,) * 11), digit))
    for name, verdict, digit in rows:
        if verdict.text != digit:
            site.add_all([(name, verdict)], png(digit) + name.encode())
    site.add_all([(name, verdict) for name, verdict, digit in rows if verdict.text == digit])
    return digits


def check_boxes(page: Page, digits: dict[str, str], pauses: Pauses) -> None:
    """Answer the doubtful boxes with keys, then look through the others and correct wrong ones."""
    for _ in range(DOUBTFUL):
        shown = page.inner_text("#file")
        page.wait_for_function("() => document.querySelector('#picture img').naturalWidth > 0")
        time.sleep(pauses.file)
        page.keyboard.press(digits[shown.partition(",")[0]])
        page.wait_for_function(
            "shown => document.querySelector('#file').textContent !== shown", arg=shown
        )
    page.wait_for_selector("#why a")
    page.keyboard.press("l")
    while _look_at_a_page(page, digits, pauses):
        pass


def _look_at_a_page(page: Page, digits: dict[str, str], pauses: Pauses) -> bool:
    """Correct and store a page of tiles; return whether there was one."""
    page.wait_for_selector("#look-store:enabled, #look-empty:not([hidden])")
    tiles = page.locator(".tile").evaluate_all(
        "all => all.map((tile) => tile.getAttribute('aria-label'))"
    )
    for tile in tiles:
        time.sleep(pauses.tile)
        read, _, name = tile.partition(", ")
        if digits[name] != read:
            page.click(f".tile[aria-label='{tile}']")
            time.sleep(pauses.correction)
            page.keyboard.press(digits[name])
    if not tiles:
        return False
    page.keyboard.press("Enter")
    page.wait_for_function(
        "name => !document.querySelector('#tiles').innerHTML.includes(`, ${name}\"`)",
        arg=tiles[-1].partition(", ")[2],
    )
    return True


def download(page: Page) -> dict[str, str]:
    """Return the final answer to each file, as the page's table of results has it."""
    with page.expect_download() as downloaded:
        page.click("header a[href$='results.csv']")
    with Path(downloaded.value.path()).open(encoding="utf-8", newline="") as lines:
        return {row["file"]: row["answer"] for row in csv.DictReader(lines)}
