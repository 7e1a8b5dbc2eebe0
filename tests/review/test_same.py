"""Page and `digitd results` agree about rows of the same bytes; failed files wait in the queue."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from daemon.layout import FAILED, LABELS
from daemon.outbox import labels
from daemon.outbox.labels import Answer
from daemon.outbox.results import PERSON, final_rows
from support.factories import BLANK, BROKEN, SURE, doubtful
from support.site import Server, Site, png
from support.waiting import until
from tests.review.test_browser import opened, shows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser


@pytest.fixture
def site(site: Site) -> Site:
    """Return a site with three rows of the same bytes and one of others."""
    for name in ("first.png", "second.png", "third.png"):
        site.add(name, doubtful(7, 0.5), png("7"))
    site.add("other.png", BLANK)
    return site


@pytest.fixture
def server(site: Site) -> Iterator[Server]:
    with Server(site) as running:
        running.wait_for_rows(4)
        yield running


def ids_of(site: Site) -> dict[str, str]:
    return {row["file"]: row["id"] for row in site.rows()}


def results(site: Site) -> dict[str, str]:
    finals = final_rows(site.outbox)
    return {one.cells[1]: one.answer if one.answered_by == PERSON else "" for one in finals}


def shown(server: Server, site: Site) -> dict[str, str | None]:
    """Return each row's answer as the page of one row has it; ``None`` if it is not indexed."""
    return {
        name: server.request(f"/api/rows/{job_id}").json.get("label")
        for name, job_id in ids_of(site).items()
    }


def queue(server: Server) -> list[str]:
    return [item["file"] for item in server.request("/api/queue").json.get("items", [])]


def test_same_bytes_are_asked_about_once(site: Site, server: Server) -> None:
    rows = ids_of(site)
    assert server.answer(rows["second.png"], "4", by="Ana").status == 200
    assert queue(server) == ["other.png"]  # at once, before it is indexed
    item = server.request(f"/api/rows/{rows['first.png']}").json
    assert (item["label"], item["by"]) == ("4", "Ana")
    assert item["same_as"] == {"id": rows["second.png"], "file": "second.png"}
    assert site.answers() == [(rows["second.png"], "4", "queue")]
    expected = {"first.png": "4", "second.png": "4", "third.png": "4", "other.png": ""}
    assert shown(server, site) == results(site) == expected
    until(lambda: server.request("/api/queue").json["state"]["answered"] == 3, "three answered")
    site.add("later.png", SURE, png("7"))
    until(lambda: shown(server, site) == expected | {"later.png": "4"}, "the answer of a new row")
    until(lambda: server.request("/api/queue").json["state"]["answered"] == 4, "four answered")


def test_undo_of_a_shared_answer_undoes_it_for_all(site: Site, server: Server) -> None:
    rows = ids_of(site)
    server.answer(rows["first.png"], "4")
    assert server.answer(rows["third.png"], "undo").status == 409  # the person saw no answer
    reply = server.answer(rows["third.png"], "undo", seen="4")
    assert (reply.status, reply.json["label"], reply.json["same_as"]) == (200, "", None)
    assert site.answers()[-1] == (rows["first.png"], "undo", "queue")
    assert not any(results(site).values())
    until(lambda: len(queue(server)) == 4, "all in the queue again")
    assert shown(server, site) == results(site)


@pytest.mark.parametrize("seen", [{"seen": "4"}, {}], ids=["by a person", "by a program"])
def test_row_with_a_shared_answer_can_be_answered_by_whoever_has_seen_it(
    site: Site, server: Server, seen: dict[str, str]
) -> None:
    rows = ids_of(site)
    server.answer(rows["first.png"], "4")
    refused = server.answer(rows["second.png"], "9", seen="")
    assert (refused.status, refused.json["item"]["label"]) == (409, "4")
    assert refused.json["item"]["same_as"]["file"] == "first.png"
    reply = server.answer(rows["second.png"], "9", **seen)
    assert (reply.status, reply.json["label"], reply.json["same_as"]) == (200, "9", None)
    expected = {"first.png": "4", "second.png": "9", "third.png": "9", "other.png": ""}
    assert shown(server, site) == results(site) == expected
    reply = server.answer(rows["second.png"], "undo", seen="9")
    assert (reply.json["label"], reply.json["same_as"]["file"]) == ("4", "first.png")
    assert (
        shown(server, site)
        == results(site)
        == expected | dict.fromkeys(("second.png", "third.png"), "4")
    )
    assert server.answer(rows["third.png"], "5", seen="9").status == 409


