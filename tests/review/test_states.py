"""No page has a barrier in any state: large and small, light and dark, at 200 % zoom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from daemon.records import Status, Verdict
from support.barriers import check, context
from support.daemon import STAND_IN, Daemon
from support.factories import BLANK, BROKEN, SURE, doubtful, number
from support.site import PASSWORD, Server, Site, intercept, png, secure
from support.stand_in import png_like
from tests.review.test_browser import shows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

LONG = "Klasse 7b, Aufgabe 12 (nachgeschrieben) von Zoë-Marie " + "x" * 60 + ".png"
SURE_ROWS = 24  # of which 20 are in the sample
SEVERAL = Verdict(Status.UNSURE, "4", 0.5, (0.05,) * 11, "several digits")


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with context(browser, ignore_https_errors=True) as made:
        yield made.new_page()


def add_sure(site: Site) -> None:
    names = [LONG, *(f"sure {place}.png" for place in range(1, SURE_ROWS))]
    site.add_all([(name, SURE) for name in names], with_sample=False)


def test_queue(site: Site, page: Page) -> None:
    site.add("blank.png", BLANK)
    site.add("gone.png", doubtful(1, 0.1))
    site.add(LONG, doubtful(2, 0.2))
    other = site.add("other.png", doubtful(3, 0.3))
    site.add("several.png", SEVERAL)
    site.add("broken.png", BROKEN, b"hi")
    (site.outbox / "originals" / "gone.png").unlink()
    with Server(site) as server:
        server.wait_for_rows(6)
        page.goto(server.url)
        shows(page, "blank.png")
        page.keyboard.press("Enter")
        page.wait_for_selector("#hint:has-text('There is no guess')")
        check(page)
        page.keyboard.press("?")
        page.wait_for_selector("#help[open]")
        check(page)
        page.keyboard.press("Escape")
        page.keyboard.press("n")
        page.wait_for_selector("#missing:not([hidden])")
        check(page)
        page.keyboard.press("ArrowRight")
        shows(page, LONG[:20])
        intercept(page, "**/api/answers", lambda route: route.abort())
        page.keyboard.press("4")
        page.wait_for_selector("#problem:not([hidden]) button:visible")
        check(page)
        page.unroute("**/api/answers")
        page.wait_for_selector("#stored:has-text('Stored 4')")
        shows(page, "other.png")
        check(page)
        assert server.answer(other, "5", by="Ana").status == 200
        page.keyboard.press("3")
        page.wait_for_selector("#problem:has-text('Ana has answered')")
        check(page)
        page.keyboard.press("ArrowRight")
        shows(page, "several.png")
        page.keyboard.press("4")
        page.wait_for_selector("#hint:has-text('Enter stores 4')")
        check(page)
        page.keyboard.press("ArrowRight")
        page.wait_for_selector("#retry:not([hidden])")
        check(page)
        server.stop()
        page.wait_for_selector("#offline:not([hidden])")
        check(page)


def test_look_through_and_end_of_the_queue(site: Site, page: Page) -> None:
    add_sure(site)
    with Server(site) as server:
        server.wait_for_rows(SURE_ROWS)
        page.goto(server.url)
        page.wait_for_selector("#why a")
        check(page)
        page.set_viewport_size({"width": 1440, "height": 1200})
        page.keyboard.press("l")
        page.wait_for_selector("#look-store:enabled:has-text('Store')")
        check(page)
        page.click(".tile >> nth=0")
        check(page)
        page.keyboard.press("m")
        page.wait_for_selector(".tile.changed")
        intercept(page, "**/api/seen", lambda route: route.abort())
        page.keyboard.press("Enter")
        page.wait_for_selector("#look-problem:not([hidden])")
        check(page)
        page.unroute("**/api/seen")
        page.keyboard.press("Enter")
        page.wait_for_selector("#look-empty:not([hidden])")
        check(page)
        page.goto(server.base)
        page.wait_for_selector("#done-text:has-text('Everything is checked')")
        check(page)
        page.goto(f"{server.base}/look")
        page.wait_for_selector("#look-undo:visible, #look-empty:visible")
        site.add("late.png", SURE)
        page.goto(f"{server.base}/")
        page.wait_for_selector("#done-unseen:visible, #item:visible")
        check(page)


def test_gallery_row_and_live(site: Site, page: Page) -> None:
    add_sure(site)
    site.add_all([("blank.png", BLANK), (f"7 {LONG}", doubtful(7, 0.3))])
    site.add("broken.png", BROKEN, b"hi")
    rows = site.rows()
    with Server(site) as server:
        server.wait_for_rows(len(rows))
        for row, label in zip(rows, ("7", "none", "several"), strict=False):
            assert server.answer(row["id"], label, is_sample=True).status == 200
        page.goto(server.url)
        page.goto(f"{server.base}/gallery")
        page.wait_for_selector("#gallery[data-ready]")
        check(page)
        page.click("#status-error")
        page.click("#answered-yes")
        page.wait_for_selector("text=No file is like that")
        site.add("new.png", SURE)
        page.wait_for_selector("#new-rows:not([hidden])")
        check(page)
        for row in (rows[0], rows[-1]):
            page.goto(f"{server.base}/row/{row['id']}")
            page.wait_for_selector("#file:not(:empty)")
            check(page)
        with page.expect_response("**/events"):
            page.goto(f"{server.base}/live")
        page.wait_for_selector("#figures .interval")
        site.add("newer.png", SURE)
        page.wait_for_selector("#arrivals li")
        check(page)
        page.click("[data-retry]")
        page.wait_for_selector("[role=status]:has-text('put back')")
        check(page)
        for path in ("/nothing", "/metrics"):
            page.goto(server.base + path)
            check(page)


def test_added_files(site: Site, page: Page) -> None:
    site.add("digit1.png", doubtful(1, 0.3))
    site.configure(max_file_mb=1)
    with Server(site) as server:
        server.wait_for_rows(1)
        page.goto(server.url)
        intercept(page, "**/api/files?*", lambda route: route.abort())
        chosen = [
            {"name": LONG, "mimeType": "image/png", "buffer": png()},
            {"name": "large.png", "mimeType": "image/png", "buffer": bytes(2_000_000)},
        ]
        page.set_input_files("#files", chosen)  # type: ignore[arg-type]
        page.wait_for_selector("#dropped li.error button")
        page.wait_for_selector("#dropped li.error:has-text('larger than')")
        check(page)
        page.unroute("**/api/files?*")
        page.click("#dropped li button")
        page.wait_for_selector("#dropped li:has-text('digitd is not running')")
        check(page)
        page.goto(server.base)
        with Daemon(site, STAND_IN):
            name = "fine.png"
            sent = {"name": name, "mimeType": "image/png", "buffer": png_like("fine")}
            page.set_input_files("#files", sent)  # type: ignore[arg-type]
            page.wait_for_selector(f"#dropped li.ok:has-text('{name}')")
            page.wait_for_selector("#state[data-state=reading]")
            check(page)
            site.outbox.rename(site.folder / "away")
            page.wait_for_selector("#state[data-state=paused]")
            check(page)
            (site.folder / "away").rename(site.outbox)


def test_pages_without_files(site: Site, page: Page) -> None:
    with Server(site) as server:
        for path in ("/gallery", "/?token=wrong"):
            page.goto(server.base + path)
            check(page)
        page.goto(server.url)
        for path in ("/", "/gallery", "/live", "/look"):
            page.goto(server.base + path)
            page.wait_for_selector("#empty:not([hidden])")
            check(page)


def test_numbers(site: Site, page: Page) -> None:
    site.configure(reads="number")
    site.add("unsure.png", number("19/10/2023", Status.UNSURE, 0.4))
    site.add_all([(f"{place}.png", number("12345678901234567890")) for place in range(3)])
    with Server(site) as server:
        server.wait_for_rows(4)
        page.goto(server.url)
        shows(page, "unsure.png")
        check(page)
        page.fill("#number", "7,")
        page.keyboard.press("Enter")
        page.wait_for_selector("#hint:has-text('is not a number')")
        check(page)
        page.goto(f"{server.base}/look")
        page.wait_for_selector("#look-store:enabled:has-text('Store')")
        page.click(".tile >> nth=0")
        page.fill("#correct-number", "x")
        page.keyboard.press("Enter")
        page.wait_for_selector("#correct-fault:has-text('is not a number')")
        check(page)
        page.on("dialog", lambda dialog: dialog.accept())
        page.goto(f"{server.base}/gallery")
        page.wait_for_selector(".card")
        check(page)


def test_login(site: Site, page: Page, tmp_path: Path) -> None:
    with Server(site, *secure(tmp_path)) as server:
        page.goto(server.url)
        page.fill("#password", f"not {PASSWORD}")
        check(page)
        page.keyboard.press("Enter")
        page.wait_for_selector("[role=alert]")
        check(page)
