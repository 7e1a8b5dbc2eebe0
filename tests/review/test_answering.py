"""Answers in a real browser: several digits, what was stored, turned views, the keys' names."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from daemon.records import Status, Verdict
from support.factories import BLANK, SURE, doubtful, number
from support.site import Server, Site, intercept, png
from support.waiting import until
from tests.review.test_browser import PHONE, opened, shows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

SEVERAL = Verdict(Status.UNSURE, reason="several digits")
FROM_NUMBERS = number("7,5", Status.UNSURE, 0.1)
LONG = Verdict(Status.UNSURE, "4", 0.3, reason="not a digit: " + "a word stands next to it " * 5)


@pytest.fixture
def rows(site: Site) -> list[str]:
    """Add rows in the order of the queue; return their ids."""
    verdicts = [SEVERAL, SEVERAL, BLANK, FROM_NUMBERS, doubtful(3, 0.2), LONG]
    return [site.add(f"{place}.png", verdict) for place, verdict in enumerate(verdicts)]


@pytest.fixture
def server(site: Site, rows: list[str]) -> Iterator[Server]:
    with Server(site) as running:
        running.wait_for_rows(len(rows))
        yield running


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    yield from opened(browser, server)


def hints(page: Page, text: str) -> None:
    page.wait_for_selector(f"#hint:has-text('{text}')")


def offers(page: Page, text: str, *, is_enabled: bool = True) -> None:
    state = "false" if is_enabled else "true"
    page.wait_for_selector(f"[data-action=accept][aria-disabled={state}]:has-text('{text}')")


def test_typing_10_never_answers_two_files(site: Site, page: Page, rows: list[str]) -> None:
    shows(page, "0.png")
    hints(page, "A digit key waits for Enter")
    page.keyboard.type("10")
    offers(page, "Store several digits")
    assert page.inner_text("#file").startswith("0.png")
    page.keyboard.press("Enter")
    shows(page, "1.png")
    page.click("[data-label='4']")
    offers(page, "Store 4")
    page.keyboard.press("Escape")
    offers(page, "No guess", is_enabled=False)
    page.keyboard.press("5")
    page.keyboard.press("u")  # takes back the key, not the answer before
    offers(page, "No guess", is_enabled=False)
    page.keyboard.type("7")
    page.keyboard.press("ArrowRight")
    shows(page, "2.png")
    page.keyboard.press("m")
    shows(page, "3.png")  # a number, from when numbers were read
    page.keyboard.type("75")
    page.keyboard.press("Enter")
    shows(page, "4.png")
    site.wait_for_answers([(rows[place], "several", "queue") for place in (0, 2, 3)])
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    shows(page, "1.png")
    page.keyboard.press("7")
    page.keyboard.press("Enter")
    until(lambda: site.answers()[3:] == [(rows[1], "7", "queue")], "the digit")


def test_enter_without_a_guess_that_can_be_stored_says_why(site: Site, page: Page) -> None:
    for place in range(2):
        shows(page, f"{place}.png")
        page.keyboard.press("ArrowRight")
    shows(page, "2.png")
    offers(page, "No guess", is_enabled=False)
    page.keyboard.press("Enter")
    hints(page, "There is no guess to accept. Press a digit, n for")
    page.keyboard.press("ArrowRight")
    shows(page, "3.png")
    assert "Perhaps 7,5 10.0%" in page.inner_text("#guess")
    offers(page, "Not one digit", is_enabled=False)
    page.click("[data-action=accept]", force=True)
    hints(page, "The guess “7,5” is not one digit.")
    assert page.is_hidden("#problem")
    assert site.answers() == []


def test_what_was_stored_is_shown_and_undone(site: Site, page: Page, rows: list[str]) -> None:
    shows(page, "0.png")
    assert page.is_hidden("#stored button")
    page.keyboard.press("m")
    page.wait_for_selector("#stored:has-text('Stored several digits for 0.png.')")
    page.keyboard.press("n")
    page.wait_for_selector("#stored:has-text('Stored not a digit for 1.png.')")
    shows(page, "2.png")
    page.click("#stored button")
    shows(page, "1.png")
    page.wait_for_selector("#stored:has-text('Undone: 1.png has no answer.')")
    assert page.is_hidden("#stored button")
    assert page.is_hidden("#answer")
    first, second = rows[:2]
    site.wait_for_answers(
        [
            (first, "several", "queue"),
            (second, "none", "queue"),
            (second, "undo", "queue"),
        ]
    )


def test_last_answer_can_be_undone_when_all_is_checked(site: Site, page: Page) -> None:
    for place in range(6):
        shows(page, f"{place}.png")
        page.keyboard.press("n")
    page.wait_for_selector("#done:not([hidden])")
    page.click("#stored button")
    shows(page, "5.png")
    until(lambda: len(site.answers()) == 7, "the undo")


def store_and_undo_on_the_next_row(page: Page, server: Server, rows: list[str]) -> None:
    """Answer 4.png with 8 on its row's page, and take that back on the page of the next row."""
    page.goto(f"{server.base}/row/{rows[4]}?sort=oldest")
    shows(page, "4.png")
    page.keyboard.press("8")
    shows(page, "5.png")
    page.wait_for_selector("#stored:has-text('Stored 8 for 4.png.')")
    page.reload()
    page.wait_for_selector("#stored:has-text('Stored 8 for 4.png.')")
    page.keyboard.press("u")
    shows(page, "4.png")
    page.wait_for_selector("#stored:has-text('Undone: 4.png has no answer.')")


