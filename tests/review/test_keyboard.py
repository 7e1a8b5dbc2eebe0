"""Keys of many layouts in a real browser: what each answers on the review page."""

# ruff: noqa: RUF001 - letters and digits of other scripts are what is tested

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from support.factories import doubtful
from support.site import Server, Site
from support.waiting import until
from tests.review.test_browser import shows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

SHIFT = 8  # of Input.dispatchKeyEvent


@dataclass(frozen=True)
class Press:
    """A key press as browsers send it: key, code, and whether Shift is held."""

    key: str
    code: str
    shift: bool = False


def row(text: str, *, shift: bool = False) -> list[Press]:
    """Return the presses of the digit row, from the key of 1 to that of 0."""
    return [
        Press(key, f"Digit{digit}", shift) for key, digit in zip(text, "1234567890", strict=True)
    ]


ROW = list("1234567890")
# For each layout what is pressed, from a page that was just opened, and the answers.
LAYOUTS: dict[str, tuple[list[Press], list[str]]] = {
    "AZERTY": (row("&é\"'(-è_çà"), ROW),
    "AZERTY, Shift": (row("1234567890", shift=True), ROW),
    "AZERTY, elsewhere": (
        [Press(")", "Minus"), Press("=", "Equal"), Press("²", "Backquote"), Press("n", "KeyN")],
        ["none"],
    ),
    "Belgian": (row("&é\"'(§è!çà"), ROW),
    "Bépo": (row('"«»()@+-/*'), ROW),
    "Bépo, elsewhere": ([Press("n", "Quote"), Press("'", "KeyN"), Press("k", "KeyB")], ["none"]),
    "Czech": (row("+ěščřžýáíé"), ROW),
    "Slovak": (row("+ľščťžýáíé"), ROW),
    "Slovak, Shift": (row("1234567890", shift=True), ROW),
    "Lithuanian": (row("ąčęėįšųū90"), ROW),
    "Hungarian": ([*row("123456789ö"), Press("0", "Backquote")], ROW),
    "Hungarian, Shift": (row("'\"+!%/=()Ö", shift=True), []),
    "QWERTY": (row("1234567890"), ROW),
    "QWERTY, Shift": (row("!@#$%^&*()", shift=True), []),
    "US international, Shift": ([Press("Dead", "Digit6", shift=True)], []),
    "British, Shift": (row('!"£$%^&*()', shift=True), []),
    "Swiss, Shift": (row('+"*ç%&/()=', shift=True), []),
    "Russian": (
        [*row("1234567890"), Press("т", "KeyN"), Press("Т", "KeyN")],
        [*ROW, "none", "none"],
    ),
    "Russian, Shift": (row('!"№;%:"*()', shift=True), []),
    "Greek": ([Press("ν", "KeyN")], ["none"]),
    "Hebrew": ([Press("מ", "KeyN"), Press("7", "Digit7")], ["none", "7"]),
    "Mongolian": (row('№-"₮:._,%?'), ROW),
    "Persian": (row("۱۲۳۴۵۶۷۸۹۰"), ROW),
    "Persian, Shift": ([*row("۱۲۳۴۵۶۷۸۹۰"), *row("!٬٫﷼٪×،*)(", shift=True)], ROW + ROW),
    "Persian, Shift first": ([Press("٪", "Digit5", shift=True), Press("د", "KeyN")], ["5", "none"]),
    "Arabic": ([*row("١٢٣٤٥٦٧٨٩٠"), Press("ى", "KeyN")], [*ROW, "none"]),
    "Devanagari": (row("१२३४५६७८९०"), ROW),
    "Bengali": (row("১২৩৪৫৬৭৮৯০"), ROW),
    "Thai": (row("ๅ/-ภถุึคตจ"), ROW),
    "Thai, Shift": (
        [Press("๑", "Digit2", shift=True), Press("๗", "Digit0", shift=True)],
        ["2", "0"],
    ),
    "Vietnamese": ([Press("Dead", "Digit5"), Press("ă", "Digit1")], ["5", "1"]),
    "Dvorak": ([Press("n", "KeyL"), Press("b", "KeyN"), Press("-", "Quote")], ["none"]),
    "Dvorak, left hand": ([Press("p", "Digit4"), Press("4", "Digit9")], ["4"]),
    "Colemak": ([Press("n", "KeyJ"), Press("k", "KeyN")], ["none"]),
    "input method": (
        [*row("１２３４５６７８９０"), Press("Process", "KeyN"), Press("Process", "Digit4")],
        [*ROW, "none", "4"],
    ),
    "input method, Latin": ([Press("ｎ", "KeyL"), Press("ｋ", "KeyN")], ["none"]),
    "input method, Shift": ([Press("！", "Digit1", shift=True)], []),
    "numeric pad": (
        [
            Press("7", "Numpad7"),
            Press("۷", "Numpad7"),
            Press("Home", "Numpad7"),
            Press("0", "Numpad0"),
        ],
        ["7", "7", "0"],
    ),
    "phone": ([Press("Unidentified", "")], []),
    "no code": ([Press("5", "")], ["5"]),
    "capital": ([Press("N", "KeyN", shift=True)], ["none"]),
}


