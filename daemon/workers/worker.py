"""What runs in a worker process: read one batch after another. Importing it imports no decoder."""

import errno
import hashlib
import os
import pickle
import signal
import stat
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from pathlib import Path

from daemon.assets import KNOWN_DIGIT, KNOWN_DIGIT_PNG
from daemon.errors import ModelError
from daemon.files import open_untrusted, was_modified, write_new
from daemon.records import FileContent, Job, Reading, ReadOptions, Result, Stamp, Status, Verdict
from daemon.workers.readers import Batch, Unopened

Read = Callable[[ReadOptions, Sequence[FileContent]], list[Reading]]
"""Reads the contents of files; must be pure and picklable."""

Reply = Reading | list[Result | Unopened] | ModelError | OSError
"""First the reading of the known digit, then each batch's results, or an error instead."""

READING, IDLE = b"r", b"i"  # what a worker writes into its progress file

# A file modified while being read is read again, so that its row matches the bytes that are kept.
# The limit keeps a file that is written to constantly from blocking the others.
_REPEATS = 2
# A read that fails this many times with EIO counts as a bad sector.
_TRIES = 3
_PAUSE_SECONDS = 0.5
# Errors that the file may have caused, or the storage for a moment (a network file system, a virus
# scanner). All others (ESTALE, EMFILE, …) are faults of the storage or of this process, and the
# batch is read later.
_DOUBTFUL = frozenset({errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENXIO, errno.EIO})


def read_with_model(options: ReadOptions, contents: Sequence[FileContent]) -> list[Reading]:
    """Read files with the model; see ``reading.reader.read``."""
    from daemon.reading import reader  # noqa: PLC0415 - 0.7 s and 60 MB, only needed in workers

    return reader.read(options, contents)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How many seconds a worker may take before it counts as hung.

    Importing packages and loading the model takes 1 s on two idle cores, and many times that with
    a cold disk or on a busy machine. A batch of 64 small files takes 0.2 s on one slow core, a file
    of 50 megapixels 2 s. The SHA-256 of a file that is too large to decode takes 1.3 s per GB, and
    many times that on a busy machine or from a slow disk.
    """

    start: float = 180.0
    batch: float = 20.0
    file: float = 1.0
    megabyte: float = 0.05

    def seconds_for(self, files: int, size: int) -> float:
        """Return how many seconds a batch of this many files and bytes may take."""
        return self.batch + self.file * files + self.megabyte * size / 1e6


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How workers read; travels unchanged from the service to each worker.

    Attributes:
        options: the settings that a reading depends on.
        read: reads a batch.
        timeouts: how long that may take.
    """

    options: ReadOptions
    read: Read = read_with_model
    timeouts: Timeouts = Timeouts()


def main(connection: Connection, settings_file: str, stderr: str, progress: str) -> None:
    """Read the known digit, then one batch after another, until the pipe closes.

    An unexpected error ends the process, with its traceback on stderr. The daemon then has each
    file of the batch read alone, to find the one that caused it.

    Args:
        connection: receives batches and sends replies.
        settings_file: path of a file with the pickled ``WorkerSettings``.
        stderr: path of the file that stderr is redirected to.
        progress: path of the file that says whether a batch is being read, so that a batch that
            was never started is not blamed.
    """
    # Ctrl-C in a terminal and a service manager's stop signal reach every process of the group.
    # Only the daemon decides what happens to the batches in flight.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # libpng, libjpeg and OpenCV report broken files on stderr without naming them.
    descriptor = os.open(stderr, os.O_WRONLY | os.O_APPEND)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    state = os.open(progress, os.O_WRONLY)
    threading.Thread(target=die_with_parent, daemon=True).start()
    with open(settings_file, "rb") as file:  # noqa: PTH123 - like the other paths
        settings: WorkerSettings = pickle.load(file)  # noqa: S301 - the daemon's own file in memory
    try:
        connection.send(run_self_test(settings.read, settings.options))
    except ModelError as error:
        connection.send(error)
        return
    while True:
        try:
            batch: Batch = connection.recv()
        except EOFError:
            return
        os.ftruncate(2, 0)  # so that it only has messages about this batch and stays small
        os.pwrite(state, READING, 0)
        reply: Reply
        try:
            reply = read_batch(settings.read, settings.options, batch)
        except (ModelError, OSError) as error:  # not the files' fault
            reply = error
        os.pwrite(state, IDLE, 0)
        connection.send(reply)


