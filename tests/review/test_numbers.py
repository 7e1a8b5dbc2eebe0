"""Whole numbers on the review page: shown as they are, and never answered by mistake."""

# ruff: noqa: RUF001 - digits and marks of other scripts are what is tested

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import numpy as np
import pytest

from daemon.outbox import labels
from daemon.picture.number import Candidate
from daemon.picture.painter import Painter
from daemon.records import Status, Symbol, Verdict
from support.factories import BROKEN, NUMBERS, number
from support.site import Server, Site
from support.waiting import until
from tests.review.test_answering import offers, where
from tests.review.test_browser import PHONE, READING_MS, hold_first, opened, shows, wait_for_request
from tests.review.test_keyboard import Press, press

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

FILES = [f"{place}.png" for place in range(len(NUMBERS))]
STRUCK = Verdict(Status.UNSURE, reason="not a number: a word stands beside it")


def add_numbers(site: Site) -> list[str]:
    """Add an unsure row for each number, and a sure one; return the ids of the first in order."""
    doubtful = [number(text, Status.UNSURE, 0.1 + n / 20) for n, text in enumerate(NUMBERS)]
    added = site.add_all(list(zip(FILES, doubtful, strict=True)), with_sample=False)
    site.add("sure.png", number("0471"))
    return added


