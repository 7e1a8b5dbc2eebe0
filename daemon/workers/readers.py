"""What the loop asks of its readers, whether they are processes here or on other machines."""

from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Protocol

from daemon.errors import ClusterError, ModelError
from daemon.records import Job, Reading, Result


@dataclass(frozen=True, slots=True)
class Batch:
    """Claimed files that a worker reads together.

    Attributes:
        jobs: at least one.
        alone: whether the worker must get nothing else until it has answered, because its only
            file may crash it. If the daemon dies meanwhile, that file was being read.
        rejection: why its only file must not be decoded; empty if it may be.
    """

    jobs: tuple[Job, ...]
    alone: bool = False
    rejection: str = ""

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the jobs."""
        return tuple(job.id for job in self.jobs)


# Maximum size of a batch's files in total, so that photos come in small batches: a batch of 64
# photos would delay their rows by 4 s.
_BATCH_BYTES = 8_000_000
# Maximum size of a batch's names, so that everything in flight to a worker fits into the pipe
# (208 KiB) and a stopped worker doesn't block the loop.
_BATCH_NAME_BYTES = 40_000
_JOB_BYTES = 150  # size of a job in the pipe without its name, which is sent twice


class BatchSize:
    """The size of a batch that is being put together."""

    def __init__(self) -> None:
        self._bytes = self._name_bytes = 0

    def add(self, job: Job) -> bool:
        """Count another job; return whether the batch is small enough with it."""
        self._bytes += job.size
        name = job.path.name.encode("utf-8", "surrogatepass")  # as it is pickled
        self._name_bytes += _JOB_BYTES + 2 * len(name)
        return self._bytes <= _BATCH_BYTES and self._name_bytes <= _BATCH_NAME_BYTES


@dataclass(frozen=True, slots=True)
class Unopened:
    """A job whose file the worker could not open: it is gone, or the storage refused it."""

    job: Job
    why: str


@dataclass(frozen=True, slots=True)
class BatchRead:
    """A batch that was read.

    ``seconds``: from submit to result.
    """

    ids: tuple[str, ...]
    results: list[Result | Unopened]
    seconds: float


@dataclass(frozen=True, slots=True)
class WorkerDied:
    """A worker of this machine died or hung while reading these jobs; one may be the cause.

    Attributes:
        ids: of the jobs.
        why: how it died.
        stderr: the end of its stderr.
        was_killed: whether it ran out of memory or somebody else killed it, so that its files may
            not be the cause.
    """

    ids: tuple[str, ...]
    why: str
    stderr: str
    was_killed: bool = False


@dataclass(frozen=True, slots=True)
class BatchRequeued:
    """A batch that was not read, through no fault of its files.

    ``error`` is the cause, if known.
    """

    ids: tuple[str, ...]
    error: ModelError | OSError | None = None


Outcome = BatchRead | WorkerDied | BatchRequeued


class Readers(Protocol):
    """Reads batches of claimed files.

    Call ``poll`` whenever one of ``waitables`` is ready, and after ``seconds_left``.
    """

    @property
    def title(self) -> str:
        """What they are, for the log."""

    @property
    def replaced(self) -> int:
        """How many workers have ended and were replaced."""

    @property
    def self_test(self) -> Reading | None:
        """A worker's reading of the known digit; ``None`` while no worker is ready."""

    @property
    def error(self) -> ModelError | OSError | ClusterError | None:
        """Why nothing can be read; ``None`` while a worker is ready or may still become ready."""

    @property
    def waitables(self) -> Sequence[Connection | int]:
        """Objects for ``multiprocessing.connection.wait``; one is ready when ``poll`` has work."""

    @property
    def seconds_left(self) -> float:
        """In how many seconds ``poll`` has work even if nothing is ready."""

    def room(self, *, alone: bool = False) -> int:
        """Return how many batches may be submitted now, each ``alone`` or none."""

    def submit(self, batch: Batch) -> None:
        """Take a batch; only if there is ``room`` for it."""

    def poll(self) -> list[Outcome]:
        """Return what became of batches; replace workers that died and start missing ones."""

    def close(self) -> None:
        """End all workers. Their batches stay unread in the work folder."""
