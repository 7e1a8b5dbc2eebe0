"""Decide which requests are served, and limit what they may send.

Cross-site requests are refused by Fetch metadata: ``Sec-Fetch-Site`` must be ``same-origin`` or
``none``, and an ``Origin`` header must match ``Host``. This is the method of Go's
``net/http.CrossOriginProtection`` (https://words.filippo.io/csrf/) and of datasette's ``csrf.py``.
It is applied to GET as well, ``Host`` must be one of the page's own names, which stops DNS
rebinding, and every request needs a token that no other site can have.
"""

import hmac
import re
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qs, urlencode

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from daemon.layout import REVIEW_KEY
from daemon.review.address import Address, bracket, is_address
from daemon.review.credentials import PasswordFile, load_token, session_of
from daemon.review.html import render

LOGIN_PATH = "/login"
# Served without a token: to load balancers, and to the pages that a stranger gets.
HEALTH_PATH, STYLE_PATH = "/healthz", "/static/style.css"

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_METHODS = frozenset({"GET", "HEAD", "POST"})
# What a link on another page, and a login, may lead to: pages, and no downloads.
_PAGE = re.compile(r"/(?:gallery|live|look|models(?:/rereads/[0-9a-z.-]+)?|row/[0-9a-z]+)?")
# What an error page says first; the others say HTTP's phrase.
_HEADINGS = {
    400: "This cannot be answered",
    401: "You are not logged in",
    403: "This is not allowed",
    404: "Nothing is here",
    405: "This is not allowed",
    408: "That took too long",
    409: "This is not possible",
    413: "This is too large",
    415: "This cannot be answered",
    500: "Something went wrong",
    503: "This is not possible now",
}
_PASSING = {408, 500, 503}  # errors that may be gone at the next try
_YEAR_SECONDS = 31_536_000
MOST_BODY_BYTES = 4096  # of a request that is not an upload
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
        token: the secret that a client must send; a browser that logs in gets another.
        cookie: the name of the cookie; browsers don't separate cookies by port.
        scheme: http or https.
        password_file: has what is asked for instead of the token in the URL; may be missing on a
            loopback address.
        origin: the accepted value of Origin; empty for that of Host.
        path: the path that the page is served below, such as ``/digits``; empty for all paths.
    """

    names: frozenset[str]
    any_address: bool
    token: str
    cookie: str
    scheme: str
    password_file: PasswordFile | None = None
    origin: str = ""
    path: str = ""

    @property
    def password(self) -> str:
        """The password; empty if none is asked for."""
        return "" if self.password_file is None else self.password_file.password

    @property
    def session(self) -> str:
        """The cookie's value."""
        return session_of(self.token, self.password)

    def accepts_host(self, host: str) -> bool:
        """Return whether the value of a Host header names this page."""
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match[1].lower()
        return name in self.names or (self.any_address and is_address(name.strip("[]")))

    def inner_path(self, path: str) -> str:
        """Return a request's path without ``path``, which some proxies remove and some don't."""
        if f"{path}/".startswith(f"{self.path}/"):
            return path.removeprefix(self.path) or "/"
        return path

    def next_page(self, wanted: str) -> str:
        """Return where a login leads: the path and query of a page, or else the first page."""
        # Nothing else, as a link to a login must not lead to another site.
        is_page = _PAGE.fullmatch(wanted.partition("?")[0])
        return f"{self.path}{wanted if is_page else '/'}"

    def is_token(self, text: str) -> bool:
        """Return whether a text is the token, in constant time."""
        return hmac.compare_digest(text.encode(), self.token.encode())

    def is_session(self, text: str) -> bool:
        """Return whether a text is the cookie's value, in constant time."""
        return hmac.compare_digest(text.encode(), self.session.encode())

    def is_password(self, text: str) -> bool:
        """Return whether a text is the password, in constant time."""
        given, password = text.strip(), self.password
        return bool(password) and hmac.compare_digest(given.encode(), password.encode())


