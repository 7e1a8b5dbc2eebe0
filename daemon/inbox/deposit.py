"""Put files into the inbox: whole, under a name that is free, never over another file."""

import errno
import os
import secrets
import shutil
import stat
import time
from contextlib import suppress
from pathlib import Path

from daemon.files import open_untrusted, rename_noreplace, sync_folder

# The inbox never reads names that start with a dot.
_PREFIX = ".digitd-new-"
_STALE_SECONDS = 3600.0  # nothing is written to a file for that long, and then finished


def new_part(inbox: Path) -> Path:
    """Return an unused path in the inbox to write a file to before ``finish``."""
    return inbox / f"{_PREFIX}{secrets.token_hex(8)}"


def finish(part: Path, target: Path) -> None:
    """Give a written file its name in the inbox, which then survives a power failure.

    Raises:
        FileExistsError: another file has this name.
        OSError: it cannot be renamed.
    """
    with part.open("rb") as written:
        os.fsync(written.fileno())
    rename_noreplace(part, target)
    sync_folder(target.parent)


def move_in(source: Path, target: Path) -> None:
    """Move a file into the inbox, which may be on another file system.

    Raises:
        FileExistsError: another file has this name.
        OSError: it cannot be moved, or is not a regular file.
    """
    if not stat.S_ISREG(source.lstat().st_mode):
        raise OSError(errno.EPERM, "is not a regular file", str(source))
    try:
        rename_noreplace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy_in(source, target)


def remove_parts(inbox: Path) -> None:
    """Remove files whose writing was interrupted; another process may be writing newer ones."""
    with suppress(FileNotFoundError):
        for part in inbox.glob(f"{_PREFIX}*"):
            if time.time() - part.stat().st_mtime > _STALE_SECONDS:
                part.unlink(missing_ok=True)


def _copy_in(source: Path, target: Path) -> None:
    part = new_part(target.parent)
    try:
        with open(open_untrusted(source), "rb") as old, part.open("xb") as new:  # noqa: PTH123 - opened safely
            shutil.copyfileobj(old, new)
            new.flush()
        finish(part, target)
    finally:
        part.unlink(missing_ok=True)
    source.unlink()
