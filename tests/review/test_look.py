"""The look-through in a real browser: a wrong answer among the sure ones is found and corrected."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from daemon.records import Status, Verdict
from daemon.review.sample import random_order
from support.daemon import DIGITD, SAMPLES, Box, run_once
from support.factories import doubtful, number
from support.site import Server, Site, intercept, lose_first_response, png
from support.waiting import until
from tests.review.test_browser import PHONE, opened, shows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from playwright.sync_api import Browser, Page, Route

LARGE = {"width": 1280, "height": 1200}  # all tiles fit on it
COUNT = 24  # of which 20 are in the sample
WRONG = "9 as 4.png"


def add_boxes(site: Site) -> None:
    """Add a doubtful 1, and sure 3s and 4s of which one is a 9."""
    site.add("doubt.png", doubtful(1, 0.3))
    for digit in ("3", "4"):
        names = [f"{digit} {place}.png" for place in range(COUNT // 2)]
        if digit == "4":
            names[5] = WRONG
        rows = [(name, Verdict(Status.OK, digit, 0.99, (0.09,) * 11)) for name in names]
        site.add_all(rows, with_sample=False)


@pytest.fixture
def server(site: Site) -> Iterator[Server]:
    add_boxes(site)
    with Server(site) as running:
        running.wait_for_rows(COUNT + 1)
        yield running


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    yield from opened(browser, server, viewport=LARGE)


def look(page: Page, server: Server) -> None:
    page.goto(f"{server.base}/look")
    ready(page)


def ready(page: Page, store: str = "Store") -> None:
    page.wait_for_selector(f"#look-store:enabled:has-text('{store}')")


def stored(box: Box) -> dict[str, tuple[str, str]]:
    """Return label and source of each file's answer; no file has two."""
    assert isinstance(box, Site)
    names = {row["id"]: row["file"] for row in box.rows()}
    answers = box.answers()
    assert len({job_id for job_id, _, _ in answers}) == len(answers)
    return {names[job_id]: (label, source) for job_id, label, source in answers}


def expected(site: Site) -> dict[str, tuple[str, str]]:
    """Return what the look-through stores if the wrong answer is corrected."""
    sure = [row for row in site.rows() if row["status"] == "ok"]
    drawn = sorted(sure, key=lambda row: random_order(_number(row["id"])))[:20]
    sample = {row["file"] for row in drawn}
    return {
        row["file"]: (
            "9" if row["file"] == WRONG else row["digit"],
            "sample" if row["file"] in sample else "look",
        )
        for row in sure
    }


def _number(job_id: str) -> int:
    from daemon import ids  # noqa: PLC0415

    return ids.decode(job_id)


def test_wrong_answer_among_sure_ones_is_corrected_with_a_click(
    site: Site, server: Server, page: Page
) -> None:
    shows(page, "doubt.png")
    page.keyboard.press("1")
    page.wait_for_selector("#why a:text('Look through all of them')")
    page.keyboard.press("l")
    ready(page, f"Store {COUNT} answers")
    assert page.locator("#tiles h2").all_inner_texts() == ["Read as 3", "Read as 4"]
    page.click(f".tile[aria-label='4, {WRONG}']")
    page.keyboard.press("9")
    page.wait_for_selector(f".tile.changed[aria-label='9 instead of 4, {WRONG}']")
    page.keyboard.press("Enter")
    page.wait_for_selector("#look-empty:not([hidden])")
    assert stored(site) == {"doubt.png": ("1", "queue"), **expected(site)}
    right = 20 - (expected(site)[WRONG] == ("9", "sample"))
    page.goto(f"{server.base}/live")
    text = f"{right / 20:.1%} of 20 checked ok files"
    page.wait_for_selector(f"#figures:has-text('{text}')")
    page.goto(server.base)
    page.wait_for_selector("#done-text:text-is('Everything is checked.')")
    assert page.is_hidden("#done-unseen")


def test_answers_that_cannot_be_stored_are_kept(site: Site, server: Server, page: Page) -> None:
    look(page, server)
    page.keyboard.press("ArrowDown")  # the first one
    page.keyboard.press("ArrowRight")
    page.keyboard.press("m")
    table = site.outbox / "labels.csv"
    table.mkdir()
    page.keyboard.press("Enter")
    page.wait_for_selector("#look-problem:has-text('These answers are not stored')")
    assert page.locator(".tile.changed").count() == 1
    table.rmdir()
    lose_first_response(page, "/api/seen")
    page.keyboard.press("Enter")
    page.wait_for_selector("#look-problem:has-text('the server does not answer')")
    page.keyboard.press("Enter")
    page.wait_for_selector("#look-empty:not([hidden])")
    found = stored(site)
    assert len(found) == COUNT
    assert [label for label, _ in found.values()].count("several") == 1