def test_page_agrees_with_results_after_any_answers(site: Site, server: Server) -> None:
    chance = random.Random(5)
    rows = ids_of(site)
    shas = {row["file"]: row["sha256"] for row in site.rows()}
    for step in range(40):
        name = chance.choice(list(rows))
        label = chance.choice(["1", "2", "undo"])
        if step % 2:
            given = Answer(rows[name], shas[name], label, "Ana", "now", "m", "", "", "import")
            labels.append(site.outbox, given)
        else:
            seen = server.request(f"/api/rows/{rows[name]}").json["label"]
            assert server.answer(rows[name], label, seen=seen).status == 200
        assert shown(server, site) == results(site), step
    (site.outbox / LABELS).rename(site.outbox / f"{LABELS}.1")
    until(lambda: shown(server, site) == dict.fromkeys(rows, ""), "no answers")
    (site.outbox / f"{LABELS}.1").rename(site.outbox / LABELS)
    until(lambda: shown(server, site) == results(site), "the answers again")
    gallery = sorted(name for name, label in results(site).items() if label)

    def answered() -> list[str]:
        page = server.request("/gallery?answered=yes").text
        return sorted(name for name in rows if f">{name}<" in page)

    until(lambda: answered() == gallery, f"{gallery} answered, not {answered()}")


def test_files_that_failed_wait_at_the_end_of_the_queue(site: Site, server: Server) -> None:
    for number in (1, 2, 3):
        site.add(f"broken{number}.png", BROKEN, b"text %d" % number)
    broken = [f"broken{number}.png" for number in (1, 2, 3)]
    until(lambda: queue(server)[4:] == broken, "three errors at the end of the queue")
    assert server.request("/api/queue").json["state"]["to_retry"] == 3
    rows = ids_of(site)
    retried = server.post("/api/retries", {"id": rows["broken1.png"]})
    assert retried.status == 200, retried.text
    assert queue(server)[4:] == broken[1:]
    (site.outbox / FAILED / "broken2.png").unlink()
    assert queue(server)[4:] == broken[2:]
    assert server.answer(rows["broken3.png"], "7").status == 200
    assert queue(server)[4:] == []
    until(lambda: server.request("/api/queue").json["state"]["to_retry"] == 0, "none to retry")
    assert server.answer(rows["broken3.png"], "undo", seen="7").status == 200
    until(lambda: queue(server)[4:] == ["broken3.png"], "the error after undo")


def test_file_that_failed_again_waits_once(site: Site, server: Server) -> None:
    old = site.add("broken.png", BROKEN, b"text")
    until(lambda: queue(server)[4:] == ["broken.png"], "the error")
    (site.outbox / FAILED / "broken.png").unlink()
    new = site.add("broken.png", BROKEN, b"text")
    until(
        lambda: [item["id"] for item in server.request("/api/queue").json["items"]][4:] == [new],
        "the newer row only",
    )
    assert not server.request(f"/api/rows/{old}").json["can_retry"]


def test_row_of_a_file_that_was_put_back_gives_way_to_the_new_one(
    browser: Browser, site: Site, server: Server
) -> None:
    old = site.add("broken.png", BROKEN, b"text")
    server.wait_for_rows(5)
    for page in opened(browser, server):
        page.goto(f"{server.base}/row/{old}?status=error")
        shows(page, "broken.png")
        page.click("#retry button")
        page.wait_for_selector("#stored:has-text('What comes of it is shown here.')")
        site.add("another.png", BLANK)
        new = site.add("broken.png", doubtful(3, 0.5))
        page.wait_for_url(f"**/row/{new}?status=error")
        page.wait_for_selector("#guess:has-text('Perhaps 3')")


def test_queue_in_a_browser_asks_once_and_offers_to_retry(
    browser: Browser, site: Site, server: Server
) -> None:
    site.add("broken1.png", BROKEN, b"text 1")
    site.add("broken2.png", BROKEN, b"text 2")
    rows = ids_of(site)
    server.wait_for_rows(len(rows))
    for page in opened(browser, server):
        shows(page, "other.png")
        page.keyboard.press("n")
        shows(page, "first.png")
        page.keyboard.press("4")
        shows(page, "broken1.png")  # the same bytes are not asked about again
        page.keyboard.press("u")
        shows(page, "first.png")
        page.keyboard.press("ArrowRight")
        shows(page, "second.png")
        assert page.is_hidden("#answer")
        page.keyboard.press("5")
        shows(page, "broken1.png")
        page.wait_for_selector("[data-count=unanswered]:text-is('2')")  # as `results` counts
        (site.outbox / FAILED / "broken1.png").unlink()
        page.wait_for_selector("#stored:has-text('broken1.png has left failed/')")
        page.keyboard.press("ArrowRight")
        shows(page, "broken2.png")
        page.click("#retry button")
        page.wait_for_selector("#done:not([hidden])")
        page.wait_for_selector("[data-count=unanswered]:text-is('0')")
        assert [path.name for path in site.inbox.glob("[!.]*")] == ["broken2.png"]
        assert results(site)["third.png"] == "5"
        page.goto(f"{server.base}/row/{rows['third.png']}")
        shows(page, "third.png")
        assert page.inner_text("#answer").startswith("Same file as second.png, answered 5, by ")
        page.keyboard.press("u")
        page.wait_for_selector("#answer", state="hidden")
        assert not any(label for name, label in results(site).items() if name != "other.png")
