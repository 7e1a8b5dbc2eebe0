"""Hand batches to worker processes, each a lane of its own, so that a death has one culprit.

A lane is a ``concurrent.futures.Executor`` with one worker; what is submitted is one pure,
picklable function. Another executor with the same face (a cluster's) can take its place.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import queue
import signal
import threading
import time
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

from daemon.assets import KNOWN_DIGIT, KNOWN_DIGIT_PNG
from daemon.errors import ModelError, WorkerStartError
from daemon.records import Entry, Job, Parcel, Reading, Status
from daemon.workers import worker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.process import BaseProcess

T = TypeVar("T")

_CLOSING = "the workers are being closed"
# What a process that is ending may still take.
_ENDING_SECONDS = 1.0
# More workers than this gain little on one inbox, and each costs 700 MB.
_AUTO_WORKERS = 4


class WorkerDownError(Exception):
    """A worker process died with a batch in hand, was killed for taking too long, or failed."""


@dataclass(frozen=True, slots=True)
class Work:
    """The three things a lane does with a batch, in this order, given from outside.

    Attributes:
        load: reads a claimed file, or returns ``None`` if it is gone.
        begin: counts the attempt on disk.
        read: runs in the worker process; a pure function that can be pickled.
    """

    load: Callable[[Job], Parcel | None]
    begin: Callable[[Sequence[Job]], None]
    read: Callable[[Sequence[Parcel]], list[Reading]]


@dataclass(frozen=True, slots=True)
class Patience:
    """How many seconds a worker may take before it is taken for hung.

    Importing TensorFlow and loading the model takes 5 s on two idle cores; a cold disk or a
    busy machine many times that. A batch of 64 small files takes 0.2 s on one slow core, a file
    of 50 megapixels 2 s.
    """

    start: float = 180.0
    batch: float = 20.0
    file: float = 1.0


class Engine:
    """As many lanes as there are workers, and a thread to wait on each."""

    def __init__(
        self,
        work: Work,
        workers: int,
        ring: Callable[[], None],
        patience: Patience = Patience(),
    ) -> None:
        """Take the work; ``ring`` is called whenever something has ended."""
        self.workers = workers
        self._ring = ring
        self._lanes: queue.SimpleQueue[_Lane] = queue.SimpleQueue()
        self._all = [_Lane(work, patience, max(1, _cores() // workers)) for _ in range(workers)]
        for lane in self._all:
            self._lanes.put(lane)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="lane")

    def hire(self) -> Future[Reading]:
        """Start one more of the workers; the future is its reading of the known digit.

        The future raises ModelError where the model is at fault, WorkerStartError where the
        worker ended before it could tell.
        """
        return self._submit(lambda lane: lane.start())

    def submit(self, jobs: Sequence[Job]) -> Future[list[Entry]]:
        """Have a batch read; files that vanished from the work folder have no entry.

        The future raises WorkerDownError if the batch took its worker down, ModelError if no
        worker could be started, OSError if the attempt could not be written down.
        """
        return self._submit(lambda lane: lane.run(jobs))

    @property
    def appetite(self) -> int:
        """How many batches keep every worker busy: one in hand and three at the door.

        Three last while the daemon lists an inbox of 100,000 files.
        """
        return 4 * self.workers

    def close(self) -> None:
        """Kill the workers; what they had in hand stays unread in the work folder."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for lane in self._all:
            lane.close()
        self._threads.shutdown(wait=True)

    def _submit(self, use: Callable[[_Lane], T]) -> Future[T]:
        future = self._threads.submit(self._with_lane, use)
        future.add_done_callback(lambda _: self._ring())
        return future

    def _with_lane(self, use: Callable[[_Lane], T]) -> T:
        lane = self._lanes.get()
        try:
            return use(lane)
        finally:
            self._lanes.put(lane)


