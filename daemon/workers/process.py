"""One worker process and the pipe to it: start, send, receive, kill."""

import math
import multiprocessing
import os
import pickle
import re
import signal
import time
from collections import deque
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from daemon.records import Reading
from daemon.workers import worker
from daemon.workers.readers import Batch
from daemon.workers.worker import Reply, WorkerSettings

_SPAWN = multiprocessing.get_context("spawn")
# Time for a process to exit after it closed its pipe.
_EXIT_SECONDS = 1.0
# How much of the end of a dead worker's stderr is logged.
_STDERR_BYTES = 4096
# What Python, numpy and the C++ library print when there is no memory.
_NO_MEMORY = re.compile(r"^[\w.]*MemoryError\b|std::bad_alloc")


@dataclass(frozen=True, slots=True)
class Death:
    """How a worker died, or that it hangs; see ``WorkerDied``."""

    why: str
    was_killed: bool = False


class WorkerProcess:
    """One worker process.

    Attributes:
        self_test: its reading of the known digit; ``None`` until it is ready.
        batches: those in flight; it reads the first one.
        reserved: whether it must get no other batch until it has answered.
        deadline: when it counts as hung, in seconds of ``time.monotonic``; inf if it is idle.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        """Start a process.

        Raises:
            OSError: it cannot be started.
        """
        self.self_test: Reading | None = None
        self.batches: deque[Batch] = deque()
        self.reserved = False
        self._timeouts = settings.timeouts
        self._limit = settings.timeouts.start
        self.deadline = time.monotonic() + self._limit
        self._begun = time.monotonic()
        self._closed = False
        self._oom_kills = _count_oom_kills()
        with ExitStack() as undo:
            # Files in memory work on a full disk and need no cleanup.
            self._stderr = os.memfd_create("digitd-worker-stderr")
            undo.callback(os.close, self._stderr)
            self._progress = os.memfd_create("digitd-worker-progress")
            undo.callback(os.close, self._progress)
            # No argument of the process: ``start`` would wait until it has imported its modules if
            # the settings are larger than a pipe, as 100,000 expected values are (0.2 s).
            self._settings = os.memfd_create("digitd-worker-settings")
            undo.callback(os.close, self._settings)
            with open(self._settings, "wb", closefd=False) as file:
                pickle.dump(settings, file)
            self._connection, theirs = _SPAWN.Pipe()
            undo.callback(self._connection.close)
            descriptors = (self._settings, self._stderr, self._progress)
            paths = (f"/proc/{os.getpid()}/fd/{each}" for each in descriptors)
            arguments = (theirs, *paths)
            self._process = _SPAWN.Process(target=worker.main, args=arguments, daemon=True)
            with theirs:
                self._process.start()
            undo.pop_all()

    @property
    def seconds(self) -> float:
        """How long the worker has had its first batch."""
        return time.monotonic() - self._begun

    @property
    def waitables(self) -> tuple[Connection | int, ...]:
        """Objects for ``multiprocessing.connection.wait``; one is ready on a reply or an exit."""
        sentinel = self._process.sentinel
        return (sentinel,) if self._closed else (self._connection, sentinel)

    def send(self, batch: Batch) -> None:
        """Append a batch to the worker's queue."""
        self.batches.append(batch)
        self.reserved = batch.alone
        if batch.alone:  # its file may be blamed for the death of the worker
            self._oom_kills = _count_oom_kills()
        if len(self.batches) == 1:
            self._expect_answer()
        with suppress(OSError):  # it has just died; ``failure`` will report it
            self._connection.send(batch)

    def receive(self) -> Reply | None:
        """Return the next reply; ``None`` if there is none yet, or if the worker died."""
        try:
            if self._closed or not self._connection.poll():
                return None
            reply: Reply = self._connection.recv()
        except (EOFError, OSError):
            self._closed = True
            self.deadline = min(self.deadline, time.monotonic() + _EXIT_SECONDS)
            return None
        if isinstance(reply, Reading):
            self.self_test = reply
            self._expect_answer()
        return reply

    def take_answered(self) -> tuple[str, ...]:
        """Remove the batch that the last reply was for; return its ids."""
        ids = self.batches.popleft().ids
        self.reserved = False
        self._expect_answer()
        return ids

    def failure(self) -> Death | None:
        """Return how the worker died, or that it hangs; ``None`` if it works.

        Call this after ``receive`` has returned ``None``, so that its last replies are not lost.
        """
        if not self._process.is_alive():
            return self._end()
        if time.monotonic() >= self.deadline:
            return Death(f"took longer than {self._limit:.0f} s")
        return None

    def was_reading(self) -> bool:
        """Return whether the worker was reading its first batch when it ended."""
        return os.pread(self._progress, 1, 0) == worker.READING

    def stderr(self) -> str:
        """Return the end of the worker's stderr since its last batch began."""
        size = os.fstat(self._stderr).st_size
        tail = os.pread(self._stderr, _STDERR_BYTES, max(0, size - _STDERR_BYTES))
        return tail.decode("utf-8", "replace").strip()

    def kill(self) -> None:
        """Kill the process; nothing that it has in memory needs to be saved."""
        self._process.kill()
        self._process.join()
        self._process.close()
        self._connection.close()
        for descriptor in (self._settings, self._stderr, self._progress):
            os.close(descriptor)

    def _expect_answer(self) -> None:
        """Set the deadline for the first batch."""
        self.deadline = math.inf
        self._begun = time.monotonic()
        if self.batches:
            jobs = self.batches[0].jobs
            self._limit = self._timeouts.seconds_for(len(jobs), sum(job.size for job in jobs))
            self.deadline = time.monotonic() + self._limit

    def _end(self) -> Death:
        """Return how the process ended; after an exception, with the last line of its stderr."""
        code, stderr = self._process.exitcode or 0, self.stderr()
        last_line = stderr.rpartition("\n")[2]
        if code < 0:
            names = {each.value: each.name for each in signal.Signals}  # not of real-time signals
            why = f"killed by {names.get(-code, f'signal {-code}')}"
        else:
            why = f"exit status {code}: {last_line}" if last_line else f"exit status {code}"
        has_no_memory = _NO_MEMORY.search(stderr if code == -signal.SIGABRT else last_line)
        was_killed = code == -signal.SIGKILL
        if has_no_memory or (was_killed and _count_oom_kills() > self._oom_kills):
            why = f"out of memory, {why}"
        return Death(why, was_killed=was_killed or has_no_memory is not None)


def _count_oom_kills() -> int:
    """Return a number that rises when the kernel kills a process because memory is short."""
    count = 0
    with suppress(OSError, ValueError):
        group = Path("/proc/self/cgroup").read_text(encoding="utf-8").rpartition("0::/")[2].strip()
        for file in (Path("/proc/vmstat"), Path("/sys/fs/cgroup", group, "memory.events")):
            lines = file.read_text(encoding="ascii").splitlines()
            count += sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    return count