def create_access(address: Address, port: int, outbox: Path) -> Access:
    """Return who may use a page that is served on an address and a port of it.

    Raises:
        ReviewError: the password file cannot be used.
        OSError: the token cannot be stored.
    """
    file = address.password_file
    password_file = None if file is None else PasswordFile(file)
    public = address.public
    names = {*_LOOPBACK_NAMES, bracket(address.host.lower())}
    if public is not None:
        names.add(public.host)
    elif password_file is not None:
        names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
    return Access(
        names=frozenset(names),
        any_address=public is None and password_file is not None,
        token=load_token(outbox / REVIEW_KEY),
        cookie=f"digitd-{port}",
        scheme=address.scheme,
        password_file=password_file,
        origin="" if public is None else public.origin,
        path="" if public is None else public.path,
    )


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
        scope = {**scope, "path": self._access.inner_path(scope["path"])}
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
            text = "this address is not served here: open the URL that `digitd review` printed"
            return error_response(self._access, headers, text, 403)
        if not self._is_same_origin(scope, headers, host[0]):
            text = "the request comes from another page"
            return error_response(self._access, headers, text, 403)
        if scope["method"] not in _METHODS:
            return error_response(self._access, headers, "this method is not allowed", 405)
        return None

    def _is_same_origin(self, scope: Scope, headers: Headers, host: str) -> bool:
        """Return whether a request comes from this page, or from no page."""
        own = self._access.origin or f"{self._access.scheme}://{host}".lower()
        if any(origin.lower() != own for origin in headers.getlist("origin")):
            return False
        # A link on another page may lead here: it sends no cookie (SameSite=Strict), only perhaps
        # the token in its URL.
        return not _is_from_elsewhere(headers) or (
            scope["method"] == "GET"
            and headers.getlist("sec-fetch-mode") == ["navigate"]
            and headers.getlist("sec-fetch-dest") == ["document"]
        )

    def _check_token(self, scope: Scope, headers: Headers) -> Response | None:
        """Refuse a request without the token, or let its sender log in."""
        access, path = self._access, scope["path"]
        tokens = parse_qs(scope["query_string"].decode("latin-1")).get("token")
        if path == "/" and tokens and not access.password:
            return self._exchange_token(tokens, headers)
        if self._has_token(headers) or path in {HEALTH_PATH, STYLE_PATH}:
            return None
        if access.password and path == LOGIN_PATH:
            return None
        return self._ask_for_token(scope, headers)

    def _ask_for_token(self, scope: Scope, headers: Headers) -> Response:
        """Answer a request without the token: ask for the cookie, the password or the URL."""
        access, path = self._access, scope["path"]
        query = scope["query_string"].decode("latin-1")
        is_page = scope["method"] == "GET" and _PAGE.fullmatch(path)
        wanted = f"{path}?{query}" if query else path
        # The browser holds back the cookie because the link is on another page. The next request
        # comes from this page.
        if is_page and _is_from_elsewhere(headers):
            return _redirect_from_here(access, access.next_page(wanted))
        if not access.password:
            text = "open the URL with the token that `digitd review` printed"
            return error_response(access, headers, text, 401)
        if scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
            return_to = f"?{urlencode({'next': wanted})}" if is_page and path != "/" else ""
            return RedirectResponse(f"{access.path}{LOGIN_PATH}{return_to}", 303)
        return error_response(access, headers, "log in first: load the page again", 401)

    def _exchange_token(self, tokens: list[str], headers: Headers) -> Response:
        """Turn the token in the URL into a cookie."""
        access = self._access
        if len(tokens) != 1 or not access.is_token(tokens[0]):
            text = "this token is not valid: open the URL that `digitd review` printed"
            return error_response(access, headers, text, 403)
        home = access.next_page("/")
        if _is_from_elsewhere(headers):
            return with_cookie(access, _redirect_from_here(access, home))
        return with_cookie(access, RedirectResponse(home, 303))

    def _has_token(self, headers: Headers) -> bool:
        """Return whether a cookie, or a bearer token (Prometheus sends one), is right."""
        access = self._access
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and access.is_token(token):
            return True
        # A page on another path of this host may have set a cookie with the same name.
        cookies = [
            pair.partition("=") for sent in headers.getlist("cookie") for pair in sent.split(";")
        ]
        return any(
            name.strip() == access.cookie and access.is_session(value.strip())
            for name, _, value in cookies
        )


def with_cookie(access: Access, response: Response) -> Response:
    """Return a response that also logs the browser in."""
    response.set_cookie(
        access.cookie,
        access.session,
        max_age=_YEAR_SECONDS,
        path=access.path or "/",
        secure=access.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return response


def error_response(access: Access, headers: Headers, text: str, status: int) -> Response:
    """Return an error: a page if a person opens a page, or else JSON."""
    if "text/html" not in headers.get("accept", ""):
        return JSONResponse({"error": text}, status)
    page = render(
        "error.html",
        root=access.path,
        heading=_HEADINGS.get(status, HTTPStatus(status).phrase),
        text=f"{text[:1].upper()}{text[1:]}.",
        home="" if status == HTTPStatus.UNAUTHORIZED else access.next_page("/"),
        can_try_again=status in _PASSING,
    )
    return HTMLResponse(page, status)


def _redirect_from_here(access: Access, target: str) -> Response:
    """Return a page that leads to another: the next request is this page's.

    After a redirect by status, the next request still counts as that of the page with the link.
    """
    return HTMLResponse(render("redirect.html", root=access.path, target=target))


def _is_from_elsewhere(headers: Headers) -> bool:
    """Return whether a browser says that a page on another origin led to a request."""
    return any(site not in {"same-origin", "none"} for site in headers.getlist("sec-fetch-site"))


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


async def read_body(request: Request, most_bytes: int = MOST_BODY_BYTES) -> bytes:
    """Return a request's whole body, which must be short.

    Raises:
        HTTPException: it is too long, or did not arrive in time.
    """
    body = b""
    async for block in stream_body(request):
        body += block
        if len(body) > most_bytes:
            raise HTTPException(413, "the request is too long")
    return body
