"""Decide which requests are served, and limit what they may send.

Cross-site requests are refused by Fetch metadata: ``Sec-Fetch-Site`` must be ``same-origin`` or
``none``, and an ``Origin`` header must match ``Host``. This is the method of Go's
``net/http.CrossOriginProtection`` (https://words.filippo.io/csrf/) and of datasette's ``csrf.py``.
It is applied to GET as well, ``Host`` must be one of the page's own names, which stops DNS
rebinding, and every request needs a token that no other site can have.
"""

import hmac
import ipaddress
import os
import re
import secrets
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from daemon.errors import ReviewError
from daemon.layout import REVIEW_KEY

LOGIN_PATH, STYLE_PATH = "/login", "/static/style.css"  # the login page is served without a token
HEALTH_PATH = "/healthz"  # for load balancers, which have no token

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_METHODS = frozenset({"GET", "HEAD", "POST"})
_YEAR_SECONDS = 31_536_000
_MOST_BODY_BYTES = 4096  # of a request that is not an upload
_STALLED_SECONDS = 20.0  # the longest pause between two blocks of a body
# Everything comes from this server; only the page's own code runs.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class Access:
    """Who may use the page.

    Attributes:
        names: accepted values of Host, without the port, which `ssh -L` may change.
        any_address: also accept IP addresses, which DNS rebinding cannot use.
        token: the secret that a browser must send.
        cookie: the name of the cookie with the token; browsers don't separate cookies by port.
        scheme: http or https.
        password: asked for instead of the token in the URL; empty on a loopback address.
        path: the path that the page is served below, such as ``/digits``; empty for all paths.
    """

    names: frozenset[str]
    any_address: bool
    token: str
    cookie: str
    scheme: str
    password: str = ""
    path: str = ""

    def accepts_host(self, host: str) -> bool:
        """Return whether the value of a Host header names this page."""
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match[1].lower()
        return name in self.names or (self.any_address and _is_address(name.strip("[]")))

    def is_token(self, text: str) -> bool:
        """Return whether a text is the token, in constant time."""
        return hmac.compare_digest(text.encode(), self.token.encode())

    def is_password(self, text: str) -> bool:
        """Return whether a text is the password, in constant time."""
        return bool(self.password) and hmac.compare_digest(text.encode(), self.password.encode())


def create_access(host: str, port: int, outbox: Path, password: str = "") -> Access:
    """Return who may use a page that is served on an address; with a password, over TLS.

    Raises:
        OSError: the token cannot be stored.
    """
    names = {*_LOOPBACK_NAMES, f"[{host}]" if ":" in host else host.lower()}
    if password:
        names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
    return Access(
        names=frozenset(names),
        any_address=bool(password),
        token=_load_token(outbox / REVIEW_KEY),
        cookie=f"digitd-{port}",
        scheme="https" if password else "http",
        password=password,
    )


def is_loopback(host: str) -> bool:
    """Return whether an address or a name is this machine's own."""
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def read_password(file: Path) -> str:
    """Return the first line of a password file.

    Raises:
        ReviewError: it cannot be read, is empty, or other users can read it.
    """
    try:
        with file.open(encoding="utf-8") as lines:
            mode = os.fstat(lines.fileno()).st_mode
            password = lines.readline().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ReviewError(f"{file}: cannot be read: {error}: write a password into it") from None
    if mode & 0o007:
        raise ReviewError(f"{file}: other users can read it: run `chmod 600 {file}`")
    if not password:
        raise ReviewError(f"{file}: its first line is empty: write a password there")
    return password


