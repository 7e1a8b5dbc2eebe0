"""Move files from claim to publish; see ``in_flight`` for the stages."""

import errno
import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from daemon.errors import ModelError, StorageError, describe
from daemon.files import open_untrusted
from daemon.inbox.claims import Claims
from daemon.inbox.inbox import Inbox
from daemon.loop.in_flight import InFlight, InFlightTable, Stage
from daemon.outbox.outbox import CLAIMED_AT_MOST, Outbox
from daemon.outbox.rows import Row
from daemon.records import Result, Stamp
from daemon.text import printable
from daemon.workers.readers import Batch, BatchRead, BatchRequeued, Readers, WorkerDied
from daemon.workers.worker import reject

log = logging.getLogger(__name__)

# Maximum size of a batch's files in total, so that photos come in small batches: a batch of 64
# photos would delay their rows by 4 s.
_BATCH_BYTES = 8_000_000
# Maximum size of a batch's names, so that everything in flight to a worker fits into the pipe
# (208 KiB) and a stopped worker doesn't block the loop.
_BATCH_NAME_BYTES = 40_000
_JOB_BYTES = 150  # size of a job in the pipe without its name, which is sent twice
# A file that was written to after a worker had read it is read again, at most this often, so that
# a file that is written to all the time doesn't keep a worker busy.
_REREADS = 2
# If more committed files than this cannot be published, intake stops too.
_PARKED_AT_MOST = 64
# How often publishing is retried for files that could not be published for their own reasons.
_PARKED_SECONDS = 10.0
# Errors when publishing that concern one file (its name, its permissions, a file at its target) and
# not the disk. They must not block the other files.
_ONE_FILES_FAULT = frozenset(
    {
        *(errno.EACCES, errno.EPERM, errno.EEXIST, errno.EINVAL, errno.EILSEQ),
        *(errno.ENAMETOOLONG, errno.ENOTDIR),
    }
)