def test_small_digit_on_a_large_page_is_large_on_its_tile(box: Box) -> None:
    digit = cv2.imread(str(SAMPLES / "digit3.png"), cv2.IMREAD_GRAYSCALE)
    assert digit is not None
    side = 120
    page = np.full((1500, 2000, 3), 230, np.uint8)
    part = page[300 : 300 + side, 1700 : 1700 + side]
    np.minimum(part, cv2.resize(digit, (side, side))[..., None], out=part)
    box.drop("page.jpg", cv2.imencode(".jpg", page)[1].tobytes())
    box.drop("digit3.png", (SAMPLES / "digit3.png").read_bytes())
    run_once(box, DIGITD)
    rows = {row["file"]: row for row in box.rows()}
    assert [row["digit"] for row in rows.values()] == ["3", "3"]
    with Server(box) as server:
        server.wait_for_rows(2)
        tile = tile_of(server, rows["page.jpg"]["id"])
        ink = np.argwhere(tile.max(axis=2) < 128)
        high, _ = np.ptp(ink, axis=0) / tile.shape[0]
        assert 0.4 < high < 0.8
        assert 84 <= tile.shape[0] <= 86
        (box.outbox / rows["page.jpg"]["picture"]).unlink()
        assert tile_of(server, rows["page.jpg"]["id"]).shape == (120, 160, 3)
        whole = tile_of(server, rows["digit3.png"]["id"])
        assert whole.shape[:2] == digit.shape


