"""Serve the review page: lock the outbox, listen, print the URL, run until stopped."""

import asyncio
import os
import resource
import signal
import socket
import sqlite3
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from daemon.config import Config
from daemon.errors import BusyError, ConfigError, ReviewError, StorageError
from daemon.files import Lock
from daemon.inbox import deposit
from daemon.layout import REVIEW_INDEX, REVIEW_LOCK
from daemon.outbox.table import check_header
from daemon.review.access import Access, access
from daemon.review.answers import Answers
from daemon.review.app import application
from daemon.review.connections import MOST, BoundedProtocol
from daemon.review.guard import Guard
from daemon.review.images import Images
from daemon.review.index import Index
from daemon.review.indexer import Indexer
from daemon.review.site import Site

_BACKLOG = 128
_STOP_SECONDS = 3
_FILES = 4 * MOST  # descriptors


@dataclass(frozen=True, slots=True)
class Address:
    """Where to serve the page; with a password file and TLS on other than loopback addresses."""

    host: str
    port: int
    password: str = ""
    certificate: Path | None = None
    key: Path | None = None


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
    _allow_files()
    with ExitStack() as stack:
        _lock(config.outbox, stack)
        listening = stack.enter_context(_listen(address))
        deposit.remove_parts(config.inbox)
        port = listening.getsockname()[1]
        allowed = access(address.host, port, config.outbox, address.password)
        index = _index(config.outbox)
        stack.callback(index.close)
        indexer = Indexer(config.outbox, index)
        indexer.start()
        stack.callback(indexer.stop)
        images = Images(config)
        stack.callback(images.close)
        server: _Server | None = None
        site = Site(
            config=config,
            access=allowed,
            index=index,
            indexer=indexer,
            images=images,
            answers=Answers(config.outbox, index, indexer),
            user=user,
            is_stopping=lambda: server is not None and server.should_exit,
        )
        settings = _uvicorn(Guard(application(site), allowed), address)
        url = _url(allowed, address.host, port)
        server = _Server(settings, lambda: on_ready(url))
        asyncio.run(server.serve(sockets=[listening]))


def open_browser(url: str) -> None:
    """Open the page in the person's browser, if this machine has a screen."""
    # Without one, webbrowser would start a text browser in the terminal.
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return
    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()


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


def _index(outbox: Path) -> Index:
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


def _uvicorn(app: Guard, address: Address) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
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


def _url(allowed: Access, host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    token = "" if allowed.password else f"?token={allowed.token}"
    return f"{allowed.scheme}://{shown}:{port}/{token}"


def _allow_files() -> None:
    """Raise the soft limit of open files, so that many connections leave some for files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