class _Lane:
    """One worker process, replaced when it dies."""

    def __init__(self, work: Work, patience: Patience, threads: int) -> None:
        self._work = work
        self._patience = patience
        self._threads = threads
        self._executor = self._vacancy()
        self._process: BaseProcess | None = None
        self._closed = False
        self._changing = threading.Lock()  # a start and a close may meet

    def start(self) -> Reading:
        """Start the worker and have it read a digit that is known."""
        known = Parcel(KNOWN_DIGIT_PNG.name, KNOWN_DIGIT_PNG.read_bytes())
        # Under the lock: closing puts a new executor in the old one's place, which must not
        # load a model after all, and it kills the process that it finds here.
        with self._changing:
            if self._closed:
                raise WorkerStartError(_CLOSING)
            answer, self._process = _hired(self._executor, self._work.read, [known])
        try:
            (reading,) = answer.result(self._patience.start)
        except CancelledError:
            raise WorkerStartError(_CLOSING) from None
        except (BrokenExecutor, TimeoutError):
            reason = self._last_words()
            self.kill()
            raise WorkerStartError(f"a worker ended while it loaded the model: {reason}") from None
        except ModelError:
            self.kill()
            raise
        verdict = reading.verdict
        if verdict.status is Status.ERROR or verdict.digit != KNOWN_DIGIT:
            self.kill()
            raise ModelError(
                f"the model reads {KNOWN_DIGIT_PNG.name} as {verdict.digit} "
                f"({verdict.reason or verdict.status}), and it is a {KNOWN_DIGIT}: train it "
                "longer, or use the model that came with digitd"
            )
        return reading

    def run(self, jobs: Sequence[Job]) -> list[Entry]:
        """Load, count and read one batch."""
        if self._process is not None and _is_dead(self._process):
            self.kill()  # it died idle, and no file had a part in that
        if self._process is None:
            self.start()
        loaded = [(job, parcel) for job in jobs if (parcel := self._work.load(job)) is not None]
        if not loaded:
            return []
        self._work.begin([job for job, _ in loaded])
        limit = self._patience.batch + self._patience.file * len(loaded)
        try:
            future = self._executor.submit(self._work.read, [parcel for _, parcel in loaded])
            readings = future.result(limit)
        except BrokenExecutor:
            reason = self._last_words()
            self.kill()
            raise WorkerDownError(reason) from None
        except TimeoutError:
            self.kill()
            raise WorkerDownError(f"took longer than {limit:.0f} s") from None
        except ModelError:
            raise
        # The reader turns each file's failure into its row; what it raises all the same is a
        # fault that nobody foresaw. One of these files brought it out, and which one shows
        # when each is read alone; the daemon and the other files go on.
        except Exception as error:
            said = filter(None, (type(error).__name__, str(error)))  # a MemoryError says nothing
            raise WorkerDownError(": ".join(said)) from error
        return [
            Entry(job, parcel.sha256, reading, parcel.stamp)
            for (job, parcel), reading in zip(loaded, readings, strict=True)
        ]

    def close(self) -> None:
        """End the worker, and start no other."""
        with self._changing:
            self._closed = True
        self.kill()

    def kill(self) -> None:
        """End the worker at once: all it holds in memory can be made again."""
        with self._changing:
            executor, self._executor = self._executor, self._vacancy()
            process, self._process = self._process, None
        if process is not None:
            process.kill()
        executor.shutdown(wait=process is not None, cancel_futures=True)

    def _vacancy(self) -> ProcessPoolExecutor:
        """Return an executor that starts its one process when it is given work."""
        return ProcessPoolExecutor(
            1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=worker.settle_in,
            initargs=(self._threads,),
        )

    def _last_words(self) -> str:
        """Say how the worker ended."""
        if self._process is None:
            return "it never answered"
        code = _exit_code(self._process)
        if code == -signal.SIGILL:
            return "killed by SIGILL; TensorFlow needs a processor with AVX"
        if code is not None and code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return "it took too long" if code is None else f"exit status {code}"


_hiring = threading.Lock()


def _hired(
    executor: ProcessPoolExecutor, do: Callable[[list[Parcel]], T], parcels: list[Parcel]
) -> tuple[Future[T], BaseProcess | None]:
    """Give an executor its first work; with the future comes the process that it starts.

    It is known at once, not when it first answers, so that one that never does can be killed.
    There is none where it has ended already.
    """
    with _hiring:  # of the children, the new one must be this executor's
        before = multiprocessing.active_children()
        future = executor.submit(do, parcels)
        new = [child for child in multiprocessing.active_children() if child not in before]
    return future, new[0] if new else None


def _is_dead(process: BaseProcess) -> bool:
    """Tell whether a process has ended.

    Not by ``is_alive``: the executor's own thread collects the exit status too, and to whoever
    comes second in the same instant the child looks alive (seen in one run of two, idle).
    """
    return bool(multiprocessing.connection.wait([process.sentinel], 0))


def _exit_code(process: BaseProcess) -> int | None:
    """Return how a process ended, negative for a signal; ``None`` if it does not end."""
    deadline = time.monotonic() + _ENDING_SECONDS
    process.join(_ENDING_SECONDS)
    while process.exitcode is None and _is_dead(process) and time.monotonic() < deadline:
        time.sleep(0.001)  # the executor's thread has it, and is about to write it down
    return process.exitcode


def worker_count(wanted: Literal["auto"] | int) -> int:
    """Return how many workers a setting means on this machine."""
    return min(_cores(), _AUTO_WORKERS) if wanted == "auto" else wanted


def _cores() -> int:
    return len(os.sched_getaffinity(0))
