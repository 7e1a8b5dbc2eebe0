"""Delete originals and pictures that are older than the config says; their rows stay."""

import logging
import math
import time
from collections.abc import Generator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from daemon.errors import describe
from daemon.files import replace_whole
from daemon.layout import DELETED_BEFORE, ORIGINALS, PICTURES
from daemon.outbox import archive, rows
from daemon.waiting import Timer

log = logging.getLogger(__name__)

_EVERY_SECONDS = 3600.0
_AT_ONCE = 200  # files checked in one iteration of the loop, 5 ms
_DAY_SECONDS = 86400.0


class Retention:
    """Deletes old files of one outbox, a few in each iteration of the daemon's loop.

    A file's age counts from its publication. Files in ``failed/`` stay.
    """

    def __init__(self, outbox: Path, days: float | None) -> None:
        """Take the settings; ``days`` is ``None`` to keep all files."""
        self._outbox = outbox
        self._days = days
        self._sweep: Generator[None, None, int] | None = None
        self._timer = Timer(_EVERY_SECONDS)

    def run_if_due(self) -> None:
        """Check some files and delete those that are too old; an error is only logged."""
        if self._days is None or not self._timer.is_due:
            return
        if self._sweep is None:
            self._sweep = self._delete(time.time() - self._days * _DAY_SECONDS)
        try:
            for _ in range(_AT_ONCE):
                next(self._sweep)
        except StopIteration as end:
            if end.value:
                log.info("deleted %d files older than %g days", end.value, self._days)
        except OSError as error:
            log.warning(
                "files older than %g days cannot be deleted yet: %s", self._days, describe(error)
            )
        else:
            return
        self._sweep = None
        self._timer.restart()

    def seconds_until_due(self) -> float:
        """Return in how many seconds ``run_if_due`` has work; inf if never."""
        return math.inf if self._days is None else self._timer.seconds_left

    def _delete(self, before: float) -> Generator[None, None, int]:
        """Check one file a step; return the number of deleted files.

        The time is written down before the first file is deleted, so that ``digitd audit`` knows.
        """
        deleted = 0
        for folder in (self._outbox / ORIGINALS, self._outbox / PICTURES):
            for name in archive.list_names(folder):
                yield
                path = folder / name
                with suppress(FileNotFoundError):  # somebody has deleted it
                    # The time of the rename; the content may be older.
                    if path.lstat().st_ctime >= before:
                        continue
                    if not deleted:
                        _store_deleted_before(self._outbox, before)
                    path.unlink()
                    deleted += 1
                if "/" in name and archive.day_folder(datetime.now(UTC)) not in name:
                    with suppress(OSError):  # not empty
                        path.parent.rmdir()
        return deleted


def deleted_before(outbox: Path) -> str:
    """Return the time before which published files may have been deleted; empty if none were.

    It is in the format of predictions.csv, so that it can be compared as text.
    """
    try:
        return (outbox / DELETED_BEFORE).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""


def _store_deleted_before(outbox: Path, before: float) -> None:
    moment = rows.timestamp(datetime.fromtimestamp(before, UTC))
    if moment > deleted_before(outbox):
        replace_whole(outbox / DELETED_BEFORE, f"{moment}\n".encode(), durable=True)
