"""The main way with a keyboard only, and what a screen reader finds on it, in a real browser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from daemon.records import Status, Verdict
from support.factories import BROKEN, doubtful
from support.site import Server, Site, catch_choosers, png
from tests.review.test_browser import opened, shows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

SURE_ROWS = 6
MOST_TABS = 80  # on no page has more to be reached
# Whether the element with the focus is in sight, whole, under nothing, and has an outline. A field
# that chooses files is hidden; its label shows its focus.
FOCUS = """() => {
  const one = document.activeElement;
  const shown = one.type === "file" ? document.querySelector(`label[for=${one.id}]`) : one;
  const { outlineStyle, outlineWidth } = getComputedStyle(shown);
  const { left, top, right, bottom } = shown.getBoundingClientRect();
  const at = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
  const isSeen = at !== null && (shown.contains(at) || at.contains(shown));
  return {
    what: `${one.localName} ${one.id || one.name} ${shown.textContent.trim().slice(0, 40)}`,
    isBody: one === document.body,
    isVisible: isSeen && outlineStyle !== "none" && parseFloat(outlineWidth) >= 2,
  };
}"""


@pytest.fixture
def server(site: Site) -> Iterator[Server]:
    site.add_all([(f"digit{n}.png", doubtful(n, 0.1 + n / 20)) for n in range(1, 4)])
    site.add("broken.png", BROKEN, b"hi")
    names = [f"sure {place}.png" for place in range(SURE_ROWS)]
    site.add_all([(name, Verdict(Status.OK, "4", 0.99, (0.09,) * 11)) for name in names])
    with Server(site) as running:
        running.wait_for_rows(4 + SURE_ROWS)
        yield running


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    yield from opened(browser, server, viewport={"width": 1280, "height": 720})


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until an element has the focus, which must be visible all the way."""
    passed = []
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        focus = page.evaluate(FOCUS)
        if focus["isBody"]:  # of the browser's window
            continue
        passed.append(focus["what"])
        assert focus["isVisible"], passed
        if page.evaluate("one => document.activeElement.matches(one)", selector):
            return
    raise AssertionError((selector, passed))


def tab_through(page: Page) -> list[str]:
    """Press Tab from the page's start to its end; return what had the focus."""
    passed: list[str] = []
    starts = 0
    for _ in range(2 * MOST_TABS):
        page.keyboard.press("Tab")
        focus = page.evaluate(FOCUS)
        if focus["isBody"]:  # of the browser's window, before the start and after the end
            starts += 1
        else:
            assert focus["isVisible"], focus
            if starts == 1:
                passed.append(focus["what"])
        if starts == 2:
            return passed
    raise AssertionError(passed)


def test_whole_way(site: Site, page: Page) -> None:
    chooser = catch_choosers(page)
    shows(page, "digit1.png")
    tab_to(page, "[data-action=accept]")
    page.keyboard.press("Enter")
    shows(page, "digit2.png")
    page.keyboard.press("7")
    shows(page, "digit3.png")
    tab_to(page, "[data-label=none]")
    page.keyboard.press("Space")
    shows(page, "sure")
    tab_to(page, "#why a")
    page.keyboard.press("Enter")
    look_through(page)
    tab_to(page, "#files")
    page.keyboard.press("Enter")
    chooser().set_files({"name": "a.png", "mimeType": "image/png", "buffer": png()})
    page.wait_for_selector("#dropped li:has-text('in the inbox')")
    tab_to(page, "#dropped-close")
    page.keyboard.press("Enter")
    page.wait_for_selector("#dropped", state="hidden")
    correct_in_gallery(page)
    tab_to(page, "nav a[href$='/live']")
    page.keyboard.press("Enter")
    page.wait_for_url("**/live")
    tab_to(page, ".spans li:nth-child(3) a")
    page.keyboard.press("Enter")
    page.wait_for_url("**/live?span=*")
    tab_to(page, "[data-retry]")
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=status]:has-text('put back')")
    tab_to(page, "header a[href$='results.csv']")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + 4 + SURE_ROWS
    labels = [label for _, label, _ in site.answers()]
    assert labels == ["1", "7", "none", "4", "9", "4", "4", "4", "4", "8"]
    assert {file.name for file in site.inbox.iterdir()} >= {"a.png", "broken.png"}


