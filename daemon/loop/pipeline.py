"""Move files from claim to publish: one queue before the workers and two after them."""

import errno
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from itertools import chain

from daemon.errors import ModelError, StorageError
from daemon.inbox.claims import Claims
from daemon.inbox.inbox import Inbox
from daemon.outbox.outbox import CLAIMED_AT_MOST, Outbox
from daemon.outbox.rows import Row, printable
from daemon.records import Job, Placement, Result
from daemon.workers.batch import unread_result
from daemon.workers.readers import Down, Finished, Readers, Returned

log = logging.getLogger(__name__)

# Maximum size of a batch's files in total, so that photos come in small batches: a batch of 64
# photos would delay their rows by 4 s.
_BATCH_BYTES = 8_000_000
# Maximum size of a batch's names, so that everything in flight to a worker fits into the pipe
# (208 KiB) and a stopped worker doesn't block the loop.
_BATCH_NAME_BYTES = 40_000
_JOB_BYTES = 150  # size of a job in the pipe without its name, which is sent twice
# If more committed files than this cannot be published, intake stops too.
_PARKED_AT_MOST = 64
# Errors when publishing that concern one file (its name, its permissions, a file at its target) and
# not the disk. They must not block the other files.
_ONE_FILES_FAULT = frozenset(
    {
        *(errno.EACCES, errno.EPERM, errno.EEXIST, errno.EINVAL, errno.EILSEQ),
        *(errno.ENAMETOOLONG, errno.ENOTDIR),
    }
)