def die_with_parent() -> None:
    """Wait for the end of the process that started this one, then end it at once."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGKILL)


def run_self_test(read: Read, options: ReadOptions) -> Reading:
    """Read the known digit, to prove that this worker can read before it is used.

    Raises:
        ModelError: it cannot.
    """
    known = FileContent(KNOWN_DIGIT_PNG.name, KNOWN_DIGIT_PNG.read_bytes())
    (reading,) = read(replace(options, expected=None), [known])
    verdict = reading.verdict
    is_wrong = verdict.text != KNOWN_DIGIT and verdict.text != _known_text(options.model)
    if verdict.status is Status.ERROR or is_wrong:
        raise ModelError(
            f"{options.model}: reads {KNOWN_DIGIT_PNG.name} as {verdict.text} "
            f"({verdict.reason or verdict.status}), but it is a {KNOWN_DIGIT}: train the model "
            "longer, or use the shipped one"
        )
    return replace(reading, picture=b"")


def _known_text(file: Path) -> str:
    """Return what a model reads in the known digit, as it was made."""
    from daemon.reading import model  # noqa: PLC0415 - see read_with_model

    return model.read_file(file)[0].known_digit


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A job's bytes and the file's stamp just before they were read."""

    job: Job
    content: FileContent
    sha256: str = ""
    stamp: Stamp | None = None


def read_batch(read: Read, options: ReadOptions, batch: Batch) -> list[Result | Unopened]:
    """Read claimed files and write their pictures into the work folder.

    Returns:
        A result for each job, or why its file cannot be opened, in the order of the batch.

    Raises:
        OSError: the storage cannot be used now; the batch may be read again later.
        ModelError: the model cannot be used.
    """
    max_bytes = int(options.max_file_mb * 1_000_000)
    results: dict[str, Result | Unopened] = {}
    pending: Sequence[Job] = batch.jobs
    for _ in range(1 + _REPEATS):
        found = [_load(job, batch.rejection, max_bytes) for job in pending]
        results |= {one.job.id: one for one in found if isinstance(one, Unopened)}
        loaded = [one for one in found if isinstance(one, _Loaded)]
        if not loaded:
            break
        readings = read(options, [one.content for one in loaded])
        for one, reading in zip(loaded, readings, strict=True):
            results[one.job.id] = _save(one, reading)
        pending = [one.job for one in loaded if was_modified(one.job.path, one.stamp)]
    return [results[job.id] for job in batch.jobs]


def reject(job: Job, rejection: str) -> Result | None:
    """Return the ``error`` result of a job that is given up, without a picture or a reader.

    ``None`` if its file is no longer in the work folder.

    Raises:
        OSError: the storage cannot be used now.
    """
    loaded = _load(job, rejection, max_bytes=0)
    if isinstance(loaded, Unopened):
        return None
    verdict = Verdict(Status.ERROR, reason=rejection)
    return Result(job, verdict, loaded.sha256, "", has_picture=False, stamp=loaded.stamp)


def _save(loaded: _Loaded, reading: Reading) -> Result:
    """Write a reading's picture into the work folder; return the job's result."""
    if reading.picture:
        write_new(loaded.job.picture_path, reading.picture)
    return Result(
        loaded.job,
        reading.verdict,
        loaded.sha256,
        reading.model,
        has_picture=bool(reading.picture),
        stamp=loaded.stamp,
    )


def _load(job: Job, rejection: str, max_bytes: int) -> _Loaded | Unopened:
    """Return a loaded claimed file, or why it cannot be opened.

    A file that was given up must exist; that it cannot be opened is no error.
    """
    tries = _TRIES
    while True:
        tries -= 1
        try:
            return _load_once(job, rejection, max_bytes)
        except OSError as error:
            if error.errno == errno.ELOOP:  # a symlink
                why = rejection or f"cannot be opened: {error.strerror}"
                return _Loaded(job, FileContent(job.name, b"", why))
            if error.errno not in _DOUBTFUL:
                raise
            if error.errno != errno.EIO or not tries:
                if rejection and error.errno != errno.ENOENT:
                    return _Loaded(job, FileContent(job.name, b"", rejection))
                return Unopened(job, os.strerror(error.errno))
        time.sleep(_PAUSE_SECONDS)


def _load_once(job: Job, rejection: str, max_bytes: int) -> _Loaded:
    descriptor = open_untrusted(job.path)
    info = os.fstat(descriptor)
    if not stat.S_ISREG(info.st_mode):
        os.close(descriptor)
        return _Loaded(job, FileContent(job.name, b"", rejection or "is not a regular file"))
    stamp = Stamp.of(info)
    # Buffered, because a raw read of more than 2 GB, or from a network file system, may be short.
    with open(descriptor, "rb") as file:  # noqa: PTH123 - opened above
        if not rejection and info.st_size <= max_bytes:
            data = file.read(max_bytes + 1)
            if len(data) <= max_bytes:
                sha256 = hashlib.sha256(data).hexdigest()
                return _Loaded(job, FileContent(job.name, data), sha256, stamp)
            file.seek(0)
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    why = rejection or (
        f"too large: {info.st_size / 1e6:.1f} MB, the limit is {max_bytes / 1e6:g} MB"
    )
    return _Loaded(job, FileContent(job.name, b"", why), sha256, stamp)