def look_through(page: Page) -> None:
    page.wait_for_selector(f"#look-store:enabled:has-text('Store {SURE_ROWS} answers')")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.evaluate(FOCUS)["isVisible"]
    page.keyboard.press("9")
    page.wait_for_selector(".tile.changed")
    tab_to(page, "#look-store")
    page.keyboard.press("Enter")
    page.wait_for_selector("#look-empty:not([hidden])")


def correct_in_gallery(page: Page) -> None:
    tab_to(page, "nav a[href$='/gallery']")
    page.keyboard.press("Enter")
    page.wait_for_selector("#gallery[data-ready]")
    tab_to(page, "[name=name]")
    page.keyboard.type("digit2")
    page.wait_for_function("() => document.querySelectorAll('.card').length === 1")
    tab_to(page, ".card a")
    page.keyboard.press("Enter")
    shows(page, "digit2.png")
    page.keyboard.press("8")
    page.wait_for_selector("#answer:has-text('Answered: 8')")
    page.keyboard.press("Escape")
    page.wait_for_selector("#gallery[data-ready]")


def test_focus_is_visible_and_goes_round_on_every_page(
    site: Site, server: Server, page: Page
) -> None:
    row = site.rows()[0]["id"]
    shows(page, "digit1.png")
    for path, ready in (
        ("/", "#file:not(:empty)"),
        (f"/row/{row}", "#file:not(:empty)"),
        ("/look", "#look-store:enabled"),
        ("/gallery", ".card"),
        ("/live", ".spans"),
        ("/models", "#models-list"),
        ("/nothing", "main a"),
    ):
        for width, height in ((1280, 720), (640, 400)):
            page.set_viewport_size({"width": width, "height": height})
            page.goto(server.base + path)
            page.wait_for_selector(ready)
            passed = tab_through(page)
            everything = page.eval_on_selector_all(
                "a, button, input, select",
                "all => all.filter((one) => one.checkVisibility() && !one.disabled"
                " && one.tabIndex >= 0).length",
            )
            assert len(passed) >= everything, (path, passed)
    page.goto(server.base)
    shows(page, "digit1.png")
    page.keyboard.press("?")
    page.wait_for_selector("#help[open]")
    assert page.evaluate(FOCUS)["isVisible"]
    page.keyboard.press("Escape")
    page.wait_for_selector("#help:not([open])", state="attached")


# Roles of the accessibility tree that only lay out, or repeat what their parent says.
SILENT = {"none", "generic", "InlineTextBox", "RootWebArea", "LineBreak", "ListMarker"}
ANNOUNCED = {"status", "alert"}
# Roles that mean nothing without a name.
NAMED = {
    *("button", "link", "textbox", "searchbox", "combobox", "image", "region", "dialog"),
    *("navigation", "search", "form", "heading", "Date"),
}


def tree(page: Page) -> list[str]:
    """Return role and name of each node that a screen reader meets, in its order."""
    session = page.context.new_cdp_session(page)
    nodes = {node["nodeId"]: node for node in session.send("Accessibility.getFullAXTree")["nodes"]}
    session.detach()
    lines: list[str] = []

    def text(node_id: str) -> str:
        node = nodes[node_id]
        own = node["name"]["value"] if node.get("role", {}).get("value") == "StaticText" else ""
        return own or "".join(map(text, node.get("childIds", [])))

    def walk(node_id: str) -> None:
        node = nodes[node_id]
        role, name = (node.get(key, {}).get("value", "") for key in ("role", "name"))
        if not node["ignored"] and role not in SILENT:
            name = re.sub(r"\s+", " ", name).strip()
            if role in ANNOUNCED:  # with what is read when it changes
                name = " ".join(text(node_id).split())
            assert name or role not in NAMED, (page.url, node)
            lines.append(f"{role} {name}".strip())
        for child in node.get("childIds", []):
            walk(child)

    walk(next(node_id for node_id, node in nodes.items() if "parentId" not in node))
    return lines


