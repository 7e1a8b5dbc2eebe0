"""What the daemon asks of its readers, whether they are processes here or on other machines."""

from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Protocol

from daemon.errors import ClusterError, ModelError
from daemon.records import Job, Reading, Result


@dataclass(frozen=True, slots=True)
class Finished:
    """A batch was read in so many seconds. Jobs without a result have left the work folder."""

    jobs: list[Job]
    results: list[Result]
    seconds: float


@dataclass(frozen=True, slots=True)
class Down:
    """A worker of this machine died or hung while reading these jobs; one may be the cause.

    ``stderr`` is the end of the worker's stderr.
    """

    jobs: list[Job]
    why: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Returned:
    """Jobs that were not read, though not to blame; ``fault`` is the cause, if known."""

    jobs: list[Job]
    fault: ModelError | OSError | None = None


Outcome = Finished | Down | Returned


class Readers(Protocol):
    """Reads batches of claimed files.

    Call ``tend`` whenever one of ``waitables`` is ready, and after ``seconds_until_due``.
    """

    @property
    def title(self) -> str:
        """What they are, for the log."""

    @property
    def replaced(self) -> int:
        """How many workers have ended and were replaced."""

    @property
    def known(self) -> Reading | None:
        """A worker's reading of the known digit; ``None`` while no worker is ready."""

    @property
    def fault(self) -> ModelError | OSError | ClusterError | None:
        """Why nothing can be read; ``None`` while a worker is ready or may still become ready."""

    @property
    def jobs(self) -> Iterator[Job]:
        """The submitted jobs that have no outcome yet."""

    @property
    def busy(self) -> bool:
        """Whether there are such jobs."""

    @property
    def waitables(self) -> list[Connection | int]:
        """Objects for ``multiprocessing.connection.wait``; one is ready when ``tend`` has work."""

    def seconds_until_due(self) -> float:
        """Return in how many seconds ``tend`` has work even if nothing is ready."""

    def has_room(self, *, alone: bool = False) -> bool:
        """Return whether a batch may be submitted now."""

    def submit(self, jobs: list[Job], *, alone: bool = False) -> None:
        """Take a batch; only if there ``has_room``.

        With ``alone``, its worker gets nothing else until it has answered. If the daemon dies, it
        is then certain which file was being read.
        """

    def tend(self) -> list[Outcome]:
        """Return the outcomes; replace what died and start what is missing."""

    def close(self) -> None:
        """End all workers. Their batches stay unread in the work folder."""
