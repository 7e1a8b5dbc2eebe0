"""Claim files by rename, and find files that an earlier run left in the work folder."""

import errno
import logging
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

from daemon import ids, layout
from daemon.errors import add_path
from daemon.files import make_folder, rewrite, sync_file, sync_file_system, sync_folder
from daemon.inbox.attempts import Attempts
from daemon.locks import Lock
from daemon.records import Job

log = logging.getLogger(__name__)

# Errors of fsync when data could not be written.
_LOST = frozenset({errno.EIO, errno.ENOSPC, errno.EDQUOT})


class Claims:
    """The work folder of one inbox, locked against other instances of digitd.

    Attributes:
        folder: the work folder.
        attempts: the log of attempts to read its files.
        ids: issues the ids of claimed files.
    """

    def __init__(self, inbox: Path, config: Path | None = None) -> None:
        """Take the inbox, and the config file, which is named to another digitd that wants it."""
        self.folder = inbox / layout.WORK_FOLDER
        self.attempts = Attempts(self.folder)
        self.ids = ids.Ids()
        self._inbox = inbox
        self._lock = Lock(self.folder / layout.WORK_LOCK, config)
        self._was_open = False
        self._descriptor = -1  # of the work folder, for ``sync_disk``
        self._lost: set[Path] = set()  # only ``sync_disk`` uses it

    def ensure_open(self) -> bool:
        """Create and lock the work folder if it is not locked, or was replaced with the inbox.

        Returns:
            Whether that was needed. The folder may then contain files that an earlier run claimed.

        Raises:
            BusyError: another digitd has locked it.
            OSError: it cannot be created or written.
        """
        if self._lock.is_held():
            return False
        self.close()
        make_folder(self.folder)
        if not stat.S_ISDIR(self.folder.lstat().st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "is not a folder", str(self.folder))
        self._lock.take()
        try:
            self._descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            claimed = (layout.claimed_id(path.name) for path in self.folder.iterdir())
            self.attempts.open(job_id for job_id in claimed if job_id is not None)
        except OSError:
            self.close()
            raise
        if self._was_open:
            log.warning("%s was replaced: using the new one", self.folder)
        self._was_open = True
        return True

    def close(self) -> None:
        """Unlock the work folder."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self.attempts.close()
        self._lock.release()

    def claim(self, name: str) -> Job | None:
        """Move a complete file to the work folder; return its job, or ``None`` if it is gone.

        Raises:
            OSError: it cannot be moved now (disk full, no permission) and stays in the inbox.
        """
        job_id, now = self.ids.next(), datetime.now(UTC)
        received_at = now.replace(microsecond=now.microsecond // 1000 * 1000)  # as it is logged
        path = self._claimed_path(job_id, name)
        self.attempts.receive(job_id, received_at)
        try:
            if _is_cut(path):
                with add_path(self._name_path(job_id)):
                    self._name_path(job_id).write_bytes(os.fsencode(name))
            # Before the rename: if it failed afterwards, nobody would know of the claimed file.
            size = (self._inbox / name).lstat().st_size
            (self._inbox / name).rename(path)
        except OSError as error:
            self._forget_name(job_id, path)
            self._forget_attempts(job_id)
            if not isinstance(error, FileNotFoundError):
                raise
            self.folder.stat()  # raises if the work folder is what is missing
            return None
        return Job(job_id, name, path, size, received_at)

    def sync_claims(self) -> None:
        """Make the claims and the logged attempts survive a power failure; blocks, in any thread.

        The inbox comes first: btrfs then commits each rename as a whole. Otherwise a file could be
        back in the inbox and be in the work folder, too, after a power failure.
        """
        sync_folder(self._inbox)
        sync_folder(self.folder)
        self.attempts.sync()

    def sync_disk(self) -> None:
        """Make all files in the work folder, too, survive a power failure; blocks, in any thread.

        This waits for everything that is written to the file system, by whomever. An fsync of each
        file would not, but takes 29 ms for a batch of 64 files and their pictures, this 2.4 ms
        (ext4, virtual disk).

        Raises:
            OSError: data were lost. The claimed files among them are written again, from memory; it
                fails until that has succeeded.
        """
        self._rewrite_lost()
        try:
            sync_file_system(self._descriptor, self.folder)
        except OSError:
            claimed = [path for path in self.folder.iterdir() if layout.claimed_id(path.name)]
            self._lost.update(filter(_has_lost_data, claimed))
            self._rewrite_lost()
            raise

    def _rewrite_lost(self) -> None:
        for path in [*self._lost]:
            if path.exists():
                log.error("%s: its data could not be written to the disk: writing it again", path)
                rewrite(path, self.folder / f"{layout.claimed_id(path.name)}{layout.COPY_SUFFIX}")
            self._lost.remove(path)

    def leftovers(self) -> list[Job]:
        """Return the claimed files in the work folder, oldest first."""
        jobs: list[Job] = []
        for path in sorted(self.folder.iterdir(), key=lambda path: layout.claim_order(path.name)):
            job_id = layout.claimed_id(path.name)
            if job_id is None:
                continue
            if jobs and jobs[-1].id == job_id:
                log.warning(
                    "%s has the id of another claimed file and is left alone: a sync program may "
                    "have copied it; remove it, and exclude %s from the sync",
                    *(path, self.folder),
                )
                continue
            self.ids.skip(job_id)
            name = path.name.removeprefix(f"{job_id}-")
            whole = self._name_path(job_id)
            if whole.is_file():
                # A power failure may have left it empty. Then use the truncated name.
                name = os.fsdecode(whole.read_bytes()) or name
            received_at = self.attempts.received_at(job_id)
            if received_at is None:  # claimed by an older version
                received_at = min(ids.moment(job_id), datetime.now(UTC))
            jobs.append(Job(job_id, name, path, path.lstat().st_size, received_at))
        return jobs

    def sweep(self, held: set[str]) -> None:
        """Remove pictures, name files and copies whose id is not in ``held``."""
        for path in self.folder.iterdir():
            # A claimed file's name may have the same suffix. Ours consist of an id and the suffix.
            ours = ids.PATTERN.fullmatch(path.stem) is not None and path.suffix in layout.SUFFIXES
            if ours and path.stem not in held:
                path.unlink()

    def forget(self, job: Job) -> None:
        """Delete the name file and the attempts of a job whose file has left the work folder."""
        self._forget_name(job.id, job.path)
        self._forget_attempts(job.id)

    def _forget_name(self, job_id: str, path: Path) -> None:
        try:
            if _is_cut(path):
                self._name_path(job_id).unlink(missing_ok=True)
        except OSError as error:  # the next start removes it
            log.warning("%s: cannot be written: %s", self.folder, error.strerror)

    def _forget_attempts(self, job_id: str) -> None:
        try:
            self.attempts.forget(job_id)
        except OSError as error:  # the next start shortens the log
            log.warning("%s: cannot be written: %s", self.folder, error.strerror)

    def _claimed_path(self, job_id: str, name: str) -> Path:
        """Return the path to claim a file to, which cuts a long name."""
        claimed = os.fsencode(f"{job_id}-{name}")[: layout.NAME_BYTES]
        return self.folder / os.fsdecode(claimed)

    def _name_path(self, job_id: str) -> Path:
        return self.folder / f"{job_id}{layout.NAME_SUFFIX}"


def _has_lost_data(path: Path) -> bool:
    """Return whether data of a file could not be written; the kernel says so only once."""
    try:
        sync_file(path)
    except OSError as error:
        return error.errno in _LOST
    return False


def _is_cut(claimed: Path) -> bool:
    """Return whether a claimed file's path may lack the end of its name, which has its own file."""
    return len(os.fsencode(claimed.name)) == layout.NAME_BYTES
