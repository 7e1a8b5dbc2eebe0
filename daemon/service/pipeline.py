"""The files in hand, from claim to publish: a queue before the workers and two behind them."""

from __future__ import annotations

import errno
import logging
from collections import deque
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING

from daemon.errors import ModelError, StorageError
from daemon.ledger.outbox import CLAIMED_AT_MOST
from daemon.ledger.rows import printable
from daemon.records import Entry, Reading, Status, Verdict
from daemon.workers.pool import WorkerDownError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from daemon.intake.claims import Spool
    from daemon.intake.inbox import Inbox
    from daemon.ledger.outbox import Outbox, Receipt
    from daemon.ledger.rows import Row
    from daemon.records import Job
    from daemon.workers.pool import Engine

log = logging.getLogger(__name__)

# A batch's files add up to no more than this, so that photographs come in handfuls: 64 of
# them would keep their rows waiting for 4 s.
_BATCH_BYTES = 8_000_000
# So many committed files may wait for a place that cannot be written before intake stops too.
_PARKED_AT_MOST = 64
# What a place in the outbox may be refused for that is one file's matter (its name, its rights,
# what lies there) and not the disk's: it must not hold up the others.
_ONE_FILES_FAULT = frozenset(
    {errno.EACCES, errno.EPERM, errno.EEXIST, errno.EINVAL, errno.EILSEQ, errno.ENAMETOOLONG}
)


