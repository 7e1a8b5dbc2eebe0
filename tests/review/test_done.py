"""What Check says when nothing is left to check, in a real browser: nothing that is not so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from daemon.layout import LABELS
from support.factories import SURE, doubtful
from support.site import Server, Site, intercept, png
from support.waiting import until
from tests.review.test_browser import opened, shows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import APIResponse, Browser, Page, Route

ALL = "Everything is checked."
# Every text that a person could see, also for a moment.
RECORD = """() => {
  window.seen = [];
  const done = document.getElementById('done');
  new MutationObserver(() => { if (!done.hidden) window.seen.push(done.innerText); })
    .observe(done, { attributes: true, childList: true, subtree: true, characterData: true });
}"""


@pytest.fixture
def server(site: Site) -> Iterator[Server]:
    site.add("doubt.png", doubtful(1, 0.3))
    site.add("sure.png", SURE)
    with Server(site) as running:
        running.wait_for_rows(2)
        yield running


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    yield from opened(browser, server)


def headings(page: Page) -> set[str]:
    texts: list[str] = page.evaluate("() => window.seen")
    return {text.splitlines()[0] for text in texts if text.strip()}


def answer_all(page: Page) -> None:
    shows(page, "doubt.png")
    page.keyboard.press("1")
    shows(page, "sure.png")
    page.keyboard.press("Enter")


def wait_for_heading(page: Page, text: str) -> None:
    page.wait_for_selector(f"#done:not([hidden]) #done-text:text-is('{text}')")


def test_response_from_before_the_last_answer_changes_nothing(site: Site, page: Page) -> None:
    held: list[tuple[Route, APIResponse]] = []

    def hold(route: Route) -> None:
        response = route.fetch()
        if held or "other.png" not in response.text():
            route.fulfill(response=response)
        else:
            held.append((route, response))

    page.evaluate(RECORD)
    shows(page, "doubt.png")
    page.keyboard.press("1")
    shows(page, "sure.png")
    intercept(page, "**/api/queue*", hold)
    site.add("other.png", SURE)  # the page asks for more
    while not held:
        page.wait_for_timeout(10)
    page.keyboard.press("Enter")
    until(lambda: len(site.answers()) == 2, "the answer")
    page.wait_for_selector("#stored:has-text('for sure.png')")
    assert page.is_hidden("#done")
    ((route, response),) = held
    route.fulfill(response=response)
    shows(page, "other.png")
    page.keyboard.press("Enter")
    wait_for_heading(page, ALL)
    assert headings(page) == {ALL}


def test_count_is_of_after_the_last_answer(site: Site, server: Server, page: Page) -> None:
    page.evaluate(RECORD)
    answer_all(page)
    wait_for_heading(page, ALL)
    page.keyboard.press("u")
    shows(page, "sure.png")
    page.keyboard.press("s")  # put off: it comes again
    page.keyboard.press("7")
    wait_for_heading(page, ALL)
    assert headings(page) == {ALL}
    assert [label for _, label, _ in site.answers()] == ["1", "7", "undo", "7"]
    table = site.outbox / LABELS
    table.write_bytes(table.read_bytes() + b"torn")  # by a kill: it is not waited for
    assert server.request("/api/unseen/count").json == {"unseen": 0}


def test_count_is_asked_for_again_if_it_changes_meanwhile(
    site: Site, server: Server, page: Page
) -> None:
    site.add_all([(f"{place}.png", SURE) for place in range(24)])
    server.wait_for_rows(26)
    tiles = server.request("/api/unseen?limit=50").json["tiles"]
    left = next(tile["id"] for tile in tiles if not tile["is_sample"])
    for tile in tiles:
        if tile["id"] != left:
            assert server.answer(tile["id"], "7").status == 200
    held: list[tuple[Route, APIResponse]] = []

    def hold(route: Route) -> None:
        response = route.fetch()
        if held:
            route.fulfill(response=response)
        else:
            held.append((route, response))

    page.reload()
    page.evaluate(RECORD)
    shows(page, "doubt.png")
    intercept(page, "**/api/unseen/count", hold)
    page.keyboard.press("1")
    while not held:
        page.wait_for_timeout(10)
    ((route, response),) = held
    assert response.json() == {"unseen": 1}
    with page.expect_response("**/api/queue*"):  # the page has heard of the answer
        assert server.answer(left, "7").status == 200
    # What is received later is handled later.
    page.evaluate("async () => { await (await fetch('/api/queue')).json(); }")
    route.fulfill(response=response)
    wait_for_heading(page, ALL)
    assert headings(page) == {ALL}


def test_files_that_wait_are_not_checked(site: Site, page: Page) -> None:
    answer_all(page)
    wait_for_heading(page, ALL)
    site.drop("new.png", png())
    wait_for_heading(page, "All files that were read are checked.")
    assert page.inner_text("#done-detail") == "You gave 2 answers. 1 file waits to be read."
    assert page.locator("#done a:visible").all_inner_texts() == ["Download results"]


def test_nothing_is_said_to_be_checked_while_the_outbox_is_away(
    site: Site, server: Server, page: Page
) -> None:
    answer_all(page)
    wait_for_heading(page, ALL)
    away = site.folder / "away"
    site.outbox.rename(away)
    page.reload()
    wait_for_heading(page, "Nothing can be checked right now.")
    # Once the server has noticed it; until then it says that its list is not ready.
    page.wait_for_selector(f"#done-detail:has-text('{site.outbox}')")
    assert page.is_hidden("#indexing")
    away.rename(site.outbox)
    wait_for_heading(page, ALL)
    assert server.request("/api/unseen/count").json == {"unseen": 0}


MANY = 30  # more than one answer of the server has


@pytest.fixture
def many(browser: Browser, site: Site) -> Iterator[Page]:
    """Yield the page with 0.png to 29.png, the least confident first."""
    for number in range(MANY):
        site.add(f"{number}.png", doubtful(1, 0.2 + number / 100))
    with Server(site) as running:
        running.wait_for_rows(MANY)
        yield from opened(browser, running)


def test_what_is_put_off_comes_after_all_others(many: Page) -> None:
    for number in range(MANY - 4):
        shows(many, f"{number}.png")
        many.keyboard.press("s")
    for number in range(MANY - 4, MANY):
        shows(many, f"{number}.png")
        many.keyboard.press("7")
    shows(many, "0.png")


def test_arrow_leads_to_all_files(many: Page) -> None:
    for number in range(MANY - 1):
        shows(many, f"{number}.png")
        many.keyboard.press("ArrowRight")
    shows(many, f"{MANY - 1}.png")
