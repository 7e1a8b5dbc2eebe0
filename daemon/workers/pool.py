"""Give batches to worker processes, and replace workers that die."""

import logging
import math
import os
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Literal

from daemon.errors import ModelError, WorkerStartError
from daemon.records import Job, Reading, ReadOptions
from daemon.workers.batch import Read
from daemon.workers.process import Patience, WorkerProcess
from daemon.workers.readers import Down, Finished, Outcome, Returned
from daemon.workers.worker import read as read_with_model

log = logging.getLogger(__name__)

# More workers than this gain little on one inbox, and each takes 700 MB.
_AUTO_WORKERS = 4
# Batches in flight per worker: one that it reads, and two queued so that it stays busy while the
# daemon lists an inbox of 100,000 files (0.3 s).
_BATCHES_PER_WORKER = 3
# One worker that dies during its start may have been killed by chance. After this many in a row,
# workers cannot start.
_START_TRIES = 3
# Backoff after a failed start, in seconds: the first delay, doubled up to the maximum.
_RESTART_SECONDS, _RESTART_AT_MOST = 0.5, 8.0


class Pool:
    """A fixed number of worker processes on this machine.

    Attributes:
        size: their number.
        replaced: how many have ended and were replaced.

    Only ``tend`` starts, replaces and kills workers. Call it whenever one of ``waitables`` is
    ready, and after ``seconds_until_due``.
    """

    def __init__(
        self,
        options: ReadOptions,
        workers: int,
        read: Read = read_with_model,
        patience: Patience = Patience(),  # noqa: B008 - frozen
    ) -> None:
        self.size = workers
        self.replaced = 0
        self._options = options
        self._read = read
        self._patience = patience
        self._workers: list[WorkerProcess] = []
        self._failures = 0  # consecutive failed starts
        self._start_at = 0.0
        self._fault: ModelError | OSError | None = None

    @property
    def title(self) -> str:
        """What they are, for the log."""
        return f"{self.size} worker(s)"

    @property
    def known(self) -> Reading | None:
        """A worker's reading of the known digit; ``None`` while no worker is ready."""
        return next((worker.known for worker in self._workers if worker.known is not None), None)

    @property
    def fault(self) -> ModelError | OSError | None:
        """Why no worker can start; ``None`` while one is ready or may still become ready."""
        return self._fault if self.known is None else None

    @property
    def jobs(self) -> Iterator[Job]:
        """The submitted jobs that have no outcome yet."""
        return (job for worker in self._workers for batch in worker.batches for job in batch)

    @property
    def busy(self) -> bool:
        """Whether any worker has a batch."""
        return any(worker.batches for worker in self._workers)

    @property
    def waitables(self) -> list[Connection | int]:
        """Objects for ``multiprocessing.connection.wait``; one is ready when ``tend`` has work."""
        return [each for worker in self._workers for each in worker.waitables]

    def seconds_until_due(self) -> float:
        """Return in how many seconds a start or a timeout is due in ``tend``."""
        due = min((worker.deadline for worker in self._workers), default=math.inf)
        if len(self._workers) < self.size:
            due = min(due, self._start_at)
        return max(0.0, due - time.monotonic())

    def has_room(self, *, alone: bool = False) -> bool:
        """Return whether a batch may be submitted now."""
        return self._free(alone=alone) is not None

    def submit(self, jobs: list[Job], *, alone: bool = False) -> None:
        """Give a batch to the worker with the fewest batches; only if the pool ``has_room``.

        With ``alone``, that worker gets nothing else until it has answered. If the daemon dies, it
        is then certain which file was being read.
        """
        free = self._free(alone=alone)
        if free is None:
            raise RuntimeError("the pool has no room")
        free.reserved = alone
        free.send(jobs)

    def tend(self) -> list[Outcome]:
        """Return the workers' outcomes; replace workers that died and start missing ones."""
        outcomes = [outcome for worker in [*self._workers] for outcome in self._collect(worker)]
        if time.monotonic() >= self._start_at:
            while len(self._workers) < self.size:
                self._workers.append(WorkerProcess(self._read, self._options, self._patience))
        return outcomes

    def close(self) -> None:
        """Kill the workers. Their batches stay unread in the work folder."""
        for worker in self._workers:
            worker.kill()
        self._workers.clear()

    def _free(self, *, alone: bool) -> WorkerProcess | None:
        most = 1 if alone else _BATCHES_PER_WORKER
        free = [
            worker
            for worker in self._workers
            if worker.known is not None and not worker.reserved and len(worker.batches) < most
        ]
        return min(free, key=lambda worker: len(worker.batches), default=None)

    def _collect(self, worker: WorkerProcess) -> Iterator[Outcome]:
        while (reply := worker.receive()) is not None:
            match reply:
                case Reading():
                    self._failures, self._fault = 0, None
                case list(results):
                    seconds = worker.seconds
                    yield Finished(worker.answered(), results, seconds)
                case error if worker.known is not None:
                    yield Returned(worker.answered(), error)
                case error:
                    self._dismiss(worker)
                    self._start_failed(error)
                    return
        if why := worker.failure():
            yield from self._bury(worker, why)

    def _bury(self, worker: WorkerProcess, why: str) -> Iterator[Outcome]:
        said, was_reading = worker.stderr(), worker.was_reading()
        self._dismiss(worker)
        if worker.known is None:
            error = WorkerStartError(f"a worker ended while loading the model: {why}")
            log.warning("%s: starting another", error)
            self._start_failed(error)
            return
        batches = list(worker.batches)
        if was_reading and batches:
            yield Down(batches.pop(0), why, said)
        else:
            log.warning("an idle worker ended (%s): starting another", why)
        yield from map(Returned, batches)

    def _start_failed(self, error: ModelError | OSError) -> None:
        self._start_at = time.monotonic() + min(
            _RESTART_SECONDS * 2**self._failures, _RESTART_AT_MOST
        )
        self._failures += 1
        if not isinstance(error, WorkerStartError) or self._failures >= _START_TRIES:
            self._fault = error

    def _dismiss(self, worker: WorkerProcess) -> None:
        self.replaced += 1
        self._workers.remove(worker)
        worker.kill()


def worker_count(wanted: Literal["auto"] | int) -> int:
    """Return the number of workers for a setting on this machine."""
    return min(_cores(), _AUTO_WORKERS) if wanted == "auto" else wanted


def _cores() -> int:
    return len(os.sched_getaffinity(0))
