"""Strange values in every field of every request: each is refused or ignored, none breaks it."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_from_bytes

import pytest

from daemon import ids
from support.factories import BROKEN, doubtful
from support.site import Server, Site

if TYPE_CHECKING:
    from collections.abc import Iterator

JSON = {"content_type": "application/json"}
HIGHEST = ids.encode((1 << 60) - 1)
TEXTS = [
    *("", " ", "\0", "\n", "a\r\nb", "%", "'", '"', "\u202e", "\ufeff", "\U0010ffff", "x" * 3000),
    *("nan", "inf", "-inf", "1e999", "-1", "9" * 400, "0x1", "1_000", "٣", "null", "../..", "=1+1"),
    *("d" * 13, "d" + "z" * 12, "d" + "0" * 12, "D" + "0" * 12, HIGHEST, HIGHEST + "\n"),
    *("0001-01-01", "9999-12-31", "2026-W01-1", "2026-02-30", "20260101", "-0001-01-01"),
]
CURSORS = [
    *(f"{key},{HIGHEST}" for key in ("nan", "inf", "-inf", "1e999", "9" * 400, "", "x", "0x1")),
    *("9" * 400 + ",1,id", "1," + "9" * 30, "1,", ",", "0.5," + "d" * 12, f"1,{HIGHEST},"),
]
# Half of a surrogate pair, as JSON may have it, and bytes that are not UTF-8.
ODD_BYTES = [b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    site = Site(tmp_path_factory.mktemp("inputs"))
    site.add("digit1.png", doubtful(1, 0.5))
    site.add("digit2.png", BROKEN, b"hi")
    return site


@pytest.fixture(autouse=True)
def nothing_happened(site: Site, server: Server) -> Iterator[None]:
    yield
    assert site.answers() == []
    assert [path for path in site.inbox.iterdir() if not path.name.startswith(".")] == []
    assert (site.outbox / "failed" / "digit2.png").exists()
    assert server.request("/api/queue").status == 200
    assert "Traceback" not in server.log


FIELDS = ("after", "name", "status", "value", "answered", "since", "until", "sort", "id", "token")


@pytest.mark.parametrize(
    "path", ["/", "/gallery", "/row/{row}", "/api/queue", "/api/files", "/live"]
)
def test_any_text_in_a_query(server: Server, row: str, path: str) -> None:
    texts = [*map(quote, [*TEXTS, *CURSORS]), *map(quote_from_bytes, ODD_BYTES), "%", "%zz", "%u0"]
    for text in texts:
        query = "&".join(f"{field}={text}" for field in FIELDS)
        reply = server.request(f"{path.replace('{row}', row)}?{query}&{query[:2000]}")
        assert reply.status in {200, 400, 401, 403}, query


@pytest.mark.parametrize("after", [*CURSORS, "x", "\0", "9" * 400])
def test_place_that_the_queue_never_gave_is_refused(server: Server, after: str) -> None:
    assert server.request(f"/api/queue?after={quote(after)}").status == 400


@pytest.mark.parametrize(
    "path", ["/row/{}", "/api/rows/{}", "/image/{}/large", "/image/{row}/{}", "/static/{}", "/{}"]
)
def test_any_text_in_a_path(server: Server, row: str, path: str) -> None:
    for text in [*map(quote, TEXTS), *map(quote_from_bytes, ODD_BYTES), "%", "%zz", "%2e%2e"]:
        if text:
            reply = server.request(path.replace("{row}", row).replace("{}", text))
            assert reply.status in {200, 400, 404}, text
            assert reply.status != 200 or path == "/{}", text  # /. and the like


HALVES = ['"\\ud800"', '"a\\udfffb"', '"\\ud800\\ud800"', '"\\udc00\\ud800"']
VALUES = [
    *HALVES,
    *("null", "true", "false", "0", "-1", "5", "1e400", "NaN", "-Infinity", "9" * 400, "9" * 3500),
    *(
        "[]",
        "{}",
        '["5"]',
        '{"a": "5"}',
        '"\\u0000"',
    ),
    *(json.dumps(text) for text in TEXTS),
]


@pytest.mark.parametrize("field", ["id", "label", "seen", "in_queue", "is_sample", "by"])
def test_any_value_in_an_answer(server: Server, row: str, field: str) -> None:
    for value in VALUES:
        # `seen` is wrong, so that nothing is stored even if this field is right.
        fields = {"id": f'"{row}"', "label": '"5"', "seen": '"9"'} | {field: value}
        body = "{" + ", ".join(f'"{name}": {text}' for name, text in fields.items()) + "}"
        if field == "seen" and value == '""':
            continue
        reply = server.request("/api/answers", body.encode(), headers=JSON)
        assert 400 <= reply.status < 500, body
        if value in HALVES:
            assert reply.status == 400, body


def test_any_value_in_a_retry(server: Server) -> None:
    for value in VALUES:
        reply = server.request("/api/retries", f'{{"id": {value}}}'.encode(), headers=JSON)
        assert 400 <= reply.status < 500, value


@pytest.mark.parametrize("path", ["/api/answers", "/api/retries"])
def test_any_body(server: Server, row: str, path: str) -> None:
    right = f'{{"id": "{row}", "label": "5", "seen": "9"}}'
    bodies = [
        *(b"", b" ", b"null", b"5", b"[]", b'"x"', b"{", b"{}", b"\0", b"{}{}", b"[" * 4000),
        *(right.encode("utf-16"), right.encode("utf-32"), b"\xef\xbb\xbf" + right.encode()),
        *(b'{"id": "' + odd + b'", "label": "5"}' for odd in ODD_BYTES),
        *(
            b'{"by": "' + odd + b'", "id": "' + row.encode() + b'", "label": "5"}'
            for odd in ODD_BYTES
        ),
        *(b'{"\\ud800": 1}', b'{"id": 1, "id": {}}', b'{"a": ' * 600 + b"1" + b"}" * 600),
        *(right.encode() + b" " * 5000, b"1" * 4096, b'{"id": ' + b"1" * 4000 + b"}"),
    ]
    for body in bodies:
        reply = server.request(path, body, headers=JSON)
        assert 400 <= reply.status < 500, body[:100]
    for kind in (
        "",
        "text/plain",
        "application/json2",
        "application/x-www-form-urlencoded",
        "\xff",
    ):
        reply = server.request(path, right.encode(), headers={"content_type": kind})
        assert reply.status == 415, kind
    assert server.request(path, b"", method="POST", headers={"content_type": None}).status == 415


def test_login_without_a_password_file_is_not_there(server: Server) -> None:
    assert server.request("/login").status == 404
    assert server.request("/login", b"password=").status == 404


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_any_method(server: Server, row: str, method: str) -> None:
    for path in ("/", "/gallery", f"/row/{row}", "/live", "/live/figures", "/api/queue", "/events"):
        status = server.request(path, b"" if method != "HEAD" else None, method=method).status
        assert status == (200 if method == "HEAD" else 405), path
    for path in ("/api/answers", "/api/retries"):
        assert server.request(path, method="GET").status == 405
    if method != "POST":
        assert server.request("/api/answers", b"{}", method=method, headers=JSON).status == 405


HEADERS = {
    "range": [
        "bytes=0-",
        "bytes=9-1",
        "bytes=-",
        "bytes=" + "0-1," * 500,
        "x",
        "bytes=-" + "9" * 99,
    ],
    "if-modified-since": ["x", "Thu, 01 Jan 0000 00:00:00 GMT", "9" * 99],
    "if-none-match": ["*", '"', "x" * 3000],
    "if-range": ["x"],
    "accept": ["", "text/html;q=x", "\xff"],
    "accept-encoding": ["gzip", "x"],
    "authorization": ["", "Bearer", "Bearer \xff", "Basic x", "Bearer " + "x" * 3000],
    "sec-fetch-site": ["", "x", "\xff"],
    "x-forwarded-for": ["evil.example", "\xff"],
    "expect": ["100-continue", "x"],
    "content-type": ["multipart/form-data", "application/x-www-form-urlencoded; charset=x"],
    "content-length": ["0", "-1", "x", "9" * 30, "1 ", "+1"],
    "transfer-encoding": ["x", "gzip, chunked"],
    "last-event-id": ["x", "9" * 99],
}


@pytest.mark.parametrize("header", HEADERS)
def test_any_header(server: Server, row: str, header: str) -> None:
    for path in ("/", "/static/style.css", "/api/queue", f"/image/{row}/large", "/results.csv"):
        for value in HEADERS[header]:
            status = server.request(path, headers={header: value}).status
            assert status in {200, 206, 304, 400, 403, 416, 417, 501}, (path, value)


def test_malformed_requests(server: Server, row: str) -> None:
    cookie = f"host: localhost\r\ncookie: {server.cookie}\r\n"
    post = f"POST /api/answers HTTP/1.1\r\n{cookie}content-type: application/json\r\n"
    answer = f'{{"id": "{row}", "label": "5"}}'
    for request in (
        "\r\n\r\n",
        "GET\r\n\r\n",
        f"GET / HTTP/9.9\r\n{cookie}\r\n",
        f"GET http://evil.example/ HTTP/1.1\r\n{cookie}\r\n",
        f"GET //evil.example/ HTTP/1.1\r\n{cookie}\r\n",
        f"GET * HTTP/1.1\r\n{cookie}\r\n",
        f"GET /\xff HTTP/1.1\r\n{cookie}\r\n",
        f"GET /row/a b HTTP/1.1\r\n{cookie}\r\n",
        f"GET / HTTP/1.1\r\n{cookie}x: a\0b\r\n\r\n",
        f"{post}transfer-encoding: chunked\r\n\r\nzz\r\n{answer}\r\n0\r\n\r\n",
        f"{post}transfer-encoding: chunked\r\n\r\nffffffffffffffffffff\r\n{answer}",
        f"{post}content-length: 5\r\ncontent-length: 6\r\n\r\n{answer}",
        f"{post}content-length: 10\r\n\r\n{answer}",
        f"{post}content-length: 10\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        f"{post}transfer-encoding: chunked\r\n\r\n1000\r\n{'x' * 4096}\r\n1\r\nx\r\n0\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
            client.sendall(request.encode("latin-1"))
            client.shutdown(socket.SHUT_WR)
            reply = client.makefile("rb").read()
        assert not reply or reply.split()[1].startswith((b"4", b"2")), (request, reply)
        assert b" 200 " not in reply[:20] or request.startswith("GET /"), (request, reply)


def test_chunked_answer_is_stored(tmp_path_factory: pytest.TempPathFactory) -> None:
    site = Site(tmp_path_factory.mktemp("chunked"))
    row = site.add("digit1.png", doubtful(1, 0.5))
    with Server(site) as server:
        server.wait_for_rows(1)
        chunks = [f'{{"id": "{row}", "la', 'bel": "5", "by": "Ana \\ud83d\\ude00"}']
        sent = "".join(f"{len(chunk):x}\r\n{chunk}\r\n" for chunk in chunks)
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
            client.sendall(
                f"POST /api/answers HTTP/1.1\r\nhost: localhost\r\ncookie: {server.cookie}\r\n"
                "content-type: application/json\r\ntransfer-encoding: chunked\r\n"
                f"connection: close\r\n\r\n{sent}0\r\n\r\n".encode()
            )
            assert client.makefile("rb").read().split()[1] == b"200"
        assert site.answers() == [(row, "5", "gallery")]
        assert server.request(f"/api/rows/{row}").json["by"] == "Ana \U0001f600"
