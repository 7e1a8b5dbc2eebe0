"""The page shows the verdict of the newest reread, and notices rereads while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from daemon.layout import TABLE
from daemon.outbox import labels
from daemon.records import Status, Verdict
from support.factories import BLANK, BROKEN, SURE, doubtful
from support.site import Server, Site
from support.waiting import until
from tests.review.test_browser import opened, shows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

A, B = "a" * 12, "b" * 12
ONE = Verdict(Status.OK, "1", 0.97, (0.003,) + (0.97,) + (0.003,) * 9)


@pytest.fixture
def site(site: Site) -> Site:
    """Return a site with two sure files, a doubtful, a blank and an unreadable one."""
    for name, verdict in (
        ("sure.png", SURE),
        ("other.png", SURE),
        ("doubtful.png", doubtful(4, 0.4)),
        ("blank.png", BLANK),
        ("text.png", BROKEN),
    ):
        site.add(name, verdict)
    return site


@pytest.fixture
def server(site: Site) -> Iterator[Server]:
    with Server(site) as running:
        running.wait_for_rows(5)
        yield running


def queue(server: Server) -> list[tuple[str, str]]:
    """Return name and text of each unsure file in the queue."""
    items = server.request("/api/queue").json.get("items", [])
    return [(one["file"], one["digit"]) for one in items if one["status"] == "unsure"]


def wait_for_queue(server: Server, *expected: tuple[str, str]) -> None:
    until(lambda: queue(server) == list(expected), lambda: f"{expected}, it is {queue(server)}")


def item(server: Server, site: Site, name: str) -> dict[str, Any]:
    found: dict[str, Any] = server.request(f"/api/rows/{site.row(name)['id']}").json
    return found


def counts(server: Server) -> tuple[int, ...]:
    state = server.request("/api/queue").json["state"]
    return tuple(state[name] for name in ("ok", "unsure", "error", "to_check"))


def test_reread_is_noticed_while_the_page_runs(site: Site, server: Server) -> None:
    assert counts(server) == (2, 2, 1, 2)
    site.reread(A, {"sure.png": doubtful(2, 0.3), "blank.png": ONE, "text.png": ONE})
    wait_for_queue(server, ("sure.png", "2"), ("doubtful.png", "4"))
    assert counts(server) == (3, 2, 0, 2)
    changed = item(server, site, "sure.png")
    assert (changed["status"], changed["digit"], changed["reason"]) == (
        *("unsure", "2"),
        "low confidence",
    )
    assert changed["confidence"] == 0.3
    assert changed["has_picture"]
    assert item(server, site, "blank.png")["digit"] == "1"
    assert not item(server, site, "blank.png")["has_picture"]  # it shows no digit
    assert not item(server, site, "text.png")["can_retry"]
    gallery = server.request("/gallery?status=ok&value=1").text
    assert ("blank.png" in gallery, "text.png" in gallery, "sure.png" in gallery) == (
        *(True, True),
        False,
    )
    assert "other.png" in server.request("/api/unseen?limit=50").text
    assert "sure.png" not in server.request("/api/unseen?limit=50").text
    # More lines of the same table.
    site.reread(A, {"doubtful.png": ONE})
    wait_for_queue(server, ("sure.png", "2"))


def test_answers_are_about_the_verdict_that_was_shown(site: Site, server: Server) -> None:
    site.reread(A, {"sure.png": doubtful(2, 0.3)})
    wait_for_queue(server, ("blank.png", ""), ("sure.png", "2"), ("doubtful.png", "4"))
    assert server.answer(site.row("sure.png")["id"], "2").status == 200
    (stored,) = labels.read(site.outbox)
    assert (stored.model, stored.digit, stored.confidence) == (A, "2", "0.300000")
    site.reread(B, {"sure.png": ONE, "doubtful.png": ONE})
    wait_for_queue(server, ("blank.png", ""))
    found = item(server, site, "sure.png")
    assert (found["label"], found["digit"], found["status"]) == ("2", "1", "ok")
    assert "sure.png" in server.request("/gallery?value=2").text


def test_reread_that_was_started_last_counts(site: Site, server: Server) -> None:
    site.reread(A, {"doubtful.png": ONE, "blank.png": ONE})
    site.reread(B, {"doubtful.png": doubtful(5, 0.5)})
    wait_for_queue(server, ("doubtful.png", "5"))
    site.reread(A, {})
    wait_for_queue(server)
    assert item(server, site, "doubtful.png")["digit"] == "1"
    assert server.stop() == 0
    with Server(site) as again:  # from the index of before
        again.wait_for_rows(5)
        assert queue(again) == []
        assert item(again, site, "doubtful.png")["digit"] == "1"


def test_table_that_is_moved_away_does_not_count(site: Site, server: Server) -> None:
    table = site.reread(A, {"doubtful.png": ONE, "blank.png": ONE})
    wait_for_queue(server)
    table.rename(site.folder / "elsewhere.csv")
    wait_for_queue(server, ("blank.png", ""), ("doubtful.png", "4"))


def test_rows_that_come_back_have_their_rereads(site: Site) -> None:
    site.reread(A, {"doubtful.png": ONE, "blank.png": doubtful(3, 0.2)})
    whole = site.table.read_text().splitlines(keepends=True)
    aside = site.folder / "aside"
    site.table.write_text(whole[0] + "".join(whole[4:]))  # blank.png and text.png
    with Server(site) as server:
        server.wait_for_rows(2)
        assert queue(server) == [("blank.png", "3")]
        aside.write_text("".join(whole[:4]))
        aside.rename(site.outbox / f"{TABLE}.1")
        server.wait_for_rows(5)
        wait_for_queue(server, ("blank.png", "3"))
        assert item(server, site, "blank.png")["digit"] == "3"


def test_browser_shows_the_new_verdict(site: Site, server: Server, browser: Browser) -> None:
    site.reread(A, {"blank.png": ONE})
    wait_for_queue(server, ("doubtful.png", "4"))
    for page in opened(browser, server):
        shows(page, "doubtful.png")
        assert "Perhaps 4 40.0%" in page.inner_text("#guess")
        site.reread(A, {"doubtful.png": ONE, "blank.png": ONE, "sure.png": doubtful(2, 0.3)})
        wait_for_queue(server, ("sure.png", "2"))
        page.reload()
        shows(page, "sure.png")
        assert "Perhaps 2 30.0%" in page.inner_text("#guess")
        page.keyboard.press("Enter")
        site.wait_for_answers([(site.row("sure.png")["id"], "2", "queue")])
        page.goto(f"{server.base}/row/{site.row('doubtful.png')['id']}")
        page.wait_for_function("document.querySelector('#guess')?.textContent.includes('97.0%')")
        page.goto(f"{server.base}/gallery?status=ok&value=1")
        assert page.locator("text=doubtful.png").count() == 1