class Guard:
    """ASGI middleware that checks each request before anything else sees it.

    It decides on the headers as they were sent, never on a URL that is built from them
    (CVE-2026-48710).
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request or pass it on; add the security headers to its response."""
        if scope["type"] != "http":
            return  # a WebSocket is never accepted
        headers = Headers(scope=scope)
        refusal = self._check_origin(scope, headers) or self._check_token(scope, headers)

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    added[name] = value
                added.setdefault("cache-control", "no-store")
                # The rest of the body is not read.
                if message["status"] >= 400:  # noqa: PLR2004 - client and server errors
                    added["connection"] = "close"
            await send(message)

        await (refusal or self._app)(scope, receive, send_safely)

    def _check_origin(self, scope: Scope, headers: Headers) -> Response | None:
        """Refuse a request that another page, or a rebound DNS name, could send."""
        host = headers.getlist("host")
        if len(host) != 1 or not self._access.accepts_host(host[0]):
            return _refuse("this address is not served here: open the URL that digitd printed")
        if not self._is_same_origin(scope, headers, host[0]):
            return _refuse("the request comes from another page")
        if scope["method"] not in _METHODS:
            return _refuse("this method is not allowed", 405)
        return None

    def _is_same_origin(self, scope: Scope, headers: Headers, host: str) -> bool:
        """Return whether a request comes from this page, or from no page."""
        own = f"{self._access.scheme}://{host}".lower()
        if any(origin.lower() != own for origin in headers.getlist("origin")):
            return False
        if all(site in {"same-origin", "none"} for site in headers.getlist("sec-fetch-site")):
            return True
        # A link on another page may lead here: it sends no cookie (SameSite=Strict), only perhaps
        # the token in its URL.
        return (
            scope["method"] == "GET"
            and headers.getlist("sec-fetch-mode") == ["navigate"]
            and headers.getlist("sec-fetch-dest") == ["document"]
        )

    def _check_token(self, scope: Scope, headers: Headers) -> Response | None:
        """Refuse a request without the token, or let its sender log in."""
        tokens = parse_qs(scope["query_string"].decode("latin-1")).get("token")
        if scope["path"] == "/" and tokens and not self._access.password:
            return self._exchange_token(tokens)
        if self._has_token(scope) or scope["path"] == HEALTH_PATH:
            return None
        if not self._access.password:
            return _refuse("open the URL with the token that `digitd review` printed", 401)
        if scope["path"] in {LOGIN_PATH, STYLE_PATH}:
            return None
        if scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
            return RedirectResponse(LOGIN_PATH, 303)
        return _refuse("log in first", 401)

    def _exchange_token(self, tokens: list[str]) -> Response:
        """Turn the token in the URL into a cookie."""
        if len(tokens) == 1 and self._access.is_token(tokens[0]):
            return login_response(self._access)
        return _refuse("this token is not valid: open the URL that `digitd review` printed")

    def _has_token(self, scope: Scope) -> bool:
        """Return whether the cookie, or a bearer token (Prometheus sends one), is right."""
        connection = HTTPConnection(scope)
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._access.is_token(token):
            return True
        return self._access.is_token(connection.cookies.get(self._access.cookie, ""))


def login_response(access: Access) -> Response:
    """Return a redirect to the page that sets the cookie."""
    response = RedirectResponse("/", 303)
    response.set_cookie(
        access.cookie,
        access.token,
        max_age=_YEAR_SECONDS,
        secure=access.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return response


async def stream_body(request: Request) -> AsyncIterator[bytes]:
    """Yield a request's body block by block.

    Raises:
        HTTPException: the next block did not arrive in time.
    """
    stream = request.stream()
    while True:
        try:
            with anyio.fail_after(_STALLED_SECONDS):
                block = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise HTTPException(408, "the request was not sent in time") from None
        yield block


async def read_body(request: Request) -> bytes:
    """Return a request's whole body, which must be short.

    Raises:
        HTTPException: it is too long, or did not arrive in time.
    """
    body = b""
    async for block in stream_body(request):
        body += block
        if len(body) > _MOST_BODY_BYTES:
            raise HTTPException(413, "the request is too long")
    return body


def _load_token(file: Path) -> str:
    """Return the token of an earlier run, so that open pages survive a restart, or a new one."""
    flags = os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(file, os.O_RDONLY | flags), encoding="ascii") as old:  # noqa: PTH123 - opened safely
            token = old.read().strip()
            if _TOKEN.fullmatch(token) and not os.fstat(old.fileno()).st_mode & 0o077:
                return token
    except (FileNotFoundError, UnicodeDecodeError):
        pass
    file.unlink(missing_ok=True)
    token = secrets.token_urlsafe(32)
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | flags, 0o600), "w") as new:  # noqa: PTH123 - opened safely
        new.write(f"{token}\n")
    return token


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _refuse(why: str, status: int = 403) -> Response:
    return PlainTextResponse(f"digitd review: {why}\n", status)
