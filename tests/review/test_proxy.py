"""The review page behind nginx and Caddy, configured as docs/reverse-proxy.md says."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from daemon.layout import REVIEW_KEY
from daemon.review.address import OWN_FOLDERS, Address, PublicUrl
from daemon.review.credentials import session_of
from support import programs
from support.daemon import ROOT, digitd
from support.factories import SURE, doubtful
from support.site import PASSWORD, Server, Site, png, secure
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page, Response

DOCS = (ROOT / "docs" / "reverse-proxy.md").read_text(encoding="utf-8")
# Browsers know that every name below localhost is this machine. For digitd it is any name.
NAME = "digits.localhost"
PUBLIC = "https://digits.example.org/review"
FILE = Path("x")


def free_port() -> int:
    """Return a port for a program that cannot choose one itself."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def documented(proxy: str, folder: Path, port: int, digitd_port: int) -> str:
    """Return the documented configuration with other ports, names and files."""
    text = f"\n{DOCS.partition(f'```{proxy}')[2].partition('```')[0]}"
    for old, new in (
        ("listen 443", f"listen 127.0.0.1:{port}"),
        ("\ndigits.example.org {", f"\nhttps://{NAME}:{port} {{"),
        ("digits.example.org", NAME),
        ("127.0.0.1:8383", f"127.0.0.1:{digitd_port}"),
        ("/etc/ssl/digits.pem", f"{folder}/cert"),
        ("/etc/ssl/digits.key", f"{folder}/key"),
    ):
        text = text.replace(old, new)
    return text


