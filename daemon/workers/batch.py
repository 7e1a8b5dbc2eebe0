"""Read one batch of claimed files: open, hash, read, write the pictures."""

import errno
import hashlib
import os
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from daemon.files import Stamp, open_untrusted, write_new
from daemon.records import Job, Parcel, Reading, ReadOptions, Result, Status, Verdict

Read = Callable[[ReadOptions, Sequence[Parcel]], list[Reading]]
"""Reads a batch of parcels; must be pure and picklable. See ``reading.reader.read``."""


# A file modified while being read is read again, so that its row matches the bytes that are kept.
# The limit keeps a file that is written to constantly from blocking the others.
_REREADS = 2
# A read that fails this many times with EIO counts as a bad sector.
_TRIES = 3
_PAUSE_SECONDS = 0.5
# Errors caused by the file. All others (ESTALE, EMFILE, …) are faults of the storage or of this
# process, and the batch is read later.
_FILES_OWN = frozenset({errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO, errno.EIO})


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A job's bytes and the file's stamp just before they were read."""

    job: Job
    parcel: Parcel
    sha256: str = ""
    stamp: Stamp | None = None


def read_batch(read: Read, options: ReadOptions, jobs: Sequence[Job]) -> list[Result]:
    """Read claimed files and write their pictures into the work folder.

    Returns:
        A result for each job whose file is still in the work folder, in the order of ``jobs``.

    Raises:
        OSError: the storage cannot be used now; the batch may be read again later.
        ModelError: the model cannot be used.
    """
    max_bytes = int(options.max_file_mb * 1_000_000)
    results: dict[str, Result] = {}
    pending = list(jobs)
    for _ in range(1 + _REREADS):
        loaded = [one for job in pending if (one := _load(job, max_bytes)) is not None]
        if not loaded:
            break
        readings = read(options, [one.parcel for one in loaded])
        for one, reading in zip(loaded, readings, strict=True):
            results[one.job.id] = _result(one, reading)
        pending = [one.job for one in loaded if _was_modified(one)]
    return [results[job.id] for job in jobs if job.id in results]


def unread_result(job: Job) -> Result | None:
    """Return the ``error`` result of a refused job, without a picture and without a reader.

    ``None`` if its file is no longer in the work folder.

    Raises:
        OSError: the storage cannot be used now.
    """
    loaded = _load(job, max_bytes=0)
    if loaded is None:
        return None
    verdict = Verdict(Status.ERROR, reason=job.refusal)
    return Result(job, verdict, loaded.sha256, model="", has_picture=False)


def _result(loaded: _Loaded, reading: Reading) -> Result:
    if reading.picture:
        write_new(loaded.job.picture_path, reading.picture)
    return Result(
        loaded.job, reading.verdict, loaded.sha256, reading.model, has_picture=bool(reading.picture)
    )


def _load(job: Job, max_bytes: int) -> _Loaded | None:
    """Return a loaded claimed file; ``None`` if it is no longer in the work folder."""
    tries = _TRIES
    while True:
        tries -= 1
        try:
            return _load_once(job, max_bytes)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno not in _FILES_OWN:
                raise
            if error.errno != errno.EIO or not tries:
                refusal = job.refusal or f"cannot be opened: {error.strerror}"
                return _Loaded(job, Parcel(job.name, b"", refusal))
        time.sleep(_PAUSE_SECONDS)


def _load_once(job: Job, max_bytes: int) -> _Loaded:
    descriptor = open_untrusted(job.path)
    info = os.fstat(descriptor)
    if not stat.S_ISREG(info.st_mode):
        os.close(descriptor)
        return _Loaded(job, Parcel(job.name, b"", job.refusal or "is not a regular file"))
    stamp = Stamp.of(info)
    # Buffered, because a raw read of more than 2 GB, or from a network file system, may be short.
    with open(descriptor, "rb") as file:  # noqa: PTH123 - opened above
        if not job.refusal and info.st_size <= max_bytes:
            data = file.read(max_bytes + 1)
            if len(data) <= max_bytes:
                return _Loaded(job, Parcel(job.name, data), hashlib.sha256(data).hexdigest(), stamp)
            file.seek(0)
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    refusal = job.refusal or (
        f"too large: {info.st_size / 1e6:.1f} MB, the limit is {max_bytes / 1e6:g} MB"
    )
    return _Loaded(job, Parcel(job.name, b"", refusal), sha256, stamp)


def _was_modified(loaded: _Loaded) -> bool:
    """Return whether a file was written to since it was loaded; ``False`` if it is gone."""
    if loaded.stamp is None:
        return False
    try:
        return Stamp.of(loaded.job.path.lstat()) != loaded.stamp
    except FileNotFoundError:
        return False
