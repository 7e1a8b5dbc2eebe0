"""Commit rows and publish files; no other module writes results.

Results are committed once their rows, which name the files' final paths, are in predictions.csv and
fsynced. Only then are pictures and originals renamed into place. If the program ends in between,
the next start finds in the rows what is left to do.
"""

import errno
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from daemon.errors import ConfigError, StorageError
from daemon.files import hash_file
from daemon.layout import OUTBOX_LOCK, WORK_FOLDER, WORK_LOCK
from daemon.locks import Lock, is_held
from daemon.outbox.archive import Archive
from daemon.outbox.rows import Row, format_row
from daemon.outbox.table import Table, rows_from_the_end
from daemon.records import Job, Placement, Result
from daemon.text import printable

log = logging.getLogger(__name__)

# At most this many files are claimed and without a row at any time. So at most this many rows with
# a lower id come after a row in the table; see ``Outbox.find``.
CLAIMED_AT_MOST = 4096

_MISSING = (
    "is missing: mount its disk, or move the folder back; or create it, if you removed it to begin "
    "with an empty one"
)


@dataclass(frozen=True, slots=True)
class RecoveredRows:
    """The rows that an earlier run committed for claimed files.

    Attributes:
        placements: where the files of these rows go, by id.
        highest_id: the highest id found in the table; ``None`` if it has no rows.
    """

    placements: dict[str, Placement]
    highest_id: str | None


class Outbox:
    """One outbox, locked against other instances of digitd."""

    def __init__(self, folder: Path, config: Path | None = None, *, daily: bool = False) -> None:
        """Take the settings.

        Args:
            folder: the outbox.
            config: the config file, which is named to another digitd that wants this outbox.
            daily: whether to publish the files of each day in subfolders.
        """
        self.folder = folder
        self._lock = Lock(folder / OUTBOX_LOCK, config)
        self._table = Table(folder)
        self._archive = Archive(folder, daily=daily)

    def ensure_open(self) -> None:
        """Open the outbox if it is not open, or if the folder was replaced.

        Raises:
            BusyError: another digitd has locked it.
            ConfigError: predictions.csv is not digitd's.
            OSError: it is missing, or cannot be written.
        """
        if self._lock.is_held():
            return
        self.close()
        try:
            self._lock.take()
        except FileNotFoundError:
            raise FileNotFoundError(errno.ENOENT, _MISSING, str(self.folder)) from None
        try:
            self._archive.open()
            self._table.open()
        except (OSError, ConfigError):
            self.close()
            raise

    def close(self) -> None:
        """Close the table and unlock the folder."""
        self._table.close()
        self._lock.release()

    def commit(self, results: Sequence[Result]) -> list[Row]:
        """Append the rows of all results and fsync them once, all or none; return the rows.

        Raises:
            ConfigError, OSError: nothing was committed; the results can be committed later.
        """
        if not results:
            return []
        self.ensure_open()
        now = datetime.now(UTC)
        dated = [_set_received_before(result, now) for result in results]
        rows = [Row(result, self._archive.place(result), now) for result in dated]
        try:
            self._table.append("".join(map(format_row, rows)).encode())
        except (OSError, ConfigError):
            for row in rows:
                self._archive.release(row.placement)
            raise
        return rows

    def publish(self, job: Job, placement: Placement) -> None:
        """Move a committed job's picture and original to the paths in its row.

        Raises:
            FileExistsError: another file is there; nothing is ever overwritten.
            OSError: not all files were moved; it can be tried again.
        """
        self._archive.publish(job, placement)

    def find(self, jobs: Sequence[Job]) -> RecoveredRows:
        """Return the rows of jobs that an earlier run committed, and reserve their names.

        Compares the jobs' files with these rows, and logs an error for each that differs.
        Reads the table backwards, then the rotated tables; the compressed ones only if these do not
        have all rows. Rows with a lower id than all jobs were committed before the jobs, except at
        most ``CLAIMED_AT_MOST`` that were claimed at the same time. After more such rows there is
        nothing left to find.
        """
        wanted = {job.id: job for job in jobs}
        oldest = min(wanted, default="~")
        placements: dict[str, Placement] = {}
        highest = None
        older: set[str] = set()  # a set, because a copy of the table may be next to it
        for compressed in (False, True):
            for fields in rows_from_the_end(self.folder, compressed=compressed):
                highest = max(highest or "", fields["id"])
                job_id = fields["id"]
                if job_id in wanted and job_id not in placements:
                    placements[job_id] = Placement(fields["picture"], fields["original"])
                    self._archive.reserve(placements[job_id])
                    _check_leftover(wanted[job_id], fields)
                if job_id < oldest:
                    older.add(job_id)
                if len(older) > CLAIMED_AT_MOST:
                    break
            if len(older) > CLAIMED_AT_MOST or (highest and len(placements) == len(wanted)):
                break
        if self._table.is_new and len(placements) < len(wanted):
            log.warning(
                "%s is new, and %d claimed files have no row: they are read now; if you have moved "
                "the table of an earlier run away, they may have their rows there: move it back to "
                "%s.1, or they are read twice",
                *(self._table.path, len(wanted) - len(placements), self._table.path),
            )
        return RecoveredRows(placements, highest)


def _set_received_before(result: Result, now: datetime) -> Result:
    """Return a result whose file was not received after ``now``.

    It was if the clock was set back in between. The clock that is right now counts.
    """
    if result.job.received_at <= now:
        return result
    return replace(result, job=replace(result.job, received_at=now))


def _check_leftover(job: Job, row: dict[str, str]) -> None:
    """Log an error if a claimed file is not the one in its row; it is published there all the same.

    A power failure may have lost its data, or somebody wrote to it.
    """
    try:
        if row["sha256"] in {"", found := hash_file(job.path)}:
            return
    except OSError as error:
        log.error("%s: cannot be compared with its row: %s", job.path, error.strerror)
        return
    log.error(
        "%s is not the file that was read: it has %d bytes with the sha256 %s, but row %s says %s; "
        "it goes to %s: drop the file again if you still have it",
        *(printable(job.name), job.size, found, job.id, row["sha256"], row["original"]),
    )


def is_running(inbox: Path, outbox: Path) -> bool:
    """Return whether a digitd holds this inbox or this outbox; either may be missing.

    Raises:
        StorageError: neither is known to be held, and one may not be opened by this user.
    """
    failure = None
    for lock in (inbox / WORK_FOLDER / WORK_LOCK, outbox / OUTBOX_LOCK):
        try:
            if is_held(lock):
                return True
        except StorageError as error:
            failure = error
    if failure is not None:
        raise failure
    return False
