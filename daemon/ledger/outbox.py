"""Commit and publish: the only module that writes results.

A batch is committed when its rows, which name where each file will go, are in predictions.csv
and fsynced. Only then are pictures and originals renamed into place. Whatever ends the program
in between, the row tells the next start what is left to do.
"""

from __future__ import annotations

import errno
import filecmp
import logging
import os
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from daemon import ids
from daemon.errors import ConfigError
from daemon.layout import (
    FAILED,
    NAME_BYTES,
    ORIGINALS,
    OUTBOX_LOCK,
    PART_SUFFIX,
    PICTURES,
    TABLE,
)
from daemon.ledger import rows
from daemon.lock import Lock, is_open_at
from daemon.records import Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from daemon.records import Entry, Job

log = logging.getLogger(__name__)

_SUFFIX_LETTERS = 16
_BLOCK = 1 << 20
# No more files than this are claimed and without a row at any time, so a row's place in the
# file differs from its id's by no more; see ``Outbox.recall``.
CLAIMED_AT_MOST = 4096
# Left free on the disk beyond a batch's rows, so that an append never ends half-way.
_SPARE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Receipt:
    """A committed row: the job, and where its files go, relative to the outbox."""

    job: Job
    picture: str
    original: str


class Outbox:
    """One outbox, held against every other digitd."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._table = folder / TABLE
        self._lock = Lock(folder / OUTBOX_LOCK)
        self._fd = -1
        self._take_back_to: int | None = None
        self._reserved: set[str] = set()

    def open(self) -> None:
        """Hold the folder, make what is missing in it, cut a torn tail off the table.

        Raises:
            BusyError: another digitd holds it.
            ConfigError: predictions.csv is not one of ours.
            OSError: it cannot be written.
        """
        self.close()  # what an earlier try that failed half-way still holds
        self._lock.take()
        try:
            for name in (PICTURES, ORIGINALS, FAILED):
                place = self.folder / name
                place.mkdir(mode=0o770, exist_ok=True)
                for part in place.glob(f".*{PART_SUFFIX}"):
                    part.unlink()
            self._open_table()
        except (OSError, ConfigError):
            self.close()
            raise

    def close(self) -> None:
        """Let the folder go."""
        self._close_table()
        self._lock.release()

    def tend(self) -> None:
        """Open the outbox if it is not, or if the folder that was held is not there any more.

        Raises:
            OSError: it is gone, or cannot be written.
        """
        if not self._lock.held:
            self.open()

    def commit(self, entries: Sequence[Entry]) -> list[tuple[Receipt, rows.Row]]:
        """Write a batch's pictures into the work folder, then its rows, durably, all or none.

        Raises:
            OSError: nothing was committed; the same batch may be committed later.
        """
        if not entries:
            return []
        self.tend()
        self._take_back()
        if not self._is_open():
            log.info("%s was moved away: beginning a new one", self._table)
            self._open_table()
        now = datetime.now(UTC)
        committed = []
        names = set(self._reserved)
        for entry in entries:
            if entry.reading.picture:
                _write(entry.job.picture, entry.reading.picture)
            name = self._free_name(entry.job, names)
            names.add(_picture_name(name))
            failed = entry.reading.verdict.status is Status.ERROR
            original = f"{FAILED if failed else ORIGINALS}/{name}"
            picture = f"{PICTURES}/{_picture_name(name)}" if entry.reading.picture else ""
            receipt = Receipt(entry.job, picture, original)
            committed.append((receipt, rows.row(entry, picture, original, now)))
        size = os.fstat(self._fd).st_size
        self._append(rows.lines([row for _, row in committed], size))
        self._reserved = names
        return committed

    def publish(self, receipt: Receipt) -> None:
        """Move a committed row's picture and original to the places that the row names.

        Raises:
            OSError: not done, or not all of it; it may be tried again.
            FileExistsError: something else lies there, and nothing is ever overwritten.
        """
        if receipt.picture:
            self._move(receipt.job.picture, receipt.picture)
        self._move(receipt.job.path, receipt.original)
        self._reserved.discard(_picture_name(PurePath(receipt.original).name))

    def recall(self, jobs: Sequence[Job]) -> tuple[list[Receipt], str | None]:
        """Find the rows that leftover jobs already have, and the highest id among the last rows.

        Reads the table from its end, and then the ones that were rotated away. A row with a
        lower id than all jobs was committed before them, but for those that were claimed
        together with them: after so many such rows there is nothing more to find.
        """
        wanted = {job.id: job for job in jobs}
        oldest = min(wanted, default="~")
        receipts = []
        highest = None
        older: set[str] = set()  # a set: a copy of the table may lie beside it
        for fields in self._rows_from_the_end():
            highest = max(highest or "", fields["id"])
            job = wanted.pop(fields["id"], None)
            if job is not None:
                receipts.append(Receipt(job, fields["picture"], fields["original"]))
                self._reserved.add(_picture_name(PurePath(fields["original"]).name))
            if fields["id"] < oldest:
                older.add(fields["id"])
            if len(older) > CLAIMED_AT_MOST:
                break
        return receipts, highest

    def _rows_from_the_end(self) -> Iterator[dict[str, str]]:
        for path in (self._table, *rotated(self.folder)):
            for line in _lines_from_the_end(path):
                fields = rows.parse(line.decode("utf-8", "replace"))
                if fields is not None:
                    yield fields

    def _is_open(self) -> bool:
        """Tell whether the table is where it was, and not emptied (logrotate's copytruncate)."""
        return (
            self._fd >= 0 and is_open_at(self._fd, self._table) and os.fstat(self._fd).st_size > 0
        )

    def _close_table(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._take_back_to = -1, None

    def _open_table(self) -> None:
        self._close_table()
        if not self._table.exists():
            # By rename, so that no reader ever finds the file without its header.
            new = self.folder / f".{TABLE}{PART_SUFFIX}"
            _write(new, rows.header().encode())
            new.rename(self._table)
        self._fd = os.open(self._table, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        try:
            self._check_header()
            self._mend_tail()
        except (OSError, ConfigError):
            self._close_table()
            raise

    def _check_header(self) -> None:
        header = rows.header().encode()
        head = os.pread(self._fd, len(header), 0)
        if len(head) < len(header) and header.startswith(head):
            # Empty, as logrotate's `create` leaves it; or the header itself was torn.
            os.ftruncate(self._fd, 0)
            self._append(header)
        elif head.strip() != header.strip():
            raise ConfigError(
                f"{self._table} does not begin with digitd's columns: move it away, "
                "or name another outbox"
            )

    def _mend_tail(self) -> None:
        """Cut a row that a power failure tore; its file is still claimed, and is read again."""
        size = os.fstat(self._fd).st_size
        tail = os.pread(self._fd, _BLOCK, max(0, size - _BLOCK))
        keep = len(tail)
        while keep and not _whole(tail, keep):
            keep = tail.rfind(b"\n", 0, keep - 1) + 1
        if keep < len(tail):
            log.warning("%s: cut a torn row of %d bytes", self._table, len(tail) - keep)
            os.ftruncate(self._fd, size - (len(tail) - keep))
            os.fsync(self._fd)
            if not keep:
                self._mend_tail()
        elif not tail.endswith(b"\n"):  # an editor took the last line's end away
            os.write(self._fd, b"\n")

    def _append(self, data: bytes) -> None:
        size = os.fstat(self._fd).st_size
        space = os.fstatvfs(self._fd)
        known = space.f_blocks > 0  # some network file systems do not tell
        if known and space.f_bavail * space.f_frsize < len(data) + _SPARE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._table))
        try:
            if os.write(self._fd, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._table))  # noqa: TRY301 - undone below as any other failure
            os.fsync(self._fd)
        except OSError:
            # Half a batch, or one that may not be on the disk: take it back, to be tried again.
            self._take_back_to = size
            self._take_back()
            raise

    def _take_back(self) -> None:
        """Undo a failed append; if that fails too, it is done before the next one."""
        if self._take_back_to is not None:
            os.ftruncate(self._fd, self._take_back_to)
            self._take_back_to = None

    def _free_name(self, job: Job, taken: set[str]) -> str:
        """Return the name to publish under: the file's own, or with its id if that is taken."""
        name = rows.printable(job.name)
        if len(_picture_name(name).encode()) <= NAME_BYTES and self._is_free(name, taken):
            return name
        return _with_id(name, job.id)

    def _is_free(self, name: str, taken: set[str]) -> bool:
        picture = _picture_name(name)
        places = (f"{ORIGINALS}/{name}", f"{FAILED}/{name}", f"{PICTURES}/{picture}")
        return picture not in taken and not any(
            os.path.lexists(f"{self.folder}/{place}") for place in places
        )

    def _move(self, source: Path, relative: str) -> None:
        target = self.folder / relative
        if not os.path.lexists(source):
            if not os.path.lexists(target):
                log.error("%s was taken out of the work folder before it was published", source)
            return
        if os.path.lexists(target):
            # An earlier run may have copied it and ended before it could remove the source.
            if not target.is_file() or not filecmp.cmp(source, target, shallow=False):
                raise FileExistsError(errno.EEXIST, "something else lies there", str(target))
            source.unlink()
            return
        if not target.parent.exists():  # someone tidied up: the folder, and what was in it
            target.parent.mkdir(mode=0o770)
        try:
            source.rename(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            _copy_over(source, target)


def rotated(folder: Path) -> list[Path]:
    """Return the tables that logrotate moved aside and did not compress, the newest first."""
    tables = [path for path in folder.glob(f"{TABLE}?*") if path.is_file() and path.suffix != ".gz"]
    return sorted(tables, key=lambda path: path.stat().st_mtime_ns, reverse=True)


def _write(path: Path, data: bytes) -> None:
    """Write a file of our own, whole or with an error."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o660)
    try:
        if os.write(fd, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    finally:
        os.close(fd)


def _copy_over(source: Path, target: Path) -> None:
    """Move a file to another file system: never half there, never on neither."""
    if not stat.S_ISREG(source.lstat().st_mode):
        # It took the place of the file that was found: a link would be copied from outside
        # the inbox, and a FIFO never end.
        raise PermissionError(errno.EPERM, "is no regular file, and is not copied", str(source))
    part = target.with_name(f".{source.name[: ids.LENGTH]}{PART_SUFFIX}")
    shutil.copyfile(source, part, follow_symlinks=False)
    with suppress(OSError):  # not every file system knows owners, rights and times
        shutil.copystat(source, part, follow_symlinks=False)
    with part.open("rb") as copied:
        os.fsync(copied.fileno())
    part.rename(target)
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    source.unlink()


def _picture_name(name: str) -> str:
    return name if name.lower().endswith(".png") else f"{name}.png"


def _with_id(name: str, job_id: str) -> str:
    """Put an id between a name's stem and its extension, cutting the stem where it must be."""
    suffix = PurePath(name).suffix
    if len(suffix) > _SUFFIX_LETTERS:  # a name with a dot in it, and no extension
        suffix = ""
    end = f"-{job_id}{suffix}"
    room = NAME_BYTES - len(f"{end}.png".encode())
    return name.removesuffix(suffix).encode()[:room].decode("utf-8", "ignore") + end


def _whole(tail: bytes, end: int) -> bool:
    """Tell whether the last line up to ``end`` is whole, or else torn by a power failure.

    A torn line has no end, or holds the zeros of a block that never reached the disk. Any other
    odd line is somebody's edit, and is not ours to cut.
    """
    start = tail.rfind(b"\n", 0, end - 1) + 1
    line = tail[start:end]
    if b"\0" in line:
        return False
    return line.endswith(b"\n") or rows.parse(line.decode("utf-8", "replace")) is not None


def _lines_from_the_end(path: Path) -> Iterator[bytes]:
    """Yield a file's lines, last one first, reading no more of it than is asked for."""
    with path.open("rb") as file:
        position = file.seek(0, os.SEEK_END)
        rest = b""
        while position:
            step = min(_BLOCK, position)
            position -= step
            file.seek(position)
            first, *lines = (file.read(step) + rest).split(b"\n")
            yield from (line for line in reversed(lines) if line)
            rest = first
        if rest:
            yield rest
