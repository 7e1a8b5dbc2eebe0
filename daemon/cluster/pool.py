"""Run batches on a Dask cluster; retry files that may have crashed a remote worker locally."""

import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection

from daemon.cluster.link import DisconnectedError, Link, LostError
from daemon.errors import ClusterError, ModelError
from daemon.records import Cluster, Reading
from daemon.waiting import Wakeup
from daemon.workers.pool import Pool
from daemon.workers.readers import Batch, BatchRead, BatchRequeued, Outcome
from daemon.workers.worker import WorkerSettings, read_batch

_BATCHES_PER_WORKER = 2  # one that it reads, and one in flight to it
_MOST_BATCHES = 256
_IDLE_SECONDS = 60.0
# A file in two batches that were lost is read by itself on this machine, as it may be the cause. A
# machine's death is never held against a file.
_LOSSES = 2


class ClusterPool:
    """Readers on other machines; see ``Readers``.

    A thread for each batch opens and hashes its files, has them read by a worker, and writes the
    pictures.
    """

    def __init__(self, cluster: Cluster, settings: WorkerSettings) -> None:
        """Take the settings, and begin to connect.

        Args:
            cluster: where the scheduler is.
            settings: how workers read, in the cluster and here.
        """
        self.title = f"the cluster at {cluster.address}"
        self._settings = settings
        self._wakeup = Wakeup()
        self._is_closed = False
        self._closing = threading.Lock()
        self._link = Link(cluster, settings, self._wake)
        self._threads = ThreadPoolExecutor(_MOST_BATCHES, "batch")
        self._running = 0
        self._finished: deque[Outcome] = deque()
        self._losses: Counter[str] = Counter()  # by the id of a job
        self._lost = 0
        self._local: Pool | None = None
        self._suspects: deque[Batch] = deque()
        self._link.start()

    @property
    def replaced(self) -> int:
        """How many batches were lost, and workers of this machine replaced."""
        return self._lost + (self._local.replaced if self._local else 0)

    @property
    def self_test(self) -> Reading | None:
        """A worker's reading of the known digit; ``None`` while no worker is ready."""
        return self._link.self_test

    @property
    def error(self) -> ModelError | OSError | ClusterError | None:
        """Why nothing can be read; ``None`` while a worker is ready or may still become ready."""
        return self._link.error

    @property
    def waitables(self) -> list[Connection | int]:
        """Objects for ``multiprocessing.connection.wait``; one is ready when ``poll`` has work."""
        return [self._wakeup.descriptor, *(self._local.waitables if self._local else ())]

    @property
    def seconds_left(self) -> float:
        """In how many seconds ``poll`` has work even if nothing is ready."""
        return self._local.seconds_left if self._local else _IDLE_SECONDS

    def room(self, *, alone: bool = False) -> int:
        """Return how many batches may be submitted now, each ``alone`` or none."""
        if alone:
            return self._start_local().room(alone=True)
        if self._link.self_test is None:
            return 0
        most = min(_BATCHES_PER_WORKER * self._link.slots, _MOST_BATCHES)
        return max(0, most - self._running)

    def submit(self, batch: Batch) -> None:
        """Send a batch to the cluster; read suspects, and what is to be read alone, here."""
        if batch.alone:
            self._start_local().submit(batch)
            return
        others = []
        for job in batch.jobs:
            if self._losses[job.id] >= _LOSSES:
                self._suspects.append(Batch((job,), alone=True))
            else:
                others.append(job)
        if others:
            self._running += 1
            self._threads.submit(self._run, Batch(tuple(others)))

    def poll(self) -> list[Outcome]:
        """Return what became of batches; give the next suspect to the worker of this machine."""
        self._wakeup.clear()
        outcomes = []
        while self._finished:
            outcomes.append(self._finished.popleft())
            self._running -= 1
        if self._local is not None:
            outcomes += self._local.poll()
        if self._suspects and self._start_local().room(alone=True):
            self._start_local().submit(self._suspects.popleft())
        for outcome in outcomes:
            if not isinstance(outcome, BatchRequeued):
                self._forget_losses(outcome.ids)
        return outcomes

    def close(self) -> None:
        """Close the connection and the worker of this machine; the cluster's workers stay up."""
        with self._closing:
            self._is_closed = True
            self._wakeup.close()
        self._link.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._local is not None:
            self._local.close()

    def _start_local(self) -> Pool:
        """Return the pool of this machine, with one worker, started when it is first needed."""
        if self._local is None:
            self._local = Pool(self._settings, 1)
            self._local.poll()
        return self._local

    def _forget_losses(self, ids: Sequence[str]) -> None:
        for job_id in ids:
            self._losses.pop(job_id, None)

    def _run(self, batch: Batch) -> None:
        """Have a batch read by the cluster; runs in a thread for this batch."""
        started = time.monotonic()
        outcome: Outcome
        try:
            results = read_batch(self._link.read, self._settings.options, batch)
            outcome = BatchRead(batch.ids, results, time.monotonic() - started)
        except DisconnectedError:
            outcome = BatchRequeued(batch.ids)
        except LostError:
            self._lost += 1
            self._losses.update(batch.ids)
            outcome = BatchRequeued(batch.ids)
        except (ModelError, OSError) as error:
            outcome = BatchRequeued(batch.ids, error)
        except Exception:  # noqa: BLE001 - a bug in the reader, or a file that breaks it
            for job_id in batch.ids:
                self._losses[job_id] = _LOSSES
            outcome = BatchRequeued(batch.ids)
        self._finished.append(outcome)
        self._wake()

    def _wake(self) -> None:
        with self._closing:
            if not self._is_closed:
                self._wakeup.set()