@contextmanager
def nginx(folder: Path, port: int, digitd_port: int) -> Iterator[None]:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{\naccess_log {folder}/access.log;\ngzip on; gzip_types *;\n"
        f"{temporary}{documented('nginx', folder, port, digitd_port)}\n}}\n"
    )
    command = [programs.require("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with running([*command, "-e", str(folder / "error.log")], folder, port):
        yield


@contextmanager
def caddy(folder: Path, port: int, digitd_port: int) -> Iterator[None]:
    text = documented("caddy", folder, port, digitd_port)
    text = text.replace("{\n", f"{{\nencode gzip\nlog {{\noutput file {folder}/access.log\n}}\n", 1)
    options = "admin off\nauto_https disable_redirects\nskip_install_trust\n"
    (folder / "Caddyfile").write_text(f"{{\n{options}}}\n{text}")
    command = [programs.require("caddy"), "run", "--config", str(folder / "Caddyfile")]
    with running([*command, "--adapter", "caddyfile"], folder, port):
        yield


@contextmanager
def running(command: list[str], folder: Path, port: int) -> Iterator[None]:
    """Run a proxy until the end of the block."""
    homes = dict.fromkeys(("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"), str(folder))
    with (folder / "proxy.log").open("wb") as log:
        process = subprocess.Popen(command, env=os.environ | homes, stdout=log, stderr=log)
    try:
        until(lambda: _listens(port) or process.poll() is not None, "a proxy")
        assert process.poll() is None, (folder / "proxy.log").read_text()
        yield
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("proxy", [nginx, caddy])
def test_page_works_behind_a_proxy_below_a_path(
    browser: Browser, site: Site, proxy: object
) -> None:
    rows = site.add_all([(f"digit{n}.png", doubtful(n, n / 20)) for n in range(1, 9)])
    site.add_all([(f"scan{n}.png", SURE) for n in range(60)], with_sample=False)
    password = secure(site.folder)[-1]
    public, bound = free_port(), free_port()
    url = f"https://{NAME}:{public}/review"
    with (
        Server(site, "--public-url", url, password, port=bound) as server,
        proxy(site.folder, public, bound),  # type: ignore[operator]
        browser.new_context(ignore_https_errors=True, accept_downloads=True) as context,
    ):
        assert server.url == f"{url}/"
        page = context.new_page()
        failed = watch(page, url)
        page.goto(f"{url}/row/{rows[1]}?status=unsure")
        page.fill("[name=password]", "wrong")
        page.click("button")
        page.wait_for_selector("text=This is not the password.")
        assert failed.pop().endswith(" 403")
        page.fill("[name=password]", PASSWORD)
        page.click("button")
        page.wait_for_url(f"{url}/row/{rows[1]}?status=unsure")
        use_every_page(page, site, url, rows)
        assert failed == []
        (cookie,) = context.cookies()
        assert (cookie["path"], cookie["secure"], cookie["sameSite"]) == ("/review", True, "Strict")
        log = (site.folder / "access.log").read_text()
        assert "/review/row/" in log
        # Caddy's log leaves out values of cookies.
        assert (site.outbox / REVIEW_KEY).read_text().strip() not in log
        assert PASSWORD.replace(" ", "+") not in log


def watch(page: Page, url: str) -> list[str]:
    """Return a list that gets the URL of each failed request, and of each to another place."""
    failed: list[str] = []

    def check(response: Response) -> None:
        is_of_browser = response.url.endswith("/favicon.ico")
        if not is_of_browser and (response.status >= 400 or not response.url.startswith(url)):
            failed.append(f"{response.url} {response.status}")

    page.on("response", check)
    page.on("pageerror", lambda error: failed.append(str(error)))
    return failed


def use_every_page(page: Page, site: Site, url: str, rows: list[str]) -> None:
    """Answer, undo, browse, download, upload, follow events."""
    page.wait_for_function("() => document.querySelector('#picture img')?.naturalWidth > 0")
    page.wait_for_function("() => document.querySelector('#seen img')?.naturalWidth > 0")
    page.keyboard.press("7")
    page.wait_for_url(f"{url}/row/{rows[0]}?**")  # the next row
    site.wait_for_answers([(rows[1], "7", "gallery")])
    page.keyboard.press("Escape")
    page.wait_for_url(f"{url}/gallery?**")
    page.click("text=All")
    page.click("text=Next page")
    page.wait_for_url(re.compile("after="))
    page.click("text=First page")
    page.click(".card >> nth=0")
    page.wait_for_url(f"{url}/row/**")
    page.click("text=Live")
    page.wait_for_url(f"{url}/live")
    page.wait_for_function("() => document.querySelector('#figures').textContent.includes('60')")
    # An event is not held back.
    added = site.add("digit77.png", doubtful(7, 0.5))
    page.click(f"#arrivals [href='{url}/row/{added}']")
    page.wait_for_url(f"{url}/row/{added}")
    with page.expect_download() as download:
        page.click("header >> text=Results as CSV")
    assert download.value.failure() is None
    assert download.value.url == f"{url}/results.csv"
    data = png() + os.urandom(3_000_000)  # more than nginx allows by default
    page.set_input_files("#files", {"name": "up.png", "mimeType": "image/png", "buffer": data})
    until((site.inbox / "up.png").exists, "the upload")
    assert (site.inbox / "up.png").read_bytes() == data
    page.click("text=Check")
    page.wait_for_url(f"{url}/")
    page.wait_for_function("() => document.querySelector('#file').textContent.startsWith('digit')")
    page.goto(url)  # without the last slash
    page.wait_for_selector("#item:not([hidden])")


# The same by hand.


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    site = Site(tmp_path_factory.mktemp("public"))
    site.add("digit1.png", doubtful(1, 0.5))
    password = secure(site.folder)[-1]
    with Server(site, "--public-url", PUBLIC, password, port=free_port()) as started:
        token = (site.outbox / REVIEW_KEY).read_text().strip()
        started.cookie = f"digitd-{started.port}={session_of(token, PASSWORD)}"
        started.wait_for_rows(1)
        yield started


def test_public_url_is_printed(server: Server) -> None:
    assert server.url == f"{PUBLIC}/"


HOSTS = ["digits.example.org", "DIGITS.example.org:443", "127.0.0.1:8383", "localhost"]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("path", ["/", "/gallery", "/static/style.css", "/api/queue"])
def test_path_is_accepted_with_and_without_the_public_one(
    server: Server, host: str, path: str
) -> None:
    for sent in (path, f"/review{path}"):
        reply = server.request(sent, headers={"host": host})
        assert reply.status == 200
        assert not re.search(r'(?:href|src|action)="/(?!review/)', reply.text)
    assert server.request("/review", headers={"host": host}).status == 200
    assert server.request("/review2/", headers={"host": host}).status == 404
    assert server.request("/review/review/", headers={"host": host}).status == 404


@pytest.mark.parametrize("host", ["evil.example", "digits.example.org.evil.example", "192.0.2.7"])
def test_foreign_host_is_refused(server: Server, host: str) -> None:
    assert server.request("/review/", headers={"host": host}).status == 403
    forwarded = {"host": host, "x-forwarded-host": "digits.example.org"}
    assert server.request("/review/", headers=forwarded).status == 403


@pytest.mark.parametrize("host", HOSTS)
def test_origin_must_be_the_public_one(server: Server, host: str) -> None:
    def ask(origin: str, **more: str) -> int:
        sent = {"host": host, "origin": origin, "content_type": "application/json", **more}
        return server.request("/review/api/answers", b"{}", headers=sent).status

    assert ask("https://digits.example.org", sec_fetch_site="same-origin") == 400  # as it is empty
    assert ask("https://digits.example.org", sec_fetch_site="cross-site") == 403
    forwarded = {"x_forwarded_host": "evil.example", "x_forwarded_proto": "https"}
    for origin in (
        *("http://digits.example.org", "https://digits.example.org:444", "https://evil.example"),
        *(f"http://{host}", f"https://{host}:1", "null", "https://digits.example.org/", ""),
    ):
        assert ask(origin) == 403
        assert ask(origin, **forwarded, forwarded="host=evil.example;proto=https") == 403


@pytest.mark.parametrize("path", ["/review/", "/review/row/d000000000000?a=b", "/gallery"])
def test_redirects_lead_below_the_path_whatever_is_forwarded(server: Server, path: str) -> None:
    reply = server.request(
        path,
        headers={
            "host": "digits.example.org",
            "cookie": None,
            "accept": "text/html",
            "x-forwarded-host": "evil.example",
            "x-forwarded-prefix": "/evil",
            "x-original-url": "/evil",
        },
    )
    assert reply.status == 303
    assert reply.headers["location"].startswith("/review/login")
    assert "evil" not in str(reply.headers) + reply.text


def test_login_sets_a_cookie_for_the_path(server: Server) -> None:
    form = f"password={PASSWORD.replace(' ', '+')}".encode()
    sent = {"cookie": None, "origin": "https://digits.example.org"}
    reply = server.request("/review/login?next=%2Fgallery", form, headers=sent)
    assert (reply.status, reply.headers["location"]) == (303, "/review/gallery")
    parts = {part.strip().lower() for part in reply.headers["set-cookie"].split(";")}
    assert {"path=/review", "secure", "httponly", "samesite=strict"} <= parts


@pytest.mark.parametrize(
    "wanted",
    [
        *("//evil.example/", "https://evil.example/", "\\\\evil.example", "/\\evil.example", "x"),
        *("/row/../../evil", "/%2f%2fevil.example", "/login", "/results.csv", "javascript:x", ""),
        *("/row/x\r\nset-cookie: a=b", "/.evil.example", "@evil.example", "/row//evil.example"),
    ],
)
def test_login_leads_to_no_other_site(server: Server, wanted: str) -> None:
    form = f"password={PASSWORD.replace(' ', '+')}".encode()
    reply = server.request(f"/review/login?next={quote(wanted)}", form, headers={"cookie": None})
    assert (reply.status, reply.headers["location"]) == (303, "/review/")
    page = server.request(f"/review/login?next={quote(wanted)}", headers={"cookie": None})
    assert 'action="/review/login?next=' in page.text


def test_token_in_the_url_is_no_way_around_the_password(server: Server) -> None:
    token = server.cookie.partition("=")[2]
    reply = server.request(f"/review/?token={token}", headers={"cookie": None})
    assert reply.status == 401
    assert reply.headers["set-cookie"] is None


def test_page_in_a_container_needs_no_password(browser: Browser, site: Site) -> None:
    row = site.add("digit1.png", doubtful(1, 0.5))
    port = free_port()
    url = f"http://localhost:{port}/review"
    with (
        Server(site, "--host", "0.0.0.0", "--public-url", url, port=port) as server,  # noqa: S104
        browser.new_context() as context,
    ):
        assert server.url.startswith(f"{url}/?token=")
        page = context.new_page()
        # A link on a page of another site.
        page.goto(f"http://127.0.0.1:{port}/nothing")
        page.evaluate("url => { location.href = url; }", server.url)
        page.wait_for_url(f"{url}/")
        page.wait_for_selector("#item:not([hidden])")
        page.keyboard.press("5")
        site.wait_for_answers([(row, "5", "queue")])
        assert server.request("/", headers={"host": "192.0.2.7"}).status == 403


# The options.


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"public_url": "http://digits.example.org"}, "it must be https"),
        ({"public_url": "http://127.0.0.1.example.org/", "password_file": FILE}, "must be https"),
        ({"public_url": PUBLIC}, "give --password-file too"),
        ({"public_url": PUBLIC, "password_file": FILE, "host": "::"}, "give --tls-cert"),
        ({"public_url": PUBLIC, "password_file": FILE, "certificate": FILE}, "belong together"),
        ({"password_file": FILE}, "belong together"),
        ({"public_url": "https://digits.example.org/gallery/"}, "a path of the page's own"),
        (
            {"public_url": "https://0.0.0.0/", "password_file": FILE},
            "cannot be opened by a browser",
        ),
        ({"public_url": "https://[::]:8443", "password_file": FILE}, "cannot be opened"),
        ({"public_url": "https://digits.example.org:0", "password_file": FILE}, "cannot be opened"),
    ],
)
def test_address_that_is_not_safe_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Address.create(**fields)


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "digits.example.org", "ftp://x", "https://", "https:///review", "https://a@x"),
        *("https://x?a", "https://x#a", "https://x/a b", "https://x/../b", "https://x//a"),
        *("https://x/%2f", "https://[::1", "https://x:99999", "https://a..b", "https://x\\y"),
        *("javascript:x", "//x/y", "https://x/a;b", "https://x:y", "https://x/\n", "https://x y"),
    ],
)
def test_text_that_is_no_public_url_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be http|is not a URL"):
        PublicUrl.parse(text)


