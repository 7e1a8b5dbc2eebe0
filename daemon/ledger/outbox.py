"""Commit and publish: the only module that writes results.

A batch is committed when its rows, which name where each file will go, are in predictions.csv
and fsynced. Only then are pictures and originals renamed into place. Whatever ends the program
in between, the row tells the next start what is left to do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from daemon.errors import ConfigError
from daemon.layout import OUTBOX_LOCK
from daemon.ledger.archive import Archive
from daemon.ledger.rows import Row, line
from daemon.ledger.table import Table, rows_from_the_end
from daemon.lock import Lock
from daemon.records import Job, Placement, Result

# No more files than this are claimed and without a row at any time, so a row's place in the
# file differs from its id's by no more; see ``Outbox.find``.
CLAIMED_AT_MOST = 4096


@dataclass(frozen=True, slots=True)
class Found:
    """The rows that claimed files already have, and the highest id in the table, if any."""

    placements: list[Placement]
    highest_id: str | None


class Outbox:
    """One outbox, held against every other digitd."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = Lock(folder / OUTBOX_LOCK)
        self._table = Table(folder)
        self._archive = Archive(folder)

    def tend(self) -> None:
        """Open the outbox if it is not open, or if the folder was replaced.

        Raises:
            BusyError: another digitd holds it.
            ConfigError: predictions.csv is not one of ours.
            OSError: it cannot be written.
        """
        if self._lock.held:
            return
        self.close()
        self._lock.take()
        try:
            self._archive.open()
            self._table.open()
        except (OSError, ConfigError):
            self.close()
            raise

    def close(self) -> None:
        """Release the folder."""
        self._table.close()
        self._lock.release()

    def commit(self, results: Sequence[Result]) -> list[Row]:
        """Write the rows of a batch, durably, all or none.

        Raises:
            ConfigError, OSError: nothing was committed; the batch may be committed later.
        """
        if not results:
            return []
        self.tend()
        now = datetime.now(UTC)
        rows = [Row(result, self._archive.place(result), now) for result in results]
        try:
            self._table.append("".join(map(line, rows)).encode())
        except (OSError, ConfigError):
            for row in rows:
                self._archive.release(row.placement)
            raise
        return rows

    def publish(self, placement: Placement) -> None:
        """Move a committed row's picture and original to the places that the row names.

        Raises:
            FileExistsError: something else is there, and nothing is ever overwritten.
            OSError: it was not done, or not all of it; it may be tried again.
        """
        self._archive.publish(placement)

    def find(self, jobs: Sequence[Job]) -> Found:
        """Find the rows of jobs that an earlier run committed, and keep their names for them.

        Reads the table from its end, and then those that were rotated away. A row with a lower
        id than all jobs was committed before them, except for those that were claimed together
        with them: after so many such rows there is nothing more to find.
        """
        wanted = {job.id: job for job in jobs}
        oldest = min(wanted, default="~")
        placements = []
        highest = None
        older: set[str] = set()  # a set: a copy of the table may lie beside it
        for fields in rows_from_the_end(self.folder):
            highest = max(highest or "", fields["id"])
            job = wanted.pop(fields["id"], None)
            if job is not None:
                placements.append(Placement(job, fields["picture"], fields["original"]))
                self._archive.reserve(placements[-1])
            if fields["id"] < oldest:
                older.add(fields["id"])
            if len(older) > CLAIMED_AT_MOST:
                break
        return Found(placements, highest)
