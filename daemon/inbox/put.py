"""Put files into the inbox: new ones, and those that are retried from ``failed/``.

A file appears there whole, under a name that is free.
"""

import errno
import os
import secrets
import stat
import time
from contextlib import suppress
from pathlib import Path

from daemon.config import Config
from daemon.errors import RetryError, describe
from daemon.files import move_noreplace
from daemon.inbox.listing import Listing, natural
from daemon.layout import FAILED
from daemon.outbox.archive import dropped_name, is_file_name, list_names

# The inbox never reads names that start with a dot.
_PREFIX = ".digitd-new-"
_STALE_SECONDS = 3600.0  # nobody still writes to a file that has not changed for that long


def new_part(inbox: Path) -> Path:
    """Return an unused path in the inbox to write a file to."""
    return inbox / f"{_PREFIX}{secrets.token_hex(8)}"


def remove_parts(inbox: Path) -> None:
    """Remove files whose writing was interrupted; another process may be writing newer ones."""
    with suppress(FileNotFoundError):
        for part in inbox.glob(f"{_PREFIX}*"):
            if time.time() - part.stat().st_mtime > _STALE_SECONDS:
                part.unlink(missing_ok=True)


def list_failed(outbox: Path) -> list[str]:
    """Return the names of the files in ``failed/`` in natural order."""
    return sorted(filter(is_file_name, list_names(outbox / FAILED)), key=_order)


def _order(name: str) -> tuple[str, str, str]:
    """Sort by the day, and a name before the names that it got with an id."""
    day, _, file = name.rpartition("/")
    dropped = dropped_name(file)
    return day, natural(dropped), file if file != dropped else ""


def retry_file(config: Config, name: str) -> str:
    """Move a file from ``failed/`` into the inbox, where it is read again as a new file.

    Args:
        config: names the inbox and the outbox.
        name: in ``failed/``; with the folder of the day if there is one.

    Returns:
        Its name in the inbox.

    Raises:
        RetryError: it was not moved; says why and what to do.
    """
    source = config.outbox / FAILED / name
    if not is_file_name(name) or not os.path.lexists(source):
        folder = config.outbox / FAILED
        raise RetryError(f"{name}: is not in {folder}: list this folder for the names")
    listing = Listing(config.inbox, config.pattern)
    # The name under which it was dropped, or else the one that was free in the outbox.
    names = dict.fromkeys((dropped_name(source.name), source.name))
    wanted = [one for one in names if listing.matches(one)]
    if not wanted:
        raise RetryError(
            f"{name}: would be ignored in the inbox, because no `pattern` matches it: add one in "
            "the config"
        )
    part = new_part(config.inbox)
    for free in wanted:
        try:
            if not stat.S_ISREG(source.lstat().st_mode):
                raise PermissionError(errno.EPERM, "is not a regular file", str(source))
            move_noreplace(source, config.inbox / free, part.name)
        except FileExistsError:
            continue
        except OSError as error:
            raise RetryError(
                f"{name}: cannot be moved: {describe(error)}: check both folders' permissions"
            ) from None
        finally:
            part.unlink(missing_ok=True)
        return free
    raise RetryError(
        f"{name}: a file with this name is already in the inbox: try again when it has been read"
    )
