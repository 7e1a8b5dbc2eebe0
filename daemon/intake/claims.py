"""The work folder: files claimed by rename, their attempts counted on disk, recovered at start.

Everything lies in ``inbox/.digitd``, on the inbox's own file system, so that a claim is one
atomic rename:

    <id>-<name>   a claimed file
    <id>.name     its full name, where ``<id>-<name>`` would be too long for the file system
    <id>.picture  its picture, not yet published
    attempts      one line for each time that a file was given to a worker, or took it down
    status        what ``digitd status`` shows
    lock          held for as long as a digitd reads this inbox
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import stat
import threading
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from daemon import ids
from daemon import untrusted as dropped
from daemon.layout import (
    ATTEMPTS,
    NAME_BYTES,
    NAME_SUFFIX,
    PICTURE_SUFFIX,
    WORK_FOLDER,
    WORK_LOCK,
)
from daemon.lock import Lock
from daemon.records import Entry, Job, Parcel

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from daemon.intake.inbox import Found

log = logging.getLogger(__name__)


# A file is given up when it took two workers down, the second time with no other file in the
# batch. A digitd that was killed proves nothing against the files in its workers' hands; but
# one that dies three times in a row with the same file alone in hand (out of memory, say) has
# met a file that it cannot survive. Killed at random, that happens once in 10^6 restarts.
_DOWNS = 2
_LONE_TRIES = 3
# A file that was written to while it was read is read again, so that its row is of the bytes
# that are kept; but one that is written to without end is not waited for.
_CHANGES = 2

# A read that fails for a passing reason (EIO, ESTALE on NFS) is tried this often.
_READ_TRIES = 3
_READ_PAUSE_SECONDS = 0.5


class Spool:
    """The claimed files of one inbox."""

    def __init__(self, inbox: Path, *, max_file_mb: float) -> None:
        self.folder = inbox / WORK_FOLDER
        self._inbox = inbox
        self._max_bytes = int(max_file_mb * 1_000_000)
        self._ids = ids.Ids()
        self._lock = Lock(self.folder / WORK_LOCK)
        self._attempts = -1
        self._opened = False
        self._tries: Counter[str] = Counter()
        self._lone: Counter[str] = Counter()
        self._downs: Counter[str] = Counter()
        self._last_words: dict[str, str] = {}
        self._booking = threading.Lock()  # the lanes' threads begin while the loop forgets

    def open(self) -> None:
        """Make the work folder and hold it.

        Raises:
            BusyError: another digitd holds it.
            OSError: it cannot be made or written.
        """
        self.close()  # what an earlier try that failed half-way still holds
        self.folder.mkdir(mode=0o770, exist_ok=True)
        if not stat.S_ISDIR(self.folder.lstat().st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "is not a folder", str(self.folder))
        self._lock.take()
        try:
            self._attempts = os.open(
                self.folder / ATTEMPTS,
                os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW,
                0o660,
            )
            self._recall()
        except OSError:
            self.close()
            raise
        self._opened = True

    def close(self) -> None:
        """Let the work folder go."""
        if self._attempts >= 0:
            os.close(self._attempts)
            self._attempts = -1
        self._lock.release()

    def tend(self) -> bool:
        """Open the work folder if it is not, or if it was taken away with the inbox around it.

        Returns:
            Whether it is another one than before; files may be in it that were once claimed.
        """
        if self._lock.held:
            return False
        before = self._opened
        self.open()
        if before:
            log.warning("%s was replaced: going on in the new one", self.folder)
        return True

    def skip_ids(self, seen: str) -> None:
        """Give no id up to this one: a row has it."""
        self._ids.skip(seen)

    def claim(self, found: Found) -> Job | None:
        """Move a complete file out of the inbox; ``None`` if it is not there any more.

        Raises:
            OSError: it cannot be moved now (disk full, no permission); it stays in the inbox.
        """
        job_id = self._ids.next()
        path = self._path(job_id, found.name)
        try:
            (self._inbox / found.name).rename(path)
        except FileNotFoundError:
            self.folder.stat()  # raises in its turn if it is the work folder that is gone
            return None
        return Job(job_id, found.name, path, found.stamp.size, ids.moment(job_id))

    def leftovers(self) -> list[Job]:
        """Return the files that an earlier run claimed and did not see through, oldest first."""
        jobs = []
        for path in sorted(self.folder.iterdir()):
            job_id, dash, name = path.name.partition("-")
            if not dash or not ids.PATTERN.fullmatch(job_id):
                continue
            self._ids.skip(job_id)
            whole = self.folder / f"{job_id}{NAME_SUFFIX}"
            if whole.is_file():
                # A power failure may have left it empty; the cut name is better than none.
                name = os.fsdecode(whole.read_bytes()) or name
            jobs.append(Job(job_id, name, path, path.lstat().st_size, ids.moment(job_id)))
        return jobs

    def sweep(self, held: Iterable[Job]) -> None:
        """Remove what belongs to no held job: pictures and names whose file went its way."""
        kept = {job.id for job in held}
        for path in self.folder.iterdir():
            # A claimed file's own name may end so too; only our own names are an id and no more.
            ours = path.suffix in {PICTURE_SUFFIX, NAME_SUFFIX} and ids.PATTERN.fullmatch(path.stem)
            if ours and path.stem not in kept:
                path.unlink()

    def load(self, job: Job) -> Parcel | None:
        """Read a claimed file; ``None`` if someone took it out of the work folder.

        No link is followed, nothing but a regular file is read, and no more than the limit.
        A hopeless file's bytes are not passed on.
        """
        for left in reversed(range(_READ_TRIES)):
            try:
                parcel = self._load(job)
            except FileNotFoundError:
                return None
            except OSError as error:
                lasting = error.errno in {errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO}
                if lasting or not left:
                    return Parcel(job.name, b"", refusal=f"cannot be opened: {error.strerror}")
                time.sleep(_READ_PAUSE_SECONDS)
            else:
                if self.hopeless(job):
                    return replace(parcel, data=b"", refusal=self._charge(job))
                return parcel
        raise AssertionError  # the last try returns

    def begin(self, jobs: Sequence[Job]) -> None:
        """Count an attempt at each job, on disk, before a worker gets it. Thread-safe.

        Raises:
            OSError: it cannot be written down, so it must not be tried.
        """
        what = "alone" if len(jobs) == 1 and self.suspect(jobs[0]) else "begun"
        with self._booking:
            self._write(what, jobs)
            for job in jobs:
                self._count(job.id, what)

    def down(self, jobs: Sequence[Job], why: str) -> None:
        """Count that a worker died, or had to be killed, with these jobs in hand."""
        with self._booking:
            for job in jobs:
                self._count(job.id, "down")
                self._last_words[job.id] = why
        try:
            self._write("down", jobs)
        except OSError as error:  # the count in memory holds for as long as this run
            log.warning("a worker's end could not be written down: %s", error)

    def suspect(self, job: Job) -> bool:
        """Tell whether a job was tried before and must be read with no other beside it."""
        return self._tries[job.id] > 0

    def changed(self, entry: Entry) -> bool:
        """Tell whether a file was written to since it was read, and should be read again.

        Raises:
            OSError: it cannot be found: someone took it out of the work folder.
        """
        info = entry.job.path.lstat()
        if entry.stamp is None or self._tries[entry.job.id] > _CHANGES:
            return False
        return dropped.stamp(info) != entry.stamp

    def hopeless(self, job: Job) -> bool:
        """Tell whether a job took down as many workers as one file may."""
        return self._downs[job.id] >= _DOWNS or self._lone[job.id] >= _LONE_TRIES

    def forget(self, job: Job) -> None:
        """Drop what was kept of a job that is published, or whose file someone took away."""
        if len(os.fsencode(job.path.name)) == NAME_BYTES:
            (self.folder / f"{job.id}{NAME_SUFFIX}").unlink(missing_ok=True)
        with self._booking:
            for kept in (self._tries, self._lone, self._downs, self._last_words):
                kept.pop(job.id, None)
            if not self._tries:
                os.ftruncate(self._attempts, 0)

    def _path(self, job_id: str, name: str) -> Path:
        """Return where to claim a file to; a name too long for that is written down first."""
        claimed = os.fsencode(f"{job_id}-{name}")
        if len(claimed) >= NAME_BYTES:
            (self.folder / f"{job_id}{NAME_SUFFIX}").write_bytes(os.fsencode(name))
            claimed = claimed[:NAME_BYTES]
        return self.folder / os.fsdecode(claimed)

    def _charge(self, job: Job) -> str:
        downs = self._downs[job.id]
        if downs >= _DOWNS:
            why = self._last_words.get(job.id, "crashed it, or hung it")
            return f"took its worker process down {downs} times: {why}"
        return f"digitd itself ended {self._lone[job.id]} times while reading it"

    def _load(self, job: Job) -> Parcel:
        fd = dropped.opened(job.path)
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            os.close(fd)
            return Parcel(job.name, b"", refusal="is not a regular file")
        stamp = dropped.stamp(info)
        # Buffered: a raw read may return less than all of a file over 2 GB, or on a network.
        with open(fd, "rb") as file:  # noqa: PTH123 - opened above
            if info.st_size <= self._max_bytes:
                data = file.read(self._max_bytes + 1)
                if len(data) <= self._max_bytes:
                    return Parcel(job.name, data, hashlib.sha256(data).hexdigest(), stamp=stamp)
                file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        refusal = (
            f"too large: {info.st_size / 1e6:.1f} MB, allowed are {self._max_bytes / 1e6:g} MB"
        )
        return Parcel(job.name, b"", digest, refusal, stamp)

    def _write(self, what: str, jobs: Sequence[Job]) -> None:
        # The line break stands in front: a record that a full disk cut spoils none after it.
        records = "".join(f"\n{job.id} {what}" for job in jobs).encode()
        if os.write(self._attempts, records) != len(records):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.folder / ATTEMPTS))

    def _count(self, job_id: str, what: str) -> None:
        match what:
            case "begun":
                self._tries[job_id] += 1
            case "alone":
                self._tries[job_id] += 1
                self._lone[job_id] += 1
            case "down":
                self._downs[job_id] += 1

    def _recall(self) -> None:
        """Count the attempts of earlier runs at the files that are still here."""
        for counts in (self._tries, self._lone, self._downs):
            counts.clear()
        here = {path.name.partition("-")[0] for path in self.folder.iterdir()}
        for line in (self.folder / ATTEMPTS).read_text("ascii", errors="replace").splitlines():
            job_id, _, what = line.partition(" ")
            if job_id in here:
                self._count(job_id, what)