def test_gallery_says_on_the_next_row_what_was_stored(
    site: Site, server: Server, page: Page, rows: list[str]
) -> None:
    store_and_undo_on_the_next_row(page, server, rows)
    site.wait_for_answers([(rows[4], "8", "gallery"), (rows[4], "undo", "gallery")])
    assert page.is_hidden("#answer")
    assert server.answer(rows[4], "3", by="Ana").status == 200
    page.reload()
    page.wait_for_selector("#answer:has-text('Answered: 3, by Ana')")
    page.keyboard.press("u")
    page.wait_for_selector("#stored:has-text('no answer of its own to take back')")
    assert site.answers()[2:] == [(rows[4], "3", "queue")]


def test_undo_on_the_next_row_leaves_its_own_answer(
    site: Site, server: Server, page: Page, rows: list[str]
) -> None:
    assert server.answer(rows[5], "3", by="Ana").status == 200
    store_and_undo_on_the_next_row(page, server, rows)
    site.wait_for_answers(
        [(rows[5], "3", "queue"), (rows[4], "8", "gallery"), (rows[4], "undo", "gallery")]
    )
    page.keyboard.press("ArrowRight")
    shows(page, "5.png")
    page.keyboard.press("u")  # nothing was stored since: what is shown is cleared
    page.wait_for_selector("#answer", state="hidden")
    assert site.answers()[3:] == [(rows[5], "undo", "gallery")]


@pytest.mark.parametrize(
    "viewport", [{"width": 1440, "height": 900}, {"width": 768, "height": 1024}, PHONE]
)
def test_keys_stand_still(browser: Browser, server: Server, viewport: dict[str, int]) -> None:
    for page in opened(browser, server, viewport=viewport):
        places = set()
        for place in range(6):
            shows(page, f"{place}.png")
            places.add(where(page))
            page.keyboard.press("Enter")  # stores the guess or says why not
            if place < 4:
                hints(page, "Press a digit")
                places.add(where(page))
                page.keyboard.press("m")
        assert len(places) == 1, places


@pytest.mark.parametrize(
    "viewport", [{"width": 1440, "height": 900}, {"width": 768, "height": 1024}, PHONE]
)
def test_no_message_moves_a_key_or_covers_one(
    browser: Browser, server: Server, viewport: dict[str, int]
) -> None:
    for page in opened(browser, server, viewport=viewport):
        shows(page, "0.png")
        page.wait_for_selector("#notice:not([hidden])")
        before = where(page)
        added = {"name": "a.png", "mimeType": "image/png", "buffer": png()}
        page.set_input_files("#files", added)  # type: ignore[arg-type]
        page.wait_for_selector("#dropped li:has-text('in the inbox')")
        assert where(page) == before
        intercept(page, "**/api/answers", lambda route: route.abort())
        page.keyboard.press("m")
        message = page.wait_for_selector("#problem:not([hidden])")
        assert message is not None
        box = message.bounding_box()
        assert box is not None
        assert 0 <= box["y"] <= viewport["height"] - box["height"]
        assert where(page) == before
        covered = page.evaluate(
            """() => [...document.querySelectorAll('#keys button')].filter((key) => {
              const { x, y, width, height } = key.getBoundingClientRect();
              return !key.contains(document.elementFromPoint(x + width / 2, y + height / 2));
            }).map((key) => key.textContent)"""
        )
        assert covered == []


