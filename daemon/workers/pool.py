"""Give batches to worker processes, and replace workers that die."""

import logging
import math
import os
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Literal

from daemon.errors import ModelError, WorkerStartError, describe
from daemon.records import Reading
from daemon.text import count
from daemon.waiting import Backoff
from daemon.workers.process import Death, WorkerProcess
from daemon.workers.readers import Batch, BatchRead, BatchRequeued, Outcome, WorkerDied
from daemon.workers.worker import WorkerSettings

log = logging.getLogger(__name__)

# More workers than this gain little on one inbox.
_AUTO_WORKERS = 4
# Batches in flight per worker: one that it reads, and two queued so that it stays busy while the
# daemon lists an inbox of 100,000 files (0.3 s).
_BATCHES_PER_WORKER = 3
# One worker that dies during its start may have been killed by chance. After this many in a row,
# workers cannot start.
_START_TRIES = 3
# Backoff after a failed start, in seconds.
_RESTART_SECONDS, _RESTART_AT_MOST = 0.5, 8.0


class Pool:
    """A fixed number of worker processes on this machine; see ``Readers``.

    Only ``poll`` starts, replaces and kills workers.

    Attributes:
        size: their number.
        replaced: how many have ended and were replaced.
    """

    def __init__(self, settings: WorkerSettings, workers: int) -> None:
        self.size = workers
        self.replaced = 0
        self._settings = settings
        self._workers: list[WorkerProcess] = []
        self._start = Backoff(_RESTART_SECONDS, _RESTART_AT_MOST)
        self._error: ModelError | OSError | None = None

    @property
    def title(self) -> str:
        """What they are, for the log."""
        return count(self.size, "worker")

    @property
    def self_test(self) -> Reading | None:
        """A worker's reading of the known digit; ``None`` while no worker is ready."""
        return next((one.self_test for one in self._workers if one.self_test is not None), None)

    @property
    def error(self) -> ModelError | OSError | None:
        """Why no worker can start; ``None`` while one is ready or may still become ready."""
        return self._error if self.self_test is None else None

    @property
    def waitables(self) -> list[Connection | int]:
        """Objects for ``multiprocessing.connection.wait``; one is ready when ``poll`` has work."""
        return [each for worker in self._workers for each in worker.waitables]

    @property
    def seconds_left(self) -> float:
        """In how many seconds a start or a timeout is due in ``poll``."""
        due = min((worker.deadline for worker in self._workers), default=math.inf)
        seconds = max(0.0, due - time.monotonic())
        if len(self._workers) < self.size:
            seconds = min(seconds, self._start.seconds_left)
        return seconds

    def room(self, *, alone: bool = False) -> int:
        """Return how many batches may be submitted now."""
        most = 1 if alone else _BATCHES_PER_WORKER
        return sum(max(0, most - len(worker.batches)) for worker in self._ready())

    def submit(self, batch: Batch) -> None:
        """Give a batch to the worker with the fewest batches; only if the pool has ``room``."""
        if not self.room(alone=batch.alone):
            raise RuntimeError("the pool has no room")
        min(self._ready(), key=lambda worker: len(worker.batches)).send(batch)

    def poll(self) -> list[Outcome]:
        """Return what became of batches; replace workers that died and start missing ones."""
        outcomes = [outcome for worker in [*self._workers] for outcome in self._receive(worker)]
        if self._start.is_due:
            try:
                while len(self._workers) < self.size:
                    self._workers.append(WorkerProcess(self._settings))
            except OSError as error:  # no memory, descriptors or processes are left
                log.warning("a worker cannot be started, trying again: %s", describe(error))
                self._count_failed_start(error)
        return outcomes

    def close(self) -> None:
        """Kill the workers. Their batches stay unread in the work folder."""
        for worker in self._workers:
            worker.kill()
        self._workers.clear()

    def _ready(self) -> list[WorkerProcess]:
        """Return the workers that are ready and don't read a suspect."""
        return [one for one in self._workers if one.self_test is not None and not one.reserved]

    def _receive(self, worker: WorkerProcess) -> Iterator[Outcome]:
        while (reply := worker.receive()) is not None:
            match reply:
                case Reading():
                    self._start.succeed()
                    self._error = None
                case list(results):
                    seconds = worker.seconds
                    yield BatchRead(worker.take_answered(), results, seconds)
                case error if worker.self_test is not None:
                    yield BatchRequeued(worker.take_answered(), error)
                case error:
                    self._remove(worker)
                    self._count_failed_start(error)
                    return
        if death := worker.failure():
            yield from self._bury(worker, death)

    def _bury(self, worker: WorkerProcess, death: Death) -> Iterator[Outcome]:
        """Remove a worker that died; return what became of its batches."""
        stderr, was_reading = worker.stderr(), worker.was_reading()
        self._remove(worker)
        if worker.self_test is None:
            error = WorkerStartError(f"a worker ended while loading the model: {death.why}")
            log.warning("%s: starting another", error)
            self._count_failed_start(error)
            return
        batches = [batch.ids for batch in worker.batches]
        if was_reading and batches:
            yield WorkerDied(batches.pop(0), death.why, stderr, death.was_killed)
        else:
            log.warning("an idle worker ended (%s): starting another", death.why)
        yield from map(BatchRequeued, batches)

    def _count_failed_start(self, error: ModelError | OSError) -> None:
        self._start.fail()
        if not isinstance(error, WorkerStartError) or self._start.failures >= _START_TRIES:
            self._error = error

    def _remove(self, worker: WorkerProcess) -> None:
        self.replaced += 1
        self._workers.remove(worker)
        worker.kill()


def worker_count(wanted: Literal["auto"] | int) -> int:
    """Return the number of workers for a setting on this machine."""
    return min(len(os.sched_getaffinity(0)), _AUTO_WORKERS) if wanted == "auto" else wanted
