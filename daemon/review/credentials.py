"""What a browser must know: the token, or the password and the cookie that a login gives."""

import base64
import hmac
import logging
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

from daemon.errors import ReviewError
from daemon.records import Stamp

log = logging.getLogger(__name__)

_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_LONGEST_PASSWORD = 1000  # bytes; the form with it must fit into a request of MOST_BODY_BYTES


class PasswordFile:
    """A file whose first line is the password; a running page follows a change of it."""

    def __init__(self, file: Path) -> None:
        """Read the password.

        Raises:
            ReviewError: see ``read_password``.
        """
        self._file = file
        self._stamp: Stamp | None = None
        self._password = read_password(file)

    @property
    def password(self) -> str:
        """The password that the file had when it was last usable."""
        with suppress(OSError):
            stamp = Stamp.of(self._file.stat())
            if stamp != self._stamp:
                self._stamp = stamp
                try:
                    self._password = read_password(self._file)
                except ReviewError as error:
                    log.warning("the password is the one of before: %s", error)
        return self._password


def read_password(file: Path) -> str:
    """Return the first line of a password file, without spaces around it.

    Raises:
        ReviewError: it cannot be read, has no password, or other users can read it.
    """
    try:
        with file.open("rb") as content:
            mode = os.fstat(content.fileno()).st_mode
            first, *_ = content.read(_LONGEST_PASSWORD).splitlines() or [b""]
        # An editor on Windows adds a byte order mark, which nobody types.
        password = first.decode("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ReviewError(f"{file}: cannot be read: {error}: write a password into it") from None
    if mode & 0o007:
        raise ReviewError(f"{file}: other users can read it: run `chmod o= {file}`")
    if not password:
        raise ReviewError(f"{file}: its first line is empty: write a password there")
    if not password.isprintable():
        raise ReviewError(
            f"{file}: its first line has characters that cannot be typed: save it as UTF-8 text"
        )
    return password


def load_token(file: Path) -> str:
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


def session_of(token: str, password: str) -> str:
    """Return the cookie's value: it follows from the token, and differs for each password.

    So a new password ends all logins, and a restart none.
    """
    if not password:
        return token
    digest = hmac.digest(token.encode(), password.encode(), "sha256")
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")  # a cookie with = is quoted