@pytest.fixture
def eight(site: Site) -> list[str]:
    site.configure(reads="number")
    return add_numbers(site)


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield a server for tests that change nothing."""
    site = Site(tmp_path_factory.mktemp("unchanged"))
    site.configure(reads="number")
    add_numbers(site)
    with Server(site) as running:
        running.wait_for_rows(len(NUMBERS) + 1)
        yield running


@pytest.fixture
def server(site: Site, eight: list[str]) -> Iterator[Server]:
    with Server(site) as running:
        running.wait_for_rows(len(eight) + 1)
        yield running


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    yield from opened(browser, server)


def test_half_of_a_number_that_was_typed_too_late_is_not_left_behind(
    site: Site, page: Page, eight: list[str]
) -> None:
    shows(page, FILES[0])
    held = hold_first(page)
    page.keyboard.press("Enter")
    page.keyboard.press("8")
    route = wait_for_request(page, held)
    page.wait_for_selector("#stored:has-text('is still being stored.')")
    page.keyboard.press("9")
    page.keyboard.press("Enter")
    assert page.inner_text("#stored span").endswith(" 3 later key presses were not used.")
    route.continue_()
    shows(page, FILES[1])
    assert page.input_value("#number") == NUMBERS[1]
    site.wait_for_answers([(eight[0], NUMBERS[0], "queue")])


def test_api_has_numbers_as_text_and_takes_them_as_answers(
    site: Site, server: Server, eight: list[str]
) -> None:
    *items, _ = server.request("/api/queue").json["items"]  # the last one is of the sample
    assert [(item["id"], item["digit"]) for item in items] == list(zip(eight, NUMBERS, strict=True))
    assert [item["has_picture"] for item in items] == [True] * len(items)
    assert items[0]["probabilities"] == [None] * 11
    for row, text in zip(eight, NUMBERS[::-1], strict=True):
        reply = server.answer(row, text)
        assert (reply.status, reply.json["label"]) == (200, text)
        assert server.request(f"/api/rows/{row}").json["label"] == text
    assert site.answers() == [
        (row, text, "queue") for row, text in zip(eight, NUMBERS[::-1], strict=True)
    ]
    (*_, last) = labels.read(site.outbox)
    assert (last.digit, last.label) == (NUMBERS[-1], NUMBERS[0])
    download = server.request("/results.csv").text
    found = [(row["digit"], row["answer"]) for row in csv.DictReader(io.StringIO(download))]
    assert found == [*zip(NUMBERS, NUMBERS[::-1], strict=True), ("0471", "0471")]


@pytest.mark.parametrize(
    "label", ["several", "", "7,", "+3", "1" * 33, "4 711", "3 1/4", " 7", "7\n", "٣"]
)
def test_what_is_no_number_is_refused(unchanged: Server, label: str) -> None:
    reply = unchanged.answer(unchanged.box.rows()[0]["id"], label)
    assert reply.status == 400
    assert reply.json["error"].startswith("label: ")
    assert "it must be a number of at most 32 characters" in reply.json["error"]
    assert list(labels.read(unchanged.box.outbox)) == []


def test_number_is_refused_where_images_have_one_digit(site: Site) -> None:
    first, *_, last = add_numbers(site)
    with Server(site) as server:
        server.wait_for_rows(len(NUMBERS) + 1)
        for text in set(NUMBERS) - {"0"}:
            reply = server.answer(first, text)
            assert reply.status == 400
            assert reply.json["error"] == (
                f"label: {text!r} is no answer: with reads: digit in the config it must be one "
                "digit, none, several or undo"
            )
        assert server.answer(first, "several").status == 200
        assert server.answer(last, "0").status == 200
    assert [label for _, label, _ in site.answers()] == ["several", "0"]


@pytest.mark.parametrize("text", NUMBERS)
def test_gallery_shows_and_finds_numbers(unchanged: Server, text: str) -> None:
    gallery = unchanged.request("/gallery").text
    assert re.findall(r'class="value">([^<]*)<', gallery) == ["0471", *NUMBERS[::-1]]
    query = urlencode({"number": text})
    found = unchanged.request(f"/gallery?{query}").text
    shown = re.findall(r'class="value">([^<]*)<', found)
    assert set(shown) == {text}
    assert len(shown) == (2 if text == "0471" else 1)
    assert f'name="number" value="{text}"' in found


def test_changed_config_is_followed_and_no_old_page_answers(
    site: Site, server: Server, eight: list[str]
) -> None:
    assert server.answer(eight[0], "0471", reads="number").status == 200
    site.configure(reads="digit")
    refused = server.answer(eight[1], "7", reads="number")
    assert (refused.status, refused.json["error"]) == (
        400,
        "the config says `reads: digit` since this page was loaded: load the page again",
    )
    assert server.answer(eight[1], "75", reads="digit").status == 400
    site.config.write_text("reads: [")  # it is being edited
    assert server.answer(eight[1], "7", reads="digit").status == 200
    site.configure(reads="number")
    assert server.answer(eight[2], "-3").status == 200
    assert [label for _, label, _ in site.answers()] == ["0471", "7", "-3"]


def holds(page: Page, text: str) -> None:
    """Wait until the field has the focus and a text."""
    page.wait_for_function(
        "text => document.activeElement.id === 'number' && document.activeElement.value === text",
        arg=text,
    )


def test_numbers_are_checked_with_the_keyboard(site: Site, page: Page, eight: list[str]) -> None:
    shows(page, FILES[0])
    assert "Perhaps 0471 10.0%" in page.inner_text("#guess")
    holds(page, "0471")
    for number_, key in enumerate(["Enter", "n", "s", "Enter"]):
        shows(page, FILES[number_])
        page.keyboard.press(key)
    shows(page, FILES[4])
    page.keyboard.press("u")
    shows(page, FILES[3])
    site.wait_for_answers(
        [
            (eight[0], "0471", "queue"),
            (eight[1], "none", "queue"),
            (eight[3], "19/10/2023", "queue"),
            (eight[3], "undo", "queue"),
        ]
    )
    page.keyboard.press("ArrowUp")
    shows(page, FILES[1])
    holds(page, "7,5")
    assert page.inner_text("#answer").startswith("Answered: not a number, by ")
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowDown")
    shows(page, FILES[3])


def test_number_is_typed_over_the_guess(site: Site, page: Page, eight: list[str]) -> None:
    shows(page, FILES[0])
    page.keyboard.type("10")
    holds(page, "10")
    page.wait_for_selector("[data-action=accept]:has-text('Store 10')")
    page.keyboard.press("Enter")
    shows(page, FILES[1])
    page.wait_for_selector("#stored:has-text('Stored 10 for 0.png.')")
    page.keyboard.press("ArrowLeft")  # to the start of 7,5
    page.keyboard.type("-1")
    holds(page, "-17,5")
    page.keyboard.press("m")
    page.wait_for_selector("#hint:has-text('type the number')")
    holds(page, "-17,5")
    page.keyboard.press("Escape")
    assert page.evaluate("() => document.activeElement.id") != "number"
    page.keyboard.press("ArrowRight")
    shows(page, FILES[2])
    page.keyboard.press("Escape")
    page.keyboard.type("-4")  # typing goes back to the field
    holds(page, "-4")
    page.keyboard.press("Enter")
    shows(page, FILES[3])
    for text in (".,-/:", "7,", ""):
        page.fill("#number", text)
        page.keyboard.press("Enter")
        page.wait_for_selector("#hint:has-text('number')")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowUp")
    shows(page, FILES[3])
    page.fill("#number", "−٣７，５\u200e")  # as pasted
    holds(page, "-37,5")
    site.wait_for_answers([(eight[0], "10", "queue"), (eight[2], "-4", "queue")])


def test_typed_number_is_kept_while_another_file_is_shown(
    site: Site, page: Page, eight: list[str]
) -> None:
    shows(page, FILES[0])
    page.keyboard.type("10")
    page.keyboard.press("ArrowDown")
    shows(page, FILES[1])
    holds(page, NUMBERS[1])
    page.keyboard.press("ArrowUp")
    shows(page, FILES[0])
    page.wait_for_selector("[data-action=accept]:has-text('Store 10')")
    page.keyboard.type("4")
    holds(page, "4")  # typing replaces what is there, as everywhere
    page.keyboard.press("Enter")
    shows(page, FILES[1])
    site.wait_for_answers([(eight[0], "4", "queue")])
    page.keyboard.press("u")
    shows(page, FILES[0])
    holds(page, NUMBERS[0])


def test_numbers_that_were_typed_ahead_never_overrule_somebody_else(
    site: Site, server: Server, page: Page, eight: list[str]
) -> None:
    shows(page, FILES[0])
    assert server.answer(eight[0], "41", by="Ana").status == 200
    for key in ("3", "1", "Enter", "3", "2", "Enter"):
        page.keyboard.press(key)
    page.wait_for_selector(f"#problem:has-text('Ana has answered 41 for {FILES[0]} meanwhile')")
    page.wait_for_selector("#problem:has-text('3 later key presses were not used')")
    page.wait_for_selector("#problem:has-text('Enter stores 31 all the same, ↓ goes on.')")
    holds(page, "31")
    assert site.answers() == [(eight[0], "41", "queue")]
    page.wait_for_timeout(2 * READING_MS)
    page.keyboard.press("ArrowDown")
    page.wait_for_selector("#problem", state="hidden")
    page.keyboard.type("77")  # at once: this file was chosen
    holds(page, "77")
    page.keyboard.press("ArrowUp")
    holds(page, "31")
    page.keyboard.press("Enter")
    shows(page, FILES[1])
    assert site.answers()[1:] == [(eight[0], "31", "queue")]


def test_typed_number_stays_when_somebody_puts_its_failed_file_back(
    site: Site, server: Server, page: Page, eight: list[str]
) -> None:
    broken = site.add("broken.png", BROKEN, b"text")
    site.add("broken2.png", BROKEN, b"another text")
    server.wait_for_rows(len(eight) + 3)
    page.goto(f"{server.base}/")
    shows(page, FILES[0])
    for name in (*FILES[1:], "sure.png", "broken.png"):
        page.keyboard.press("ArrowDown")
        shows(page, name)
    page.keyboard.type("12")
    assert server.post("/api/retries", {"id": broken}).status == 200
    page.wait_for_selector("#stored:has-text('broken.png has left failed/')")
    assert page.is_hidden("#retry")
    holds(page, "12")
    page.keyboard.press("3")
    page.keyboard.press("Enter")
    shows(page, "broken2.png")
    assert site.answers() == [(broken, "123", "queue")]


def test_typed_number_is_kept_when_the_page_is_left_or_loaded_again(
    site: Site, server: Server, page: Page, eight: list[str]
) -> None:
    page.goto(f"{server.base}/row/{eight[1]}")
    shows(page, FILES[1])
    page.keyboard.type("12")
    page.reload()
    holds(page, "12")
    page.keyboard.press("ArrowDown")
    shows(page, FILES[0])
    page.keyboard.press("ArrowUp")
    shows(page, FILES[1])
    holds(page, "12")
    page.keyboard.press("Enter")
    shows(page, FILES[0])
    site.wait_for_answers([(eight[1], "12", "gallery")])
    page.goto(f"{server.base}/row/{eight[1]}")
    holds(page, "12")
    page.keyboard.type("34")
    page.reload()
    holds(page, "34")
    assert server.answer(eight[1], "56", seen="12").status == 200
    page.reload()
    holds(page, "56")  # 34 was typed before anybody said 56


def test_number_that_is_too_long_is_not_cut(site: Site, page: Page, eight: list[str]) -> None:
    shows(page, FILES[0])
    page.keyboard.type("1" * 20)
    for _ in range(13):
        page.click("[data-mark=':']")
        page.keyboard.press("Backspace")
        page.keyboard.press("2")
    holds(page, "1" * 20 + "2" * 13)
    offers(page, "No number yet", is_enabled=False)
    page.keyboard.press("Enter")
    page.wait_for_selector("#hint:has-text('That has 33 characters; a number has at most 32.')")
    page.keyboard.press("Backspace")
    offers(page, f"Store {'1' * 20 + '2' * 12}")
    page.keyboard.press("Enter")
    site.wait_for_answers([(eight[0], "1" * 20 + "2" * 12, "queue")])


def test_emptied_field_stores_nothing(site: Site, page: Page) -> None:
    shows(page, FILES[0])
    offers(page, f"Accept {NUMBERS[0]}")
    page.keyboard.press("Backspace")
    offers(page, "No number yet", is_enabled=False)
    page.keyboard.press("Enter")
    page.wait_for_selector("#hint:has-text('Nothing is typed.')")
    assert site.answers() == []


def test_what_stands_between_digits_never_joins_them(
    site: Site, page: Page, eight: list[str]
) -> None:
    shows(page, FILES[0])
    for text in ("3 1/4", "1e5", "4+7", "+3", "abc"):
        page.keyboard.press("Control+a")
        page.keyboard.type(text)
        holds(page, text)
        page.keyboard.press("Enter")
        page.wait_for_selector(f"#hint:has-text('“{text}” is not a number')")
    for text in ("3\u20091/4", "4\u00a0711", "12 x 5"):  # as pasted
        page.fill("#number", text)
        page.keyboard.press("Enter")
        page.wait_for_selector("#hint:has-text('is not a number')")
        holds(page, text)
        page.keyboard.press("Control+a")
        page.keyboard.press("1")  # removes the hint
        page.wait_for_selector("#hint:text-is('')", state="attached")
    assert site.answers() == []
    page.keyboard.press("Control+a")
    page.keyboard.type(" 7,5 ")
    page.keyboard.press("Enter")
    shows(page, FILES[1])
    assert site.answers() == [(eight[0], "7,5", "queue")]


def test_marks_have_buttons_that_type_at_the_caret(
    site: Site, page: Page, eight: list[str]
) -> None:
    shows(page, FILES[0])
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    for name, text in (
        ("point", "0.471"),
        ("comma", "0.,471"),
        ("minus", "0.,-471"),
        ("slash", "0.,-/471"),
        ("colon", "0.,-/:471"),
    ):
        page.get_by_role("button", name=name, exact=True).click()
        holds(page, text)
    for _ in range(4):
        page.keyboard.press("Backspace")
    holds(page, "0.471")
    page.click("[data-action=accept]")
    shows(page, FILES[1])
    holds(page, "7,5")
    assert site.answers() == [(eight[0], "0.471", "queue")]


def test_what_is_typed_while_an_answer_is_stored_is_for_the_next_file(
    site: Site, page: Page, eight: list[str]
) -> None:
    shows(page, FILES[0])
    held = hold_first(page)
    page.keyboard.press("Enter")
    for key in ("2", "6", "Backspace", "5", "Enter", "n"):
        page.keyboard.press(key)
    wait_for_request(page, held).continue_()
    shows(page, FILES[3])
    assert site.answers() == [
        (eight[0], "0471", "queue"),
        (eight[1], "25", "queue"),
        (eight[2], "none", "queue"),
    ]


def test_number_is_typed_on_any_keyboard(site: Site, page: Page, eight: list[str]) -> None:
    shows(page, FILES[0])
    # AZERTY without Shift, Persian, a numeric pad, a Swiss minus; Cyrillic for n
    keys = [Press("é", "Digit2"), Press("۵", "Digit5"), Press("7", "Numpad7"), Press("-", "Slash")]
    press(page, [*keys, Press("à", "Digit0"), Press("Enter", "Enter")])
    shows(page, FILES[1])
    press(page, [Press("т", "KeyN")])
    shows(page, FILES[2])
    assert site.answers() == [(eight[0], "257-0", "queue"), (eight[1], "none", "queue")]


def test_pages_show_numbers_and_new_rows(site: Site, server: Server, page: Page) -> None:
    with page.expect_response("**/events"):  # a row that came before is not new
        page.goto(f"{server.base}/live")
    assert page.locator(".chart").count() == 3
    site.add("struck.png", STRUCK)
    site.add("late.png", number("19/10/2023"))
    page.wait_for_selector("#arrivals b:text('ok 19/10/2023')")
    page.click("nav a:text('Gallery')")
    page.click("a:has-text('late.png')")
    shows(page, "late.png")
    assert "Read as 19/10/2023 99.0%" in page.inner_text("#guess")
    assert page.locator("#bars tr").count() == 0
    page.wait_for_function("() => document.querySelector('#seen img').naturalWidth > 0")
    page.goto(f"{server.base}/gallery?name=struck")
    page.click(".card a")
    shows(page, "struck.png")
    assert STRUCK.reason in page.inner_text("#why")
    assert page.locator("#seen").is_hidden()


@pytest.mark.parametrize(
    "viewport", [{"width": 1440, "height": 900}, {"width": 768, "height": 1024}, PHONE]
)
def test_what_the_model_saw_is_readable_without_scrolling(
    browser: Browser, site: Site, server: Server, viewport: dict[str, int]
) -> None:
    strip = np.zeros((32, 160), np.uint8)
    symbols = tuple(Symbol(digit, 0.9, 12.0 + 24 * n) for n, digit in enumerate("047112"))
    for symbol in symbols:
        strip[3:29, int(symbol.column) - 2 : int(symbol.column) + 3] = 255
    paper = np.full((40, 200, 3), 250, np.uint8)
    picture = Painter().paint_number(
        "0.png",
        number("047112"),
        thumbnail=paper,
        strip=strip,
        symbols=symbols,
        runner_up=Candidate("047113", 0.1),
    )
    (site.outbox / site.rows()[0]["picture"]).write_bytes(picture)
    for page in opened(browser, server, viewport=viewport):
        shows(page, FILES[0])
        before = where(page)
        page.wait_for_function("() => document.querySelector('#seen img').naturalWidth > 0")
        assert where(page) == before
        image = page.evaluate(
            """() => {
              const image = document.querySelector('#seen img');
              const { x, y, width, height } = image.getBoundingClientRect();
              const over = document.querySelector('#stored').getBoundingClientRect().top;
              const scale = Math.min(width / image.naturalWidth, height / image.naturalHeight);
              return { scale, isInSight: x >= 0 && y >= 0 && y + height <= over, scrollY };
            }"""
        )
        assert image["isInSight"], image
        assert image["scale"] >= 0.7, image  # the digits are 40 px high in the picture
        page.keyboard.press("ArrowDown")
        shows(page, FILES[1])
        assert where(page) == before


@pytest.mark.parametrize("viewport", [{"width": 640, "height": 360}, {"width": 720, "height": 450}])
def test_field_stands_beside_the_picture_at_twice_the_zoom(
    browser: Browser, server: Server, viewport: dict[str, int]
) -> None:
    for page in opened(browser, server, viewport=viewport):
        shows(page, FILES[0])
        page.wait_for_selector("#notice:not([hidden])")
        over = page.evaluate("() => document.querySelector('#stored').getBoundingClientRect().top")
        for selector in ("#picture", "#number"):
            box = page.locator(selector).bounding_box()
            assert box is not None
            assert 0 <= box["y"] <= over - box["height"], selector


def test_guess_without_confidence_is_announced_as_text(browser: Browser, site: Site) -> None:
    site.configure(reads="number")
    site.add("near.png", Verdict(Status.UNSURE, "0471", reason="not expected: read 0411"))
    with Server(site) as server:
        server.wait_for_rows(1)
        for page in opened(browser, server):
            shows(page, "near.png")
            assert page.text_content("#said") == ("near.png: perhaps 0471, not expected: read 0411")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"expect": "'[0-9]{4}'"}, "is only allowed with reads: number"),
        ({"outbox": "elsewhere"}, "has another outbox now: start digitd review"),
    ],
)
def test_config_that_the_page_does_not_take_is_named(
    browser: Browser, site: Site, changed: dict[str, str], said: str
) -> None:
    add_numbers(site)
    with Server(site) as server:
        server.wait_for_rows(len(NUMBERS) + 1)
        for page in opened(browser, server):
            page.wait_for_selector("#notice:has-text('digitd has stopped')")
            before = site.config.read_text()
            site.configure(**changed)
            page.wait_for_selector(f"#notice:has-text('{said}')")
            site.config.write_text(before)
            page.wait_for_function(
                "said => !document.getElementById('notice').textContent.includes(said)", arg=said
            )


def test_key_of_a_page_from_before_the_change_stores_nothing(browser: Browser, site: Site) -> None:
    first, *_ = add_numbers(site)
    with Server(site) as server:
        server.wait_for_rows(len(NUMBERS) + 1)
        for page in opened(browser, server):
            shows(page, FILES[0])
            page.keyboard.press("Enter")  # a number, where one digit is wanted
            page.wait_for_selector("#hint:has-text('is not one digit')")
            site.configure(reads="number")
            page.keyboard.press("n")
            page.wait_for_selector("#problem:has-text('load the page again')")
            assert site.answers() == []
            page.click("#stale a")
            shows(page, FILES[0])
            page.wait_for_function("() => document.body.dataset.reads === 'number'")
            assert page.is_hidden("#stale")
            page.keyboard.press("Enter")
            shows(page, FILES[1])
            until(lambda: site.answers() == [(first, "0471", "queue")], "the answer")