class Pipeline:
    """Moves jobs on; whatever raises here leaves each job where it was, to be moved later."""

    def __init__(self, inbox: Inbox, spool: Spool, engine: Engine, outbox: Outbox) -> None:
        self._inbox = inbox
        self._spool = spool
        self._engine = engine
        self._outbox = outbox
        self._claimed: deque[Job] = deque()
        self._in_work: dict[Future[list[Entry]], list[Job]] = {}
        self._read: deque[list[Entry]] = deque()
        self._unpublished: deque[Receipt] = deque()
        self._parked: deque[Receipt] = deque()
        self.batches = 0  # read since the start

    def recover(self) -> None:
        """Take up what lies in the work folder and is not in hand: an earlier run left it.

        Raises:
            OSError: the work folder or the table cannot be read.
        """
        known = {job.id for job in self._held()}
        jobs = [job for job in self._spool.leftovers() if job.id not in known]
        receipts, highest = self._outbox.recall(jobs)
        if highest is not None:
            self._spool.skip_ids(highest)
        self._spool.sweep([*jobs, *self._held()])
        done = {receipt.job.id for receipt in receipts}
        self._unpublished.extend(receipts)
        self._claimed.extend(job for job in jobs if job.id not in done)
        if jobs:
            log.info(
                "an earlier run left %d files: %d to read, %d to publish",
                len(jobs),
                len(self._claimed),
                len(receipts),
            )

    def collect(self) -> None:
        """Take what the workers have finished.

        Raises:
            ModelError: no worker can be started; the batch waits.
            OSError: an attempt could not be counted on disk; the batch waits.
        """
        failure: Exception | None = None
        for future in [future for future in self._in_work if future.done()]:
            jobs = self._in_work.pop(future)
            try:
                self._read.append(future.result())
                self.batches += 1
            except WorkerDownError as error:
                log.warning(
                    "a worker went down (%s) with %d files in hand, the first %s",
                    error,
                    len(jobs),
                    printable(jobs[0].name),
                )
                self._take_down(jobs, str(error))
            except CancelledError:
                self._claimed.extendleft(reversed(jobs))
            except (OSError, ModelError) as error:
                self._claimed.extendleft(reversed(jobs))
                failure = error
            else:
                self._forget_vanished(jobs, self._read[-1])
        if failure is not None:
            raise failure

    def settle(self, tell: Callable[[Row], None]) -> None:
        """Commit what was read and publish what was committed; ``tell`` hears of each row.

        Raises:
            OSError: the outbox cannot take it now; all that is left to do is kept.
            StorageError: too many files found their place taken or closed.
        """
        while self._read:
            there, changed, gone = self._told_apart(self._read[0])
            committed = self._outbox.commit(there)
            self._read.popleft()
            self._claimed.extendleft(reversed(changed))
            for receipt, row in committed:
                self._unpublished.append(receipt)
                tell(row)
            for job in gone:
                self._spool.forget(job)
        failure: OSError | None = None
        for _ in range(len(self._unpublished)):
            receipt = self._unpublished.popleft()
            try:
                self._outbox.publish(receipt)
            except OSError as error:
                if error.errno not in _ONE_FILES_FAULT:
                    self._unpublished.append(receipt)
                    failure = error
                    continue
                log.error("%s cannot be published yet: %s", receipt.original, error)  # noqa: TRY400 - no traceback: the reason says it all
                self._parked.append(receipt)
            else:
                self._spool.forget(receipt.job)
        if failure is not None:
            raise failure
        if len(self._parked) > _PARKED_AT_MOST:
            raise StorageError(
                f"{len(self._parked)} files have their row and cannot be published, see the log"
            )

    def unpark(self) -> None:
        """Try again soon to publish what found its place taken or closed."""
        self._unpublished.extend(self._parked)
        self._parked.clear()

    def feed(self, batch_size: int, *, fresh: bool = True) -> None:
        """Keep the workers busy, from the work folder first and then from the inbox.

        Args:
            batch_size: most files in a batch.
            fresh: whether to claim files at all.

        Raises:
            OSError: a file could not be claimed now; it stays in the inbox.
        """
        while len(self._in_work) < self._engine.appetite:
            if fresh and not self._claimed and not self._full(batch_size):
                self._claim(batch_size)
            jobs = self._next_batch(batch_size)
            if not jobs:
                return
            self._in_work[self._engine.submit(jobs)] = jobs

    def cancel(self) -> None:
        """Take back the batches that no worker has begun."""
        for future in self._in_work:
            future.cancel()

    @property
    def working(self) -> bool:
        """Workers have something in hand."""
        return bool(self._in_work)

    @property
    def parked(self) -> int:
        """Files whose row is written and whose place was taken or closed."""
        return len(self._parked)

    @property
    def in_hand(self) -> int:
        """Files claimed and not yet published."""
        return sum(1 for _ in self._held())

    def _held(self) -> Iterator[Job]:
        yield from self._claimed
        for jobs in self._in_work.values():
            yield from jobs
        for entries in self._read:
            yield from (entry.job for entry in entries)
        yield from (receipt.job for receipt in (*self._unpublished, *self._parked))

    def _take_down(self, jobs: list[Job], why: str) -> None:
        """Count a worker's end, and have its jobs read again, each alone."""
        # A worker is asked to draw the row's picture of a file that is given up. When it does
        # not survive even that, the row goes without.
        given_up = [job for job in jobs if self._spool.hopeless(job)]
        self._spool.down(jobs, why)
        for job in given_up:
            parcel = self._spool.load(job)
            if parcel is not None:
                verdict = Verdict(Status.ERROR, reason=parcel.refusal)
                self._read.append([Entry(job, parcel.sha256, Reading(verdict, model=""))])
        self._claimed.extendleft(job for job in reversed(jobs) if job not in given_up)

    def _told_apart(self, entries: Sequence[Entry]) -> tuple[list[Entry], list[Job], list[Job]]:
        """Tell what is as it was read from what was written to since, and from what is gone."""
        there, changed, gone = [], [], []
        for entry in entries:
            try:
                if self._spool.changed(entry):
                    changed.append(entry.job)
                else:
                    there.append(entry)
            except OSError:  # without its file nothing can be filed
                name = printable(entry.job.name)
                log.error("%s was taken from the work folder before it had a row", name)  # noqa: TRY400 - no traceback: the text says it all
                gone.append(entry.job)
        return there, changed, gone

    def _forget_vanished(self, jobs: Sequence[Job], entries: Sequence[Entry]) -> None:
        """Forget the jobs that have no entry: someone took their files away."""
        kept = {entry.job.id for entry in entries}
        for job in jobs:
            if job.id not in kept:
                self._spool.forget(job)

    def _full(self, batch_size: int) -> bool:
        return self.in_hand + batch_size > CLAIMED_AT_MOST

    def _claim(self, most: int) -> None:
        for found in self._inbox.take(most):
            try:
                job = self._spool.claim(found)
            except OSError as error:
                if isinstance(error, PermissionError) and self._inbox.writable:
                    self._inbox.leave(found.name, f"cannot be moved ({error.strerror})")
                    continue
                self._inbox.again(found)
                raise
            if job is not None:
                self._claimed.append(job)

    def _next_batch(self, batch_size: int) -> list[Job]:
        """Take the next jobs that may go together: a suspect goes alone, and so does a giant."""
        jobs: list[Job] = []
        size = 0
        while self._claimed and len(jobs) < batch_size:
            job = self._claimed[0]
            size += job.size
            if jobs and (self._spool.suspect(job) or size > _BATCH_BYTES):
                break
            jobs.append(self._claimed.popleft())
            if self._spool.suspect(job):
                break
        return jobs
