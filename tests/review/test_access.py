"""A real browser comes in: by the printed URL, by a link on another page, with a password."""

from __future__ import annotations

import http.server
import re
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from support.factories import BROKEN, doubtful
from support.site import PASSWORD, Server, Site, secure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

ODD_PASSWORD = "pä ß&=+%41"  # noqa: S105 - in a file that an editor on Windows saved
STRANGER = "Open the URL with the token that `digitd review` printed."


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    site = Site(tmp_path_factory.mktemp("access"))
    site.add("digit1.png", doubtful(1, 0.5))
    return site


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with browser.new_context(ignore_https_errors=True) as context:
        yield context.new_page()


@pytest.fixture(scope="module")
def mail() -> Iterator[str]:
    """Yield the URL of a page of another site, with a link."""

    class Mail(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>mail</title><a href=x>the review page</a>")

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mail) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        # For a browser, localhost and 127.0.0.1 are two sites.
        yield f"http://localhost:{running.server_port}/"
        running.shutdown()


def click(page: Page, mail: str, url: str) -> None:
    """Click a link on a page of another site."""
    page.goto(mail)
    page.evaluate("url => { document.querySelector('a').href = url; }", url)
    page.click("a")


def shows_row(page: Page) -> None:
    page.wait_for_function(
        "() => document.querySelector('#file')?.textContent.startsWith('digit1.png')"
    )


def log_in(page: Page, password: str = PASSWORD) -> None:
    page.fill("[name=password]", password)
    page.click("button")


def test_clicked_link_with_the_token_opens_the_page(page: Page, mail: str, server: Server) -> None:
    click(page, mail, server.url)
    shows_row(page)
    assert page.url == f"{server.base}/"
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    page.go_back()
    assert page.url == mail  # the URL with the token is not in the history


def test_clicked_link_to_a_row_opens_it_for_who_is_logged_in(
    page: Page, mail: str, server: Server, row: str
) -> None:
    page.goto(server.url)
    url = f"{server.base}/row/{row}?status=unsure&name=a%26b%22%3E"
    click(page, mail, url)
    page.wait_for_url(url)
    shows_row(page)
    # In a tab that another page opens, too.
    page.goto(mail)
    with page.context.expect_page() as opened:
        page.evaluate("url => { window.open(url); }", f"{server.base}/gallery")
    opened.value.wait_for_selector(".card")


def test_clicked_link_shows_nothing_to_a_stranger(
    page: Page, mail: str, server: Server, row: str
) -> None:
    for url in (f"{server.base}/row/{row}", f"{server.base}/", f"{server.base}/live"):
        click(page, mail, url)
        page.wait_for_selector(f"text={STRANGER}")
        assert "digit1.png" not in page.content()
    click(page, mail, f"{server.base}/?token=wrong")
    page.wait_for_selector("text=This token is not valid: open the URL")
    assert page.context.cookies() == []


def test_clicked_link_opens_pages_only(page: Page, mail: str, server: Server) -> None:
    page.goto(server.url)
    for path in ("/results.csv", "/api/queue", "/events", "/image/x/large"):
        click(page, mail, f"{server.base}{path}")
        page.wait_for_selector(f"text={STRANGER}")


def test_frame_and_form_of_another_site_get_nothing(
    page: Page, mail: str, server: Server, site: Site, row: str
) -> None:
    page.goto(server.url)
    shows_row(page)
    page.goto(mail)
    page.evaluate(
        """url => {
          const frame = document.body.appendChild(document.createElement('iframe'));
          frame.src = url;
          const form = document.body.appendChild(document.createElement('form'));
          form.action = `${url}/api/answers`;
          form.method = 'post';
          form.submit();
        }""",
        server.base,
    )
    page.wait_for_selector("text=The request comes from another page.")
    assert site.answers() == []
    assert row not in page.content()


def test_cookie_of_another_path_or_port_does_not_log_out(
    page: Page, server: Server, row: str
) -> None:
    page.goto(server.url)
    page.context.add_cookies(
        [
            {"name": name, "value": "x" * 43, "domain": "127.0.0.1", "path": path}
            for name, path in (
                (f"digitd-{server.port}", f"/row/{row}"),
                (f"digitd-{server.port}", "/row"),
                (f"digitd-{server.port + 1}", "/"),
            )
        ]
    )
    page.goto(f"{server.base}/row/{row}")
    shows_row(page)


def test_browser_gets_errors_as_pages_and_programs_as_json(page: Page, server: Server) -> None:
    page.goto(server.url)
    for path in ("/nothing", "/row/x", "/metrics", "/static/nothing"):
        response = page.goto(f"{server.base}{path}")
        assert response is not None
        assert response.status == 404
        page.click("text=First page")
        shows_row(page)
        assert set(server.request(path).json) == {"error"}