@pytest.mark.parametrize("command", [("review", "--no-browser"), ("service", "--review")])
def test_unsafe_options_are_a_usage_error(site: Site, command: tuple[str, ...]) -> None:
    done = digitd(*command, "--public-url", "http://x.example", "--config", site.config)
    assert done.returncode == 2
    assert "--public-url can be opened on other machines: it must be https" in done.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "https://Digits.Example.org:443/review/",
            ("digits.example.org", "https://digits.example.org", "/review"),
        ),
        ("https://digits.example.org", ("digits.example.org", "https://digits.example.org", "")),
        ("https://x:8443/", ("x", "https://x:8443", "")),
        ("http://[0:0::1]:80/a/b.c", ("[::1]", "http://[::1]", "/a/b.c")),
        ("https://zählen.example/", ("xn--zhlen-gra.example", "https://xn--zhlen-gra.example", "")),
    ],
)
def test_public_url_is_read_as_browsers_read_it(text: str, expected: tuple[str, str, str]) -> None:
    public = PublicUrl.parse(text)
    assert (public.host, public.origin, public.path) == expected


def test_own_folders_are_those_of_all_routes() -> None:
    modules = (ROOT / "daemon" / "review").glob("*.py")
    source = "".join(module.read_text(encoding="utf-8") for module in modules)
    routes = re.findall(r'(?:Route|Mount)\("/([^/"]*)|_PATH[^\n]*= "/([a-z]+)"', source)
    assert {first or second for first, second in routes} - {""} == OWN_FOLDERS