@pytest.fixture(scope="module")
def answering(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Site, Page]]:
    site = Site(tmp_path_factory.mktemp("keyboards"))
    wanted = sum(len(labels) for _, labels in LAYOUTS.values())
    site.add_all([(f"digit{number}.png", doubtful(1, 0.3)) for number in range(wanted + 100)])
    with Server(site) as server:
        server.wait_for_rows(wanted + 100)
        context = browser.new_context()
        page = context.new_page()
        page.goto(server.url)
        yield site, page
        context.close()


@pytest.fixture
def fresh(answering: tuple[Site, Page]) -> tuple[Site, Page]:
    """Load the page again: it has seen no key of any layout."""
    site, page = answering
    page.reload()
    shows(page, "digit")
    return site, page


def press(page: Page, presses: list[Press]) -> None:
    keys = page.context.new_cdp_session(page)
    for one in presses:
        typed = {"text": one.key} if len(one.key) == 1 else {}
        shared = {"key": one.key, "code": one.code, "modifiers": SHIFT if one.shift else 0}
        keys.send("Input.dispatchKeyEvent", {"type": "keyDown", **shared, **typed})
        keys.send("Input.dispatchKeyEvent", {"type": "keyUp", **shared})
    keys.detach()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_keys_of_a_layout(fresh: tuple[Site, Page], layout: str) -> None:
    site, page = fresh
    presses, labels = LAYOUTS[layout]
    before = len(site.answers())
    # The last one shows that those before it are done.
    press(page, [*presses, Press("3", "Numpad3")])
    until(lambda: len(site.answers()) > before + len(labels), "the answers")
    assert [label for _, label, _ in site.answers()[before:]] == [*labels, "3"]


def zoomed(page: Page) -> bool:
    return "scale(1)" not in page.evaluate(
        "() => document.querySelector('#picture img').style.transform"
    )


@pytest.mark.parametrize(
    "zoom",
    [Press("+", "Digit1", shift=True), Press("=", "Digit0", shift=True), Press("+", "Minus")],
)
def test_marks_zoom_where_they_are_typed(fresh: tuple[Site, Page], zoom: Press) -> None:
    site, page = fresh
    before = len(site.answers())
    press(page, [zoom])
    assert zoomed(page)
    press(page, [Press("-", "Slash")])  # a Swiss keyboard's
    assert not zoomed(page)
    assert len(site.answers()) == before


@pytest.mark.parametrize(
    "question",
    [
        Press("?", "Digit7", shift=True),
        Press("؟", "Slash", shift=True),
        Press("?", "KeyM", shift=True),
    ],
)
def test_question_mark_of_any_layout_shows_the_keys(
    fresh: tuple[Site, Page], question: Press
) -> None:
    _, page = fresh
    press(page, [question])
    page.wait_for_selector("#help[open]")


def test_commands_of_the_browser_and_what_altgr_types(fresh: tuple[Site, Page]) -> None:
    site, page = fresh
    before = len(site.answers())
    page.evaluate(
        """() => {
          for (const [key, code, more] of [
            ['5', 'Digit5', { ctrlKey: true }],
            ['5', 'Digit5', { metaKey: true }],
            ['¡', 'Digit1', { altKey: true }],
            ['@', 'Digit0', { modifierAltGraph: true }],
            ['~', 'KeyN', { modifierAltGraph: true }],
            ['Dead', 'KeyN', { modifierAltGraph: true }],
            ['1', 'Digit1', { modifierAltGraph: true, ctrlKey: true, altKey: true }],
            ['2', 'Digit2', { repeat: true }],
            ['(', 'Digit5', {}],
            ['-', 'Digit6', { shiftKey: true, modifierCapsLock: true }],
          ]) {
            const options = { key, code, bubbles: true, ...more };
            document.body.dispatchEvent(new KeyboardEvent('keydown', options));
          }
        }"""
    )
    until(lambda: len(site.answers()) > before + 2, "the answers")
    assert [label for _, label, _ in site.answers()[before:]] == ["1", "5", "6"]


def test_keys_answer_after_files_were_chosen(fresh: tuple[Site, Page]) -> None:
    site, page = fresh
    before = len(site.answers())
    page.focus("#files")
    press(page, [Press("8", "Digit8")])
    until(lambda: len(site.answers()) > before, "the answer")
