"""Serve the review page: lock the outbox, listen, print the URL, run until stopped."""

import asyncio
import logging
import os
import signal
import sqlite3
import threading
import webbrowser
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, ClassVar, cast

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from daemon.config import Config
from daemon.errors import (
    BusyError,
    DigitdError,
    ReviewError,
    StorageError,
    describe,
)
from daemon.inbox import put
from daemon.layout import REVIEW_INDEX, REVIEW_LOCK
from daemon.locks import Lock
from daemon.outbox.results import check_outbox
from daemon.review import queries
from daemon.review.activity import ActivityWatch, ConfigFile
from daemon.review.address import Address
from daemon.review.answers import Answers, UnknownRowError
from daemon.review.api import Api
from daemon.review.follow import Follower
from daemon.review.images import Images
from daemon.review.index import Index
from daemon.review.look import LookThrough
from daemon.review.models import Models
from daemon.review.pages import Pages
from daemon.review.security import Guard, create_access, error_response
from daemon.review.state import AppState
from daemon.review.uploads import Uploads

log = logging.getLogger(__name__)

# A browser opens six connections. Each takes a descriptor and 20 kB.
MOST_CONNECTIONS = 256
_REQUEST_SECONDS = 15.0
_STOP_SECONDS = 3
# What is said where a route gives no reason.
_PLAIN = {
    404: "there is no page at this address: check it for a typing error",
    405: "this method is not allowed here",
}


class BoundedConnection(asyncio.Protocol):
    """Passes a connection on to uvicorn's HTTP protocol, and closes it if it is idle too long.

    A connection is idle while no request of it is being answered. An idle one has
    ``_REQUEST_SECONDS`` to send the headers of a request, for which uvicorn would wait for ever.
    If there are more than ``MOST_CONNECTIONS``, the one that has been idle for longest is closed;
    uvicorn's ``limit_concurrency`` would refuse the new one instead.
    """

    _open: ClassVar[set["BoundedConnection"]] = set()
    _idle: ClassVar[OrderedDict["BoundedConnection", asyncio.TimerHandle]] = OrderedDict()

    def __init__(self, app_state: dict[str, Any], **uvicorns: Any) -> None:  # noqa: ANN401 - uvicorn's
        # uvicorn copies this into the scope of each request, where ``track_requests`` finds it.
        state = {**app_state, "connection": self}
        self._http: asyncio.Protocol = H11Protocol(app_state=state, **uvicorns)
        self.data_received = self._http.data_received  # type: ignore[method-assign]
        self.eof_received = self._http.eof_received  # type: ignore[method-assign]
        self.pause_writing = self._http.pause_writing  # type: ignore[method-assign]
        self.resume_writing = self._http.resume_writing  # type: ignore[method-assign]
        self._requests = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the place of the oldest idle connection if there are too many."""
        self._transport = cast("asyncio.Transport", transport)
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

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Be busy while a request is answered."""
        self._requests += 1
        self._stop_idling()
        try:
            yield
        finally:
            self._requests -= 1
            if not self._requests and self in self._open:
                self._start_idling()

    def _start_idling(self) -> None:
        loop = asyncio.get_running_loop()
        self._idle[self] = loop.call_later(_REQUEST_SECONDS, self._abort)

    def _stop_idling(self) -> None:
        if self in self._idle:
            self._idle.pop(self).cancel()

    def _abort(self) -> None:
        self._open.discard(self)
        self._stop_idling()
        self._transport.abort()


