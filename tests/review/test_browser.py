"""A real browser on the real server: what a teacher does, and what goes wrong meanwhile."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from daemon.outbox import labels
from support import heif
from support.daemon import DIGITD, SAMPLES, Daemon
from support.factories import BLANK, SURE, doubtful
from support.site import Server, Site, intercept, lose_first_response, png
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, ConsoleMessage, FilePayload, Page, Route

PHONE = {"width": 390, "height": 844}
READING_MS = 1200  # until a key is not taken any more for one that was typed ahead


@pytest.fixture
def eight(site: Site) -> list[str]:
    """Add eight doubtful rows; return their ids in the order of the queue."""
    rows = [(f"digit{n}.png", doubtful(n, 0.1 + n / 20)) for n in range(1, 9)]
    added = site.add_all(rows)
    site.add("digit9.png", SURE)
    return added


@pytest.fixture
def server(site: Site, eight: list[str]) -> Iterator[Server]:
    with Server(site) as running:
        running.wait_for_rows(len(eight) + 1)
        yield running


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    yield from opened(browser, server)


def opened(browser: Browser, server: Server, **options: Any) -> Iterator[Page]:  # noqa: ANN401
    context = browser.new_context(accept_downloads=True, **options)
    page = context.new_page()
    faults: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        if "Content Security" in message.text:
            faults.append(message.text)

    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", heard)
    page.goto(server.url)
    yield page
    context.close()
    assert faults == []


def shows(page: Page, text: str) -> None:
    page.wait_for_function(
        "text => document.querySelector('#file')?.textContent.startsWith(text)", arg=text
    )


def hold_first(page: Page, pattern: str = "**/api/answers") -> list[Route]:
    """Let the first request like a pattern wait; return a list that will have it."""
    held: list[Route] = []

    def hold(route: Route) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    intercept(page, pattern, hold)
    return held


def wait_for_request(page: Page, held: list[Route]) -> Route:
    until(lambda: bool(page.evaluate("1") and held), "the request")
    return held[0]


def test_undo_without_an_answer_of_this_page_says_so(
    site: Site, page: Page, eight: list[str]
) -> None:
    shows(page, "digit1.png")
    page.keyboard.press("Enter")
    shows(page, "digit2.png")
    page.reload()
    shows(page, "digit2.png")
    page.keyboard.press("u")
    page.wait_for_selector("#stored:has-text('has no answer of its own to take back')")
    assert site.answers() == [(eight[0], "1", "queue")]


def test_eight_doubtful_files_are_answered_by_keyboard(
    site: Site, page: Page, eight: list[str]
) -> None:
    shows(page, "digit1.png")
    assert "Perhaps 1 15.0%" in page.inner_text("#guess")
    for number, key in enumerate(["Enter", "2", "n", "4", "5", "0", "7"], 1):
        shows(page, f"digit{number}.png")
        page.keyboard.press(key)
    shows(page, "digit8.png")
    page.click("[data-label='8']")
    shows(page, "digit9.png")  # the sample
    assert "Read as 7 99.0%" in page.inner_text("#guess")
    assert (page.text_content("#said") or "").startswith("digit9.png: read as 7, 99.0%")
    page.keyboard.press("Enter")
    page.wait_for_selector("#done:not([hidden])")
    assert page.inner_text("#done-text") == "Everything is checked."
    labels = ["1", "2", "none", "4", "5", "0", "7", "8"]
    assert site.answers() == [
        *((row, label, "queue") for row, label in zip(eight, labels, strict=True)),
        (site.row("digit9.png")["id"], "7", "sample"),
    ]
    with page.expect_download() as download:
        page.click("#done [download]")
    lines = Path(download.value.path()).read_text().splitlines()
    assert len(lines) == 10
    assert sum(line.endswith(",person") for line in lines) == 9


def test_ten_keys_a_second_lose_no_answer(site: Site, page: Page, eight: list[str]) -> None:
    shows(page, "digit1.png")
    for key in "12345678":
        page.keyboard.press(key)
    shows(page, "digit9.png")
    assert site.answers() == [(row, str(number), "queue") for number, row in enumerate(eight, 1)]


def test_held_key_answers_once(site: Site, page: Page, eight: list[str]) -> None:
    shows(page, "digit1.png")
    for _ in range(5):
        page.keyboard.down("3")
    page.keyboard.up("3")
    shows(page, "digit2.png")
    assert site.answers() == [(eight[0], "3", "queue")]


def test_undo_takes_answers_back_and_shows_them(site: Site, page: Page, eight: list[str]) -> None:
    for number in (1, 2):
        shows(page, f"digit{number}.png")
        page.keyboard.press("9")
    shows(page, "digit3.png")
    page.keyboard.press("u")
    shows(page, "digit2.png")
    page.keyboard.press("u")
    shows(page, "digit1.png")
    first, second = eight[:2]
    site.wait_for_answers(
        [
            (row, label, "queue")
            for row, label in ((first, "9"), (second, "9"), (second, "undo"), (first, "undo"))
        ]
    )
    page.keyboard.press("1")
    shows(page, "digit2.png")
    page.keyboard.press("ArrowLeft")
    shows(page, "digit1.png")
    assert "Answered: 1" in page.inner_text("#answer")


def test_later_and_arrows_store_nothing(site: Site, page: Page) -> None:
    shows(page, "digit1.png")
    page.keyboard.press("s")
    shows(page, "digit2.png")
    page.keyboard.press("ArrowRight")
    shows(page, "digit3.png")
    page.keyboard.press("ArrowLeft")
    shows(page, "digit2.png")
    assert site.answers() == []


def test_next_picture_is_loaded_before_it_is_shown(page: Page) -> None:
    shows(page, "digit1.png")
    # The first picture has nothing to be loaded behind.
    page.wait_for_function(
        "() => (({ src, complete }) => src && complete)(document.querySelector('#picture img'))"
    )
    page.evaluate(
        """() => {
          window.complete = [];
          const frame = document.querySelector('#picture');
          new MutationObserver(() => {
            window.complete.push(frame.querySelector('img').complete);
          }).observe(frame, { childList: true });
        }"""
    )
    loaded = "performance.getEntriesByType('resource').filter(one => /large$/.test(one.name))"
    for number in range(1, 6):
        shows(page, f"digit{number}.png")
        page.wait_for_function(f"count => {loaded}.length > count", arg=number)
        page.keyboard.press(str(number))
        page.wait_for_function("count => window.complete.length >= count", arg=number)
    assert page.evaluate("() => window.complete") == [True] * 5


def test_key_press_survives_a_killed_server(
    site: Site, server: Server, page: Page, eight: list[str]
) -> None:
    shows(page, "digit1.png")
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    page.keyboard.press("4")
    page.wait_for_selector("#problem:not([hidden])")
    said = page.inner_text("#problem p")
    assert said.startswith("Your answer 4 for digit1.png is not stored: ")
    assert "It is kept and tried again." in said
    page.keyboard.press("7")  # means nothing until the answer before it is stored
    assert page.inner_text("#file").startswith("digit1.png")
    assert site.answers() == []
    with Server(site, port=server.port):
        shows(page, "digit2.png")
        assert site.answers() == [(eight[0], "4", "queue")]
        assert page.is_hidden("#problem")


def test_answer_stored_by_a_server_that_died_before_it_said_so_counts_once(
    site: Site, server: Server, page: Page, eight: list[str]
) -> None:
    shows(page, "digit1.png")
    lose_first_response(page, "/api/answers")
    page.keyboard.press("4")
    shows(page, "digit2.png")
    assert server.process.poll() is None
    assert site.answers() == [(eight[0], "4", "queue")]


def test_full_disk_is_reported_and_the_key_press_kept(
    site: Site, page: Page, eight: list[str]
) -> None:
    shows(page, "digit1.png")
    (site.outbox / "labels.csv").write_text("mine\n")
    page.keyboard.press("4")
    page.wait_for_selector("#problem:not([hidden])")
    assert "does not begin with digitd's columns" in page.inner_text("#problem p")
    (site.outbox / "labels.csv").unlink()
    page.keyboard.press("Enter")
    shows(page, "digit2.png")
    assert site.answers() == [(eight[0], "4", "queue")]


def test_two_browsers_do_not_overrule_each_other(
    browser: Browser, site: Site, server: Server, page: Page, eight: list[str]
) -> None:
    shows(page, "digit1.png")
    assert server.answer(eight[0], "5", by="Ana").status == 200
    page.keyboard.press("4")
    page.wait_for_function(  # looks at each frame; a selector is looked for after up to 0.5 s
        "() => document.querySelector('#problem p').textContent"
        ".startsWith('Ana has answered 5 for digit1.png meanwhile.')"
    )
    page.keyboard.press("7")  # typed ahead, for digit2.png
    page.wait_for_selector("#problem:has-text('1 later key press was not used')")
    assert site.answers() == [(eight[0], "5", "queue")]
    page.wait_for_timeout(READING_MS)
    page.keyboard.press("4")
    shows(page, "digit2.png")
    assert site.answers()[1:] == [(eight[0], "4", "queue")]
    for other in opened(browser, server):
        shows(other, "digit2.png")


def test_answer_of_somebody_else_to_a_file_that_comes_next_shifts_no_key(
    site: Site, server: Server, page: Page, eight: list[str]
) -> None:
    for key, name in (("ArrowRight", 2), ("ArrowRight", 3), ("ArrowLeft", 2), ("ArrowLeft", 1)):
        page.keyboard.press(key)
        shows(page, f"digit{name}.png")
    with page.expect_response(f"**/api/rows/{eight[1]}"):
        assert server.answer(eight[1], "8", by="Ana").status == 200
    for key in ("4", "5", "6"):
        page.keyboard.press(key)
    page.wait_for_selector("#problem:has-text('Ana has answered 8 for digit2.png meanwhile.')")
    shows(page, "digit2.png")
    assert site.answers() == [(eight[1], "8", "queue"), (eight[0], "4", "queue")]
    page.wait_for_timeout(READING_MS)
    page.keyboard.press("ArrowRight")
    shows(page, "digit3.png")
    page.keyboard.press("6")
    shows(page, "digit4.png")
    assert site.answers()[2:] == [(eight[2], "6", "queue")]


def test_answer_of_somebody_else_to_a_file_that_was_shown_is_told_when_it_comes(
    site: Site, server: Server, page: Page, eight: list[str]
) -> None:
    for key, name in (("ArrowRight", 2), ("ArrowLeft", 1)):
        page.keyboard.press(key)
        shows(page, f"digit{name}.png")
    with page.expect_response(f"**/api/rows/{eight[1]}"):
        assert server.answer(eight[1], "8", by="Ana").status == 200
    page.keyboard.press("4")
    said = "Ana has answered 8 for digit2.png meanwhile. → goes on."
    page.wait_for_selector(f"#stored:has-text('{said}')")
    page.keyboard.press("ArrowRight")
    shows(page, "digit3.png")
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("#answer:has-text('Answered: 8, by Ana')")
    assert len(site.answers()) == 2


def test_undo_after_a_conflict_leaves_the_answer_of_somebody_else(
    site: Site, server: Server, page: Page, eight: list[str]
) -> None:
    shows(page, "digit1.png")
    assert server.answer(eight[0], "5", by="Ana").status == 200
    page.keyboard.press("4")
    page.wait_for_selector("#problem:has-text('Ana has answered 5')")
    page.wait_for_timeout(READING_MS)
    page.keyboard.press("u")
    page.wait_for_selector("#stored:has-text('Nothing of yours was stored for digit1.png.')")
    assert site.answers() == [(eight[0], "5", "queue")]


@pytest.mark.parametrize("later", ["9", "4"])
def test_undo_leaves_the_later_answer_of_somebody_else(
    site: Site, server: Server, page: Page, eight: list[str], later: str
) -> None:
    shows(page, "digit1.png")
    page.keyboard.press("4")
    shows(page, "digit2.png")
    assert server.answer(eight[0], later, by="Ana", seen="4").status == 200
    page.keyboard.press("u")
    page.wait_for_selector(
        f"#problem:has-text('Ana has answered {later} for digit1.png meanwhile. It stays.')"
    )
    shows(page, "digit1.png")
    page.wait_for_timeout(READING_MS)
    page.keyboard.press("u")
    page.wait_for_selector("#stored:has-text('no answer of its own to take back')")
    assert [label for _, label, _ in site.answers()] == ["4", later]


def test_undo_leaves_the_same_answer_of_somebody_else(
    site: Site, server: Server, page: Page, eight: list[str]
) -> None:
    shows(page, "digit1.png")
    assert server.answer(eight[0], "4", by="Ana").status == 200
    page.keyboard.press("4")
    shows(page, "digit2.png")
    page.wait_for_selector("#stored:has-text('Ana has answered 4 for digit1.png already.')")
    assert page.is_hidden("#stored button")
    page.keyboard.press("u")
    page.keyboard.press("5")
    shows(page, "digit3.png")
    assert site.answers() == [(eight[0], "4", "queue"), (eight[1], "5", "queue")]


def overrule(page: Page, server: Server, row: str, who: str) -> None:
    """Answer digit1.png with 4 all the same, when somebody has answered 9 meanwhile."""
    shows(page, "digit1.png")
    assert server.answer(row, "9", by=who).status == 200
    page.keyboard.press("4")
    page.wait_for_selector("#problem:has-text('Ana has answered 9')")
    page.wait_for_timeout(READING_MS)
    page.keyboard.press("4")
    shows(page, "digit2.png")


def test_undo_gives_an_answer_back_to_whoever_gave_it(
    site: Site, server: Server, page: Page, eight: list[str]
) -> None:
    overrule(page, server, eight[0], "=Ana")
    page.keyboard.press("u")
    page.wait_for_selector("#stored:has-text('Undone: digit1.png has the answer 9 of')")
    page.keyboard.press("u")
    page.wait_for_selector("#stored:has-text('no answer of its own to take back')")
    given = [(answer.label, answer.by) for answer in labels.read(site.outbox)]
    assert (given[0], given[1][0], given[2:]) == (("9", "'=Ana"), "4", [("9", "'=Ana")])
    page.goto(f"{server.base}/row/{eight[0]}")
    shows(page, "digit1.png")
    page.keyboard.press("u")
    page.wait_for_selector("#stored:has-text('Undone: digit1.png has no answer.')")
    assert page.inner_text("#stored span").endswith("=Ana had answered 9.")


def test_undo_of_an_answer_that_somebody_else_took_back_changes_nothing(
    site: Site, server: Server, page: Page, eight: list[str]
) -> None:
    overrule(page, server, eight[0], "Ana")
    assert server.answer(eight[0], "undo", by="Ana", seen="4").status == 200
    page.keyboard.press("u")
    said = "The answer to digit1.png was taken back meanwhile. Nothing was changed."
    page.wait_for_selector(f"#problem:has-text('{said}')")
    assert [label for _, label, _ in site.answers()] == ["9", "4", "undo"]


def test_name_is_stored_with_the_answer(site: Site, page: Page) -> None:
    shows(page, "digit1.png")
    page.keyboard.press("?")
    page.fill("#name", "Ana <b>")
    page.keyboard.press("Escape")
    page.wait_for_selector("#help:not([open])", state="attached")
    page.keyboard.press("1")
    shows(page, "digit2.png")
    assert ",Ana <b>," in (site.outbox / "labels.csv").read_text()


def test_key_that_is_pressed_as_the_help_closes_counts(
    site: Site, page: Page, eight: list[str]
) -> None:
    shows(page, "digit1.png")
    page.keyboard.press("?")
    page.focus("#name")
    # In one task: the closed dialog's field has the focus until the next frame.
    page.evaluate(
        """() => {
          document.querySelector('#help').close();
          const pressed = new KeyboardEvent('keydown', { key: '1', bubbles: true });
          document.querySelector('#name').dispatchEvent(pressed);
        }"""
    )
    shows(page, "digit2.png")
    assert site.answers() == [(eight[0], "1", "queue")]


def test_missing_file_is_reported_and_can_be_answered(
    site: Site, page: Page, eight: list[str]
) -> None:
    shows(page, "digit1.png")
    (site.outbox / "originals" / "digit8.png").unlink()
    for _ in range(7):
        page.keyboard.press("ArrowRight")
    shows(page, "digit8.png")
    page.wait_for_selector("#missing:not([hidden])")
    assert page.inner_text("#missing") == "the file is gone. You can answer all the same."
    page.keyboard.press("8")
    site.wait_for_answers([(eight[7], "8", "queue")])


def test_picture_that_does_not_arrive_is_asked_for_again(page: Page, eight: list[str]) -> None:
    shows(page, "digit1.png")
    offline = ["yes"]
    intercept(
        page,
        "**/image/*/large",
        lambda request: request.abort() if offline else request.continue_(),
    )
    for _ in eight[1:]:
        page.keyboard.press("ArrowRight")
    shows(page, "digit8.png")
    page.wait_for_selector("#missing:has-text('the picture did not arrive')")
    offline.clear()
    page.wait_for_function("() => document.querySelector('#picture img').naturalWidth > 0")
    assert page.is_hidden("#missing")
    assert page.is_visible("#picture img")


def test_sample_of_sure_answers_comes_last_and_measures_the_accuracy(
    browser: Browser, site: Site
) -> None:
    site.add_all([(f"digit{number}.png", SURE) for number in range(1000)])
    doubt = site.add("digit5000.png", BLANK)
    with Server(site) as server:
        server.wait_for_rows(1001)
        for page in opened(browser, server):
            shows(page, "digit5000.png")
            page.keyboard.press("n")
            page.wait_for_function(
                "() => document.querySelector('#why').textContent.startsWith('check:')"
            )
            page.keyboard.press("7")
            until(lambda: len(site.answers()) == 2, "the answer")
            page.goto(f"{server.base}/live")
            page.wait_for_selector("#figures:has-text('100.0% of 1 checked ok files')")
    assert [(label, source) for _, label, source in site.answers()] == [
        ("none", "queue"),
        ("7", "sample"),
    ]
    assert site.answers()[0][0] == doubt


def test_gallery_is_filtered_and_a_row_answered(
    site: Site, server: Server, page: Page, eight: list[str]
) -> None:
    page.goto(f"{server.base}/gallery")
    assert page.locator(".card").count() == 9
    page.click(".chip:text-is('Sure')")
    page.wait_for_url(re.compile("status=ok"))
    assert page.locator(".card").count() == 1
    page.click(".card a")
    shows(page, "digit9.png")
    page.keyboard.press("1")
    page.wait_for_function("() => !document.querySelector('#answer').hidden")
    ((_, label, source),) = site.answers()
    assert (label, source) == ("1", "gallery")
    page.keyboard.press("u")
    until(lambda: len(site.answers()) == 2, "the answer is cleared")
    page.keyboard.press("Escape")
    page.wait_for_url(re.compile("/gallery"))
    assert eight


def test_pictures_can_be_zoomed(page: Page) -> None:
    shows(page, "digit1.png")
    page.hover("#picture")
    page.mouse.wheel(0, -300)
    page.wait_for_function(
        "() => /scale\\(1\\.[0-9]/.test(document.querySelector('#picture img').style.transform)"
    )
    page.keyboard.press("-")
    page.keyboard.press("-")
    page.wait_for_function(
        "() => document.querySelector('#picture img').style.transform.includes('scale(1)')"
    )


def test_dropped_file_is_read_by_the_daemon_and_its_answer_appears(
    browser: Browser, site: Site
) -> None:
    site.configure(workers=1)
    with Daemon(site, DIGITD) as daemon, Server(site) as server:
        daemon.wait_for_log("is ready")
        for page in opened(browser, server):
            page.wait_for_selector("#empty:not([hidden])")
            drop(page, "digit4.png", (SAMPLES / "digit4.png").read_bytes())
            page.wait_for_selector("#dropped li.ok", timeout=60_000)
            assert "digit4.png: 4" in page.inner_text("#dropped li.ok")
            drop(page, "list.txt", b"milk")
            page.wait_for_selector("#dropped li.error")
            assert "rename it to match" in page.inner_text("#dropped li.error")
            shows(page, "digit4.png")  # the sample
            page.keyboard.press("4")
            # A doubtful one appears by itself, and an error can be retried.
            page.set_input_files(
                "#files", {"name": "digit5.png", "mimeType": "image/png", "buffer": blank()}
            )
            shows(page, "digit5.png")
            page.set_input_files(
                "#files", {"name": "digit6.png", "mimeType": "image/png", "buffer": b"hi"}
            )
            page.wait_for_selector("#dropped a:text('error')", timeout=60_000)
            page.goto(f"{server.base}/live")
            page.click("[data-retry]")
            until(lambda: len(site.rows()) == 4, "the file is read again")
            assert [row["status"] for row in site.rows()] == ["ok", "unsure", "error", "error"]
            page.wait_for_selector("#arrivals li.error")


def test_each_photo_of_a_phone_shows_its_own_answer(browser: Browser, site: Site) -> None:
    site.configure(max_file_mb=1)
    numbers = (3, 8, 3, 4, 1)
    photos = [(SAMPLES / f"digit{number}.png").read_bytes() for number in numbers[:4]]
    photos.append(heif.ONE)
    broken = heif.ONE[:-9]
    chosen: list[FilePayload] = [
        {"name": "image.jpg", "mimeType": "image/jpeg", "buffer": data}
        for data in [*photos, broken, bytes(2_000_000)]
    ]
    with Server(site) as server:
        for page in opened(browser, server):
            page.set_input_files("#files", chosen)
            page.wait_for_selector("#dropped li:nth-child(7).error")
            last = page.inner_text("#dropped li:nth-child(7)")
            assert "larger than 1 MB: save a smaller one" in last
            assert sorted(file.name for file in site.inbox.iterdir()) == [
                "image.jpg",
                *(f"image_{number}.jpg" for number in range(2, 7)),
            ]
            with Daemon(site, DIGITD):
                page.wait_for_function(
                    "() => document.querySelectorAll('#dropped li a').length === 6",
                    timeout=60_000,
                )
            lines = page.locator("#dropped li").all_inner_texts()
            shown = [line.partition(": ")[2].split()[0] for line in lines[:5]]
            assert shown == [str(number) for number in numbers]
            (broken_row,) = (row for row in site.rows() if row["file"] == "image_6.jpg")
            assert broken_row["reason"] in lines[5]
            links = [link.get_attribute("href") for link in page.locator("#dropped a").all()]
            assert len(set(links)) == 6


def test_progress_of_an_upload_is_shown_and_a_lost_one_can_be_sent_again(
    browser: Browser, site: Site
) -> None:
    with Server(site) as server:
        for page in opened(browser, server):
            page.evaluate(
                """() => {
                  window.told = [];
                  const panel = document.querySelector('#dropped');
                  new MutationObserver(() => {
                    window.told.push(panel.querySelector('li')?.textContent);
                  }).observe(panel, { childList: true, subtree: true });
                }"""
            )
            intercept(page, "**/api/files?*", lambda route: route.abort())
            drop(page, "image.jpg", blank())
            page.wait_for_selector("#dropped li.error button")
            page.unroute("**/api/files?*")
            page.click("#dropped li button")
            page.wait_for_selector("#dropped li:text('in the inbox')")
            told = page.evaluate("() => window.told")
            assert any(re.fullmatch(r"image.jpg: sending \d+ %", text or "") for text in told)


def blank() -> bytes:
    return png(" ")


def drop(page: Page, name: str, data: bytes) -> None:
    page.evaluate(
        """([name, bytes]) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(bytes)], name));
          for (const kind of ['dragenter', 'dragover', 'drop']) {
            document.body.dispatchEvent(
              new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
          }
        }""",
        [name, list(data)],
    )


def test_phone_has_everything_within_reach(browser: Browser, site: Site, server: Server) -> None:
    for page in opened(browser, server, viewport=PHONE, has_touch=True, is_mobile=True):
        shows(page, "digit1.png")
        width = page.evaluate("() => document.documentElement.scrollWidth")
        assert width <= PHONE["width"]
        for label in ("0", "5", "none"):
            box = page.locator(f"[data-label='{label}']").bounding_box()
            assert box is not None
            assert box["height"] >= 44
            assert box["y"] + box["height"] <= PHONE["height"]
        page.tap("[data-label='7']")
        shows(page, "digit2.png")
        assert [label for _, label, _ in site.answers()] == ["7"]
        for path in ("/gallery", "/live"):
            page.goto(server.base + path)
            assert page.evaluate("() => document.documentElement.scrollWidth") <= PHONE["width"]


def test_everything_works_without_a_mouse(site: Site, server: Server, page: Page) -> None:
    shows(page, "digit1.png")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement.dataset.label") == "3":
            break
    outline = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Space")
    shows(page, "digit2.png")
    assert [label for _, label, _ in site.answers()] == ["3"]
    page.keyboard.press("?")
    page.wait_for_selector("#help[open]")
    page.keyboard.press("5")  # not an answer while the keys are shown
    page.keyboard.press("Escape")
    page.goto(f"{server.base}/gallery")
    page.focus(".card a")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/row/"))
    assert len(site.answers()) == 1


def test_open_page_goes_on_after_a_restart(site: Site, server: Server, page: Page) -> None:
    shows(page, "digit1.png")
    assert server.stop() == 0
    page.wait_for_selector("#offline:not([hidden])")
    with Server(site, port=server.port):
        page.wait_for_selector("#offline", state="hidden")
        page.keyboard.press("1")
        shows(page, "digit2.png")
