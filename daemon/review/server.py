"""Serve the review page: lock the outbox, listen, print the URL, run until stopped."""

import asyncio
import logging
import os
import resource
import signal
import socket
import sqlite3
import threading
import webbrowser
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from daemon.config import Config
from daemon.errors import BusyError, ConfigError, ReviewError, StorageError
from daemon.files import Lock
from daemon.inbox import deposit
from daemon.layout import REVIEW_INDEX, REVIEW_LOCK
from daemon.outbox.table import check_header
from daemon.review.answers import Answers, UnknownRowError
from daemon.review.api import Api
from daemon.review.follow import Follower
from daemon.review.images import Images
from daemon.review.index import Index
from daemon.review.pages import Pages
from daemon.review.security import Access, Guard, create_access
from daemon.review.state import AppState

log = logging.getLogger(__name__)

# A browser opens six connections. Each takes a descriptor and 20 kB.
MOST_CONNECTIONS = 256
_REQUEST_SECONDS = 15.0
_BACKLOG = 128
_STOP_SECONDS = 3
_DESCRIPTORS = 4 * MOST_CONNECTIONS


@dataclass(frozen=True, slots=True)
class Address:
    """Where to serve the page; with a password file and TLS on other than loopback addresses."""

    host: str
    port: int
    password: str = ""
    certificate: Path | None = None
    key: Path | None = None


class BoundedConnection(asyncio.Protocol):
    """Passes a connection on to uvicorn's HTTP protocol, and closes it if it is idle too long.

    A connection is idle while no request of it is being answered. An idle one has
    ``_REQUEST_SECONDS`` to send the headers of a request, for which uvicorn would wait for ever.
    If there are more than ``MOST_CONNECTIONS``, the one that has been idle for longest is closed;
    uvicorn's ``limit_concurrency`` would refuse the new one instead.
    """

    _idle: ClassVar[OrderedDict["BoundedConnection", asyncio.TimerHandle]] = OrderedDict()
    _open: ClassVar[set["BoundedConnection"]] = set()

    def __init__(self, app_state: dict[str, Any], **uvicorns: Any) -> None:  # noqa: ANN401 - uvicorn's
        # uvicorn copies this into the scope of each request, where ``track_requests`` finds it.
        state = {**app_state, "connection": self}
        self._http: asyncio.Protocol = H11Protocol(app_state=state, **uvicorns)
        self._requests = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the place of the oldest idle connection if there are too many."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for mypy
        self._transport = transport
        self._open.add(self)
        if len(self._open) > MOST_CONNECTIONS and self._idle:
            next(iter(self._idle))._abort()  # noqa: SLF001 - of the same class
        self._start_idling()
        self._http.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Free the place."""
        self._open.discard(self)
        self._stop_idling()
        self._http.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass on what was received."""
        self._http.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass on that nothing more will be received."""
        return self._http.eof_received()

    def pause_writing(self) -> None:
        """Pass on that the peer reads slowly."""
        self._http.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that the peer has caught up."""
        self._http.resume_writing()

    def request_started(self) -> None:
        """Count a request: its headers have arrived."""
        self._requests += 1
        self._stop_idling()

    def request_answered(self) -> None:
        """Count a request down: its response was sent, or the peer is gone."""
        self._requests -= 1
        if not self._requests and self in self._open:
            self._start_idling()

    def _start_idling(self) -> None:
        loop = asyncio.get_running_loop()
        self._idle[self] = loop.call_later(_REQUEST_SECONDS, self._abort)

    def _stop_idling(self) -> None:
        timer = self._idle.pop(self, None)
        if timer is not None:
            timer.cancel()

    def _abort(self) -> None:
        self._open.discard(self)
        self._stop_idling()
        self._transport.abort()


def track_requests(app: ASGIApp) -> ASGIApp:
    """Return an application that tells each ``BoundedConnection`` about its requests."""

    async def tracked(scope: Scope, receive: Receive, send: Send) -> None:
        connection: BoundedConnection = scope["state"]["connection"]
        connection.request_started()
        try:
            await app(scope, receive, send)
        finally:
            connection.request_answered()

    return tracked


