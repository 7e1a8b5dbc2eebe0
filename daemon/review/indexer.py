"""The thread that keeps the index up to date with predictions.csv and labels.csv."""

import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from daemon.layout import LABELS, TABLE
from daemon.outbox import labels
from daemon.outbox.table import rotated
from daemon.review.index import Index, Position
from daemon.review.lines import whole_lines

log = logging.getLogger(__name__)

_LABELS_NUMBER = 0
_TAIL_BYTES = 64
_PAUSE_SECONDS = 0.25
# Above this many bytes to index, the indexes are made after the rows: 1,000,000 rows take half the
# time.
_BULK_BYTES = 20_000_000


@dataclass(frozen=True, slots=True)
class Progress:
    """How much of the tables is indexed, in bytes."""

    done: int
    total: int

    @property
    def percent(self) -> int:
        """The share in whole percent, rounded down."""
        return 100 * self.done // max(1, self.total)


@dataclass(slots=True)
class _File:
    """A file that is followed."""

    number: int
    descriptor: int
    position: int = 0
    tail: bytes = b""

    @property
    def left(self) -> int:
        """The number of bytes that are not indexed."""
        return os.fstat(self.descriptor).st_size - self.position

    @property
    def is_unchanged(self) -> bool:
        """Whether the file still has the bytes that were indexed last."""
        return _tail(self.descriptor, self.position) == self.tail


class Indexer(threading.Thread):
    """Follows labels.csv and all tables; ``wake`` makes it look at once.

    Attributes:
        progress: while many rows are being indexed; ``None`` otherwise.
        tables: the descriptor of each table by its number.
    """

    def __init__(self, outbox: Path, index: Index) -> None:
        super().__init__(name="indexer", daemon=True)
        self.progress: Progress | None = Progress(0, 1)
        self.tables: dict[int, int] = {}
        self.labels_position = 0
        self._outbox = outbox
        self._index = index
        self._wake = threading.Event()
        self._is_stopping = False
        self._files: dict[tuple[int, int], _File] = {}
        self._is_bulk = False

    def wake(self) -> None:
        """Look for new lines at once."""
        self._wake.set()

    def stop(self) -> None:
        """End the thread, and wait for it."""
        self._is_stopping = True
        self._wake.set()
        self.join()

    def run(self) -> None:
        """Follow the files until stopped."""
        while not self._is_stopping:
            self._wake.clear()
            try:
                self.turn()
            except (OSError, sqlite3.Error) as error:
                log.warning("the index cannot be updated now: %s", error)
            self._wake.wait(_PAUSE_SECONDS)

    def turn(self) -> None:
        """Index what was appended since the last time.

        Raises:
            OSError, sqlite3.Error: it cannot be indexed now.
        """
        self._open_files()
        left = sum(file.left for file in self._files.values())
        indexed = sum(file.position for file in self._files.values())
        if left > max(_BULK_BYTES, indexed) and not self._is_bulk:
            self._is_bulk = True
            self.progress = Progress(0, left)
            self._index.is_quiet = True
            self._index.drop_indexes()
        was_added = False
        while self._step() and not self._is_stopping:
            was_added = True
            if self._is_bulk:
                now_left = sum(file.left for file in self._files.values())
                self.progress = Progress(max(0, left - now_left), left)
        if self._is_stopping:
            return
        if was_added or self.progress is not None:
            self._index.finish()
        if self.progress is not None:
            self._is_bulk = False
            self.progress = None
            self._index.version += 1
        self._index.is_quiet = False

    def _step(self) -> bool:
        """Index one block of each file, answers first; return whether there was one."""
        followed = [self._follow(file) for file in self._files.values()]
        return any(followed)

    def _follow(self, file: _File) -> bool:
        lines, end = whole_lines(file.descriptor, file.position)
        if end == file.position:
            return False
        info = os.fstat(file.descriptor)
        upto = Position(file.number, info.st_dev, info.st_ino, end, _tail(file.descriptor, end))
        if file.number == _LABELS_NUMBER:
            answers = [one for line in lines if (one := labels.parse(line.text)) is not None]
            self._index.add_answers(answers, upto)
            self.labels_position = end
        else:
            self._index.add_rows(lines, upto)
        file.position, file.tail = end, upto.tail
        return True

    def _open_files(self) -> None:
        """Open new files; start again with an empty index if one was edited, or is gone."""
        found = dict(self._there())
        known_files = self._files.values()
        if found.keys() == self._files.keys() and all(file.is_unchanged for file in known_files):
            return
        known = {(one.device, one.inode): one for one in self._index.positions()}
        files: dict[tuple[int, int], _File] = {}
        for key, path in found.items():
            number = _LABELS_NUMBER if path.name == LABELS else -1
            with suppress(FileNotFoundError):
                files[key] = _File(number, os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        if any(not _is_unchanged(one, files.get(key)) for key, one in known.items()):
            log.info("a table was edited or removed: indexing %s again", self._outbox)
            self._index.discard()
            self._index.is_quiet = True
            self.progress = Progress(0, 1)
            known = {}
        unused = 1 + max((one.number for one in known.values()), default=_LABELS_NUMBER)
        for key, file in files.items():
            if key in known:
                one = known[key]
                file.number, file.position, file.tail = one.number, one.position, one.tail
            elif file.number != _LABELS_NUMBER:
                file.number = unused
                unused += 1
        self._replace(files)

    def _replace(self, files: dict[tuple[int, int], _File]) -> None:
        old = self._files
        # Answers first: rows that are added find theirs.
        self._files = dict(sorted(files.items(), key=lambda item: item[1].number))
        self.tables = {file.number: file.descriptor for file in files.values()}
        self.labels_position = next(
            (file.position for file in files.values() if file.number == _LABELS_NUMBER), 0
        )
        for file in old.values():
            os.close(file.descriptor)

    def _there(self) -> Iterator[tuple[tuple[int, int], Path]]:
        """Yield the identity and the path of each file."""
        for path in (self._outbox / LABELS, self._outbox / TABLE, *reversed(rotated(self._outbox))):
            with suppress(FileNotFoundError):
                info = path.stat()
                yield (info.st_dev, info.st_ino), path


def _tail(descriptor: int, end: int) -> bytes:
    return os.pread(descriptor, min(end, _TAIL_BYTES), max(0, end - _TAIL_BYTES))


def _is_unchanged(known: Position, file: _File | None) -> bool:
    """Return whether a file still has the bytes that were indexed."""
    return file is not None and _tail(file.descriptor, known.position) == known.tail
