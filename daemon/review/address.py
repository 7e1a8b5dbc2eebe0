"""Where the review page is served: the address it listens on, and the URL that a browser opens."""

import ipaddress
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from daemon.errors import ReviewError

_BACKLOG = 128
_PORTS = {"http": 80, "https": 443}  # that a browser leaves out of Origin and Host
_EVERYWHERE = frozenset({"0.0.0.0", "[::]"})  # noqa: S104 - to listen on, not to open
_NAME = re.compile(r"[a-z0-9._-]+")
_PATH = re.compile(r"(?:/(?!\.\.?(?:/|$))[A-Za-z0-9._~-]+)*/?")
# A proxy may remove the path of the public URL or not. Below one of these nobody could tell.
OWN_FOLDERS = frozenset(
    {"api", "events", "gallery", "healthz", "image", "live", "login", "look", "metrics"}
    | {"models", "results.csv", "results.xlsx", "row", "static"}
)
# Nothing is sent to these (RFC 5737, RFC 3849): connecting only chooses an address of this machine.
_ELSEWHERE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}


@dataclass(frozen=True, slots=True)
class PublicUrl:
    """The page's URL at a reverse proxy.

    Attributes:
        scheme: http or https.
        host: as browsers send it in Host, without the port.
        origin: as browsers send it in Origin.
        path: such as ``/digits``; empty if the page has the whole host.
    """

    scheme: str
    host: str
    origin: str
    path: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the parts of a URL.

        Raises:
            ValueError: it is not the URL of a page; the message says what is wrong and what to do.
        """
        try:
            parts = urlsplit(text)
            host = _browsers_name(parts.hostname or "")
            port = parts.port
        except ValueError as error:
            raise ValueError(f"is not a URL: {error}: correct it") from None
        origin = f"{parts.scheme}://{host}"
        if port not in {None, _PORTS.get(parts.scheme)}:
            origin += f":{port}"
        path = parts.path.rstrip("/")
        is_plain = (
            text.isprintable()  # urlsplit drops line breaks
            and parts.scheme in _PORTS
            and parts.username is None
            and _PATH.fullmatch(parts.path)
            and not (parts.query or parts.fragment)
        )
        if not host or not is_plain:
            raise ValueError(
                "must be http:// or https://, a host and perhaps a path of letters and digits, "
                "such as https://digits.example.org/review"
            )
        if port == 0 or host in _EVERYWHERE:
            raise ValueError(
                "cannot be opened by a browser: name a host, and no port or the proxy's"
            )
        if path.partition("/")[2].partition("/")[0] in OWN_FOLDERS:
            raise ValueError(f"{path} is a path of the page's own: choose another")
        return cls(parts.scheme, host, origin, path)


@dataclass(frozen=True, slots=True)
class Address:
    """Where to serve the page, and for whom.

    Attributes:
        certificate, key: for TLS; both or neither.
        password_file: its first line is asked for instead of a token in the URL.
        public: where a reverse proxy serves it; ``None`` without a proxy.
    """

    host: str = "127.0.0.1"
    port: int = 0
    certificate: Path | None = None
    key: Path | None = None
    password_file: Path | None = None
    public: PublicUrl | None = None

    @classmethod
    def create(cls, public_url: str | None = None, **fields: Any) -> Self:  # noqa: ANN401 - the fields
        """Return an address that can be served.

        Raises:
            ValueError: it must not be served; the message names the option.
        """
        try:
            public = None if public_url is None else PublicUrl.parse(public_url)
        except ValueError as error:
            raise ValueError(f"--public-url {public_url}: {error}") from None
        address = cls(**fields, public=public)
        address._check()
        return address

    @property
    def scheme(self) -> str:
        """The scheme of the URL that a browser opens."""
        if self.public is not None:
            return self.public.scheme
        return "https" if self.certificate else "http"

    def _check(self) -> None:
        """Check that nobody can read what is sent, and that only this machine needs no password.

        Raises:
            ValueError: says which option is missing.
        """
        is_local = self.public is not None and is_loopback(self.public.host.strip("[]"))
        if self.public is not None and not is_local:
            if self.public.scheme != "https":
                raise ValueError("--public-url can be opened on other machines: it must be https")
            if self.password_file is None:
                raise ValueError(
                    "--public-url can be opened on other machines: give --password-file too"
                )
        secured = (self.certificate, self.key, self.password_file)
        if not is_loopback(self.host) and not is_local and not all(secured):
            raise ValueError(
                f"--host {self.host} can be reached from other machines: give --tls-cert, "
                "--tls-key and --password-file too, or leave it out and use `ssh -L`"
            )
        if self.public is None and any(secured) and not all(secured):
            raise ValueError("--tls-cert, --tls-key and --password-file belong together")
        if bool(self.certificate) != bool(self.key):
            raise ValueError("--tls-cert and --tls-key belong together")

    def listen(self) -> socket.socket:
        """Return a listening socket.

        Raises:
            ReviewError: the address cannot be used.
        """
        try:
            family, _, _, _, found = socket.getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM
            )[0]
            # asyncio sets TCP_NODELAY only on sockets with a protocol. Nagle's algorithm would hold
            # the body of a response until the browser acknowledges its headers, up to 40 ms later.
            listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(found)
        except (OSError, OverflowError, UnicodeError) as error:
            raise ReviewError(
                f"{self.host} port {self.port}: cannot be used: {error}: name others with --host "
                "and --port"
            ) from None
        listening.listen(_BACKLOG)
        return listening

    def url(self, listening: socket.socket) -> str:
        """Return the URL that a browser opens."""
        if self.public is not None:
            return f"{self.public.origin}{self.public.path}/"
        bound, port = listening.getsockname()[:2]
        host = self.host
        if ipaddress.ip_address(bound.partition("%")[0]).is_unspecified:
            host = _find_own_address(listening.family)
        return f"{self.scheme}://{bracket(host)}:{port}/"


def is_loopback(host: str) -> bool:
    """Return whether an address or a name is this machine's own."""
    return host == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback)


def is_address(text: str) -> bool:
    """Return whether a text is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def bracket(host: str) -> str:
    """Return a host as it is written in a URL."""
    return f"[{host}]" if ":" in host else host


def _browsers_name(host: str) -> str:
    """Return a host as browsers write it; empty if they would not."""
    if is_address(host):
        return bracket(ipaddress.ip_address(host).compressed)
    name = host.encode("idna").decode().lower()
    return name if _NAME.fullmatch(name) else ""


def _find_own_address(family: socket.AddressFamily) -> str:
    """Return the address under which other machines reach this one, or else the loopback one."""
    # A socket that listens on all IPv6 addresses usually listens on all IPv4 addresses too.
    for kind in dict.fromkeys((family, socket.AF_INET)):
        with socket.socket(kind, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((_ELSEWHERE[kind], 9))
            except OSError:  # there is no route
                continue
            return str(probe.getsockname()[0])
    return "::1" if family == socket.AF_INET6 else "127.0.0.1"
