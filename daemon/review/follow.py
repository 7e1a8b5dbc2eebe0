"""Follow the tables in a thread: index the lines that are appended to them."""

import io
import logging
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from daemon.files import complete_lines, open_descriptor, open_regular
from daemon.layout import FAILED, LABELS, REVIEW_INDEX, TABLE
from daemon.outbox import labels, rows
from daemon.outbox.archive import list_folders, list_names
from daemon.outbox.labels import Answer
from daemon.outbox.rereads import list_tables
from daemon.outbox.rotated import (
    Format,
    describe_unreadable,
    find_format,
    list_rotated,
    open_table,
)
from daemon.review.followed import (
    FollowedFile,
    Kind,
    read_compressed_line,
    read_tail,
    renumber,
)
from daemon.review.index import Index, Line, Position

log = logging.getLogger(__name__)

_BATCH_LINES = 1000  # in one transaction
_PAUSE_SECONDS = 0.25
_SETTLED_NS = 1_000_000_000
_POLL_SECONDS = 0.01
_MOST_CHANGES = 256  # that a page can miss before it must be loaded again
# With more bytes to index, the indexes are created after the rows: 1,000,000 rows take half the
# time.
_BULK_BYTES = 20_000_000


@dataclass(frozen=True, slots=True)
class Change:
    """A row that was added, answered or read again.

    Changes are numbered, and so are rows: by their ids.
    """

    number: int
    row: int
    is_new: bool


