"""Delete originals and pictures whose rows are older than the config says; the rows stay."""

import logging
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePath

from daemon import ids
from daemon.errors import describe
from daemon.files import replace_whole
from daemon.layout import DELETED_BEFORE
from daemon.outbox import clock
from daemon.outbox.expiry import Expired, find_expired, find_files
from daemon.outbox.rows import parse_timestamp, timestamp
from daemon.text import count
from daemon.waiting import Timer

log = logging.getLogger(__name__)

_EVERY_SECONDS = 3600.0
_FILES_AT_ONCE = 200  # deleted in one iteration of the loop, 5 ms


@dataclass(frozen=True, slots=True)
class Deletions:
    """Which rows' files digitd may have deleted.

    Attributes:
        through: those of rows up to this id; empty for none. An id, because a wrong clock could
            have put a date into the future.
        before: those of rows before this date, noted by an earlier version; empty for none.
    """

    through: str = ""
    before: str = ""

    def include(self, job_id: str, processed_at: str) -> bool:
        """Return whether digitd may have deleted the files of a row."""
        return job_id <= self.through or processed_at < self.before


def load_deletions(outbox: Path) -> Deletions:
    """Return which rows' files digitd may have deleted."""
    try:
        text = (outbox / DELETED_BEFORE).read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        return Deletions()
    date, _, through = text.partition(" ")
    if ids.PATTERN.fullmatch(through):
        return Deletions(through)
    # A date in the future would explain every loss.
    is_past = parse_timestamp(date) is not None and date <= timestamp(datetime.now(UTC))
    return Deletions(before=date if is_past else "")


class Retention:
    """Deletes old files of one outbox, a few in each iteration of the daemon's loop.

    A file has the age of its row. Files in ``failed/``, and files that no row names, stay.
    """

    def __init__(self, outbox: Path, days: float | None) -> None:
        """Take the settings; ``days`` is ``None`` to keep all files."""
        self._outbox = outbox
        self._days = days
        self._sweep: Generator[None, None, None] | None = None
        self._swept = ""  # the id of the last row whose files were deleted
        self._timer = Timer(_EVERY_SECONDS)

    def run_if_due(self) -> None:
        """Do the next step of a sweep, or without ``days`` save the clocks.

        An error is only logged.
        """
        if not self._timer.is_due:
            return
        if self._days is None:
            with suppress(OSError):
                clock.check(self._outbox, report=False)
            self._timer.restart()
            return
        if self._sweep is None:
            self._sweep = self._delete(timedelta(days=self._days))
        try:
            next(self._sweep)
        except StopIteration:
            pass
        except OSError as error:
            log.error(
                "files older than %g days cannot be deleted yet: %s", self._days, describe(error)
            )
        else:
            return
        self._sweep = None
        self._timer.restart()

    def seconds_until_due(self) -> float:
        """Return in how many seconds ``run_if_due`` has work."""
        return self._timer.seconds_left

    def _delete(self, age: timedelta) -> Generator[None, None, None]:
        """Delete the files of all rows that are older than ``age``."""
        if hold := clock.check(self._outbox):
            log.info("keep_days: no file is deleted for another %.1f hours", hold / 3600)
            return
        now = datetime.now(UTC)
        expired = yield from find_expired(self._outbox, timestamp(now - age), timestamp(now))
        if expired is None or expired.last == self._swept:
            return
        yield from self._note(expired, now)
        start, deleted, failures = self._swept, 0, list[OSError]()
        while start != expired.last:
            files = yield from find_files(self._outbox, start, expired.last)
            if not start and not files.through:
                return  # the tables have changed; the next sweep reads them again
            start = files.through
            deleted += yield from self._unlink(files.paths, failures)
        if deleted:
            log.info("deleted %s older than %g days", count(deleted, "file"), self._days)
        if failures:
            raise failures[0]
        self._swept = expired.last

    def _note(self, expired: Expired, now: datetime) -> Generator[None, None, None]:
        """Write down what is going to be deleted, so that ``digitd audit`` knows."""
        before = load_deletions(self._outbox)
        through = max(before.through, expired.highest)
        if before.before:
            earlier = yield from find_expired(self._outbox, before.before, timestamp(now))
            through = max(through, earlier.highest if earlier else "")
        text = f"{expired.date} {through}\n"
        replace_whole(self._outbox / DELETED_BEFORE, text.encode(), durable=True)

    def _unlink(self, paths: list[str], failures: list[OSError]) -> Generator[None, None, int]:
        """Delete files, and the folders of days that are then empty; return their number."""
        deleted = 0
        for number, path in enumerate(paths):
            if number % _FILES_AT_ONCE == 0:
                yield
            try:
                (self._outbox / path).unlink()
                deleted += 1
            except FileNotFoundError:
                pass  # somebody has deleted it
            except OSError as error:  # the others may be deletable
                failures.append(error)
        for day in {PurePath(path).parent for path in paths if path.count("/") > 1}:
            with suppress(OSError):  # not empty
                (self._outbox / day).rmdir()
        return deleted
