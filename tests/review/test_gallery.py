"""The gallery in a real browser: filters that act at once, arrow keys, and what cards look like."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

import pytest

from support.factories import BROKEN, SURE, doubtful, number
from support.site import Server, Site, png
from tests.review.test_browser import hold_first, opened, wait_for_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page, Route

NAMES = [
    "IMG_2059.png",
    "IMG_2060.png",
    "scan 1.png",
    "Über ä.png",
    "é&=%_.png",
    "a" * 120 + ".png",
]


@pytest.fixture
def ids(site: Site) -> list[str]:
    rows = [(name, doubtful(n, 0.3)) for n, name in enumerate(NAMES, 1)]
    return site.add_all([*rows, ("sure.png", SURE), ("broken.png", BROKEN)])


@pytest.fixture
def server(site: Site, ids: list[str]) -> Iterator[Server]:
    with Server(site) as running:
        running.wait_for_rows(len(ids))
        yield running


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    for page in opened(browser, server, viewport={"width": 700, "height": 800}):
        page.goto(f"{server.base}/gallery")
        page.wait_for_selector("#gallery[data-ready]")
        yield page


def shows(page: Page, *names: str) -> None:
    """Wait until the cards are those of some files, newest first."""
    page.wait_for_function(
        """names => JSON.stringify(names) === JSON.stringify(
            [...document.querySelectorAll(".card .name")].map((name) => name.textContent))""",
        arg=list(names),
    )


def test_picture_that_did_not_arrive_is_asked_for_again(
    browser: Browser, site: Site, server: Server
) -> None:
    (site.outbox / "originals" / "scan 1.png").unlink()
    missed = set[str]()

    def miss_once(route: Route) -> None:
        if route.request.url in missed:
            route.continue_()
        else:
            missed.add(route.request.url)
            route.fulfill(status=503, json={"error": "the outbox is away"})

    for page in opened(browser, server):
        page.route("**/image/*/small", miss_once)
        page.goto(f"{server.base}/gallery")
        page.wait_for_function(
            """() => [...document.querySelectorAll(".card img")].filter(
                (image) => image.naturalWidth > 0).length === 7"""
        )
        page.wait_for_selector(".card:has-text('scan 1.png') .no-picture")
        assert len(missed) == len(NAMES) + 2


def test_name_is_searched_while_it_is_typed(page: Page) -> None:
    page.evaluate("() => { window.isSamePage = true; }")
    page.keyboard.press("/")
    for text, names in (
        ("2059", ["IMG_2059.png"]),
        ("g_20", ["IMG_2060.png", "IMG_2059.png"]),
        ("über", ["Über ä.png"]),
        (unicodedata.normalize("NFD", "ÜBER Ä"), ["Über ä.png"]),
        ("&=%_", ["é&=%_.png"]),
        ("n 1", ["scan 1.png"]),
    ):
        page.keyboard.press("Control+A")
        page.keyboard.insert_text(text)
        shows(page, *names)
        assert page.evaluate("() => document.activeElement.value") == text
    page.click("#clear")
    page.wait_for_function("() => document.querySelectorAll('.card').length === 8")
    assert page.input_value("[name=name]") == ""
    assert page.url.endswith("/gallery")
    assert page.evaluate("() => window.isSamePage")


def test_chips_are_chosen_together_and_let_go(page: Page) -> None:
    page.click("#status-unsure")
    page.wait_for_url(re.compile("status=unsure"))
    assert page.get_attribute("#status-unsure", "aria-current") == "true"
    page.focus("#value-2")
    page.keyboard.press("Enter")
    shows(page, "IMG_2060.png")
    assert page.evaluate("() => document.activeElement.id") == "value-2"
    page.reload()
    shows(page, "IMG_2060.png")
    page.click("#value-2")
    page.click("#status-unsure")
    page.click("#status-error")
    shows(page, "broken.png")
    page.click("#answered-yes")
    page.wait_for_selector("text=No file is like that")


def test_what_is_chosen_before_an_answer_comes_is_kept(page: Page) -> None:
    held = hold_first(page, "**/gallery?*")
    page.click("#status-unsure")
    route = wait_for_request(page, held)
    page.click("#answered-no")
    page.fill("[name=name]", "scan")
    page.wait_for_url("**/gallery?status=unsure&answered=no&name=scan")
    shows(page, "scan 1.png")
    route.continue_()
    page.click("#status-unsure")
    page.wait_for_url("**/gallery?answered=no&name=scan")
    shows(page, "scan 1.png")


def test_arrow_keys_move_between_cards(page: Page) -> None:
    top = "[...document.querySelectorAll('.card a')]"
    focused = f"() => {top}.indexOf(document.activeElement)"
    columns = page.evaluate(
        f"() => {top}.filter((card) => card.offsetTop === {top}[0].offsetTop).length"
    )
    assert 1 < columns < 8
    for key, index in (
        ("ArrowRight", 0),
        ("ArrowRight", 1),
        ("ArrowDown", 1 + columns),
        ("ArrowLeft", columns),
        ("ArrowUp", 0),
        ("ArrowUp", 0),
    ):
        page.keyboard.press(key)
        assert page.evaluate(focused) == index, key
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/row/"))


def test_cards_have_equal_heights_and_answered_ones_look_answered(
    page: Page, server: Server, ids: list[str]
) -> None:
    for job_id, label in zip(ids[:3], ("7", "none", "several"), strict=True):
        assert server.answer(job_id, label).status == 200
    page.click("#answered-yes")
    shows(page, *NAMES[2::-1])
    colours = "cards => cards.map((card) => getComputedStyle(card).backgroundColor)"
    (answered,) = set(page.eval_on_selector_all(".card a", colours))
    page.click("#answered-yes")
    page.wait_for_function("() => document.querySelectorAll('.card').length === 8")
    others = set(page.eval_on_selector_all(".card:not(.answered) a", colours))
    assert answered not in others
    heights = "cards => cards.map((card) => card.getBoundingClientRect().height)"
    assert len(set(page.eval_on_selector_all(".card", heights))) == 1
    assert page.locator(".card.answered:has-text('not a digit')").count() == 1


def test_whole_number_is_found_by_its_text(browser: Browser, site: Site) -> None:
    site.configure(reads="number")
    site.add_all([("a.png", number("0471")), ("b.png", number("7,5")), ("c.png", number("471"))])
    with Server(site) as server:
        server.wait_for_rows(3)
        for page in opened(browser, server):
            page.goto(f"{server.base}/gallery?value=none")
            page.wait_for_selector("#gallery[data-ready]")
            page.fill("[name=number]", "0471")
            shows(page, "a.png")
            page.fill("[name=number]", "7,5")
            shows(page, "b.png")
            page.fill("[name=number]", "")
            shows(page, "c.png", "b.png", "a.png")


def test_only_small_pictures_show_their_pixels(browser: Browser, site: Site) -> None:
    site.add("small.png", data=png(side=28))
    site.add("large.png", data=png(side=400))
    with Server(site) as server:
        server.wait_for_rows(2)
        for page in opened(browser, server):
            page.goto(f"{server.base}/gallery")
            for name, rendering in (("small.png", "pixelated"), ("large.png", "auto")):
                image = page.locator(f".card:has-text('{name}') img")
                page.wait_for_function(
                    "image => image.complete && image.naturalWidth > 0", arg=image.element_handle()
                )
                found = image.evaluate("image => getComputedStyle(image).imageRendering")
                assert found == rendering, name