@contextmanager
def secured(folder: Path, *arguments: str, password: bytes = b"") -> Iterator[Server]:
    """Yield a server with a certificate and a password file, which has other content if given."""
    site = Site(folder)
    site.add("digit1.png", doubtful(1, 0.5))
    options = secure(folder)
    if password:
        (folder / "password").write_bytes(password)
    with Server(site, *options, *arguments) as running:
        yield running


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "::1", socket.gethostname()],  # noqa: S104
)
def test_printed_url_can_be_opened_and_the_password_logs_in(
    page: Page, tmp_path: Path, host: str
) -> None:
    try:
        socket.create_server(("::1" if ":" in host else host, 0), family=_family(host)).close()
    except OSError as error:
        pytest.skip(f"{host} cannot be used here: {error}")
    with secured(tmp_path, "--host", host) as server:
        assert not re.search(r"//(0\.0\.0\.0|\[::\]):", server.url)
        page.goto(server.url)
        assert page.url.endswith("/login")
        log_in(page)
        shows_row(page)
        (cookie,) = page.context.cookies()
        assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (True, True, "Strict")


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def test_login_leads_to_the_page_that_was_asked_for(page: Page, mail: str, tmp_path: Path) -> None:
    with secured(tmp_path) as server:
        url = f"{server.url}row/{server.box.rows()[0]['id']}?status=unsure"
        click(page, mail, url)
        page.wait_for_selector("[name=password]")
        for wrong in ("wrong", ""):
            page.evaluate("() => { document.querySelector('[name=password]').required = false; }")
            log_in(page, wrong)
            page.wait_for_selector("[role=alert]:text-is('This is not the password.')")
            assert page.context.cookies() == []
        log_in(page)
        page.wait_for_url(url)
        shows_row(page)
        page.keyboard.press("7")  # what a script sends is accepted, too
        page.wait_for_function("() => !document.querySelector('#answer').hidden")
        other = page.context.new_page()
        click(other, mail, url)
        shows_row(other)
        # Who is logged out meanwhile is asked again, and comes back. No page of the server is open
        # then: one whose stream does not stand yet would load itself again at the same time.
        page.close()
        other.goto(mail)
        other.context.clear_cookies()
        click(other, mail, url)
        log_in(other)
        other.wait_for_url(url)
        shows_row(other)
        (tmp_path / "password").write_text("another one")  # an open page notices it
        other.wait_for_selector("[name=password]")
        log_in(other, "another one")
        other.wait_for_url(url)


@pytest.fixture(scope="module")
def login_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = f"\ufeff  {ODD_PASSWORD} \r\nnot this\n".encode()
    with secured(tmp_path_factory.mktemp("login"), password=data) as running:
        yield running


def test_login_leads_to_no_other_site(page: Page, login_server: Server) -> None:
    page.goto(f"{login_server.url}login?next=//evil.example/")
    log_in(page, ODD_PASSWORD)
    shows_row(page)
    assert page.url == login_server.url


def test_login_form_of_another_site_is_refused(page: Page, mail: str, login_server: Server) -> None:
    page.goto(mail)
    page.evaluate(
        """([url, password]) => {
          const form = document.body.appendChild(document.createElement('form'));
          Object.assign(form, { action: `${url}login`, method: 'post' });
          const field = form.appendChild(document.createElement('input'));
          Object.assign(field, { name: 'password', value: password });
          form.submit();
        }""",
        [login_server.url, ODD_PASSWORD],
    )
    page.wait_for_selector("text=The request comes from another page.")
    assert page.context.cookies() == []


def test_live_page_shows_local_times_and_retries_what_is_there(
    browser: Browser, tmp_path: Path
) -> None:
    site = Site(tmp_path)
    rows = [site.add(f"digit{number}.png", BROKEN, b"hi") for number in (7, 8)]
    time = site.row("digit7.png")["processed_at"]
    with Server(site) as server, browser.new_context(timezone_id="Asia/Kathmandu") as context:
        server.wait_for_rows(len(site.rows()))
        page = context.new_page()
        page.goto(server.url)
        page.click("text=Live")
        page.wait_for_selector("td time:not(:text('UTC'))")
        shown = (
            "time => new Date(time).toLocaleString([], {dateStyle: 'medium', timeStyle: 'short'})"
        )
        expected = page.evaluate(shown, time)
        page.wait_for_selector(f"time[datetime='{time}']:text-is('{expected}')")
        assert page.locator("[data-retry]").count() == len(rows)
        page.click(f"[data-retry='{rows[0]}']")
        page.wait_for_selector("[role=status]:text('put back into the inbox')")
        page.reload()
        assert page.locator("[data-retry]").count() == 1
        assert page.locator("td time:not(:text('UTC'))").count() == len(rows)
        (site.inbox / "digit7.png").unlink()
        site.add("digit7.png", BROKEN, b"hi")  # it fails again
        page.wait_for_function("() => document.querySelectorAll('td time').length == 3")
        assert page.locator("[data-retry]").count() == len(rows)
        assert page.locator(f"[data-retry='{rows[0]}']").count() == 0
