"""Log each attempt to read a file and its outcome on disk, so that crashes are counted.

The file ``attempts`` in the work folder is a log of lines ``<id> <event>``:

    received <time>  it is about to be claimed
    begun   the file was given to a worker, in a batch
    alone   it was given to a worker again, with no other file in the batch
    ended   that attempt ended without a crash
    down    that attempt ended with the death of the worker
    killed  it ended with a death for which memory or an administrator may be to blame
    unopened  the worker could not open the file
"""

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from daemon.files import append, open_to_append, sync_file
from daemon.layout import ATTEMPTS, NEW_ATTEMPTS
from daemon.outbox.rows import parse_timestamp, timestamp

log = logging.getLogger(__name__)

# A file is given up after two workers died on it, the second time with no other file in the batch.
# If digitd itself is killed, the files that its workers were reading are not to blame. But if it
# dies five times in a row while a worker reads the same file alone (out of memory, for example),
# that file is the cause. Three times would be too few: with a kill every second and slow fsyncs,
# 2 or 3 of 5,000 harmless files reached that count (tests/torture.py).
_DOWNS = 2
_LONE_DEATHS = 5
# Memory that is short, a kill by hand and a network file system that refuses a file for a moment
# are no fault of the file. So it is read again later, alone, before it is blamed: after so many
# seconds.
_KILLED_SECONDS = (10.0, 60.0)
_UNOPENED_SECONDS = (10.0,)
# When the log grows beyond this, it is rewritten with only the files still in the work folder. In
# a daemon that is never idle it grows by 90 bytes per file.
_LOG_BYTES = 1 << 20
_RECEIVED = "received "


@dataclass(slots=True)
class _Record:
    """When a file was claimed, and what became of the attempts to read it.

    Attributes:
        received_at: when it was claimed.
        open: attempts that have not ended.
        lone: those of them in which no other file was read.
        downs: deaths of a worker that was reading it, and for which nothing else is to blame.
        killed: those for which memory or an administrator may be to blame.
        unopened: attempts in which it could not be opened.
        delay: seconds before the next attempt.
    """

    received_at: datetime | None = None
    open: int = 0
    lone: int = 0
    downs: int = 0
    killed: int = 0
    unopened: int = 0
    delay: float = 0.0
    why: str = "see the log"

    def count(self, event: str) -> None:
        if event in {"begun", "alone"}:
            self.open += 1
            self.lone += event == "alone"
        elif event in {"ended", "down", "killed", "unopened"}:
            self.open -= 1
            self.lone -= self.lone > 0
            self.downs += event == "down"
            self.killed += event == "killed"
            self.unopened += event == "unopened"
            self.delay = 0.0
            if event == "killed":
                self.delay = _find_delay(_KILLED_SECONDS, self.killed)
            elif event == "unopened":
                self.delay = _find_delay(_UNOPENED_SECONDS, self.unopened)
        elif event.startswith(_RECEIVED):
            self.received_at = parse_timestamp(event.removeprefix(_RECEIVED))


