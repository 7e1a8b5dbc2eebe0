"""Read archived originals again, with another model, into a table of rereads."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path

from daemon.config import Config
from daemon.errors import ModelError, StorageError, describe
from daemon.files import hash_file
from daemon.loop.originals import Original, Originals, Selection
from daemon.loop.startup import load_expected
from daemon.outbox import results, rows
from daemon.outbox.rereads import RereadWriter, format_line, table_name
from daemon.reading.model import read_file
from daemon.records import Pictures, ReadOptions, Result, Status, Verdict
from daemon.text import printable
from daemon.waiting import Wakeup
from daemon.workers.pool import Pool, worker_count
from daemon.workers.readers import (
    Batch,
    BatchRead,
    BatchRequeued,
    BatchSize,
    Outcome,
    Unopened,
    WorkerDied,
)
from daemon.workers.worker import WorkerSettings

log = logging.getLogger(__name__)

# Like the daemon's: after so many deaths of its worker a file is given up, and where memory may be
# short it is read again only after so many seconds.
_DOWNS = 2
_KILLED_SECONDS = (10.0, 60.0)
_WAIT_SECONDS = 1.0  # at most, between two looks at a signal to stop
_AGAIN = "the same command continues where this one ended"
_SHA256 = rows.COLUMNS.index("sha256")


@dataclass(slots=True)
class _Batch:
    """Originals that a worker reads together.

    Attributes:
        originals: at least one.
        place: its place among the batches; ``None`` for an original that is read alone.
        downs: how often its only file has taken down a worker.
        killed: how often that may not have been the file's fault.
        due: when it may be read, in seconds of ``time.monotonic``.
    """

    originals: list[Original]
    place: int | None = None
    downs: int = 0
    killed: int = 0
    due: float = 0.0


class Reread:
    """One reread of an outbox: has originals read, appends the results to a table.

    Attributes:
        model: the id of the model.
        writer: of the table; it has the table's path.
        originals: those to read.
        done: how many of their rows have a result.
    """

    def __init__(
        self,
        config: Config,
        model: Path,
        selection: Selection,
        worker_settings: Callable[[ReadOptions], WorkerSettings] = WorkerSettings,
    ) -> None:
        """Open the table and lock it.

        Raises:
            ModelError: the model cannot be used.
            ConfigError: there is no outbox, or a table or ``expect_file`` cannot be used.
            BusyError: another reread writes the table.
            StorageError, OSError: it cannot be written.
        """
        self.model = read_file(model)[2]
        self.done = 0
        expected = load_expected(config) or config.reading.expected
        options = replace(config.reading, model=model, pictures=Pictures.NONE, expected=expected)
        results.check_outbox(config.outbox)
        self._config = config
        self._settings = worker_settings(options)
        self._is_stopping = False
        self._wakeup = Wakeup()
        self._queue = deque[_Batch]()  # to read again
        self._in_flight = dict[tuple[str, ...], _Batch]()
        self._held = list[Original]()  # the first one, or one too large for the last batch
        self._next_place = 0  # of a batch
        self._read = dict[int, list[str]]()  # lines of batches that wait for an earlier one
        self._next_line = 0  # the place of the batch whose lines are next
        self._lines = list[str]()  # to write
        self._on_progress: Callable[[int], None] = lambda _: None
        self.writer = RereadWriter(config.outbox, table_name(self.model, config.reads))
        self.originals = Originals(
            config,
            self.writer.path.name,
            selection,
            self.writer.numbers,
            is_stopped=lambda: self._is_stopping,
            on_left_out=lambda: self._on_progress(1),
        )

    @property
    def is_stopped(self) -> bool:
        """Whether ``stop`` was called, so that not all are read."""
        return self._is_stopping

    def close(self) -> None:
        """Close the table and unlock it."""
        self.writer.close()
        self._wakeup.close()

    def stop(self) -> None:
        """End ``count`` or ``run`` soon; safe in a signal handler."""
        self._is_stopping = True
        self._wakeup.set()

    def count(self) -> int:
        """Return how many rows have no result yet."""
        self.done = self.originals.count()
        return self.originals.wanted - self.done

    def run(self, on_progress: Callable[[int], None] = lambda _: None) -> None:
        """Read the originals and append the results, until all are read or ``stop`` is called.

        Args:
            on_progress: gets the number of originals that were read or left out since.

        Raises:
            ModelError: the model cannot be used.
            StorageError: the outbox cannot be used now.
        """
        self._on_progress = on_progress
        originals = self.originals.read()
        self._held = list(islice(originals, 1))
        if not (self._held or self.originals.absent):
            return  # without waiting for a worker
        with closing(Pool(self._settings, worker_count(self._config.workers))) as pool:
            while not self._is_stopping:
                for outcome in pool.poll():
                    self._handle(outcome)
                self._write()
                if pool.error is not None:
                    raise pool.error
                has_more = self._submit(pool, originals)
                if not (has_more or self._in_flight or self._queue):
                    if not self.originals.absent:
                        break
                    originals = self.originals.read_late()
                    continue
                seconds = min(pool.seconds_left, _WAIT_SECONDS)
                self._wakeup.wait(pool.waitables, seconds)

    def _submit(self, pool: Pool, originals: Iterator[Original]) -> bool:
        """Give batches to workers that have room; return whether there may be more originals."""
        while True:
            batch = self._take_due()
            is_alone = batch is not None and batch.place is None
            if not pool.room(alone=is_alone):
                if batch is not None:
                    self._queue.appendleft(batch)
                return True
            if batch is None:
                if not (taken := self._take(originals)):
                    return False
                batch = _Batch(taken, self._next_place)
                self._next_place += 1
            request = Batch(tuple(one.job for one in batch.originals), alone=is_alone)
            self._in_flight[request.ids] = batch
            pool.submit(request)

    def _take_due(self) -> _Batch | None:
        """Take the first batch from the queue that may be read now."""
        now = time.monotonic()
        batch = next((one for one in self._queue if one.due <= now), None)
        if batch is not None:
            self._queue.remove(batch)
        return batch

    def _take(self, originals: Iterator[Original]) -> list[Original]:
        """Return the originals of the next batch; none if there are no more."""
        size = BatchSize()
        taken = list[Original]()
        held, self._held = self._held, []
        for original in chain(held, originals):
            if not size.add(original.job) and taken:
                self._held = [original]
                break
            taken.append(original)
            if len(taken) == self._config.batch_size:
                break
        return taken

    def _handle(self, outcome: Outcome) -> None:
        """Take what became of a batch.

        Raises:
            ModelError: the model was replaced.
            StorageError: the storage cannot be used now.
        """
        batch = self._in_flight.pop(outcome.ids)
        match outcome:
            case BatchRead(_, found, _):
                lines = map(self._format, batch.originals, found)
                self._finish(batch, [line for line in lines if line])
            case WorkerDied(_, why, stderr, was_killed):
                name = printable(batch.originals[0].job.name)
                log.warning(
                    "a worker went down (%s) while reading %d files, the first is %s%s",
                    *(why, len(batch.originals), name),
                    f"; its stderr ends: {stderr}" if stderr else "",
                )
                self._finish(batch, self._retry_alone(batch, why, was_killed=was_killed))
            case BatchRequeued(_, None):
                self._queue.appendleft(batch)
            case BatchRequeued(_, ModelError() as error):
                raise error
            case BatchRequeued(_, error):
                raise StorageError(f"{describe(error or OSError())}: {_AGAIN}")

    def _retry_alone(self, batch: _Batch, why: str, *, was_killed: bool) -> list[str]:
        """Queue a batch's files, each alone; return the lines of those that are given up."""
        lines = list[str]()
        downs, killed = batch.downs + (not was_killed), batch.killed + was_killed
        is_given_up = downs >= _DOWNS or killed > len(_KILLED_SECONDS)
        due = time.monotonic() + (_KILLED_SECONDS[killed - 1] if killed and not is_given_up else 0)
        for original in batch.originals:
            if not is_given_up:
                self._queue.append(_Batch([original], None, downs, killed, due))
                continue
            reason = f"took its worker process down {downs + killed} times: {why}"
            verdict = Verdict(Status.ERROR, reason=reason)
            try:
                sha256 = hash_file(original.job.path)
            except OSError:
                self.originals.set_aside(original.cells)
                continue
            result = Result(original.job, verdict, sha256, "", has_picture=False)
            lines.append(self._format(original, result))
        return [line for line in lines if line]

    def _format(self, original: Original, result: Result | Unopened) -> str:
        """Return a result's line; empty if the original is left out."""
        cells = original.cells
        if isinstance(result, Unopened) or not result.sha256:
            self.originals.set_aside(cells)
            return ""
        if result.model not in {"", self.model}:
            raise ModelError(
                f"{self._settings.options.model}: was replaced while it was in use: {_AGAIN} if "
                "you put it back"
            )
        if cells[_SHA256] not in {"", result.sha256}:
            self.originals.leave_changed(cells)
            return ""
        self._on_progress(1)
        return format_line(cells, result, datetime.now(UTC))

    def _finish(self, batch: _Batch, lines: list[str]) -> None:
        """Have a batch's lines written: in the order of the rows, unless it was read alone."""
        if batch.place is None:
            self._lines += lines
            return
        self._read[batch.place] = lines
        while (ready := self._read.pop(self._next_line, None)) is not None:
            self._lines += ready
            self._next_line += 1

    def _write(self) -> None:
        if self._lines:
            self.writer.append(self._lines)
            self.done += len(self._lines)
            self._lines = []