def hears(page: Page, *expected: str) -> None:
    """Check that a page's tree has some nodes, in this order, and one main part with a heading."""
    lines = tree(page)
    assert lines.count("main") == 1, lines
    assert sum(line.startswith("heading") for line in lines) >= 1, lines
    rest = iter(lines)
    for line in ("navigation Pages", "link Gallery", "link Live", *expected):
        assert line in rest, "\n".join([f"no {line} in", *lines])


def test_screen_reader_hears_the_whole_way(server: Server, page: Page) -> None:
    shows(page, "digit1.png")
    hears(
        page,
        "group digitd",
        "status stopped",
        "button Add files to the inbox",
        "group Download the results",
        "link Results as CSV",
        "main",
        "heading Check the doubtful answers",
        "region The file to check",
        "figure The file; scroll or press + and - to zoom",
        "image digit1.png, as it was dropped",
        "group What the model read",
        "image What the model saw",
        "table Probabilities",
        "rowheader 1",
        "group Answers",
        "button 5",
        "button Accept 1",
        "button Not a digit",
        "button Several digits",
        "button Undo",
        "status digit1.png: perhaps 1, 15.0%, low confidence",
    )
    page.keyboard.press("n")
    shows(page, "digit2.png")
    hears(
        page,
        "status Stored not a digit for digit1.png.",
        "button Undo",
        "status digit2.png: perhaps 2, 20.0%, low confidence",
    )
    page.goto(f"{server.base}/look")
    page.wait_for_selector("#look-store:enabled")
    hears(
        page,
        "main",
        "heading Look through the sure answers",
        "heading Read as 4",
        "list",
        "listitem",
        "button 4, sure 0.png",
        "button 4, sure 5.png",
        f"status {SURE_ROWS} sure answers.",
        f"button Store {SURE_ROWS} answers Enter",
    )
    page.click(".tile >> nth=1")
    page.keyboard.press("9")
    hears(
        page,
        "button 9 instead of 4, sure 1.png",
        "group Correct this answer",
        "StaticText sure 1.png was read as 4.",
        "button Not a digit n",
        "button It is right as it is Esc",
        "status sure 1.png: 9 instead of 4.",
    )
    page.keyboard.press("Enter")
    page.wait_for_selector("#look-empty:not([hidden])")
    hears(
        page,
        "link Back to Check",
        f"status Stored {SURE_ROWS} answers, 1 corrected. All sure answers have been looked at.",
    )
    page.set_input_files("#files", {"name": "a.png", "mimeType": "image/png", "buffer": png()})
    page.wait_for_selector("#dropped li:has-text('in the inbox')")
    hears(page, "region Files added", "heading Files added", "button Close", "list", "listitem")
    page.goto(f"{server.base}/gallery")
    page.wait_for_selector("#gallery[data-ready]")
    hears(
        page,
        "search Filter",
        "searchbox Name contains",
        "combobox Order",
        "list Status",
        "link Sure",
        "list Answered by a person",
        "link 4 answered sure 5.png",
    )
    page.goto(f"{server.base}/live")
    page.wait_for_selector(".chart")
    hears(
        page,
        "main",
        "term files",
        "navigation Time range",
        "link 24 hours",
        "heading Accuracy",
        "heading Files that could not be read",
        "columnheader File",
        "link broken.png",
        "button Read it again broken.png",
        "heading New files",
    )
