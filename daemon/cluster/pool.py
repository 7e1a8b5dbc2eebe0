"""Read on the machines of a Dask cluster, and alone on this one what took workers down there."""

import os
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from multiprocessing.connection import Connection

from daemon.cluster.link import DisconnectedError, Link, LostError
from daemon.errors import ClusterError, ModelError
from daemon.records import Cluster, Job, Reading, ReadOptions, Result
from daemon.workers.batch import Read, read_batch
from daemon.workers.pool import Pool
from daemon.workers.process import Patience
from daemon.workers.readers import Finished, Outcome, Returned
from daemon.workers.worker import read as read_here

_BATCHES_PER_WORKER = 2  # one that it reads, and one that is on its way
_MOST_BATCHES = 256
_IDLE_SECONDS = 60.0
# A file in two batches that were lost is read alone on this machine, as it may be the cause. A
# machine's death alone is never held against a file.
_LOSSES = 2


class ClusterPool:
    """Readers on other machines.

    A thread for each batch opens and hashes its files, has them read by a worker, and writes the
    pictures.
    """

    def __init__(
        self,
        cluster: Cluster,
        options: ReadOptions,
        read: Read = read_here,
        patience: Patience = Patience(),  # noqa: B008 - frozen
    ) -> None:
        """Take the settings, and begin to connect.

        Args:
            cluster: where the scheduler is.
            options: the settings for both readers.
            read: reads a batch, in a worker of the cluster or here.
            patience: how long a batch may take.
        """
        self.title = f"the cluster at {cluster.address}"
        self._options = options
        self._read = read
        self._patience = patience
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._is_closed = False
        self._closing = threading.Lock()
        self._link = Link(cluster, options, read, patience, self._ring)
        self._threads = ThreadPoolExecutor(_MOST_BATCHES, "batch")
        self._flying: dict[int, list[Job]] = {}
        self._ended: deque[tuple[int, Outcome]] = deque()
        self._next = 0
        self._losses: Counter[str] = Counter()  # by the id of a job
        self._lost = 0
        self._local: Pool | None = None
        self._suspects: deque[Job] = deque()
        self._link.start()

    @property
    def replaced(self) -> int:
        """How many batches were lost, and workers of this machine replaced."""
        return self._lost + (self._local.replaced if self._local else 0)

    @property
    def known(self) -> Reading | None:
        """A worker's reading of the known digit; ``None`` while no worker is ready."""
        return self._link.known

    @property
    def fault(self) -> ModelError | OSError | ClusterError | None:
        """Why nothing can be read; ``None`` while a worker is ready or may still become ready."""
        return self._link.fault

    @property
    def jobs(self) -> Iterator[Job]:
        """The submitted jobs that have no outcome yet."""
        here = self._local.jobs if self._local else ()
        return chain(chain.from_iterable(self._flying.values()), self._suspects, here)

    @property
    def busy(self) -> bool:
        """Whether there are such jobs."""
        return next(self.jobs, None) is not None

    @property
    def waitables(self) -> list[Connection | int]:
        """Objects for ``multiprocessing.connection.wait``; one is ready when ``tend`` has work."""
        return [self._bell, *(self._local.waitables if self._local else ())]

    def seconds_until_due(self) -> float:
        """Return in how many seconds ``tend`` has work even if nothing is ready."""
        return self._local.seconds_until_due() if self._local else _IDLE_SECONDS

    def has_room(self, *, alone: bool = False) -> bool:
        """Return whether a batch may be submitted now."""
        if alone:
            return self._here().has_room(alone=True)
        most = min(_BATCHES_PER_WORKER * self._link.slots, _MOST_BATCHES)
        return self._link.known is not None and len(self._flying) < most

    def submit(self, jobs: list[Job], *, alone: bool = False) -> None:
        """Send a batch to the cluster; read what is suspect, and what is to be read alone, here."""
        if alone:
            self._here().submit(jobs, alone=True)
            return
        suspects = [job for job in jobs if self._losses[job.id] >= _LOSSES]
        others = [job for job in jobs if self._losses[job.id] < _LOSSES]
        self._suspects.extend(suspects)
        if others:
            self._next += 1
            self._flying[self._next] = others
            self._threads.submit(self._fly, self._next, others)

    def tend(self) -> list[Outcome]:
        """Return the outcomes; give suspects to the worker of this machine."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._bell)
        outcomes = []
        while self._ended:
            number, outcome = self._ended.popleft()
            del self._flying[number]
            outcomes.append(outcome)
        if self._local is not None:
            outcomes += self._local.tend()
        if self._suspects and self._here().has_room(alone=True):
            self._here().submit([self._suspects.popleft()], alone=True)
        for outcome in outcomes:
            if not isinstance(outcome, Returned):
                for job in outcome.jobs:
                    self._losses.pop(job.id, None)
        return outcomes

    def close(self) -> None:
        """End the connection and the worker of this machine; the cluster's workers go on."""
        with self._closing:
            self._is_closed = True
            os.close(self._bell)
        self._link.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._local is not None:
            self._local.close()

    def _here(self) -> Pool:
        """Return the worker of this machine, which is started when it is needed first."""
        if self._local is None:
            self._local = Pool(self._options, 1, self._read, self._patience)
            self._local.tend()
        return self._local

    def _fly(self, number: int, jobs: list[Job]) -> None:
        """Read a batch; runs in a thread of its own."""
        started = time.monotonic()
        outcome: Outcome
        try:
            results: list[Result] = read_batch(self._link.read, self._options, jobs)
            outcome = Finished(jobs, results, time.monotonic() - started)
        except DisconnectedError:
            outcome = Returned(jobs)
        except LostError:
            self._lost += 1
            self._losses.update(job.id for job in jobs)
            outcome = Returned(jobs)
        except (ModelError, OSError) as error:
            outcome = Returned(jobs, error)
        except Exception:  # noqa: BLE001 - a bug in the reader, or a file that breaks it
            for job in jobs:
                self._losses[job.id] = _LOSSES
            outcome = Returned(jobs)
        self._ended.append((number, outcome))
        self._ring()

    def _ring(self) -> None:
        with self._closing:
            if not self._is_closed:
                os.eventfd_write(self._bell, 1)
