"""300 boxes in a real browser: the 8 doubtful ones and the 3 wrong ones are found and corrected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.boxes import BOXES, DOUBTFUL, WRONG, Pauses, add_boxes, check_boxes, download
from support.site import Server, Site
from tests.review.test_browser import opened

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def test_eleven_of_300_boxes_are_found_and_corrected(browser: Browser, site: Site) -> None:
    digits = add_boxes(site)
    read_wrongly = [row["file"] for row in site.rows() if row["digit"] != digits[row["file"]]]
    assert len(read_wrongly) == DOUBTFUL // 2 + len(WRONG)
    with Server(site) as server:
        server.wait_for_rows(BOXES)
        for page in opened(browser, server):
            page.wait_for_selector("#file:not(:empty)")
            check_boxes(page, digits, Pauses())
            assert download(page) == digits
    assert len(site.answers()) == BOXES
