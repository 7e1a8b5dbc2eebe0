"""Attacks on the review page: each gets an error, and nothing that it must not get."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import socket
import ssl
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from daemon.errors import ReviewError
from daemon.layout import REVIEW_KEY, TABLE
from daemon.outbox import rows
from daemon.review.address import is_loopback
from daemon.review.credentials import read_password
from daemon.review.security import Access
from daemon.review.server import MOST_CONNECTIONS
from support.daemon import digitd
from support.factories import BROKEN, SURE, doubtful
from support.site import SECURE_FILES, Server, Site, half_open_connections, png, secure
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

EVERYWHERE = "0.0.0.0"  # noqa: S104 - what must not be used by accident
PATHS = [
    *("/", "/gallery", "/live", "/events", "/results.csv", "/api/queue", "/static/review.js"),
    *("/metrics", "/models", "/models/list"),
]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with tempfile.TemporaryDirectory() as folder:
        yield Site(Path(folder))


@pytest.fixture(scope="module")
def row(site: Site) -> str:
    return site.add("digit1.png", doubtful(1, 0.5))


@pytest.fixture(scope="module")
def server(site: Site, row: str) -> Iterator[Server]:
    assert row
    with Server(site) as running:
        running.wait_for_rows(1)
        yield running


# Who may ask.


@pytest.mark.parametrize("path", [*PATHS, "/healthz", "/nothing"])
@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "", None, "[::1"]
)
def test_foreign_host_is_refused(server: Server, path: str, host: str | None) -> None:
    reply = server.request(path, headers={"host": host})
    # h11 itself refuses a request without one.
    assert reply.status == (400 if host is None else 403)
    assert b"digit1.png" not in reply.body


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9000", "127.0.0.1", "[::1]:8383"])
def test_own_host_is_answered_on_any_port_of_a_tunnel(server: Server, host: str) -> None:
    assert server.request("/", headers={"host": host}).status == 200


def test_two_hosts_are_refused(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(
            b"GET / HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n"
            b"cookie: " + server.cookie.encode() + b"\r\n\r\n"
        )
        assert client.recv(100).split()[1] in {b"400", b"403"}


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "http://localhost:1",
        "https://127.0.0.1:{port}",
        "http://127.0.0.1",
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/queue", "/results.csv"])
def test_foreign_origin_is_refused(server: Server, origin: str, path: str) -> None:
    sent = {"origin": origin.format(port=server.port)}
    assert server.request(path, headers=sent).status == 403


def test_foreign_origin_stores_no_answer(site: Site, server: Server, row: str) -> None:
    sent: dict[str, str | None] = {"content_type": "application/json"}
    body = f'{{"id": "{row}", "label": "5"}}'.encode()
    for extra in ({"origin": "http://evil.example"}, {"sec_fetch_site": "cross-site"}):
        reply = server.request("/api/answers", body, headers=sent | extra)
        assert reply.status == 403
    # What a form of another page can send without asking first.
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None):
        reply = server.request("/api/answers", body, headers={"content_type": kind})
        assert reply.status == 415
    assert site.answers() == []


@pytest.mark.parametrize("fetch_site", ["cross-site", "same-site"])
def test_page_of_another_site_gets_nothing(server: Server, fetch_site: str) -> None:
    sent: dict[str, str | None] = {"sec_fetch_site": fetch_site, "sec_fetch_mode": "no-cors"}
    assert server.request("/image/x/large", headers=sent).status == 403


def test_own_origin_is_accepted(server: Server) -> None:
    sent = {"origin": server.base, "sec_fetch_site": "same-origin"}
    assert server.request("/api/queue", headers=sent).status == 200


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "cookie",
    [None, "", "digitd-{port}=", "digitd-{port}=wrong", "digitd={token}", "{token}", "\xff=;;"],
)
def test_request_without_the_token_is_refused(
    server: Server, path: str, cookie: str | None
) -> None:
    sent = cookie and cookie.format(port=server.port, token=server.token)
    reply = server.request(path, headers={"cookie": sent})
    assert reply.status == 401
    assert server.token not in reply.text
    assert "digit1.png" not in reply.text


@pytest.mark.parametrize("header", ["Bearer wrong", "Bearer ", "Basic {token}", "{token}"])
def test_program_without_the_token_is_refused(server: Server, header: str) -> None:
    sent = {"cookie": None, "authorization": header.format(token=server.token)}
    assert server.request("/metrics", headers=sent).status == 401


def test_program_may_send_the_token_as_a_header(server: Server) -> None:
    sent = {"cookie": None, "authorization": f"Bearer {server.token}"}
    assert server.request("/api/queue", headers=sent).status == 200


@pytest.mark.parametrize(
    "token", ["", "wrong", "x" * 43, "%00", "%ff", "{token}x", "{token}&token=x"]
)
def test_wrong_token_in_the_url_gives_no_cookie(server: Server, token: str) -> None:
    path = f"/?token={token.format(token=server.token)}"
    reply = server.request(path, headers={"cookie": None})
    assert reply.status in {401, 403}
    assert reply.headers["set-cookie"] is None


def test_token_in_the_url_becomes_a_cookie_and_leaves_the_url(server: Server) -> None:
    reply = server.request(f"/?token={server.token}", headers={"cookie": None})
    assert (reply.status, reply.headers["location"]) == (303, "/")
    parts = {part.strip().lower() for part in reply.headers["set-cookie"].split(";")}
    assert {"httponly", "samesite=strict"} <= parts
    assert f"digitd-{server.port}={server.token}".lower() in parts


def test_token_is_secret_on_the_disk_and_differs_between_outboxes(
    site: Site, server: Server, tmp_path: Path
) -> None:
    file = site.outbox / REVIEW_KEY
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text().strip() == server.token
    with Server(Site(tmp_path)) as other:
        assert other.token != server.token


def test_token_that_others_could_read_is_replaced(tmp_path: Path) -> None:
    site = Site(tmp_path)
    (site.outbox / REVIEW_KEY).write_text("x" * 43)
    (site.outbox / REVIEW_KEY).chmod(0o644)
    with Server(site) as server:
        assert server.token != "x" * 43


def test_token_is_not_in_the_log_of_requests(server: Server) -> None:
    server.request(f"/?token={server.token}")
    assert server.log.count(server.token) == 1  # the line that tells the URL


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "X"])
def test_other_methods_are_refused(server: Server, method: str) -> None:
    assert server.request("/", method=method).status in {400, 405}


def test_websocket_is_refused(server: Server) -> None:
    sent: dict[str, str | None] = {
        "connection": "upgrade",
        "upgrade": "websocket",
        "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
        "sec-websocket-version": "13",
    }
    assert server.request("/events2", headers=sent).status == 404


# What every response says.


@pytest.mark.parametrize("path", ["/", "/gallery", "/api/queue", "/nothing", "/static/style.css"])
def test_every_response_has_the_headers(server: Server, path: str) -> None:
    headers = server.request(path).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["server"] is None
    assert headers["access-control-allow-origin"] is None


def test_page_has_no_inline_code(server: Server) -> None:
    for path in ("/", "/gallery", "/live"):
        page = server.request(path).text
        assert "style=" not in page
        assert " on" not in page.replace(" on</", "").split("<body", 1)[1] or "onclick" not in page
        assert page.count("<script") == page.count('<script type="module" src="/static/') + (
            page.count('<script type="application/json"')
        )


# What it serves.

ESCAPES = [
    "../../../../etc/passwd",
    "..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/etc/passwd",
    "....//....//etc/passwd",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "\\..\\..\\etc\\passwd",
    "..%00",
    "%c0%ae%c0%ae/",
]


@pytest.mark.parametrize("escape", ESCAPES)
@pytest.mark.parametrize(
    "path",
    [
        "/{}",
        "/static/{}",
        "/row/{}",
        "/image/{}/large",
        "/image/{row}/{}",
        "/api/rows/{}",
        "/gallery?name={}",
        "/gallery?after={}",
        "/gallery?status={}&value={}&sort={}&since={}&until={}&answered={}",
        "/api/queue?after={}",
        "/live?x={}",
    ],
)
def test_path_in_any_parameter_reaches_no_file(
    server: Server, row: str, path: str, escape: str
) -> None:
    reply = server.request(path.replace("{row}", row).replace("{}", escape))
    assert reply.status in {200, 400, 404}
    assert b"root:" not in reply.body
    if not path.startswith(("/gallery", "/api/queue", "/live")):
        assert reply.status != 200


@pytest.mark.parametrize(
    "name",
    [
        "../digit1.png",
        "a/digit1.png",
        "..",
        ".digit1.png",
        "/digit1.png",
        "digit1\n.png",
        "\0",
        "",
        "a\\b",
    ],
)
def test_dropped_file_stays_in_the_inbox(site: Site, server: Server, name: str) -> None:
    before = sorted(site.folder.rglob("*.png"))
    reply = server.request(f"/api/files?name={quote(name)}", png())
    assert reply.status in {400, 422}
    assert list(site.inbox.iterdir()) == []
    assert sorted(site.folder.rglob("*.png")) == before


@pytest.mark.parametrize("column", ["original", "picture"])
@pytest.mark.parametrize(
    "named",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "originals/../../secret.png",
        "originals/../predictions.csv",
        "originals",
        "originals/",
        "labels.csv",
        ".digitd.review.token",
        "originals/sub/digit.png",
        "",
    ],
)
def test_edited_cell_reaches_no_file(tmp_path: Path, column: str, named: str) -> None:
    site = Site(tmp_path)
    (tmp_path / "secret.png").write_bytes(png("8"))
    (site.outbox / "originals" / "sub").mkdir(parents=True)
    (site.outbox / "originals" / "sub" / "digit.png").write_bytes(png("8"))
    job_id = site.add("digit2.png", SURE)
    (fields,) = site.rows()
    fields[column] = named
    (site.outbox / TABLE).write_text(rows.HEADER + rows.csv_line(fields.values()))
    with Server(site) as server:
        server.wait_for_rows(1)
        reply = server.request(f"/image/{job_id}/{'large' if column == 'original' else 'seen'}")
        assert reply.status == 404
        assert server.post("/api/retries", {"id": job_id}).status == 409
        assert list(site.inbox.iterdir()) == []


@pytest.mark.parametrize("place", ["../secret.png", "../config.yaml", "failed/../../secret.png"])
def test_edited_cell_cannot_have_another_file_put_into_the_inbox(
    tmp_path: Path, place: str
) -> None:
    site = Site(tmp_path)
    (tmp_path / "secret.png").write_bytes(png("8"))
    job_id = site.add("digit2.png", BROKEN)
    (fields,) = site.rows()
    fields["original"] = f"failed/{place}"
    (site.outbox / TABLE).write_text(rows.HEADER + rows.csv_line(fields.values()))
    with Server(site) as server:
        server.wait_for_rows(1)
        assert server.post("/api/retries", {"id": job_id}).status == 409
        assert list(site.inbox.iterdir()) == []


@pytest.mark.parametrize("kind", ["symlink", "dangling", "fifo", "folder"])
def test_only_regular_files_are_shown(tmp_path: Path, kind: str) -> None:
    site = Site(tmp_path)
    job_id = site.add("digit2.png", SURE)
    original = site.outbox / "originals" / "digit2.png"
    original.unlink()
    (tmp_path / "secret.png").write_bytes(png("8"))
    if kind == "symlink":
        original.symlink_to(tmp_path / "secret.png")
    elif kind == "dangling":
        original.symlink_to(tmp_path / "none")
    elif kind == "fifo":
        os.mkfifo(original)
    else:
        original.mkdir()
    with Server(site) as server:
        server.wait_for_rows(1)
        reply = server.request(f"/image/{job_id}/large")
        assert reply.status == 404
        assert reply.json["error"]


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
HTML = b"<!doctype html><script>alert(1)</script>"


@pytest.mark.parametrize(
    "data",
    [
        SVG,
        HTML,
        b"GIF89a" + HTML,
        b"BM" + HTML * 20,
        b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + bytes([0, 0, 0x75, 0x30] * 2) + bytes(9),
        png()[:200],
        b"%PDF-1.4",
        b"%!PS-Adobe-3.0 EPSF-3.0",
        b"",
    ],
    ids=["svg", "html", "gif+html", "bmp+html", "bomb", "cut", "pdf", "eps", "empty"],
)
def test_what_is_not_an_image_is_not_served(tmp_path: Path, data: bytes) -> None:
    site = Site(tmp_path)
    job_id = site.add("digit2.png", SURE, data)
    with Server(site) as server:
        server.wait_for_rows(1)
        for what in ("large", "small"):
            reply = server.request(f"/image/{job_id}/{what}")
            assert reply.status == 404
            assert reply.headers["content-type"] == "application/json"
            assert b"<script" not in reply.body


def test_image_that_is_also_a_page_is_served_without_the_page(tmp_path: Path) -> None:
    site = Site(tmp_path)
    job_id = site.add("digit2.png", SURE, png() + HTML)
    with Server(site) as server:
        server.wait_for_rows(1)
        reply = server.request(f"/image/{job_id}/large")
        assert (reply.status, reply.headers["content-type"]) == (200, "image/png")
        assert b"script" not in reply.body


NAMES = [
    "digit1<img src=x onerror=alert(1)>.png",
    'digit2" onmouseover="alert(1).png',
    "digit3<script>alert(1)<script>.png",
    "digit4' x='{{7*7}}.png",
    "digit5&lt;.png",
    "=digit6.png",
]


def test_markup_in_names_and_reasons_is_shown_as_text(tmp_path: Path) -> None:
    site = Site(tmp_path)
    reason = "<b onclick=alert(1)>reason</script>"
    added = site.add_all([(name, replace(BROKEN, reason=reason)) for name in NAMES])
    with Server(site) as server:
        server.wait_for_rows(len(NAMES))
        pages = ["/gallery", "/live", "/live/figures", *(f"/row/{one}" for one in added)]
        for path in pages:
            page = server.request(path).text
            for dangerous in (
                "<img src=x",
                "<script>alert",
                '" onmouseover="',
                "<b onclick",
                "49.png",
            ):
                assert dangerous not in page, path
            assert "reason</script>" not in page


# How much it takes.


def test_upload_of_10_gb_that_is_never_sent_is_refused_at_once(site: Site, server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(
            f"POST /api/files?name=digit9.png HTTP/1.1\r\nhost: localhost\r\n"
            f"cookie: {server.cookie}\r\ncontent-length: {10 * 10**9}\r\n\r\n".encode()
        )
        answer = client.makefile("rb").read()  # until the server closes the connection
    assert answer.split()[1] == b"413"
    assert list(site.inbox.iterdir()) == []


@pytest.mark.parametrize("length", ["-1", "1e3", "٣", "99999999999999999999999", "0x10"])
def test_strange_length_is_refused(server: Server, length: str) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(
            f"POST /api/files?name=digit9.png HTTP/1.1\r\nhost: localhost\r\n"
            f"cookie: {server.cookie}\r\ncontent-length: {length}\r\n\r\n".encode()
        )
        assert client.recv(100).split()[1] in {b"400", b"413"}


def test_upload_without_a_length_is_refused(site: Site, server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(
            f"POST /api/files?name=digit9.png HTTP/1.1\r\nhost: localhost\r\n"
            f"cookie: {server.cookie}\r\ntransfer-encoding: chunked\r\n\r\n".encode()
        )
        assert client.recv(100).split()[1] == b"411"
    assert list(site.inbox.iterdir()) == []


def test_upload_that_breaks_off_leaves_nothing(site: Site, server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(
            f"POST /api/files?name=digit9.png HTTP/1.1\r\nhost: localhost\r\n"
            f"cookie: {server.cookie}\r\ncontent-length: 1000\r\n\r\n".encode()
            + b"x" * 100
        )
        until(lambda: len(list(site.inbox.iterdir())) == 1, "the beginning of the file")
        assert next(site.inbox.iterdir()).name.startswith(".")
    until(lambda: list(site.inbox.iterdir()) == [], "an empty inbox")


def test_long_request_is_refused(server: Server) -> None:
    assert server.post("/api/answers", {"id": "x" * 5000, "label": "5"}).status == 413
    with suppress(ConnectionError):  # the server has closed it before all was sent
        assert server.request("/?x=" + "x" * 1_000_000).status == 400
    assert server.request("/").status == 200


def test_deeply_nested_json_is_refused(server: Server) -> None:
    sent: dict[str, str | None] = {"content_type": "application/json"}
    assert server.request("/api/answers", b"[" * 4000, headers=sent).status == 400


def test_more_pages_than_allowed_do_not_stop_the_others(server: Server) -> None:
    ask = f"GET /events HTTP/1.1\r\nhost: localhost\r\ncookie: {server.cookie}\r\n\r\n".encode()
    clients = [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(40)]
    try:
        statuses = []
        for client in clients:
            client.sendall(ask)
            statuses.append(client.recv(12).split()[1])
        assert statuses.count(b"200") == 32
        assert statuses.count(b"503") == 8
        assert server.request("/api/queue").status == 200
    finally:
        for client in clients:
            client.close()
    until(lambda: _stream_status(server) == b"200", "a place for another page")


def _stream_status(server: Server) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(
            f"GET /events HTTP/1.1\r\nhost: localhost\r\ncookie: {server.cookie}\r\n\r\n".encode()
        )
        return client.recv(12).split()[1]


def test_connection_without_a_whole_request_is_closed(server: Server) -> None:
    address = ("127.0.0.1", server.port)
    with (
        socket.create_connection(address, timeout=50) as first,
        socket.create_connection(address, timeout=50) as second,
    ):
        first.sendall(b"GET / HTTP/1.1\r\nhost: loc")
        # uvicorn stops its own timer as soon as a second request begins.
        asked = f"GET /static/icon.svg HTTP/1.1\r\nhost: localhost\r\ncookie: {server.cookie}"
        second.sendall(f"{asked}\r\n\r\n".encode())
        assert second.recv(12) == b"HTTP/1.1 200"
        second.sendall(b"GET / HTTP/1.1\r\nhost: loc")
        for client in (first, second):
            with suppress(ConnectionResetError):
                while client.recv(100_000):
                    pass


def test_10000_connections_do_not_keep_a_person_out(server: Server) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 10_000
    if hard != resource.RLIM_INFINITY and hard < wanted + 200:
        pytest.skip(f"this system allows only {hard} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted + 200, hard))
    try:
        asyncio.run(_flood(server, wanted))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    until(lambda: server.request("/api/queue").status == 200, "the page again")


def test_answer_is_stored_beside_10000_half_open_connections(tmp_path: Path) -> None:
    site = Site(tmp_path)
    job_id = site.add("digit1.png", doubtful(1, 0.5))
    with Server(site) as server:
        server.wait_for_rows(1)
        with half_open_connections(server, 10_000) as opened:
            # `python -m benchmarks.review` measures how long it takes.
            assert server.answer(job_id, "5").status == 200, opened
        assert site.answers() == [(job_id, "5", "queue")]


async def _flood(server: Server, wanted: int) -> None:
    async def connect() -> asyncio.StreamWriter | None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET / HTTP/1.1\r\n")
        except OSError:
            return None
        return writer

    writers = []
    for _ in range(wanted // 100):
        writers += await asyncio.gather(*(connect() for _ in range(100)))
        if len(writers) % 2000 == 0:
            reply = await asyncio.to_thread(server.request, "/api/queue")
            assert reply.status == 200
    opened = os.listdir(f"/proc/{server.process.pid}/fd")  # noqa: PTH208 - not while others wait
    assert len(opened) < MOST_CONNECTIONS + 300
    for writer in writers:
        if writer is not None:
            writer.transport.abort()


# Other addresses than this machine's own.


@pytest.mark.parametrize("host", [EVERYWHERE, "::", "192.0.2.1", "example.org"])
def test_reachable_address_needs_tls_and_a_password(tmp_path: Path, host: str) -> None:
    site = Site(tmp_path)
    done = digitd("review", "--no-browser", "--host", host, "--config", site.config)
    assert done.returncode == 2
    assert "can be reached from other machines: give --tls-cert" in done.stderr


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("localhost", True)]
    + [(host, False) for host in (EVERYWHERE, "::", "10.0.0.1", "localhost.evil", "", "127.1")],
)
def test_loopback_addresses_are_known(host: str, expected: bool) -> None:  # noqa: FBT001
    assert is_loopback(host) is expected


def test_any_address_but_no_other_name_is_answered_with_a_password() -> None:
    access = Access(frozenset({"box"}), True, "t", "c", "https")  # noqa: FBT003
    assert access.accepts_host("192.0.2.7:8383")
    assert access.accepts_host("[2001:db8::1]")
    assert access.accepts_host("box:1")
    assert not access.accepts_host("evil.example")


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Server]:
    site = Site(tmp_path)
    site.add("digit1.png", SURE)
    with Server(site, "--host", EVERYWHERE, *secure(tmp_path)) as running:
        yield running


def test_password_is_asked_for_over_tls(secured: Server) -> None:
    def ask(head: str, body: str = "", cookie: str = "") -> bytes:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with (
            socket.create_connection(("127.0.0.1", secured.port), timeout=20) as plain,
            context.wrap_socket(plain) as client,
        ):
            client.sendall(
                f"{head} HTTP/1.1\r\nhost: 127.0.0.1:{secured.port}\r\ncookie: {cookie}\r\n"
                f"accept: text/html\r\nconnection: close\r\n"
                f"content-length: {len(body)}\r\n\r\n{body}".encode()
            )
            return client.makefile("rb").read()

    assert secured.token == ""
    assert secured.url.startswith("https://")
    assert b" 303 " in (denied := ask("GET /"))
    assert b"location: /login" in denied
    key = (secured.box.outbox / REVIEW_KEY).read_text().strip()
    assert b"set-cookie" not in ask(f"GET /?token={key}")
    assert b'name="password"' in ask("GET /login")
    assert b" 403 " in (wrong := ask("POST /login", "password=wrong"))
    assert b"set-cookie" not in wrong
    right = ask("POST /login", "password=correct+horse")
    assert b" 303 " in right
    assert b"Secure" in right
    (cookie,) = re.findall(rf"digitd-{secured.port}=[^;]+", right.decode())
    assert key not in cookie
    assert b" 200 " in ask("GET /", cookie=cookie)
    assert b" 303 " in ask("GET /", cookie=f"digitd-{secured.port}={key}")
    # A new password ends the login, and the old one is not accepted any more.
    (secured.box.folder / "password").write_text("")  # an editor may empty the file first
    assert b" 200 " in ask("GET /", cookie=cookie)
    (secured.box.folder / "password").write_text("battery staple")
    assert b" 303 " in ask("GET /", cookie=cookie)
    assert b" 403 " in ask("POST /login", "password=correct+horse")
    assert b"set-cookie" in ask("POST /login", "password=battery+staple")
    assert "the password is the one of before" in secured.log


def test_unusable_certificate_is_refused(tmp_path: Path) -> None:
    site = Site(tmp_path)
    for _, file in SECURE_FILES:
        (tmp_path / file).write_text("junk")
        (tmp_path / file).chmod(0o600)
    options = [f"--{name}={tmp_path / file}" for name, file in SECURE_FILES]
    done = digitd("review", "--host", EVERYWHERE, *options, "--port", "0", "--config", site.config)
    assert done.returncode == 1
    assert "cannot be used for TLS" in done.stderr
    assert "name files in PEM format with --tls-cert and --tls-key" in done.stderr


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbfsecret\r\n",
        b"secret",
        b"  secret \t\r\nnot this\n",
        b"secret\n\xff",
        b"secret\rx",
    ],
)
def test_password_file_of_any_editor_can_be_read(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "password").write_bytes(data)
    (tmp_path / "password").chmod(0o640)
    assert read_password(tmp_path / "password") == "secret"


@pytest.mark.parametrize(
    ("mode", "data"),
    [
        *((0o644, b"secret"), (0o604, b"secret"), (0o600, None), (0o600, b"")),
        *((0o600, b"\n\nsecret"), (0o600, b" \t\r\n"), (0o600, b"\xef\xbb\xbf\r\n")),
        *((0o600, "secret".encode("utf-16")), (0o600, "secret".encode("utf-16-le"))),
        *((0o600, b"\xffsecret"), (0o600, b"sec\0ret"), (0o600, b"sec\x1bret")),
    ],
)
def test_unusable_password_file_is_refused(tmp_path: Path, mode: int, data: bytes | None) -> None:
    file = tmp_path / "password"
    if data is not None:
        file.write_bytes(data)
        file.chmod(mode)
    with pytest.raises(ReviewError, match=f"^{file}: ") as refused:
        read_password(file)
    assert "secret" not in str(refused.value).replace(str(tmp_path), "")


def test_unusable_password_file_ends_the_program(tmp_path: Path) -> None:
    site = Site(tmp_path)
    (tmp_path / "password").write_bytes(b"secret")
    (tmp_path / "password").chmod(0o644)
    options = [f"--{name}={tmp_path / file}" for name, file in SECURE_FILES]
    done = digitd("review", "--host", EVERYWHERE, *options, "--config", site.config)
    assert done.returncode == 1
    file = tmp_path / "password"
    assert done.stderr == f"digitd: {file}: other users can read it: run `chmod o= {file}`\n"