def tile_of(server: Server, job_id: str) -> NDArray[np.uint8]:
    reply = server.request(f"/image/{job_id}/ink")
    assert reply.status == 200
    decoded = cv2.imdecode(np.frombuffer(reply.body, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded.astype(np.uint8, copy=False)


def test_look_through_comes_after_the_doubtful_files(server: Server, page: Page) -> None:
    shows(page, "doubt.png")
    page.keyboard.press("l")
    page.wait_for_selector("#hint:has-text('The doubtful files come first')")
    assert page.url.rstrip("/") == server.base


def test_pictures_that_do_not_arrive_are_asked_for_again(server: Server, page: Page) -> None:
    tries: Counter[str] = Counter()

    def lose(request: Route) -> None:
        tries[request.request.url] += 1
        if tries[request.request.url] > 2:  # the picture, and the question why
            request.continue_()
        else:
            request.abort()

    page.goto(server.url)
    intercept(page, "**/image/*/ink", lose)
    look(page, server)
    ready(page, f"Store {COUNT} answers")
    assert set(tries.values()) == {3}
    assert page.locator(".gone").count() == 0


def test_file_that_is_gone_is_answered_only_by_hand(site: Site, server: Server, page: Page) -> None:
    for name in ("3 1.png", "3 2.png"):
        (site.outbox / "originals" / name).unlink()
    look(page, server)
    ready(page, f"Store {COUNT - 2} answers")
    page.click(".tile[aria-label^='3, 3 1.png']")
    page.click("#correct [data-label=none]")
    ready(page, f"Store {COUNT - 1} answers, 1 corrected")
    page.click("#look-store")
    page.wait_for_selector("#look-empty:has-text('1 sure answer has not been looked at')")
    found = stored(site)
    assert found["3 1.png"][0] == "none"
    assert found.keys() == expected(site).keys() - {"3 2.png"}


def test_page_of_a_phone_is_undone(browser: Browser, site: Site, server: Server) -> None:
    for page in opened(browser, server, viewport=PHONE):
        look(page, server)
        shown = page.locator(".tile").count()
        assert shown < COUNT
        assert page.evaluate("() => document.body.scrollWidth <= innerWidth")
        page.click("#look-store")
        page.wait_for_selector(f"#look-said:has-text('Stored {shown} answers')")
        ready(page)
        page.keyboard.press("u")
        page.wait_for_selector(f"#look-said:has-text('Took back {shown} answers')")
        ready(page)
        assert page.locator(".tile").count() == shown
        labels = [label for _, label, _ in site.answers()]
        assert labels[shown:] == ["undo"] * shown


def test_page_is_filled_with_tiles(browser: Browser, site: Site) -> None:
    texts = ["7", *("47110815", "08154711") * 20]
    site.configure(reads="number")
    site.add_all([(f"{place}.png", number(text)) for place, text in enumerate(texts)])
    with Server(site) as server:
        server.wait_for_rows(len(texts))
        for page in opened(browser, server, viewport={"width": 1440, "height": 900}):
            look(page, server)
            boxes = [tile.bounding_box() for tile in page.locator(".tile").all()]
            narrow, *wide = [box for box in boxes if box is not None]
            assert all(box["width"] > 2 * narrow["width"] for box in wide)  # two and the gap
            bar = page.locator("#look-bar").bounding_box()
            assert bar is not None
            lowest = max(box["y"] + box["height"] for box in wide)
            assert bar["y"] - narrow["height"] < lowest <= bar["y"]


def test_groups_of_few_tiles_share_a_line(browser: Browser, site: Site) -> None:
    sure = [Verdict(Status.OK, digit, 0.99, (0.09,) * 11) for digit in "0123456789" * 2]
    site.add_all([(f"{place}.png", verdict) for place, verdict in enumerate(sure)])
    with Server(site) as server:
        server.wait_for_rows(len(sure))
        for page in opened(browser, server, viewport={"width": 1440, "height": 900}):
            look(page, server)
            assert page.locator(".tile").count() == len(sure)


def test_number_is_corrected_in_a_field(browser: Browser, site: Site) -> None:
    site.configure(reads="number")
    texts = ["7,5", "10", "9", "0471", "9"]
    site.add_all([(f"{place}.png", number(text)) for place, text in enumerate(texts)])
    with Server(site) as server:
        server.wait_for_rows(len(texts))
        for page in opened(browser, server):
            look(page, server)
            shown = page.locator(".tile b").all_inner_texts()
            assert shown == ["9", "9", "10", "7,5", "0471"]
            page.click(".tile[aria-label='10, 1.png']")
            page.keyboard.type("1x")
            page.keyboard.press("Enter")
            page.wait_for_selector("#correct-fault:has-text('“1x” is not a number')")
            page.fill("#correct-number", "1" * 33)
            page.keyboard.press("Enter")
            page.wait_for_selector("#correct-fault:has-text('has 33 characters')")
            page.fill("#correct-number", "")
            page.keyboard.press("Enter")
            page.wait_for_selector("#correct-fault:has-text('Nothing is typed')")
            page.fill("#correct-number", "100")
            page.keyboard.press("Enter")
            page.wait_for_selector(".tile[aria-label='100 instead of 10, 1.png']")
            page.keyboard.press("Enter")
            page.wait_for_selector("#look-empty:not([hidden])")
    labels = {name: label for name, (label, _) in stored(site).items()}
    assert labels == {"0.png": "7,5", "1.png": "100", "2.png": "9", "3.png": "0471", "4.png": "9"}


@pytest.mark.parametrize("reads", ["digit", "number"])
def test_arrow_keys_move_between_tiles(browser: Browser, site: Site, reads: str) -> None:
    site.configure(reads=reads)
    site.add_all([(f"{place}.png", number("7")) for place in range(12)])
    with Server(site) as server:
        server.wait_for_rows(12)
        for page in opened(browser, server, viewport={"width": 700, "height": 800}):
            look(page, server)
            tops = [
                box["y"] for tile in page.locator(".tile").all() if (box := tile.bounding_box())
            ]
            columns = tops.count(tops[0])
            assert 2 < columns < 10
            for key, index in (
                ("ArrowRight", 0),
                ("ArrowRight", 1),
                ("ArrowRight", 2),
                ("ArrowDown", 2 + columns),
                ("ArrowLeft", 1 + columns),
                ("ArrowUp", 1),
                ("ArrowLeft", 0),
                ("ArrowLeft", 0),
            ):
                page.keyboard.press(key)
                assert selected(page) == index, key
            page.keyboard.type("8")
            if reads == "number":
                page.keyboard.press("Enter")
            page.wait_for_selector(".tile[aria-label='8 instead of 7, 0.png']")
            for index in (1, 2):
                page.keyboard.press("ArrowRight")
                assert selected(page) == index


def selected(page: Page) -> int:
    """Return the index of the tile that keys correct; -1 if there is none."""
    index: int = page.evaluate(
        """() => [...document.querySelectorAll(".tile")].findIndex(
            (tile) => tile.classList.contains("current"))"""
    )
    return index


@pytest.fixture
def sevens(browser: Browser, site: Site) -> Iterator[Page]:
    """Yield the look-through of four files that were read as the number 7."""
    site.configure(reads="number")
    site.add_all([(f"{place}.png", number("7")) for place in range(4)])
    with Server(site) as server:
        server.wait_for_rows(4)
        for page in opened(browser, server):
            look(page, server)
            yield page


def test_arrow_keys_move_the_caret_in_a_typed_number(sevens: Page) -> None:
    sevens.keyboard.press("ArrowRight")
    for key in ("1", "5", "ArrowLeft", "0", "ArrowRight", "2"):
        sevens.keyboard.press(key)
    assert sevens.input_value("#correct-number") == "1052"
    assert selected(sevens) == 0
    sevens.fill("#correct-number", "")
    sevens.keyboard.press("ArrowRight")
    assert selected(sevens) == 1
    assert sevens.input_value("#correct-number") == "7"


@pytest.mark.parametrize("way", ["ArrowDown", "tile", "store"])
def test_typed_number_counts_however_its_tile_is_left(sevens: Page, site: Site, way: str) -> None:
    sevens.keyboard.press("ArrowRight")
    sevens.keyboard.type("52")
    if way == "store":
        sevens.click("#look-store")
        sevens.wait_for_selector("#look-empty:not([hidden])")
        labels = {name: label for name, (label, _) in stored(site).items()}
        assert labels == {"0.png": "52", "1.png": "7", "2.png": "7", "3.png": "7"}
        return
    if way == "tile":
        sevens.click(".tile >> nth=1")
        assert selected(sevens) == 1
        assert sevens.input_value("#correct-number") == "7"
    else:
        sevens.keyboard.press(way)
    sevens.wait_for_selector(".tile[aria-label='52 instead of 7, 0.png']")


def test_tile_is_not_left_with_what_is_no_number(sevens: Page, site: Site) -> None:
    sevens.keyboard.press("ArrowRight")
    sevens.keyboard.type("5-")
    for button in (".tile >> nth=1", "#look-store"):
        sevens.click(button)
        assert selected(sevens) == 0
        assert sevens.inner_text("#correct-fault").startswith("“5-” is not a number:")
        assert sevens.input_value("#correct-number") == "5-"
    sevens.keyboard.type("3")
    sevens.click("#look-store")
    sevens.wait_for_selector("#look-empty:not([hidden])")
    assert stored(site)["0.png"][0] == "5-3"


def test_answer_that_was_taken_stays_when_its_tile_is_left(sevens: Page, site: Site) -> None:
    sevens.keyboard.press("ArrowRight")
    sevens.keyboard.type("52")
    sevens.keyboard.press("n")
    sevens.click(".tile >> nth=1")
    sevens.fill("#correct-number", " 52 ")
    sevens.click(".tile >> nth=2")
    assert selected(sevens) == 2
    sevens.keyboard.type("53")
    sevens.click("button[data-label=none]")
    sevens.click("#look-store")
    sevens.wait_for_selector("#look-empty:not([hidden])")
    labels = {name: label for name, (label, _) in stored(site).items()}
    assert labels == {"0.png": "none", "1.png": "52", "2.png": "none", "3.png": "7"}


def test_skipped_page_stores_only_what_was_corrected(sevens: Page, site: Site) -> None:
    sevens.click("#look-skip")
    sevens.wait_for_selector("#look-empty:has-text('4 sure answers have not been looked at.')")
    assert site.answers() == []
    sevens.click("#look-again")
    sevens.wait_for_selector("#look-store:has-text('Store 4 answers')")
    sevens.keyboard.press("ArrowRight")
    sevens.keyboard.type("52")
    sevens.click("#look-skip")
    sevens.wait_for_selector("#look-empty:has-text('3 sure answers have not been looked at.')")
    said = "Stored 1 answer, 1 corrected. Skipped the others."
    assert sevens.inner_text("#look-said").startswith(said)
    assert {name: label for name, (label, _) in stored(site).items()} == {"0.png": "52"}
    sevens.keyboard.press("u")
    sevens.wait_for_selector(".tile[aria-label='52 instead of 7, 0.png']")
    assert sevens.inner_text("#look-said") == "Took back 1 answer."
    assert [label for _, label, _ in site.answers()] == ["52", "undo"]


def test_one_button_shows_enter(sevens: Page) -> None:
    enters = sevens.locator("#look-bar button:has(kbd:text-is('Enter'):visible)")
    for key, button in (
        ("ArrowRight", "correct-take"),
        ("8", "correct-take"),
        ("Enter", "look-store"),
        ("ArrowRight", "correct-take"),
        ("Escape", "look-store"),
    ):
        sevens.keyboard.press(key)
        assert enters.evaluate_all("all => all.map((one) => one.id)") == [button], key


def test_tile_names_its_file(browser: Browser, site: Site) -> None:
    names = ["short.png", "long " * 40 + ".png"]
    site.add_all([(name, number("7")) for name in names])
    with Server(site) as server:
        server.wait_for_rows(len(names))
        for page in opened(browser, server, viewport=PHONE):
            look(page, server)
            what = page.locator("#correct-what")
            heights = []
            for tile, name in zip(page.locator(".tile").all(), names, strict=True):
                assert tile.get_attribute("title") == name
                tile.click()
                assert what.locator("span").get_attribute("title") == name
                assert (what.text_content() or "").startswith(f"{name} was read as 7.")
                heights.append(what.evaluate("line => line.offsetHeight"))
                link = what.locator("a").bounding_box()
                assert link is not None
                assert link["x"] + link["width"] <= PHONE["width"]
            assert heights[0] == heights[1]  # the long name is cut


def test_answer_of_somebody_else_stays(site: Site, server: Server, page: Page) -> None:
    look(page, server)
    other = site.row("3 4.png")["id"]
    assert server.answer(other, "8", by="Ana").status == 200
    page.keyboard.press("Enter")
    page.wait_for_selector("#look-said:has-text('Ana has answered 8 for 3 4.png meanwhile')")
    assert stored(site)["3 4.png"] == ("8", "queue")
    assert len(stored(site)) == COUNT


def test_undo_takes_back_only_what_this_page_has_stored(
    site: Site, server: Server, page: Page
) -> None:
    look(page, server)
    same, other = site.row("3 4.png")["id"], site.row("3 5.png")["id"]
    assert server.answer(same, "3", by="Ana").status == 200
    assert server.answer(other, "8", by="Ana").status == 200
    page.keyboard.press("Enter")
    said = f"Stored {COUNT - 2} answers, 0 corrected. Ana has answered 8 for 3 5.png meanwhile"
    page.wait_for_selector(f"#look-said:has-text('{said}')")
    page.wait_for_selector(
        "#look-said:has-text('Somebody else has given 1 of the same meanwhile.')"
    )
    agreed = site.row("4 0.png")["id"]
    assert server.answer(agreed, "4", by="Ana", seen="4").status == 200
    refuse = lambda route: route.fulfill(status=503, json={"error": "the outbox is away"})  # noqa: E731
    page.route("**/api/seen", refuse)
    page.keyboard.press("u")
    page.wait_for_selector("#look-problem:has-text('The undo is not stored: the outbox is away.')")
    assert page.inner_text("#look-problem").endswith("Nothing is lost: press u to try again.")
    page.unroute("**/api/seen", refuse)
    page.keyboard.press("u")
    page.wait_for_selector(f"#look-said:has-text('Took back {COUNT - 3} answers.')")
    assert "Ana has answered 4 for 4 0.png meanwhile, which stays." in page.inner_text("#look-said")
    undone = [job_id for job_id, label, _ in site.answers() if label == "undo"]
    assert len(undone) == COUNT - 3
    assert not {same, other, agreed} & set(undone)


def test_copies_of_a_file_are_corrected_together(site: Site, server: Server, page: Page) -> None:
    for name in ("copy.png", "another copy.png"):
        site.add(name, Verdict(Status.OK, "4", 0.99, (0.09,) * 11), png("4"))
    server.wait_for_rows(COUNT + 3)
    look(page, server)
    page.click("[title='copy.png']")
    page.keyboard.press("9")
    page.wait_for_selector(
        "#look-said:has-text('copy.png: 9 instead of 4, and the same for 1 with the same bytes.')"
    )
    page.keyboard.press("Enter")
    page.wait_for_selector("#look-said:has-text('2 corrected')")
    assert {stored(site)[name][0] for name in ("copy.png", "another copy.png")} == {"9"}


@pytest.mark.parametrize(
    "change",
    [
        {"answers": []},
        {"answers": "7"},
        {"answers": [7]},
        {"answers": [{"id": "x", "label": "x"}]},
        {"answers": [{"id": "x", "label": ["7"]}]},
        {"answers": [{"id": "x", "label": "7"}] * 2},
        {"answers": [{"id": f"{n}", "label": "7"} for n in range(101)]},
        {"reads": "number"},
        {"by": 7},
    ],
    ids=str,
)
def test_malformed_page_is_refused(site: Site, change: dict[str, object]) -> None:
    row = site.add("1.png", number("7"))
    with Server(site) as server:
        server.wait_for_rows(1)
        data = {"answers": [{"id": row, "label": "7"}], **change}
        assert server.post("/api/seen", data).status == 400
        assert site.answers() == []
        until(lambda: server.request("/api/unseen?limit=9").json["unseen"] == 1, "the row")
