"""Write rows and publish files; see ``in_flight`` for the stages."""

import errno
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from daemon.errors import StorageError, describe
from daemon.files import hash_file, was_modified
from daemon.inbox.claims import Claims
from daemon.loop.in_flight import InFlight, InFlightTable, Stage
from daemon.outbox.outbox import Outbox
from daemon.outbox.rows import Row
from daemon.records import Result
from daemon.text import printable
from daemon.waiting import SyncThread, Wakeup

log = logging.getLogger(__name__)

# A file that was written to after a worker had read it is read again, at most this often, so that
# a file that is written to all the time doesn't keep a worker busy. The pause gives its writer time
# to finish.
_REPEATS = 2
_REPEAT_SECONDS = 1.0
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


class Committer:
    """Moves files from READ to their places in the outbox.

    If a method raises, the files stay and can be moved later.
    """

    def __init__(
        self,
        files: InFlightTable,
        claims: Claims,
        outbox: Outbox,
        wakeup: Wakeup,
        on_row: Sequence[Callable[[Row], None]],
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """Take the components.

        Args:
            files: the files in flight.
            claims: has claimed them.
            outbox: gets their rows.
            wakeup: wakes the loop when files have become durable.
            on_row: the observers; each gets each committed row.
            on_change: called for each file that changed after its row was written.
        """
        self._files = files
        self._claims = claims
        self._outbox = outbox
        self._on_row = on_row
        self._on_change = on_change
        # The loop never waits for a busy disk, which may take minutes.
        self._disk_sync = SyncThread(claims.sync_disk, wakeup)

    def commit(self) -> None:
        """Append the rows of all files that are read and durable, READ → COMMITTED.

        Then tell the observers. Originals, pictures and claims are durable before the row that
        names them.

        Raises:
            OSError: not all data could be written, so the files will be read again.
            ConfigError, OSError: see ``Outbox.commit``.
        """
        try:
            ended = self._disk_sync.ended()
        except OSError:
            # The kernel reports a lost write only once. The next sync may succeed without it.
            self._files.requeue(self._files.at(Stage.READ))
            for file in self._files.at(Stage.READING):
                file.is_stale = True
            raise
        self._files.request_sync(Stage.READ, self._disk_sync)
        durable = [file for file in self._files.at(Stage.READ) if file.sync_run <= ended]
        self._repeat_changed(durable)
        results = [file.result for file in durable if file.result is not None]
        for row in self._outbox.commit(results):
            file = self._files[row.result.job.id]
            file.placement = row.placement
            self._files.move(file, Stage.COMMITTED)
            for observe in self._on_row:
                observe(row)

    def publish(self) -> None:
        """Move the files of committed rows to the paths in their rows, COMMITTED → gone.

        Raises:
            OSError: the outbox cannot be written now.
            StorageError: too many files cannot be published for reasons of their own.
        """
        self._files.end_delays()
        failure: OSError | None = None
        for file in self._files.at(Stage.COMMITTED):
            if file.placement is None:
                continue
            try:
                self._report_change(file)
                self._outbox.publish(file.job, file.placement)
            except OSError as error:
                if error.errno in _ONE_FILES_FAULT:
                    if file.publish_error != (why := describe(error)):
                        log.error("%s cannot be published yet: %s", file.placement.original, why)
                    file.publish_error = why
                    self._files.delay(file, _PARKED_SECONDS)
                else:
                    failure = error
            else:
                self._claims.forget(file.job)
                self._files.remove(file)
        if failure is not None:
            raise failure
        if (parked := len(self._files.delayed(Stage.COMMITTED))) > _PARKED_AT_MOST:
            raise StorageError(
                f"{parked} files have their row but cannot be published, see the log"
            )

    def close(self) -> None:
        """End the thread."""
        self._disk_sync.close()

    def _repeat_changed(self, files: list[InFlight]) -> None:
        """Queue files again that were written to since they were read, READ → CLAIMED."""
        changed = [file for file in files if file.repeats < _REPEATS and _was_changed(file.result)]
        for file in changed:
            file.repeats += 1
        self._files.requeue(changed)
        for file in changed:
            self._files.delay(file, _REPEAT_SECONDS)

    def _report_change(self, file: InFlight) -> None:
        """Log and count a file whose content is no longer that of its row.

        Its writer had it open during the claim. The file is published all the same: its bytes are
        kept, and a row is never rewritten.
        """
        result = file.result
        if result is None or not _was_changed(result):
            return
        sha256 = hash_file(file.job.path)
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


def _was_changed(result: Result | None) -> bool:
    """Return whether a file was written to since it was read."""
    return result is not None and was_modified(result.job.path, result.stamp)