def track_requests(app: ASGIApp) -> ASGIApp:
    """Return an application that tells each ``BoundedConnection`` about its requests."""

    async def tracked(scope: Scope, receive: Receive, send: Send) -> None:
        with scope["state"]["connection"].answering():
            await app(scope, receive, send)

    return tracked


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, which raise the signal again at the end."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the handlers that ``serve`` has set."""
        yield


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
        ReviewError: the address or the password file cannot be used.
        OSError: the outbox cannot be used.
    """
    check_outbox(config.outbox)
    with ExitStack() as stack:
        _lock(config.outbox, stack)
        listening = stack.enter_context(address.listen())
        put.remove_parts(config.inbox)
        access = create_access(address, listening.getsockname()[1], config.outbox)
        index = _open_index(config.outbox)
        stack.callback(index.close)
        follower = Follower(config.outbox, index)
        follower.start()
        stack.callback(follower.stop)
        images = Images(config.outbox, config.max_megapixels, config.max_file_mb)
        stack.callback(images.close)
        server: _Server | None = None
        config_file = ConfigFile(config)
        state = AppState(
            config_file=config_file,
            access=access,
            follower=follower,
            images=images,
            answers=Answers(config.outbox, follower),
            user=user,
            activity=ActivityWatch(config_file, lambda: queries.count_last_minute(index.reader())),
            is_stopping=lambda: server is not None and server.should_exit,
        )
        settings = _configure(track_requests(Guard(_create_app(state), access)), address)
        server = _Server(settings)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, server.handle_exit)
        # The socket is listening: the first requests wait until uvicorn accepts them.
        token = "" if access.password else f"?token={access.token}"
        on_ready(f"{address.url(listening)}{token}")
        asyncio.run(server.serve(sockets=[listening]))


def open_browser(url: str) -> None:
    """Open the page in the person's browser, if this machine has a screen."""
    # Without one, webbrowser would start a text browser in the terminal.
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return
    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()


def _create_app(state: AppState) -> Starlette:
    async def show_error(request: Request, error: Exception) -> Response:
        if isinstance(error, ClientDisconnect):
            return Response(status_code=400)
        if isinstance(error, sqlite3.Error):  # perhaps because it is in an outbox that is away
            try:
                await anyio.to_thread.run_sync(state.config_file.last.outbox.stat)
            except OSError as missing:
                error = missing
        return error_response(state.access, request.headers, *_describe(error))

    app = Starlette(
        routes=[
            *Pages(state).routes(),
            *Api(state).routes(),
            *LookThrough(state).routes(),
            *Models(state).routes(),
            *Uploads(state).routes(),
        ],
        # For Exception, Starlette answers in the same way, and raises it again.
        exception_handlers=dict.fromkeys(
            (
                *(HTTPException, UnknownRowError, sqlite3.Error, OSError, DigitdError),
                *(ClientDisconnect, Exception),
            ),
            show_error,
        ),
    )
    app.router.redirect_slashes = False  # it would build a URL from the request
    return app


def _describe(error: Exception) -> tuple[str, int]:
    """Return what an error tells a person, and its status."""
    if isinstance(error, HTTPException):
        is_plain = error.detail == HTTPStatus(error.status_code).phrase
        text = _PLAIN.get(error.status_code, error.detail) if is_plain else error.detail
        return text, error.status_code
    if isinstance(error, UnknownRowError):
        return "no row has this id, or its table is gone", 404
    if isinstance(error, OSError):
        log.warning("the outbox cannot be read now: %s", describe(error))
        return f"the outbox cannot be read now: {describe(error)}", 503
    if isinstance(error, sqlite3.Error):
        log.warning("the index cannot be read now: %s", error)
        return "the list of files is being built: try again in a moment", 503
    if isinstance(error, DigitdError):
        log.warning("a request cannot be answered now: %s", error)
        return str(error), 503
    log.error("a request failed, which is a bug in digitd", exc_info=error)
    return "this is a bug in digitd: the log of `digitd review` has the details", 500


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
            f"{outbox}: cannot be written: {error.strerror}: run this as a user who can write "
            "there, such as the one that digitd runs as"
        ) from None
    stack.callback(lock.release)


def _open_index(outbox: Path) -> Index:
    try:
        return Index(outbox)
    except sqlite3.Error as error:
        raise StorageError(
            f"{outbox / REVIEW_INDEX}: cannot be created: {error}: free some space, or check its "
            "permissions"
        ) from None


def _configure(app: ASGIApp, address: Address) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        http=BoundedConnection,
        ws="none",
        loop="asyncio",
        lifespan="off",
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
