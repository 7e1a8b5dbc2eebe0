"""Put files from ``failed/`` back into the inbox."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from daemon.config import Config
from daemon.errors import RetryError, describe
from daemon.inbox.deposit import move_in
from daemon.inbox.listing import Listing, natural
from daemon.layout import FAILED
from daemon.outbox.archive import dropped_name, is_file_name, list_names


@dataclass(frozen=True, slots=True)
class Retried:
    """What became of one file.

    Attributes:
        name: its name in ``failed/``.
        inbox_name: its name in the inbox; empty if it was not moved.
        fault: why it was not moved, and what to do.
    """

    name: str
    inbox_name: str = ""
    fault: RetryError | None = None


def failed_names(outbox: Path) -> list[str]:
    """Return the names of the files in ``failed/`` in natural order."""
    return sorted(filter(is_file_name, list_names(outbox / FAILED)), key=_order)


def _order(name: str) -> tuple[str, str, str]:
    """Sort by the day, and a name before the names that it got with an id."""
    day, _, file = name.rpartition("/")
    dropped = dropped_name(file)
    return day, natural(dropped), file if file != dropped else ""


def retry(config: Config, names: Iterable[str]) -> Iterator[Retried]:
    """Move files from ``failed/`` into the inbox; each is read again as a new file.

    Args:
        config: names the inbox and the outbox.
        names: in ``failed/``, with or without this folder; with the folder of the day if there is
            one.
    """
    for given in names:
        name = given.removeprefix(f"{FAILED}/")
        try:
            yield Retried(name, _retry(config, name))
        except RetryError as error:
            yield Retried(name, fault=error)


def _retry(config: Config, name: str) -> str:
    """Move one file; return its name in the inbox.

    Raises:
        RetryError: it was not moved.
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
    for free in wanted:
        try:
            move_in(source, config.inbox / free)
        except FileExistsError:
            continue
        except OSError as error:
            raise RetryError(
                f"{name}: cannot be moved: {describe(error)}: check both folders' permissions"
            ) from None
        return free
    raise RetryError(
        f"{name}: a file with this name is already in the inbox: try again when it has been read"
    )
