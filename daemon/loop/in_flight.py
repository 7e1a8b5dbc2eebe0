"""The table of the files in flight: each claimed file until it is published, with its stage."""

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from itertools import islice

from daemon.records import Job, Placement, Result
from daemon.waiting import SyncThread


class Stage(Enum):
    """How far a claimed file has come."""

    CLAIMED = auto()  # in the work folder, waits for a worker
    LOGGED = auto()  # its attempt is logged; a worker gets it when that is durable
    READING = auto()  # a worker has it
    READ = auto()  # has a result; gets its row when its files are durable
    COMMITTED = auto()  # has a row, but its files are not in place yet


# From the log of the attempt to its end, and to the row.
ATTEMPTED = (Stage.LOGGED, Stage.READING)
IN_PROGRESS = (*ATTEMPTED, Stage.READ)


@dataclass(slots=True)
class InFlight:
    """One file in flight: its job, its stage, and what that stage needs.

    Attributes:
        alone: it may have crashed a worker, so it must be read by itself.
        isolated: digitd died when it was read alone, so no other file may be read meanwhile.
        rejection: why a worker must not decode it again; empty if it may.
        repeats: how often it was read again because it was written to after it had been read.
        not_before: it is left where it is until then, in seconds of ``time.monotonic``.
        sync_run: the number of the run of a ``SyncThread`` that makes it durable at its stage; 0
            until one was requested.
        is_stale: its result must not be used, because the disk may have lost its picture.
        result: set from READ on.
        placement: set when COMMITTED.
        publish_error: why it could not be published; empty if that has not failed.
    """

    job: Job
    stage: Stage = Stage.CLAIMED
    alone: bool = False
    isolated: bool = False
    rejection: str = ""
    repeats: int = 0
    not_before: float = 0.0
    sync_run: int = 0
    is_stale: bool = False
    result: Result | None = None
    placement: Placement | None = None
    publish_error: str = ""


class InFlightTable:
    """The files in flight by id. Counts are kept, not scanned."""

    def __init__(self) -> None:
        self._files: dict[str, InFlight] = {}
        self._ready: dict[Stage, dict[str, InFlight]] = {stage: {} for stage in Stage}
        self._delayed: dict[str, InFlight] = {}

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[InFlight]:
        """Yield all files in no particular order."""
        return iter(self._files.values())

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._files

    def __getitem__(self, job_id: str) -> InFlight:
        return self._files[job_id]

    def add(self, files: Iterable[InFlight]) -> None:
        """Add files at their stages."""
        for file in files:
            self._files[file.job.id] = self._ready[file.stage][file.job.id] = file
        self._sort_claimed()

    def remove(self, file: InFlight) -> None:
        """Delete a file that has left the work folder."""
        del self._files[file.job.id]
        self._ready[file.stage].pop(file.job.id, None)
        self._delayed.pop(file.job.id, None)

    def move(self, file: InFlight, stage: Stage) -> None:
        """Move a file to its next stage."""
        del self._ready[file.stage][file.job.id]
        file.stage = stage
        file.sync_run = 0
        file.is_stale = False
        self._ready[stage][file.job.id] = file

    def requeue(self, files: list[InFlight]) -> None:
        """Move files back to CLAIMED, without a result."""
        for file in files:
            self.move(file, Stage.CLAIMED)
            file.result = None
        self._sort_claimed()

    def request_sync(self, stage: Stage, thread: SyncThread) -> None:
        """Have the files that are new at a stage made durable."""
        if new := [file for file in self._ready[stage].values() if not file.sync_run]:
            run = thread.request()
            for file in new:
                file.sync_run = run

    def delay(self, file: InFlight, seconds: float) -> None:
        """Leave a file out of its stage for some seconds."""
        file.not_before = time.monotonic() + seconds
        self._delayed[file.job.id] = self._ready[file.stage].pop(file.job.id)

    def end_delays(self) -> None:
        """Return delayed files whose time has come to their stage."""
        now = time.monotonic()
        due = [file for file in self._delayed.values() if file.not_before <= now]
        for file in due:
            del self._delayed[file.job.id]
            self._ready[file.stage][file.job.id] = file
        if due:
            self._sort_claimed()

    def at(self, stage: Stage, at_most: int | None = None) -> list[InFlight]:
        """Return the files at a stage that are not delayed; CLAIMED ones in the order of ids."""
        return list(islice(self._ready[stage].values(), at_most))

    def first(self, stage: Stage) -> InFlight | None:
        """Return the first of these files."""
        return next(iter(self._ready[stage].values()), None)

    def count(self, stage: Stage) -> int:
        """Return the number of these files."""
        return len(self._ready[stage])

    def delayed(self, stage: Stage) -> list[InFlight]:
        """Return the files at a stage that are delayed."""
        return [file for file in self._delayed.values() if file.stage is stage]

    @property
    def seconds_left(self) -> float:
        """In how many seconds the next delay ends; inf if there is none."""
        due = min((file.not_before for file in self._delayed.values()), default=math.inf)
        return max(0.0, due - time.monotonic())

    def _sort_claimed(self) -> None:
        """Restore the order of ids after older files were added or moved back."""
        self._ready[Stage.CLAIMED] = dict(sorted(self._ready[Stage.CLAIMED].items()))