class Attempts:
    """The log of attempts to read the files in one work folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ATTEMPTS
        self._descriptor = -1
        self._records: dict[str, _Record] = {}

    def open(self, claimed: Iterable[str]) -> None:
        """Open the log and count earlier runs' attempts at the claimed ids."""
        self.close()
        self._descriptor = open_to_append(self._path)
        self._records = {job_id: _Record() for job_id in claimed}
        for line in self._path.read_text("ascii", errors="replace").splitlines():
            job_id, _, event = line.partition(" ")
            if job_id in self._records:
                self._records[job_id].count(event)
        self._shorten_if_long()

    def close(self) -> None:
        """Close the log."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def receive(self, job_id: str, moment: datetime) -> None:
        """Log when a file is received, before it is claimed.

        The claimed file has no such time: its id may be ahead of the clock, and the inode's times
        belong to others.

        Raises:
            OSError: the log cannot be written, so the file must not be claimed.
        """
        self._append(f"{_RECEIVED}{timestamp(moment)}", [job_id])
        self._records[job_id] = _Record(moment)

    def received_at(self, job_id: str) -> datetime | None:
        """Return when a file was received; ``None`` if it is not known."""
        return self._records.get(job_id, _Record()).received_at

    def begin(self, ids: Sequence[str]) -> None:
        """Log that these files are about to be given to a worker.

        Raises:
            OSError: the log cannot be written, so they must not be given to a worker.
        """
        event = "alone" if len(ids) == 1 and self.is_suspect(ids[0]) else "begun"
        self._append(event, ids)
        self._count(event, ids)

    def sync(self) -> None:
        """Make the log survive a power failure; may be called from any thread."""
        sync_file(self._path)

    def end(self, ids: Sequence[str]) -> None:
        """Log that the files came back from their worker unread, without a crash."""
        self._note("ended", ids)

    def down(self, ids: Sequence[str], why: str, *, was_killed: bool = False) -> None:
        """Log that a worker died or had to be killed while reading these files.

        Args:
            ids: the files.
            why: how it died.
            was_killed: whether the files may not be to blame; see ``WorkerDied``.
        """
        self._note("killed" if was_killed else "down", ids, why)

    def unopened(self, ids: Sequence[str], why: str) -> None:
        """Log that a worker could not open these files, which are in the work folder."""
        self._note("unopened", ids, why)

    def delay(self, job_id: str) -> float:
        """Return in how many seconds a file may be read again, after its last attempt."""
        return self._records.get(job_id, _Record()).delay

    def is_suspect(self, job_id: str) -> bool:
        """Return whether an attempt at a file failed, so that it must be read alone."""
        record = self._records.get(job_id)
        return record is not None and record.open + record.downs + record.killed > 0

    def has_died_alone(self, job_id: str) -> bool:
        """Return whether digitd died while a worker read a file with no other in the batch."""
        record = self._records.get(job_id)
        return record is not None and record.lone > 0

    def rejection(self, job_id: str) -> str:
        """Return why a file is given up and must not be decoded again; empty if it is not."""
        record = self._records.get(job_id, _Record())
        if record.downs >= _DOWNS or record.killed > len(_KILLED_SECONDS):
            deaths = record.downs + record.killed
            return f"took its worker process down {deaths} times: {record.why}"
        if record.unopened > len(_UNOPENED_SECONDS):
            return f"cannot be opened: {record.why}"
        if record.lone >= _LONE_DEATHS:
            return f"digitd itself died {record.lone} times while reading it"
        return ""

    def forget(self, job_id: str) -> None:
        """Delete the record of a file that has left the work folder."""
        self._records.pop(job_id, None)
        if not self._records:
            os.ftruncate(self._descriptor, 0)
        else:
            self._shorten_if_long()

    def check(self) -> None:
        """Open the log again, to see whether the storage can be used.

        Raises:
            OSError: it cannot.
        """
        os.close(os.open(self._path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW))

    def _note(self, event: str, ids: Sequence[str], why: str = "") -> None:
        if not ids:
            return
        self._count(event, ids)
        for job_id in ids:
            self._records[job_id].why = why or self._records[job_id].why
        try:
            self._append(event, ids)
        except OSError as error:  # the record in memory is enough for this run
            log.warning("%s: cannot be written: %s", self._path, error.strerror)

    def _append(self, event: str, ids: Sequence[str]) -> None:
        append(self._descriptor, _encode(f"{job_id} {event}" for job_id in ids), self._path)

    def _count(self, event: str, ids: Sequence[str]) -> None:
        for job_id in ids:
            self._records.setdefault(job_id, _Record()).count(event)

    def _shorten_if_long(self) -> None:
        """Rewrite a long log with only the files that still have a record."""
        if os.fstat(self._descriptor).st_size <= _LOG_BYTES:
            return
        logged = self._path.read_text("ascii", errors="replace").splitlines()
        lines = [line for line in logged if line.partition(" ")[0] in self._records]
        new = self._path.with_name(NEW_ATTEMPTS)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(new, flags, 0o660)
        try:
            append(descriptor, _encode(lines), new)
            os.fsync(descriptor)  # XFS and btrfs may otherwise have an empty file after the rename
            new.rename(self._path)
        except OSError:
            os.close(descriptor)
            raise
        self.close()
        self._descriptor = descriptor


def _find_delay(delays: Sequence[float], failures: int) -> float:
    """Return the delay after so many failures; 0 after the last one, which is not retried."""
    return delays[failures - 1] if failures <= len(delays) else 0.0


def _encode(lines: Iterable[str]) -> bytes:
    # The line break comes first, so that a line cut by a full disk cannot corrupt the next one.
    return "".join(f"\n{line}" for line in lines).encode()