class Follower(threading.Thread):
    """Keeps the index up to date with labels.csv and all tables, those of rereads too.

    Attributes:
        index: of the outbox; only this thread writes to it.
        percent: how much is indexed, while many rows are being indexed; ``None`` otherwise.
        changes: the last rows that were added, answered or read again, but not those found at
            start.
        version: another number after each change.
    """

    def __init__(self, outbox: Path, index: Index) -> None:
        super().__init__(name="follower", daemon=True)
        self.index = index
        self.percent: int | None = 0
        self.changes: deque[Change] = deque(maxlen=_MOST_CHANGES)
        self.version = 0
        self._outbox = outbox
        self._files: dict[tuple[int, int], FollowedFile] = {}
        self._failed_times: dict[Path, int] = {}  # of the folders in ``failed/``
        self._unreadable: set[tuple[int, int]] = set()  # tables in other formats
        self._wake = threading.Event()
        self._is_stopping = False

    def wake(self) -> None:
        """Look for new lines at once."""
        self._wake.set()

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._is_stopping = True
        self._wake.set()
        self.join()

    def run(self) -> None:
        """Follow the files until stopped."""
        path = self._outbox / REVIEW_INDEX
        problem = ""
        while not self._is_stopping:
            self._wake.clear()
            try:
                self._catch_up()
            except (OSError, sqlite3.Error) as error:
                if str(error) != problem:
                    log.warning("%s: the index cannot be updated, trying again: %s", path, error)
                problem = str(error)
            else:
                problem = ""
            self._wake.wait(_PAUSE_SECONDS)

    def read_line(self, number: int, position: int) -> str:
        """Return the line at a position of a followed file, without its newline; any thread may.

        Returns an empty text if the file is not followed any more, or has no whole line there.

        Raises:
            OSError: the file cannot be read.
        """
        for file in self._files.values():
            if file.indexed.number == number:
                if file.table is not None:
                    return read_compressed_line(file.descriptor, file.indexed.inode, position)
                block = os.pread(file.descriptor, rows.LONGEST_LINE, position)
                line, newline, _ = block.partition(b"\n")
                return line.decode("utf-8", "replace") if newline else ""
        return ""

    def find_unindexed(self, job_id: str, sha256: str) -> list[Answer]:
        """Return the last answers to rows that may not be indexed yet; any thread may.

        Args:
            job_id: the row's.
            sha256: the row's. Answers to other rows with it are returned too.

        Returns:
            One answer for each row, the newest last. Read the index afterwards: it has every
            answer that is not among them.

        Raises:
            OSError: labels.csv cannot be read.
        """
        files = self._files
        try:
            labels_file = open_regular(self._outbox / LABELS)
        except FileNotFoundError:
            return []
        found = dict[str, Answer]()
        with labels_file as source:
            info = os.fstat(source.fileno())
            followed = files.get((info.st_dev, info.st_ino))
            if followed is not None:
                indexed = followed.indexed
                if read_tail(source.fileno(), indexed.position) == indexed.tail:
                    source.seek(indexed.position)
            wanted, content = job_id.encode(), (sha256 or job_id).lower().encode()
            for line in complete_lines(source):
                # Parsing all lines takes ten times as long.
                if wanted not in line and content not in line.lower():
                    continue
                answer = labels.parse(line.decode("utf-8", "replace"))
                if answer is None:
                    continue
                if answer.id == job_id or (sha256 and answer.sha256.lower() == sha256.lower()):
                    found.pop(answer.id, None)
                    found[answer.id] = answer
        return list(found.values())

    def wait_for_answers(self, seconds: float) -> bool:
        """Wait until all stored answers are indexed, or for so long at most; any thread may.

        Return whether they are.
        """
        end = time.monotonic() + seconds
        self.wake()
        while self._has_unindexed_answers():
            if time.monotonic() >= end:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def _has_unindexed_answers(self) -> bool:
        try:
            info = (self._outbox / LABELS).stat()
        except FileNotFoundError:
            return False
        followed = self._files.get((info.st_dev, info.st_ino))
        if followed is None:
            return info.st_size > 0
        # A kill may have torn the last line, which the next answer removes.
        rest = os.pread(followed.descriptor, rows.LONGEST_LINE, followed.indexed.position)
        return b"\n" in rest

    def _catch_up(self) -> None:
        """Index all lines that were appended.

        Raises:
            OSError, sqlite3.Error: it cannot be done now.
        """
        self._open_files()
        files = self._files.values()
        rereads = [file for file in files if file.indexed.kind == Kind.REREADS]
        if self.index.has_late_rows:
            for file in rereads:
                file.indexed = replace(file.indexed, position=0, tail=b"")
            self.index.has_late_rows = False
        total = sum(file.bytes_left for file in files)
        is_bulk = total > max(_BULK_BYTES, sum(file.indexed.position for file in files))
        if is_bulk:
            self.percent = 0
            self.index.drop_indexes()
        was_added = False
        answers = [file for file in files if file.indexed.kind == Kind.ANSWERS]
        tables = [file for file in files if file.indexed.kind == Kind.ROWS]
        # All answers before each batch of rows: a row must not be shown without its answer. All
        # rows before each batch of rereads, and these one table after the other: the last counts.
        while (
            any(list(map(self._index_batch, answers)))
            or any(list(map(self._index_batch, tables)))
            or any(map(self._index_batch, rereads))
        ):
            was_added = True
            if is_bulk:
                left = sum(file.bytes_left for file in files)
                self.percent = max(0, 100 * (total - left) // total)
            if self._is_stopping:
                return
        if was_added or self.percent is not None:
            self.index.create_indexes()
        if self.percent is not None:
            self.percent = None
            self.version += 1
        self._follow_failed()

    def _follow_failed(self) -> None:
        """Index which files are in ``failed/``, if there are new ones or its folders changed."""
        known = self._failed_times
        if known and known == _modified(known) and not self.index.has_new_failed:
            return
        times = _modified(list_folders(self._outbox / FAILED))
        names = frozenset(list_names(self._outbox / FAILED))
        self._announce(self.index.set_failed(names), is_new=False)
        # Another change in the same tick of the clock does not change a folder's time.
        is_settled = time.time_ns() - max(times.values(), default=0) > _SETTLED_NS
        self._failed_times = times if is_settled else {}

    def _index_batch(self, file: FollowedFile) -> bool:
        """Index the next lines of a file; return whether there were any."""
        if file.table is not None:
            return self._index_compressed(file, file.table)
        lines, end = [], file.indexed.position
        # Opened again, because a buffer could hold a torn line that was replaced since.
        with open(file.descriptor, "rb", closefd=False) as source:
            source.seek(end)
            for raw in islice(complete_lines(source), _BATCH_LINES):
                lines.append(Line(end, raw[:-1].decode("utf-8", "replace")))
                end += len(raw)
        if not lines:
            return False
        upto = replace(file.indexed, position=end, tail=read_tail(file.descriptor, end))
        add = {
            Kind.ANSWERS: self.index.add_answers,
            Kind.ROWS: self.index.add_rows,
            Kind.REREADS: self.index.add_rereads,
        }
        changed = add[Kind(upto.kind)](lines, upto)
        file.indexed = upto
        self._announce(changed, is_new=upto.kind == Kind.ROWS)
        return True

    def _index_compressed(self, file: FollowedFile, table: io.BufferedReader) -> bool:
        """Index the next lines of a compressed table; return whether there were any."""
        if not file.bytes_left:
            return False
        lines, end = [], table.tell()
        for raw in islice(complete_lines(table), _BATCH_LINES):
            lines.append(Line(end, raw[:-1].decode("utf-8", "replace")))
            end += len(raw)
        upto = file.indexed
        if not lines:
            size = os.fstat(file.descriptor).st_size
            upto = replace(upto, position=size, tail=read_tail(file.descriptor, size))
            table.seek(0)  # it is read again if logrotate has not written all of it yet
        changed = self.index.add_rows(lines, upto)
        file.indexed = upto
        self._announce(changed, is_new=True)
        return bool(lines)

    def _announce(self, changed: Sequence[int], *, is_new: bool) -> None:
        """Make changes known, except those found while many rows are being indexed."""
        if self.percent is None:
            last = self.changes[-1].number if self.changes else 0
            self.changes.extend(
                Change(number, row, is_new)
                for number, row in enumerate(changed[-_MOST_CHANGES:], last + 1)
            )
        self.version += bool(changed)

    def _open_files(self) -> None:
        """Open new files; start again with an empty index if a file was edited or removed.

        Raises:
            OSError, sqlite3.Error: it cannot be done now.
        """
        found = dict(self._find_files())
        self._outbox.stat()  # without the folder, all tables seem to be gone
        known_files = self._files.values()
        if list(found) == list(self._files) and all(file.is_unchanged for file in known_files):
            return
        known = {(one.device, one.inode): one for one in self.index.positions()}
        unused = 1 + max((one.number for one in known.values()), default=0)
        files: dict[tuple[int, int], FollowedFile] = {}
        for number, (identity, (kind, path)) in enumerate(found.items(), unused):
            start = Position(number, kind, *identity, position=0, tail=b"")
            with suppress(FileNotFoundError):
                # Other threads may be reading from an open file: it stays open.
                if (file := self._files.get(identity)) is None:
                    file = self._open(path, start)
                if file is not None:
                    file.indexed = known.get(identity, start)
                    files[identity] = file
        rereads = [one for one in files.values() if one.indexed.kind == Kind.REREADS]
        renumber(rereads, unused + len(found))
        old, self._files = self._files, files
        for identity in old.keys() - files.keys():
            old[identity].close()
        self._outbox.stat()  # it may have gone since
        if known.keys() - files.keys() or not all(file.is_unchanged for file in files.values()):
            log.info("a table was edited or removed: indexing %s again", self._outbox)
            self.percent = 0
            self.version += 1
            for file in files.values():
                file.indexed = replace(file.indexed, position=0, tail=b"")
                if file.table is not None:
                    file.table.seek(0)
            self.index.discard()

    def _open(self, path: Path, start: Position) -> FollowedFile | None:
        """Open a file; ``None`` if it is a table that cannot be read."""
        table = None
        if start.kind == Kind.ROWS and path.name != TABLE:
            found = find_format(path)
            if found is Format.UNREADABLE:
                log.warning("%s", describe_unreadable(path))
                self._unreadable.add((start.device, start.inode))
                return None
            table = open_table(path) if found is Format.COMPRESSED else None
        return FollowedFile(open_descriptor(path), start, table)

    def _find_files(self) -> Iterator[tuple[tuple[int, int], tuple[str, Path]]]:
        """Yield each file's identity, kind and path, in the order in which they are indexed."""
        tables = [self._outbox / TABLE, *reversed(list_rotated(self._outbox))]
        # Answers first, so that the rows that are added get theirs.
        kinds = (
            (Kind.ANSWERS, [self._outbox / LABELS]),
            (Kind.ROWS, tables),
            (Kind.REREADS, list_tables(self._outbox)),
        )
        for kind, paths in kinds:
            for path in paths:
                with suppress(FileNotFoundError):
                    info = path.stat()
                    identity = (info.st_dev, info.st_ino)
                    # An empty one may become a compressed one.
                    is_followed = info.st_size or path.name in {TABLE, LABELS}
                    if is_followed and identity not in self._unreadable:
                        yield identity, (kind, path)


def _modified(folders: Iterable[Path]) -> dict[Path, int]:
    """Return the modification time of each folder that exists, in nanoseconds."""
    times = {}
    for folder in folders:
        with suppress(FileNotFoundError):
            times[folder] = folder.stat().st_mtime_ns
    return times
