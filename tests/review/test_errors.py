"""Errors are pages for a person, and JSON for a program."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from support.factories import SURE
from support.site import Server, Site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

BUGGY = [sys.executable, "-m", "support.buggy_live"]
AS_PAGE = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    site = Site(tmp_path_factory.mktemp("site"))
    site.configure(metrics_file="digitd.prom")
    site.add("digit1.png", SURE)
    return site


@pytest.fixture(scope="module")
def server(site: Site) -> Iterator[Server]:
    with Server(site, program=BUGGY) as running:
        running.wait_for_rows(1)
        yield running


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    yield page
    page.close()


@pytest.mark.parametrize(
    ("path", "body", "status", "heading"),
    [
        ("/nothing", None, 404, "Nothing is here"),
        ("/row/x", None, 404, "Nothing is here"),
        ("/static/nothing.js", None, 404, "Nothing is here"),
        ("/gallery", b"", 405, "This is not allowed"),
        ("/api/answers", b"x" * 5000, 415, "This cannot be answered"),
        ("/metrics", None, 503, "This is not possible now"),
        ("/live", None, 500, "Something went wrong"),
    ],
)
def test_error_is_a_page_or_json(
    server: Server, path: str, body: bytes | None, status: int, heading: str
) -> None:
    page = server.request(path, body, headers=AS_PAGE)
    assert (page.status, page.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert f"<h1>{heading}</h1>" in page.text
    assert ">First page</a>" in page.text
    plain = server.request(path, body)
    assert plain.status == status
    assert set(plain.json) == {"error"}
    assert "secret" not in page.text + plain.text


def test_too_long_request_is_a_page_or_json(server: Server) -> None:
    sent = {"content_type": "application/json"}
    page = server.request("/api/answers", b"x" * 5000, headers=sent | AS_PAGE)
    assert (page.status, "<h1>This is too large</h1>" in page.text) == (413, True)
    assert server.request("/api/answers", b"x" * 5000, headers=sent).json["error"]


def test_bug_is_logged_and_the_page_can_be_tried_again(server: Server, page: Page) -> None:
    page.goto(server.url)
    page.goto(f"{server.base}/live?x=1")
    assert "the log of `digitd review` has the details" in page.inner_text("main")
    assert "a secret that no page may show" in server.log
    page.click("text=Try again")
    assert page.url == f"{server.base}/live?x=1"
    page.click("text=First page")
    page.wait_for_selector("#state")


def test_stranger_gets_a_page_that_says_what_to_do(server: Server, browser: Browser) -> None:
    page = browser.new_page()
    reply = page.goto(f"{server.base}/gallery")
    assert reply is not None
    assert reply.status == 401
    assert page.inner_text("h1") == "You are not logged in"
    assert "`digitd review` printed" in page.inner_text("main")
    assert page.evaluate("() => document.styleSheets[0].cssRules.length") > 10
    reply = page.goto(f"{server.base}/?token=wrong")
    assert reply is not None
    assert reply.status == 403
    assert page.inner_text("h1") == "This is not allowed"
    page.close()
