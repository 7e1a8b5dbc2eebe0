"""Keys that are pressed while an answer is being stored, in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.factories import doubtful
from support.site import Server, Site
from support.waiting import until
from tests.review.test_browser import hold_first, opened, shows, wait_for_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Dialog, Page


@pytest.fixture
def rows(site: Site) -> list[str]:
    """Add four doubtful rows; return their ids in the order of the queue."""
    return site.add_all([(f"{place}.png", doubtful(place, 0.1 + place / 20)) for place in range(4)])


@pytest.fixture
def server(site: Site, rows: list[str]) -> Iterator[Server]:
    with Server(site) as running:
        running.wait_for_rows(len(rows))
        yield running


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    yield from opened(browser, server)


def pause(page: Page, milliseconds: int) -> None:
    """Wait as somebody does who looks at a file that has just appeared."""
    now = page.evaluate("() => performance.now()")
    page.wait_for_function(f"now => performance.now() > now + {milliseconds}", arg=now)


def test_keys_before_a_failure_answer_no_other_file(
    site: Site, page: Page, rows: list[str]
) -> None:
    shows(page, "0.png")
    held = hold_first(page)
    page.keyboard.type("45u")
    route = wait_for_request(page, held)
    assert page.inner_text("#file").startswith("0.png")  # until its answer is stored
    # The second one if the machine is busy.
    assert page.inner_text("#stored span") in {"", "Your answer 4 for 0.png is still being stored."}
    route.fulfill(status=503, json={"error": "the outbox is away"})
    page.wait_for_selector("#problem:has-text('2 later key presses were not used.')")
    said = page.inner_text("#problem p")
    assert said.startswith("Your answer 4 for 0.png is not stored: the outbox is away.")
    shows(page, "1.png")  # it was tried again
    page.wait_for_selector("#stored:has-text('Stored 4 for 0.png.')")
    pause(page, 500)
    page.keyboard.press("6")
    shows(page, "2.png")
    assert site.answers() == [(rows[0], "4", "queue"), (rows[1], "6", "queue")]


def test_key_for_a_file_whose_answer_takes_long_answers_no_other_file(
    site: Site, page: Page, rows: list[str]
) -> None:
    shows(page, "0.png")
    held = hold_first(page)
    page.keyboard.type("45")
    route = wait_for_request(page, held)
    page.wait_for_selector("#stored:has-text('Your answer 4 for 0.png is still being stored.')")
    page.keyboard.type("6n")  # whoever sees 0.png for so long means 0.png
    page.click("[data-label='7']")
    assert "stored. 3 later key presses were not used." in page.inner_text("#stored span")
    route.continue_()
    shows(page, "2.png")  # the 5 followed the 4 at once
    page.wait_for_selector("#stored:has-text('Stored 5 for 1.png.')")
    # Somebody who still typed for 0.png needs a moment to see 2.png.
    pause(page, 500)
    page.keyboard.press("8")
    shows(page, "3.png")
    site.wait_for_answers([(rows[n], label, "queue") for n, label in enumerate("458")])


def test_enter_for_an_answer_that_was_not_stored_accepts_no_guess(
    site: Site, page: Page, rows: list[str]
) -> None:
    shows(page, "0.png")
    held = hold_first(page)
    page.keyboard.press("4")
    wait_for_request(page, held).fulfill(status=503, json={"error": "the outbox is away"})
    page.wait_for_selector("#problem:has-text('It is kept and tried again.')")
    page.keyboard.press("5")
    assert page.inner_text("#problem p").endswith(" 1 later key press was not used.")
    shows(page, "1.png")  # it was tried again without Enter
    page.keyboard.press("Enter")
    page.click("[data-action='accept']")
    said = "Your answer 4 for 0.png was stored just before. 2 later key presses were not used."
    assert page.inner_text("#stored span") == said
    pause(page, 2000)
    page.keyboard.press("Enter")
    shows(page, "2.png")
    assert site.answers() == [(rows[0], "4", "queue"), (rows[1], "1", "queue")]


def test_double_click_answers_one_file(site: Site, page: Page, rows: list[str]) -> None:
    for place, button in enumerate(("[data-label='none']", "[data-label='3']", ".main")):
        shows(page, f"{place}.png")
        page.locator(f"#keys {button}").dblclick()
    shows(page, "3.png")
    assert site.answers() == [
        (row, label, "queue") for row, label in zip(rows, ("none", "3", "2"), strict=False)
    ]


def test_undo_right_after_an_answer_takes_back_that_answer(
    site: Site, page: Page, rows: list[str]
) -> None:
    shows(page, "0.png")
    held = hold_first(page)
    page.keyboard.type("4u7")
    wait_for_request(page, held).continue_()
    shows(page, "1.png")
    site.wait_for_answers([(rows[0], label, "queue") for label in ("4", "undo", "7")])


def test_keys_after_the_last_answer_answer_nothing(site: Site, page: Page, rows: list[str]) -> None:
    for place in range(3):
        shows(page, f"{place}.png")
        page.keyboard.press("n")
    shows(page, "3.png")
    held = hold_first(page)
    page.keyboard.type("45")
    wait_for_request(page, held).continue_()
    page.wait_for_selector("#done:not([hidden])")
    assert site.answers() == [
        *((row, "none", "queue") for row in rows[:3]),
        (rows[3], "4", "queue"),
    ]


def test_files_that_were_passed_over_come_again_after_the_last(
    site: Site, page: Page, rows: list[str]
) -> None:
    for place in range(3):
        shows(page, f"{place}.png")
        page.keyboard.press("ArrowRight" if place != 1 else "n")
    shows(page, "3.png")
    page.keyboard.press("4")
    shows(page, "0.png")
    page.keyboard.press("5")
    shows(page, "2.png")
    page.keyboard.press("6")
    page.wait_for_selector("#done:not([hidden])")
    given = [(rows[1], "none"), (rows[3], "4"), (rows[0], "5"), (rows[2], "6")]
    assert site.answers() == [(row, label, "queue") for row, label in given]


def test_answer_is_kept_through_a_login(
    site: Site, server: Server, page: Page, rows: list[str]
) -> None:
    with page.expect_response("**/events"):  # or it is refused, and the page loads itself again
        page.reload()
    shows(page, "0.png")
    page.context.clear_cookies()
    page.keyboard.press("4")
    page.wait_for_selector("#problem:has-text('Your answer 4 for 0.png is not stored: ')")
    assert site.answers() == []
    other_tab = page.context.new_page()
    other_tab.goto(server.url)
    shows(page, "1.png")
    site.wait_for_answers([(rows[0], "4", "queue")])


def test_page_asks_before_it_is_left_with_an_answer_that_is_not_stored(page: Page) -> None:
    shows(page, "0.png")
    held = hold_first(page)
    page.keyboard.press("4")
    route = wait_for_request(page, held)
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", stay)
    page.evaluate("location.assign('gallery')")
    until(lambda: bool(page.evaluate("1") and asked), "the question")
    assert asked == ["beforeunload"]
    route.continue_()
    shows(page, "1.png")