class Pipeline:
    """Moves files to their next step. If a method raises, the files stay and can be moved later."""

    def __init__(
        self,
        inbox: Inbox,
        claims: Claims,
        pool: Readers,
        outbox: Outbox,
        on_row: Callable[[Row], None],
        on_batch: Callable[[float], None] = lambda _: None,
    ) -> None:
        """Take the components.

        Args:
            inbox: has the files to read.
            claims: claims them.
            pool: reads them.
            outbox: gets their rows.
            on_row: gets each committed row.
            on_batch: gets the seconds that each batch took.
        """
        self._inbox = inbox
        self._claims = claims
        self._pool = pool
        self._outbox = outbox
        self._on_row = on_row
        self._on_batch = on_batch
        self._claimed: deque[Job] = deque()
        self._read: deque[list[Result]] = deque()
        self._unpublished: deque[tuple[Job, Placement]] = deque()
        self._parked: list[tuple[Job, Placement]] = []
        self._fault: ModelError | OSError | None = None

    def recover(self) -> None:
        """Queue the files that an earlier run left in the work folder."""
        in_hand = self._ids_in_hand()
        jobs = [job for job in self._claims.leftovers() if job.id not in in_hand]
        found = self._outbox.find(jobs)
        if found.highest_id is not None:
            self._claims.skip_ids(found.highest_id)
        self._claims.sweep(in_hand | {job.id for job in jobs})
        have_rows = found.placements
        self._unpublished.extend((job, have_rows[job.id]) for job in jobs if job.id in have_rows)
        self._claimed.extend(job for job in jobs if job.id not in have_rows)
        if jobs:
            log.info(
                "an earlier run left %d files: %d to read, %d to publish",
                len(jobs),
                len(jobs) - len(have_rows),
                len(have_rows),
            )

    def collect(self) -> None:
        """Collect the workers' outcomes; never raises."""
        for outcome in self._pool.tend():
            match outcome:
                case Finished(jobs, results, seconds):
                    self._fault = None
                    self._on_batch(seconds)
                    self._read.append(results)
                    self._forget_missing(jobs, results)
                case Down(jobs, why, stderr):
                    log.warning(
                        "a worker went down (%s) while reading %d files, the first is %s%s",
                        why,
                        len(jobs),
                        printable(jobs[0].name),
                        f"; its stderr ends: {stderr}" if stderr else "",
                    )
                    self._take_down(jobs, why)
                case Returned(jobs, fault):
                    self._claims.attempts.end(jobs)
                    self._claimed.extendleft(reversed(jobs))
                    self._fault = fault or self._fault

    def feed(self, batch_size: int) -> None:
        """Give batches to the workers, from the work folder first and then from the inbox.

        Raises:
            ModelError, OSError: a worker cannot continue, or a file cannot be claimed now.
        """
        # After a fault, try one batch at a time until one succeeds.
        while self._pool.has_room() and not (self._fault and self._pool.busy):
            if not self._claimed and self.in_hand + batch_size <= CLAIMED_AT_MOST:
                self._claim(batch_size)
            if not self._claimed:
                self._fault = None
                break
            alone = self._claims.attempts.is_suspect(self._claimed[0])
            if not self._pool.has_room(alone=alone):
                break
            jobs = self._next_batch(1 if alone else batch_size)
            try:
                self._claims.attempts.begin(jobs)
            except OSError:
                self._claimed.extendleft(reversed(jobs))
                raise
            if alone:
                jobs = [replace(jobs[0], refusal=self._claims.attempts.refusal(jobs[0]))]
            self._pool.submit(jobs, alone=alone)
            log.debug("%d files to a worker, the first is %s", len(jobs), printable(jobs[0].name))
        if self._fault is not None:
            raise self._fault

    def commit(self) -> None:
        """Commit the rows of all finished batches; raises what ``Outbox.commit`` raises."""
        while self._read:
            rows = self._outbox.commit(self._read[0])
            self._read.popleft()
            for row in rows:
                self._unpublished.append((row.result.job, row.placement))
                self._on_row(row)

    def publish(self) -> None:
        """Move the files of committed rows to the paths in their rows.

        Raises:
            OSError: the outbox cannot be written now.
            StorageError: too many files cannot be published for reasons of their own.
        """
        failure: OSError | None = None
        for _ in range(len(self._unpublished)):
            job, placement = self._unpublished.popleft()
            try:
                self._outbox.publish(job, placement)
                self._claims.forget(job)
            except OSError as error:
                if error.errno in _ONE_FILES_FAULT:
                    log.error("%s cannot be published yet: %s", placement.original, error)
                    self._parked.append((job, placement))
                else:
                    self._unpublished.append((job, placement))
                    failure = error
        if failure is not None:
            raise failure
        if len(self._parked) > _PARKED_AT_MOST:
            raise StorageError(
                f"{len(self._parked)} files have their row but cannot be published, see the log"
            )

    def unpark(self) -> None:
        """Have the next ``publish`` try the parked files again."""
        self._unpublished.extend(self._parked)
        self._parked.clear()

    def take_back(self) -> None:
        """Log that the batches in flight were not read, without blaming their files."""
        if jobs := list(self._pool.jobs):
            self._claims.attempts.end(jobs)

    @property
    def parked(self) -> int:
        """The number of files that have their row but could not be published."""
        return len(self._parked)

    @property
    def in_hand(self) -> int:
        """The number of files claimed and not yet published."""
        return (
            len(self._claimed)
            + sum(1 for _ in self._pool.jobs)
            + sum(map(len, self._read))
            + len(self._unpublished)
            + len(self._parked)
        )

    @property
    def claimed_at(self) -> list[float]:
        """When each file without a row was claimed, as ``time.time``."""
        read = (result.job for results in self._read for result in results)
        jobs = chain(self._claimed, self._pool.jobs, read)
        return [job.received_at.timestamp() for job in jobs]

    def _ids_in_hand(self) -> set[str]:
        read = [result.job for results in self._read for result in results]
        committed = [job for job, _ in (*self._unpublished, *self._parked)]
        return {job.id for job in (*self._claimed, *self._pool.jobs, *read, *committed)}

    def _claim(self, most: int) -> None:
        for name in self._inbox.take(most):
            try:
                job = self._claims.claim(name)
            except PermissionError as error:
                if not self._inbox.writable:
                    raise
                self._inbox.leave(name, f"cannot be moved ({error.strerror})")
            else:
                if job is not None:
                    self._claimed.append(job)

    def _next_batch(self, batch_size: int) -> list[Job]:
        """Return the next jobs that may be read together; always at least one."""
        jobs: list[Job] = []
        size = letters = 0
        while self._claimed and len(jobs) < batch_size:
            job = self._claimed[0]
            size += job.size
            letters += _JOB_BYTES + 2 * len(job.path.name)
            if jobs and (
                size > _BATCH_BYTES
                or letters > _BATCH_NAME_BYTES
                or self._claims.attempts.is_suspect(job)
            ):
                break
            jobs.append(self._claimed.popleft())
        return jobs

    def _take_down(self, jobs: list[Job], why: str) -> None:
        """Log a worker's death, and queue its jobs to be read again, each alone."""
        self._claims.attempts.down(jobs, why)
        for job in reversed(jobs):
            if not job.refusal:
                self._claimed.appendleft(job)
                continue
            # For a file that is given up, a worker only draws the picture. It did not survive that
            # either, so the row gets no picture.
            try:
                result = unread_result(job)
            except OSError as error:
                self._claimed.appendleft(job)
                self._fault = error
            else:
                self._read.append([] if result is None else [result])
                self._forget_missing([job], self._read[-1])

    def _forget_missing(self, jobs: list[Job], results: list[Result]) -> None:
        """Forget the jobs without a result; someone removed their files."""
        have_result = {result.job.id for result in results}
        for job in jobs:
            if job.id not in have_result:
                log.error(
                    "%s was removed from the work folder before it had a row", printable(job.name)
                )
                self._claims.forget(job)