def test_all_probabilities_are_in_sight(site: Site, server: Server, page: Page) -> None:
    long = doubtful(3, 0.001)
    long = replace(long, reason="not a digit: a word or a line of writing stands next to it")
    row = site.add("first.png", long)
    server.wait_for_rows(7)
    page.goto(f"{server.base}/row/{row}")
    page.wait_for_selector("#notice:not([hidden])")
    for width, height in (
        (1440, 900),
        (1366, 650),
        (1280, 720),
        (1200, 800),
        (1024, 768),
        (768, 1024),
    ):
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_function(
            "([width, height]) => innerWidth === width && innerHeight === height",
            arg=[width, height],
        )
        shows(page, "first.png")
        hidden = page.evaluate(
            """() => {
              const { top, bottom } = document.querySelector('#facts').getBoundingClientRect();
              return [...document.querySelectorAll('#guess, #bars tr')].filter((row) => {
                const box = row.getBoundingClientRect();
                return box.top < top || box.bottom > Math.min(bottom, innerHeight - 48);
              }).map((row) => row.textContent);
            }"""
        )
        assert hidden == [], (width, height)


def where(page: Page) -> str:
    """Return where each answer key stands on the screen."""
    text: str = page.evaluate(
        """() => [...document.querySelectorAll('#keys button')].map((key) => {
          const { x, y, width, height } = key.getBoundingClientRect();
          return [key.dataset.label ?? key.dataset.action, x, y, width, height].join();
        }).join(' ')"""
    )
    return text


def test_answer_on_a_turned_view_has_its_own_source(
    site: Site, page: Page, rows: list[str]
) -> None:
    shows(page, "0.png")
    fills = """() => {
      const [frame, image] = ['#picture', '#picture img']
        .map((selector) => document.querySelector(selector).getBoundingClientRect());
      return ['left', 'right', 'top', 'bottom']
        .every((side) => Math.abs(frame[side] - image[side]) < 3);
    }"""
    for degrees in (90, 180, 270):
        page.keyboard.press("r")
        page.wait_for_function(
            "degrees => document.querySelector('#picture img').style.transform"
            ".includes(`rotate(${degrees}deg)`)",
            arg=degrees,
        )
        page.wait_for_function(fills)
    page.keyboard.press("m")
    shows(page, "1.png")  # as it is
    assert "rotate" not in page.evaluate(
        "() => document.querySelector('#picture img').style.transform"
    )
    page.keyboard.press("m")
    shows(page, "2.png")
    for _ in range(4):
        page.click("[data-action=turn]")
    page.keyboard.press("n")
    shows(page, "3.png")
    sources = ["turned", "queue", "queue"]
    assert [source for _, _, source in site.answers()] == sources
    assert [row for row, _, _ in site.answers()] == rows[:3]


def test_turned_view_never_measures_the_accuracy(site: Site, server: Server) -> None:
    sure = site.add("sure.png", SURE)
    server.wait_for_rows(7)
    refused = server.answer(sure, "7", is_turned="yes")
    assert (refused.status, refused.json["error"]) == (
        400,
        "in_queue, is_sample, is_turned: must be true or false",
    )
    reply = server.answer(sure, "7", is_sample=True, is_turned=True)
    assert (reply.status, reply.json["source"]) == (200, "turned")
    assert site.answers() == [(sure, "7", "turned")]


def test_keys_have_names_and_an_order(page: Page) -> None:
    shows(page, "0.png")
    order = []
    for _ in range(40):
        page.keyboard.press("Tab")
        order.append(
            page.evaluate(
                """() => {
                  const { ariaLabel, childNodes } = document.activeElement;
                  const named = [...childNodes].filter(({ nodeName }) => nodeName !== 'KBD');
                  return ariaLabel ?? named.map((node) => node.textContent).join('').trim();
                }"""
            )
        )
        if order[-1] == "Next":
            break
    answers = order[order.index("The file; scroll or press + and - to zoom") :]
    assert answers[2:] == [
        *"1234567890",
        "No guess",
        "Not a digit",
        "Several digits",
        "Turn the view",
        "Previous",
        "Later",
        "Undo",
        "Next",
    ]
    for name in ("7", "Not a digit", "Several digits", "Turn the view", "Previous", "Undo"):
        named = page.get_by_role("button", name=name, exact=True)
        assert named.count() == 1, name
    assert re.search(r"0\.png: no guess, several digits", page.text_content("#said") or "")
