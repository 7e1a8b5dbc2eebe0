"""Take files from the page into the inbox."""

from collections.abc import AsyncIterator
from pathlib import Path

import anyio

from daemon.config import Config
from daemon.inbox import deposit
from daemon.inbox.listing import Listing
from daemon.layout import NAME_BYTES

# The inbox is listed by people and by digitd: a browser must not fill it without bound.
MOST_WAITING = 10_000


class DropError(Exception):
    """A file is not taken; the text says why and what to do, ``status`` is HTTP's."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


def check(config: Config, name: str, size: int | None) -> None:
    """Check that a file can be taken, before any of it is received.

    Args:
        config: names the inbox and limits the size.
        name: the file's name, as the browser sent it.
        size: its announced size in bytes; ``None`` if it was not announced.

    Raises:
        DropError: it cannot.
    """
    if not name or "/" in name or "\\" in name or not name.isprintable():
        raise DropError("this is not a file name: rename the file", 400)
    if len(name.encode("utf-8", "surrogateescape")) > NAME_BYTES:
        raise DropError("the name is too long: rename the file", 400)
    listing = Listing(config.inbox, config.pattern)
    if not listing.matches(name):
        patterns = " or ".join(config.pattern)
        raise DropError(
            f"digitd would ignore this name: rename the file to match {patterns}, or change "
            "`pattern` in the config",
            422,
        )
    if size is None:
        raise DropError("its size was not announced: use a browser", 411)
    if size > _limit(config):
        raise DropError(f"larger than {config.max_file_mb:g} MB: digitd would refuse it", 413)
    if sum(1 for _ in listing) >= MOST_WAITING:
        raise DropError("too many files are waiting: try again when some have been read", 503)


async def receive(config: Config, name: str, body: AsyncIterator[bytes]) -> None:
    """Write a file into the inbox: under a dot-name first, then by rename.

    Raises:
        DropError: it is larger than allowed, or its name is taken.
        OSError: it cannot be written.
    """
    part = deposit.new_part(config.inbox)
    try:
        await _write(part, body, _limit(config))
        await anyio.to_thread.run_sync(deposit.finish, part, config.inbox / name)
    except FileExistsError:
        raise DropError(
            "a file with this name is waiting in the inbox: drop it again when that one has been "
            "read",
            409,
        ) from None
    finally:
        part.unlink(missing_ok=True)


async def _write(part: Path, body: AsyncIterator[bytes], limit: int) -> None:
    received = 0
    async with await anyio.open_file(part, "xb") as file:
        async for block in body:
            received += len(block)
            if received > limit:
                raise DropError("larger than announced: try again", 413)
            await file.write(block)


def _limit(config: Config) -> int:
    return int(config.max_file_mb * 1e6)
