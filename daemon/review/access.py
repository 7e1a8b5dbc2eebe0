"""Who may use the page: the addresses it answers to, the token, the password."""

import hmac
import ipaddress
import os
import re
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

from daemon.errors import ReviewError
from daemon.layout import REVIEW_KEY

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


@dataclass(frozen=True, slots=True)
class Access:
    """Who may use a page.

    Attributes:
        names: the values of Host that it answers to, without the port: `ssh -L` may change it.
        any_address: also answer to addresses, which no DNS server can rebind.
        token: what a browser must know.
        cookie: the name of the cookie that holds it; browsers don't separate cookies by port.
        scheme: http or https.
        password: what a person must know instead of the token; empty on a loopback address.
    """

    names: frozenset[str]
    any_address: bool
    token: str
    cookie: str
    scheme: str
    password: str = ""

    def answers_to(self, host: str) -> bool:
        """Return whether the value of a Host header names this page."""
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = found[1].lower()
        return name in self.names or (self.any_address and _is_address(name.strip("[]")))

    def knows(self, token: str) -> bool:
        """Return whether a text is the token."""
        return hmac.compare_digest(token.encode(), self.token.encode())

    def is_password(self, text: str) -> bool:
        """Return whether a text is the password."""
        return bool(self.password) and hmac.compare_digest(text.encode(), self.password.encode())


def access(host: str, port: int, outbox: Path, password: str = "") -> Access:
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
        token=_token(outbox / REVIEW_KEY),
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
        ReviewError: it cannot be read, is empty, or others can read it.
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


def _token(file: Path) -> str:
    """Return the token of an earlier run, so that open pages outlive a restart, or a new one."""
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
