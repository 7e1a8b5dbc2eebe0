"""One worker process and the pipe to it: start, send, receive, kill."""

import math
import multiprocessing
import os
import signal
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection

from daemon.records import Job, Reading, ReadOptions
from daemon.workers import worker
from daemon.workers.batch import Read
from daemon.workers.worker import Reply

_SPAWN = multiprocessing.get_context("spawn")
# How long a process that closed its pipe may take to end.
_EXIT_SECONDS = 1.0
# Of what a worker said before it died, only the end is worth reading.
_STDERR_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Patience:
    """How many seconds a worker may take before it counts as hung.

    Imports and loading the model take a second on two idle cores; with a cold disk or a busy
    machine many times that. A batch of 64 small files takes 0.2 s on one slow core, a file
    of 50 megapixels 2 s.
    """

    start: float = 180.0
    batch: float = 20.0
    file: float = 1.0


class WorkerProcess:
    """A worker, from its start to its end.

    Attributes:
        known: its reading of the known digit; ``None`` until it is ready.
        batches: what it was sent and has not answered; it reads the first of them.
        reserved: whether it gets no other batch until it has answered.
        deadline: when it counts as hung, in seconds of ``time.monotonic``; inf if it is idle.
    """

    def __init__(self, read: Read, options: ReadOptions, patience: Patience) -> None:
        self.known: Reading | None = None
        self.batches: deque[list[Job]] = deque()
        self.reserved = False
        self.deadline = time.monotonic() + patience.start
        self._patience = patience
        self._limit = patience.start
        self._closed = False
        # Files in memory work on a full disk, and leave nothing behind.
        self._stderr = os.memfd_create("digitd-worker-stderr")
        self._progress = os.memfd_create("digitd-worker-progress")
        self._connection, theirs = _SPAWN.Pipe()
        paths = (f"/proc/{os.getpid()}/fd/{each}" for each in (self._stderr, self._progress))
        arguments = (theirs, read, options, *paths)
        self._process = _SPAWN.Process(target=worker.main, args=arguments, daemon=True)
        self._process.start()
        theirs.close()

    @property
    def waitables(self) -> tuple[Connection | int, ...]:
        """What ``multiprocessing.connection.wait`` finds ready when there is news."""
        sentinel = self._process.sentinel
        return (sentinel,) if self._closed else (self._connection, sentinel)

    def send(self, jobs: list[Job]) -> None:
        """Give it a batch to read after those that it has."""
        self.batches.append(jobs)
        if len(self.batches) == 1:
            self._expect_answer()
        with suppress(OSError):  # it has just died, as ``failure`` will say
            self._connection.send(jobs)

    def receive(self) -> Reply | None:
        """Return its next reply; ``None`` if there is none yet, or if the worker died."""
        try:
            if self._closed or not self._connection.poll():
                return None
            reply: Reply = self._connection.recv()
        except (EOFError, OSError):
            self._closed = True
            self.deadline = min(self.deadline, time.monotonic() + _EXIT_SECONDS)
            return None
        if isinstance(reply, Reading):
            self.known = reply
            self._expect_answer()
        return reply

    def answered(self) -> list[Job]:
        """Take the batch off the list that the last reply was for, and return it."""
        jobs = self.batches.popleft()
        self.reserved = False
        self._expect_answer()
        return jobs

    def failure(self) -> str:
        """Say how the worker died, or that it hangs; empty if it works.

        Call it after ``receive`` has returned ``None``: what it said last still counts.
        """
        if not self._process.is_alive():
            return self._end()
        if time.monotonic() >= self.deadline:
            return f"took longer than {self._limit:.0f} s"
        return ""

    def was_reading(self) -> bool:
        """Return whether it had begun to read the first of its batches when it ended."""
        return os.pread(self._progress, 1, 0) == worker.READING

    def stderr(self) -> str:
        """Return the end of what it printed on stderr since its last batch began."""
        size = os.fstat(self._stderr).st_size
        tail = os.pread(self._stderr, _STDERR_BYTES, max(0, size - _STDERR_BYTES))
        return tail.decode("utf-8", "replace").strip()

    def kill(self) -> None:
        """End the process at once: all it holds in memory can be made again."""
        self._process.kill()
        self._process.join()
        self._process.close()
        self._connection.close()
        os.close(self._stderr)
        os.close(self._progress)

    def _expect_answer(self) -> None:
        """Set the deadline for the first of its batches."""
        self.deadline = math.inf
        if self.batches:
            self._limit = self._patience.batch + self._patience.file * len(self.batches[0])
            self.deadline = time.monotonic() + self._limit

    def _end(self) -> str:
        """Say how the process ended; where Python ended it, the last line is the exception."""
        code = self._process.exitcode or 0
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        exception = self.stderr().rpartition("\n")[2]
        return f"exit status {code}: {exception}" if exception else f"exit status {code}"
