"""Put files into the inbox: new ones, and those that are retried from ``failed/``.

A file appears there whole, under a name that is free.
"""

import errno
import fnmatch
import os
import re
import secrets
import stat
import string
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path, PurePath

from daemon.config import Config
from daemon.errors import RetryError, describe
from daemon.files import move_noreplace, publish_part
from daemon.inbox.listing import Listing, natural
from daemon.layout import FAILED, fit_name
from daemon.outbox.archive import dropped_name, is_file_name, list_names
from daemon.pattern import IMAGES, compile_globs
from daemon.reading import formats

# The inbox never reads names that start with a dot.
_PREFIX = ".digitd-new-"
_STALE_SECONDS = 3600.0  # nobody still writes to a file that has not changed for that long
_MOST_NAMES = 10_001  # that are tried for a file; one more than may wait in the inbox
# What a glob consists of; a wildcard that stands for one character takes one of these.
_GLOB_PART = re.compile(r"\*|\?|\[!?\]?[^\]]*\]|[^*?]", re.DOTALL)
_CHARACTERS = string.digits + string.ascii_letters


def new_part(inbox: Path) -> Path:
    """Return an unused path in the inbox to write a file to."""
    return inbox / f"{_PREFIX}{secrets.token_hex(8)}"


def remove_parts(inbox: Path) -> None:
    """Remove files whose writing was interrupted; another process may be writing newer ones."""
    with suppress(FileNotFoundError):
        for part in inbox.glob(f"{_PREFIX}*"):
            # Not the mtime: a copy from another file system gets that of its source.
            if time.time() - part.stat().st_ctime > _STALE_SECONDS:
                part.unlink(missing_ok=True)


def add_file(config: Config, part: Path, name: str, is_taken: Callable[[str], bool]) -> str | None:
    """Give a written file a free name in the inbox that digitd reads; return it.

    Args:
        config: names the inbox.
        part: from ``new_part``.
        name: the name that the file should have. It is numbered if it is taken. If no ``pattern``
            matches it, an image gets a name that one matches.
        is_taken: returns whether a name must not be given, even if no file in the inbox has it.

    Returns:
        The name; ``None`` if no ``pattern`` matches and it is not an image.

    Raises:
        FileExistsError: no name is free.
        OSError: the file cannot be renamed.
    """
    with part.open("rb") as file:
        found = formats.sniff(file.read(formats.HEAD_BYTES))
    matches = compile_globs(config.pattern)
    if found is None and not matches(name):
        return None
    ending = "" if found is None else f".{found.lower()}"
    for number in range(1, _MOST_NAMES + 1):
        free = next(filter(matches, _names(config.pattern, name, ending, number)), None)
        # Without renaming, trying 10,000 names takes 20 ms.
        if free is not None and not is_taken(free) and not os.path.lexists(config.inbox / free):
            with suppress(FileExistsError):
                publish_part(part, config.inbox / free)
                return free
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(config.inbox / name))


def _names(globs: tuple[str, ...], name: str, ending: str, number: int) -> Iterator[str]:
    """Yield a file's numbered names, best first; ``ending`` is its format's, if it is an image."""
    suffix = PurePath(name).suffix
    stem = name.removesuffix(suffix)
    # image.jpg, image_2.jpg and image_10.jpg are read in this order.
    numbered = stem if number == 1 else f"{fit_name(stem, 32)}_{number}"
    yield fit_name(numbered, len(suffix.encode())) + suffix
    if ending:
        yield fit_name(numbered, len(ending)) + ending
        for glob in globs:
            if glob != IMAGES:
                yield _fill(glob, fit_name(numbered, len(glob.encode())), number - 1)


def _fill(glob: str, text: str, number: int) -> str:
    """Return a name that a glob matches: with a text for its first ``*``, or else with a number."""
    parts = [part[0] for part in _GLOB_PART.finditer(glob)]
    left = 0 if "*" in parts else number
    for place in reversed(range(len(parts))):
        if parts[place] == "*":
            parts[place] = text if "*" not in parts[:place] else ""
        elif parts[place] == "?" or len(parts[place]) > 1:
            allowed = [c for c in _CHARACTERS if fnmatch.fnmatchcase(c, parts[place])]
            left, chosen = divmod(left, len(allowed) or 1)
            parts[place] = allowed[chosen] if allowed else ""
    return "".join(parts)


def list_failed(outbox: Path) -> list[str]:
    """Return the names of the files in ``failed/`` in natural order."""
    return sorted(filter(is_file_name, list_names(outbox / FAILED)), key=_order)


def _order(name: str) -> tuple[str, str, str]:
    """Sort by the day, and a name before the names that it got with an id."""
    day, _, file = name.rpartition("/")
    dropped = dropped_name(file)
    return day, natural(dropped), file if file != dropped else ""


def is_failed(outbox: Path, name: str) -> bool:
    """Return whether a file in ``failed/`` has a name; see ``retry_file``."""
    return is_file_name(name) and os.path.lexists(outbox / FAILED / name)


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
    if not is_failed(config.outbox, name):
        named = Path(name).name
        files = list_failed(config.outbox)
        same = [one for one in files if dropped_name(Path(one).name) == named]
        remedy = f"name {' or '.join(same)}" if same else "list this folder for the names"
        raise RetryError(f"{name}: is not in {config.outbox / FAILED}: {remedy}")
    if not stat.S_ISREG(source.lstat().st_mode):
        raise RetryError(f"{name}: is not a regular file: remove it from {source.parent}")
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
