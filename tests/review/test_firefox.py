"""The main way through the page in Firefox: from the link to the download."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import pytest

from daemon.layout import REVIEW_KEY
from daemon.records import Status, Verdict
from support import programs
from support.daemon import DIGITD, SAMPLES, Daemon
from support.factories import doubtful
from support.firefox import Firefox, Tab
from support.site import PASSWORD, Server, Site, secure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ANSWERS = ("0", "Enter", "2", "n", "4", "m", "6", "7", "8")  # the tenth one is clicked
LABELS = ["0", "1", "2", "none", "4", "several", "6", "7", "8", "5"]
WRONG = "9 as 4.png"
SURE_ROWS = 12


@pytest.fixture(scope="module")
def firefox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firefox]:
    program = programs.require("firefox-esr")
    with Firefox(program, tmp_path_factory.mktemp("firefox")) as running:
        yield running


def test_ten_are_answered_the_rest_looked_through_and_all_downloaded(
    firefox: Firefox, site: Site
) -> None:
    site.configure(workers=1)
    site.add_all([(f"doubt{n}.png", doubtful(n, 0.1 + n / 20)) for n in range(10)])
    names = [WRONG, *(f"4 {place}.png" for place in range(1, SURE_ROWS))]
    site.add_all([(name, Verdict(Status.OK, "4", 0.99, (0.09,) * 11)) for name in names])
    with Daemon(site, DIGITD), Server(site) as server, firefox.open() as tab:
        server.wait_for_rows(10 + SURE_ROWS)
        tab.goto(server.url)
        answer_ten(tab)
        assert site.answers() == [
            (site.row(f"doubt{n}.png")["id"], label, "queue") for n, label in enumerate(LABELS)
        ]
        look_through(tab)
        tab.choose("#files", SAMPLES / "digit3.png")
        tab.shows("#dropped li.ok", "digit3.png: 3 ")
        assert site.row("digit3.png")["digit"] == "3"
        tab.goto(server.base)
        tab.click("header a[href$='results.csv']")
        file = firefox.downloaded()
    with file.open(encoding="utf-8", newline="") as lines:
        final = {row["file"]: (row["answer"], row["answered_by"]) for row in csv.DictReader(lines)}
    assert final.pop("digit3.png") == ("3", "model")
    assert final.pop(WRONG) == ("9", "person")
    assert [final.pop(f"doubt{n}.png")[0] for n in range(10)] == LABELS
    assert set(final.values()) == {("4", "person")}


def answer_ten(tab: Tab) -> None:
    tab.wait_for("() => document.querySelector('#picture img').naturalWidth > 0")
    for number, key in enumerate(ANSWERS):
        tab.shows("#file", f"doubt{number}.png")
        tab.press(key)
    tab.shows("#file", "doubt9.png")
    tab.click("[data-label='5']")
    tab.shows("#why", "Look through all of them")


def look_through(tab: Tab) -> None:
    tab.press("l")
    tab.shows("#look-store", f"Store {SURE_ROWS} answers")
    tab.click(f".tile[aria-label='4, {WRONG}']")
    tab.press("9")
    tab.shows(".tile.changed", "9")
    tab.press("Enter")
    tab.shows("#look-empty", "All sure answers have been looked at.")


def test_old_link_says_where_the_new_one_is(firefox: Firefox, site: Site) -> None:
    site.add("digit1.png", doubtful(1, 0.3))
    with Server(site) as server, firefox.open(lost=f"{server.base}/events") as tab:
        server.wait_for_rows(1)
        old = server.url
        tab.goto(old)
        tab.shows("#file", "digit1.png")
        assert tab.evaluate("() => document.cookie") == ""  # no script may read it
        assert "token" not in tab.evaluate("() => location.href")
        server.stop()
        (site.outbox / REVIEW_KEY).unlink()
        with Server(site, port=server.port) as restarted:
            tab.goto(old)
            tab.shows("main", "open the URL that `digitd review` printed")
            tab.goto(restarted.base)
            tab.shows("h1", "You are not logged in")
            assert "digit1.png" not in tab.evaluate("() => document.body.textContent")
            tab.goto(restarted.url)
            tab.shows("#file", "digit1.png")


def test_password_logs_in_and_a_wrong_one_does_not(
    firefox: Firefox, site: Site, tmp_path: Path
) -> None:
    row = site.add("digit1.png", doubtful(1, 0.3))
    with Server(site, *secure(tmp_path)) as server, firefox.open() as tab:
        tab.goto(f"{server.url}row/{row}")
        for typed, element, text in (
            ("wrong", "[role=alert]", "This is not the password."),
            (PASSWORD, "#file", "digit1.png"),
        ):
            tab.click("#password")
            tab.press(*typed, "Enter")
            tab.shows(element, text)
        assert tab.evaluate("() => location.pathname") == f"/row/{row}"
        tab.press("7")
        tab.shows("#answer", "Answered: 7")
        assert site.answers() == [(row, "7", "gallery")]