class Pipeline:
    """Moves files to their next stage. If a method raises, the files stay and can be moved later.

    Attributes:
        files: the files in flight.
    """

    def __init__(
        self,
        inbox: Inbox,
        claims: Claims,
        pool: Readers,
        outbox: Outbox,
        on_row: Sequence[Callable[[Row], None]],
        on_batch: Callable[[float], None] = lambda _: None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """Take the components.

        Args:
            inbox: has the files to read.
            claims: claims them.
            pool: reads them.
            outbox: gets their rows.
            on_row: the observers; each gets each committed row.
            on_batch: gets the seconds that each batch took.
            on_change: called for each file that changed after its row was written.
        """
        self.files = InFlightTable()
        self._inbox = inbox
        self._claims = claims
        self._pool = pool
        self._outbox = outbox
        self._on_row = on_row
        self._on_batch = on_batch
        self._on_change = on_change
        self._error: ModelError | OSError | None = None

    def recover(self) -> None:
        """Add the files that an earlier run left in the work folder."""
        jobs = [job for job in self._claims.leftovers() if job.id not in self.files]
        found = self._outbox.find(jobs)
        if found.highest_id is not None:
            self._claims.ids.skip(found.highest_id)
        self._claims.sweep({file.job.id for file in self.files} | {job.id for job in jobs})
        placements = found.placements
        self.files.add(
            InFlight(
                job,
                Stage.COMMITTED if job.id in placements else Stage.CLAIMED,
                alone=self._claims.attempts.is_suspect(job.id),
                placement=placements.get(job.id),
            )
            for job in jobs
        )
        if jobs:
            log.info(
                "recovered %d files of an earlier run: %d to read, %d to publish",
                len(jobs),
                len(jobs) - len(placements),
                len(placements),
            )

    def collect(self) -> None:
        """Take what the workers have read, READING → READ; never raises."""
        for outcome in self._pool.poll():
            files = [self.files[job_id] for job_id in outcome.ids]
            match outcome:
                case BatchRead(_, results, seconds):
                    self._error = None
                    self._on_batch(seconds)
                    for result in results:
                        self._set_result(self.files[result.job.id], result)
                    for file in files:
                        if file.result is None:
                            self._forget(file)
                case WorkerDied(_, why, stderr):
                    log.warning(
                        "a worker went down (%s) while reading %d files, the first is %s%s",
                        why,
                        len(files),
                        printable(files[0].job.name),
                        f"; its stderr ends: {stderr}" if stderr else "",
                    )
                    self._retry_alone(files, why)
                case BatchRequeued(ids, error):
                    self._claims.attempts.end(ids)
                    self.files.requeue(files)
                    self._error = error or self._error

    def submit(self, batch_size: int) -> None:
        """Claim files when none wait, and give batches to the workers: CLAIMED → READING.

        Raises:
            ModelError, OSError: a worker cannot continue, or a file cannot be claimed now.
        """
        files = self.files
        # After an error, try one batch at a time until one succeeds.
        while self._pool.has_room() and not (self._error and files.count(Stage.READING)):
            if not files.count(Stage.CLAIMED) and len(files) + batch_size <= CLAIMED_AT_MOST:
                self._claim(batch_size)
            first = files.first(Stage.CLAIMED)
            if first is None:
                self._error = None
                break
            if not self._pool.has_room(alone=first.alone):
                break
            self._give(self._next_batch(first, batch_size))
        if self._error is not None:
            raise self._error

    def commit(self) -> None:
        """Append the rows of all files that were read, READ → COMMITTED; then tell the observers.

        Raises what ``Outbox.commit`` raises.
        """
        self._reread_changed()
        results = [file.result for file in self.files.at(Stage.READ) if file.result is not None]
        for row in self._outbox.commit(results):
            file = self.files[row.result.job.id]
            file.placement = row.placement
            self.files.move(file, Stage.COMMITTED)
            for observe in self._on_row:
                observe(row)

    def publish(self) -> None:
        """Move the files of committed rows to the paths in their rows, COMMITTED → gone.

        Raises:
            OSError: the outbox cannot be written now.
            StorageError: too many files cannot be published for reasons of their own.
        """
        self.files.end_delays()
        failure: OSError | None = None
        for file in self.files.at(Stage.COMMITTED):
            if file.placement is None:
                continue
            try:
                self._report_change(file)
                self._outbox.publish(file.job, file.placement)
            except OSError as error:
                if error.errno in _ONE_FILES_FAULT:
                    log.error(
                        "%s cannot be published yet: %s", file.placement.original, describe(error)
                    )
                    self.files.delay(file, _PARKED_SECONDS)
                else:
                    failure = error
            else:
                self._claims.forget(file.job)
                self.files.remove(file)
        if failure is not None:
            raise failure
        if self.files.delayed > _PARKED_AT_MOST:
            raise StorageError(
                f"{self.files.delayed} files have their row but cannot be published, see the log"
            )

    def log_unread(self) -> None:
        """Log that the files that workers have were not read, without blaming them."""
        if ids := [file.job.id for file in self.files.at(Stage.READING)]:
            self._claims.attempts.end(ids)

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
            self.files.add(claimed)

    def _next_batch(self, first: InFlight, batch_size: int) -> list[InFlight]:
        """Return the next files that may be read together, beginning with ``first``."""
        if first.alone:
            return [first]
        files: list[InFlight] = []
        size = name_bytes = 0
        for file in self.files.at(Stage.CLAIMED, batch_size):
            size += file.job.size
            name_bytes += _JOB_BYTES + 2 * len(file.job.path.name)
            if files and (size > _BATCH_BYTES or name_bytes > _BATCH_NAME_BYTES or file.alone):
                break
            files.append(file)
        return files

    def _give(self, files: list[InFlight]) -> None:
        """Log the attempt, then give files to a worker.

        Raises:
            OSError: the attempt cannot be logged.
        """
        first = files[0]
        ids = [file.job.id for file in files]
        self._claims.attempts.begin(ids)
        if first.alone:
            first.rejection = self._claims.attempts.rejection(first.job.id)
        jobs = tuple(file.job for file in files)
        self._pool.submit(Batch(jobs, alone=first.alone, rejection=first.rejection))
        for file in files:
            self.files.move(file, Stage.READING)
        log.debug("%d files to a worker, the first is %s", len(files), printable(first.job.name))

    def _retry_alone(self, files: list[InFlight], why: str) -> None:
        """Log a worker's death, and queue its files to be read again, each alone."""
        self._claims.attempts.down([file.job.id for file in files], why)
        for file in files:
            file.alone = True
        rejected = [file for file in files if file.rejection]
        self.files.requeue(files)
        for file in rejected:
            self._reject(file)

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

    def _reread_changed(self) -> None:
        """Queue files again that were written to since they were read, READ → CLAIMED."""
        changed = [
            file
            for file in self.files.at(Stage.READ)
            if file.rereads < _REREADS and _was_changed(file.result)
        ]
        if changed:
            self._claims.attempts.end([file.job.id for file in changed])
            self.files.requeue(changed)
        for file in changed:
            file.rereads += 1
            file.result = None

    def _report_change(self, file: InFlight) -> None:
        """Log and count a file whose content is no longer that of its row.

        Its writer had it open during the claim. The file is published all the same: its bytes are
        kept, and a row is never rewritten.
        """
        result = file.result
        if result is None or not _was_changed(result):
            return
        with open(open_untrusted(file.job.path), "rb") as changed:  # noqa: PTH123 - opened safely
            sha256 = hashlib.file_digest(changed, "sha256").hexdigest()
        file.result = replace(result, stamp=None)  # report it once
        if sha256 == result.sha256:
            return
        log.error(
            "%s changed after its row %s was written: the row has sha256 %s, the file has %s: drop "
            "the file again",
            printable(file.job.name),
            file.job.id,
            result.sha256,
            sha256,
        )
        self._on_change()

    def _set_result(self, file: InFlight, result: Result) -> None:
        file.result = result
        self.files.move(file, Stage.READ)

    def _forget(self, file: InFlight) -> None:
        """Forget a file without a result; someone removed it."""
        log.error(
            "%s was removed from the work folder before it had a row", printable(file.job.name)
        )
        self._claims.forget(file.job)
        self.files.remove(file)


def _was_changed(result: Result | None) -> bool:
    """Return whether a file was written to since it was read; ``False`` if it is gone."""
    if result is None or result.stamp is None:
        return False
    try:
        return Stamp.of(result.job.path.lstat()) != result.stamp
    except FileNotFoundError:
        return False
