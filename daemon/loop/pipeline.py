"""Claim files and have them read; see ``in_flight`` for the stages."""

import logging
from collections import deque
from collections.abc import Callable

from daemon.errors import ModelError
from daemon.files import is_there
from daemon.inbox.claims import Claims
from daemon.inbox.inbox import Inbox
from daemon.loop.in_flight import ATTEMPTED, IN_PROGRESS, InFlight, InFlightTable, Stage
from daemon.outbox.outbox import CLAIMED_AT_MOST, Outbox
from daemon.records import Result
from daemon.text import count, printable
from daemon.waiting import SyncThread, Wakeup
from daemon.workers.readers import (
    Batch,
    BatchRead,
    BatchRequeued,
    BatchSize,
    Readers,
    WorkerDied,
)
from daemon.workers.worker import reject

log = logging.getLogger(__name__)


class Pipeline:
    """Moves files from the inbox to READ.

    If a method raises, the files stay and can be moved later.
    """

    def __init__(
        self,
        files: InFlightTable,
        inbox: Inbox,
        claims: Claims,
        pool: Readers,
        outbox: Outbox,
        wakeup: Wakeup,
        on_batch: Callable[[float], None] = lambda _: None,
    ) -> None:
        """Take the components.

        Args:
            files: the files in flight.
            inbox: has the files to read.
            claims: claims them.
            pool: reads them.
            outbox: has the rows of an earlier run.
            wakeup: wakes the loop when attempts have become durable.
            on_batch: gets the seconds that each batch took.
        """
        self._files = files
        self._inbox = inbox
        self._claims = claims
        self._pool = pool
        self._outbox = outbox
        self._on_batch = on_batch
        self._error: ModelError | OSError | None = None
        self._logged: deque[Batch] = deque()  # of the files at LOGGED
        # Not the thread of ``Committer``, so that the workers get batches while rows wait until all
        # data is written.
        self._claim_sync = SyncThread(claims.sync_claims, wakeup)

    def recover(self) -> None:
        """Add the files that an earlier run left in the work folder."""
        jobs = [job for job in self._claims.leftovers() if job.id not in self._files]
        found = self._outbox.find(jobs)
        if found.highest_id is not None:
            # A table that was not read, because it is compressed, may have higher ids of files that
            # were in flight at the same time.
            self._claims.ids.skip(found.highest_id, more=CLAIMED_AT_MOST)
        self._claims.sweep({file.job.id for file in self._files} | {job.id for job in jobs})
        placements = found.placements
        self._files.add(
            InFlight(
                job,
                Stage.COMMITTED if job.id in placements else Stage.CLAIMED,
                alone=self._claims.attempts.is_suspect(job.id)
                or bool(self._claims.attempts.rejection(job.id)),
                isolated=self._claims.attempts.has_died_alone(job.id),
                placement=placements.get(job.id),
            )
            for job in jobs
        )
        self._delay([self._files[job.id] for job in jobs if job.id not in placements])
        if jobs:
            log.info(
                "recovered %s of an earlier run: %d to read, %d to publish",
                count(len(jobs), "file"),
                len(jobs) - len(placements),
                len(placements),
            )

    def collect(self) -> None:
        """Take what the workers have read, READING → READ; give them more, LOGGED → READING.

        Never raises.
        """
        for outcome in self._pool.poll():
            files = [self._files[job_id] for job_id in outcome.ids]
            match outcome:
                case BatchRead(_, results, seconds):
                    self._error = None
                    self._on_batch(seconds)
                    stale = [file for file in files if file.is_stale]
                    # Ended before the row is durable: on a busy disk that takes long, and a kill
                    # meanwhile is not the file's fault.
                    self._claims.attempts.end(
                        [result.job.id for result in results if isinstance(result, Result)]
                    )
                    for result in results:
                        if isinstance(result, Result):
                            self._set_result(self._files[result.job.id], result)
                        else:
                            self._retry_unopened(self._files[result.job.id], result.why)
                    self._files.requeue([file for file in stale if file.result is not None])
                case WorkerDied(_, why, stderr, was_killed):
                    log.warning(
                        "a worker went down (%s) while reading %d files, the first is %s%s",
                        why,
                        len(files),
                        printable(files[0].job.name),
                        f"; its stderr ends: {stderr}" if stderr else "",
                    )
                    self._retry_alone(files, why, was_killed=was_killed)
                case BatchRequeued(ids, error):
                    self._claims.attempts.end(ids)
                    self._files.requeue(files)
                    self._error = error or self._error
        self._give_logged()

    def submit(self, batch_size: int) -> None:
        """Claim files when none wait, and log attempts for the next batches: CLAIMED → LOGGED.

        ``collect`` gives them to the workers when claims and attempts have become durable, so that
        a file that kills the machine is found again, with its attempts.

        Raises:
            ModelError, OSError: a worker cannot continue, or a file cannot be claimed now.
        """
        files = self._files
        files.end_delays()
        try:
            while self._may_log():
                if not files.count(Stage.CLAIMED) and len(files) + batch_size <= CLAIMED_AT_MOST:
                    self._claim(batch_size)
                first = files.first(Stage.CLAIMED)
                if first is None:
                    self._error = None
                    break
                if first.isolated and self._first_attempted() is not None:
                    break
                if self._pool.room(alone=first.alone) <= len(self._logged):
                    break
                self._log_attempt(self._next_batch(first, batch_size))
        finally:
            self._files.request_sync(Stage.LOGGED, self._claim_sync)
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Log that files without a row were not finished, without blaming them; end the thread."""
        if unfinished := sum(self._files.count(stage) for stage in IN_PROGRESS):
            log.warning("%d files have no row yet: the next start reads them again", unfinished)
        files = [file for stage in ATTEMPTED for file in self._files.at(stage)]
        self._claims.attempts.end([file.job.id for file in files])
        self._claim_sync.close()

    def _may_log(self) -> bool:
        """Return whether the workers can take another batch than those that are LOGGED."""
        if self._error is not None and (self._logged or self._files.count(Stage.READING)):
            return False  # after an error, try one batch at a time until one succeeds
        first = self._first_attempted()
        if first is not None and first.isolated:  # then it is the only one
            return False
        return self._pool.room() > len(self._logged)

    def _first_attempted(self) -> InFlight | None:
        """Return a file with an attempt that has not ended, if there is one."""
        firsts = map(self._files.first, ATTEMPTED)
        return next((file for file in firsts if file is not None), None)

    def _claim(self, at_most: int) -> None:
        """Claim complete files from the inbox."""
        claimed: list[InFlight] = []
        try:
            for name in self._inbox.take(at_most):
                try:
                    job = self._claims.claim(name)
                except PermissionError as error:
                    if not self._inbox.writable:
                        raise
                    self._inbox.skip(name, f"cannot be moved ({error.strerror})")
                else:
                    if job is not None:
                        claimed.append(InFlight(job))
        finally:
            self._files.add(claimed)

    def _next_batch(self, first: InFlight, batch_size: int) -> list[InFlight]:
        """Return the next files that may be read together, beginning with ``first``."""
        if first.alone:
            return [first]
        files: list[InFlight] = []
        size = BatchSize()
        for file in self._files.at(Stage.CLAIMED, batch_size):
            is_small = size.add(file.job)
            if files and (file.alone or not is_small):
                break
            files.append(file)
        return files

    def _log_attempt(self, files: list[InFlight]) -> None:
        """Log the attempt at the files of the next batch.

        Raises:
            OSError: the attempt cannot be logged.
        """
        first = files[0]
        self._claims.attempts.begin([file.job.id for file in files])
        if first.alone:
            first.rejection = self._claims.attempts.rejection(first.job.id)
        jobs = tuple(file.job for file in files)
        self._logged.append(Batch(jobs, alone=first.alone, rejection=first.rejection))
        for file in files:
            self._files.move(file, Stage.LOGGED)

    def _give_logged(self) -> None:
        """Give workers the batches whose claims and attempts are durable, LOGGED → READING."""
        try:
            ended = self._claim_sync.ended()
        except OSError as error:
            self._error = error
            files = self._files.at(Stage.LOGGED)
            self._claims.attempts.end([file.job.id for file in files])
            self._logged.clear()
            self._files.requeue(files)
            return
        while self._logged:
            batch = self._logged[0]
            files = [self._files[job_id] for job_id in batch.ids]
            if files[0].sync_run > ended or not self._pool.room(alone=batch.alone):
                break
            self._pool.submit(self._logged.popleft())
            for file in files:
                self._files.move(file, Stage.READING)
            name = printable(files[0].job.name)
            log.debug("%d files to a worker, the first is %s", len(files), name)

    def _retry_alone(self, files: list[InFlight], why: str, *, was_killed: bool) -> None:
        """Log a worker's death, and queue its files to be read again, each alone."""
        ids = [file.job.id for file in files]
        self._claims.attempts.down(ids, why, was_killed=was_killed)
        for file in files:
            file.alone = True
        rejected = [file for file in files if file.rejection]
        self._files.requeue(files)
        for file in rejected:
            self._reject(file)
        self._delay([file for file in files if file.stage is Stage.CLAIMED])

    def _retry_unopened(self, file: InFlight, why: str) -> None:
        """Queue a file again that its worker could not open; blame the storage before the file."""
        job, attempts = file.job, self._claims.attempts
        try:
            was_there = is_there(job.path)
            attempts.check()
            is_gone = not was_there and not is_there(job.path)
        except OSError as error:
            self._error = error
            attempts.end([job.id])
            self._files.requeue([file])
            return
        if is_gone:
            self._forget(file)
        elif file.rejection:
            self._reject(file)
        else:
            name = printable(job.name)
            log.warning("%s cannot be opened by its worker, trying again: %s", name, why)
            attempts.unopened([job.id], why)
            file.alone = bool(attempts.rejection(job.id))
            self._files.requeue([file])
            self._delay([file])

    def _delay(self, files: list[InFlight]) -> None:
        """Leave files in the queue for as long as the last attempts at them demand."""
        for file in files:
            if seconds := self._claims.attempts.delay(file.job.id):
                self._files.delay(file, seconds)

    def _reject(self, file: InFlight) -> None:
        """Give a file its ``error`` result here.

        For a file that is given up, a worker only draws the picture. It did not survive that
        either, so the row gets no picture.
        """
        try:
            result = reject(file.job, file.rejection)
        except OSError as error:
            self._error = error
            return
        if result is None:
            self._forget(file)
        else:
            self._set_result(file, result)

    def _set_result(self, file: InFlight, result: Result) -> None:
        file.result = result
        self._files.move(file, Stage.READ)

    def _forget(self, file: InFlight) -> None:
        """Forget a file without a result; someone removed it."""
        log.error(
            "%s was removed from the work folder before it had a row", printable(file.job.name)
        )
        self._claims.forget(file.job)
        self._files.remove(file)