class _Server(uvicorn.Server):
    """uvicorn that tells when it is ready."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGINT and SIGTERM; uvicorn would raise them again afterwards."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.handle_exit)
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()


def serve(config: Config, address: Address, user: str, on_ready: Callable[[str], None]) -> None:
    """Serve the review page until SIGINT or SIGTERM.

    Args:
        config: names the inbox and the outbox.
        address: where to listen.
        user: the name in labels.csv of a person who gave none.
        on_ready: gets the URL when the page can be opened.

    Raises:
        BusyError: another review page serves this outbox.
        ConfigError: the outbox does not exist, or predictions.csv is not digitd's.
        ReviewError: the address cannot be used.
        OSError: the outbox cannot be used.
    """
    if not config.outbox.is_dir():
        raise ConfigError(
            f"outbox: {config.outbox} does not exist: start `digitd run` once, or name another in "
            "the config"
        )
    check_header(config.outbox)
    _raise_descriptor_limit()
    with ExitStack() as stack:
        _lock(config.outbox, stack)
        listening = stack.enter_context(_listen(address))
        deposit.remove_parts(config.inbox)
        port = listening.getsockname()[1]
        access = create_access(address.host, port, config.outbox, address.password)
        index = _open_index(config.outbox)
        stack.callback(index.close)
        follower = Follower(config.outbox, index)
        follower.start()
        stack.callback(follower.stop)
        images = Images(config.outbox, config.max_megapixels, config.max_file_mb)
        stack.callback(images.close)
        server: _Server | None = None
        state = AppState(
            config=config,
            access=access,
            follower=follower,
            images=images,
            answers=Answers(config.outbox, follower),
            user=user,
            is_stopping=lambda: server is not None and server.should_exit,
        )
        settings = _configure(track_requests(Guard(_create_app(state), access)), address)
        url = _url(access, address.host, port)
        server = _Server(settings, lambda: on_ready(url))
        asyncio.run(server.serve(sockets=[listening]))


def open_browser(url: str) -> None:
    """Open the page in the person's browser, if this machine has a screen."""
    # Without one, webbrowser would start a text browser in the terminal.
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return
    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()


def _create_app(state: AppState) -> Starlette:
    app = Starlette(
        routes=[*Pages(state).routes(), *Api(state).routes()],
        exception_handlers={
            HTTPException: _http_error,
            UnknownRowError: _unknown_row,
            sqlite3.Error: _index_busy,
            ClientDisconnect: _disconnected,
        },
    )
    app.router.redirect_slashes = False  # it would build a URL from the request
    return app


async def _http_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return JSONResponse({"error": error.detail}, error.status_code)


async def _unknown_row(_request: Request, _error: Exception) -> Response:
    return JSONResponse({"error": "no row has this id, or its table is gone"}, 404)


async def _index_busy(_request: Request, error: Exception) -> Response:
    log.warning("the index cannot be read now: %s", error)
    return JSONResponse({"error": "the index is being made: try again"}, 503)


async def _disconnected(_request: Request, _error: Exception) -> Response:
    return Response(status_code=400)


def _lock(outbox: Path, stack: ExitStack) -> None:
    lock = Lock(outbox / REVIEW_LOCK)
    try:
        lock.take()
    except BusyError:
        raise BusyError(
            f"{outbox}: another `digitd review` serves it: open its page, or stop it"
        ) from None
    except OSError as error:
        raise StorageError(
            f"{outbox}: cannot be written: {error.strerror}: run this as a user who may, such as "
            "the one that digitd runs as"
        ) from None
    stack.callback(lock.release)


def _open_index(outbox: Path) -> Index:
    try:
        return Index(outbox)
    except sqlite3.Error as error:
        raise StorageError(
            f"{outbox / REVIEW_INDEX}: cannot be made: {error}: free some space, or check the "
            "permissions"
        ) from None


def _listen(address: Address) -> socket.socket:
    try:
        family, _, _, _, found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM
        )[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(found)
    except (OSError, OverflowError) as error:
        raise ReviewError(
            f"{address.host} port {address.port}: cannot be used: {error}: name others with --host "
            "and --port"
        ) from None
    listening.listen(_BACKLOG)
    return listening


def _configure(app: ASGIApp, address: Address) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        http=BoundedConnection,
        ws="none",
        loop="asyncio",
        lifespan="off",
        backlog=_BACKLOG,
        log_config=None,
        log_level="critical",  # it logs each malformed request
        access_log=False,  # it would log the token
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=_STOP_SECONDS,
        ssl_certfile=address.certificate,
        ssl_keyfile=address.key,
    )
    try:
        config.load()
    except OSError as error:  # also SSLError
        raise ReviewError(
            f"{address.certificate}, {address.key}: cannot be used for TLS: {error}: name files in "
            "PEM format with --tls-cert and --tls-key"
        ) from None
    return config


def _url(access: Access, host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    token = "" if access.password else f"?token={access.token}"
    return f"{access.scheme}://{shown}:{port}/{token}"


def _raise_descriptor_limit() -> None:
    """Raise the soft limit of open files, so that many connections leave some for files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
