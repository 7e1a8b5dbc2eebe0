"""Refuse requests that do not come from the page itself, before anything else sees them."""

from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from daemon.review.access import Access

LOGIN_PATH, STYLE_PATH = "/login", "/static/style.css"  # what a browser needs to log in
HEALTH_PATH = "/healthz"  # what a load balancer asks for, without a token
_METHODS = frozenset({"GET", "HEAD", "POST"})
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
_YEAR_SECONDS = 31_536_000


class Guard:
    """ASGI middleware that decides on the headers as they were sent, not on a URL made of them."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one request; pass it on or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # a WebSocket is never accepted
        headers = _headers(scope)
        refusal = self._refusal(scope, headers)

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    added[name] = value
                added.setdefault("cache-control", "no-store")
                # What is left of the body is not read.
                if message["status"] >= 400:  # noqa: PLR2004 - client and server errors
                    added["connection"] = "close"
            await send(message)

        await (refusal or self._app)(scope, receive, send_safely)

    def _refusal(self, scope: Scope, headers: dict[str, list[str]]) -> Response | None:
        """Return the answer to a request that is not passed on; ``None`` if it is."""
        return self._foreign(scope, headers) or self._unknown(scope, headers)

    def _foreign(self, scope: Scope, headers: dict[str, list[str]]) -> Response | None:
        """Refuse what another page, or a rebound DNS name, could send."""
        host = headers.get("host", [])
        if len(host) != 1 or not self._access.answers_to(host[0]):
            return _refused("this address is not served here: open the URL that digitd printed")
        if not self._is_own(scope, headers, host[0]):
            return _refused("the request comes from another page")
        if scope["method"] not in _METHODS:
            return _refused("this method is not allowed", 405)
        return None

    def _unknown(self, scope: Scope, headers: dict[str, list[str]]) -> Response | None:
        """Refuse, or let in, a browser that has not proved yet that it may use the page."""
        tokens = parse_qs(scope["query_string"].decode("latin-1")).get("token")
        if scope["path"] == "/" and tokens and not self._access.password:
            return self._enter(tokens)
        if self._has_token(headers) or scope["path"] == HEALTH_PATH:
            return None
        if not self._access.password:
            return _refused("open the URL with the token that `digitd review` printed", 401)
        if scope["path"] in {LOGIN_PATH, STYLE_PATH}:
            return None
        if scope["method"] == "GET" and "text/html" in "".join(headers.get("accept", [])):
            return RedirectResponse(LOGIN_PATH, 303)
        return _refused("log in first", 401)

    def _is_own(self, scope: Scope, headers: dict[str, list[str]], host: str) -> bool:
        """Return whether a request comes from this page, or from no page."""
        origins = headers.get("origin", [])
        if any(origin.lower() != f"{self._access.scheme}://{host}".lower() for origin in origins):
            return False
        sites = headers.get("sec-fetch-site", [])
        if all(site in {"same-origin", "none"} for site in sites):
            return True
        # A link elsewhere may lead here. It brings no cookie, so it can only bring a token.
        return (
            scope["method"] == "GET"
            and headers.get("sec-fetch-mode") == ["navigate"]
            and headers.get("sec-fetch-dest") == ["document"]
        )

    def _has_token(self, headers: dict[str, list[str]]) -> bool:
        """Return whether a browser has the cookie, or a program such as Prometheus the token."""
        for header in headers.get("authorization", []):
            scheme, _, token = header.partition(" ")
            if scheme.lower() == "bearer" and self._access.knows(token):
                return True
        cookies: SimpleCookie = SimpleCookie()
        for header in headers.get("cookie", []):
            try:
                cookies.load(header)
            except CookieError:
                return False
        cookie = cookies.get(self._access.cookie)
        return cookie is not None and self._access.knows(cookie.value)

    def _enter(self, tokens: list[str]) -> Response:
        """Turn the token in the URL into a cookie."""
        if len(tokens) != 1 or not self._access.knows(tokens[0]):
            return _refused("this token is not valid: open the URL that `digitd review` printed")
        return let_in(self._access)


def let_in(access: Access) -> Response:
    """Return the answer to a browser that has proved that it may use the page."""
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


def _headers(scope: Scope) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
    return found


def _refused(why: str, status: int = 403) -> Response:
    return PlainTextResponse(f"digitd review: {why}\n", status)
