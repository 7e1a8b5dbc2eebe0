"""Find the archived originals of some rows, and leave out those that are gone or changed."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from daemon import ids
from daemon.config import Config
from daemon.layout import WORK_FOLDER
from daemon.outbox import results, rows
from daemon.outbox.archive import original_path
from daemon.outbox.rereads import Rereads
from daemon.outbox.retention import load_deletions
from daemon.outbox.table import open_tables
from daemon.records import Job, Reads, Status

_ID, _FILE, _STATUS, _DIGIT, _ORIGINAL, _RECEIVED_AT, _PROCESSED_AT = map(
    rows.COLUMNS.index,
    ("id", "file", "status", "digit", "original", "received_at", "processed_at"),
)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows are read again.

    Attributes:
        statuses: only rows with one of these before this model read them again; empty for all.
        since: only rows received on this day (UTC) or later; ``None`` for all.
    """

    statuses: frozenset[Status] = frozenset()
    since: date | None = None

    def includes(self, cells: list[str]) -> bool:
        """Return whether a row, as it was before this model read it again, is selected."""
        if self.since is not None and cells[_RECEIVED_AT] < self.since.isoformat():
            return False
        return not self.statuses or cells[_STATUS] in self.statuses


@dataclass(slots=True)
class LeftOut:
    """The originals that were not read again.

    Attributes:
        deleted: how many ``keep_days`` has deleted.
        retried: how many ``digitd retry`` has put back into the inbox.
        unpublished: how many digitd has not moved into the outbox yet.
        missing: the names of those that are missing for another reason, or cannot be opened.
        changed: the names of those that are not the files that were read.
    """

    deleted: int = 0
    retried: int = 0
    unpublished: int = 0
    missing: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Original:
    """An original to read: its row's cells, and the job of a worker."""

    cells: list[str]
    job: Job


class Originals:
    """The originals of the rows that a reread is about.

    Attributes:
        wanted: the number of these rows; see ``count``.
        done_before: how many of them were in the table already.
        numbers: with ``reads: digit``, how many of them are numbers of several characters.
        absent: the rows whose original was not there; see ``read_late``.
        left_out: the rows that ``read_late`` has given up.
    """

    def __init__(
        self,
        config: Config,
        table: str,
        selection: Selection,
        done: set[int],
        *,
        is_stopped: Callable[[], bool],
        on_left_out: Callable[[], None],
    ) -> None:
        """Take the settings.

        Args:
            config: names the outbox and the inbox.
            table: the name of the table of this reread.
            selection: says which rows are read again.
            done: the numbers of the ids of the rows in that table; the others are added.
            is_stopped: returns whether to stop.
            on_left_out: called for each row that is left out.
        """
        self.wanted = self.done_before = self.numbers = 0
        self.absent = list[list[str]]()
        self.left_out = LeftOut()
        self._config = config
        self._table = table
        self._selection = selection
        self._done = done
        self._is_stopped = is_stopped
        self._on_left_out = on_left_out
        self._deletions = load_deletions(config.outbox)
        self._claimed: frozenset[str] | None = None  # ids in the work folder, once all are read

    def count(self) -> int:
        """Count the rows; return how many of them are in the table."""
        is_digit = self._config.reads is Reads.DIGIT
        for cells, before in self._select():
            self.wanted += 1
            self.done_before += ids.decode(cells[_ID]) in self._done
            self.numbers += is_digit and len(before[_DIGIT]) > 1
        return self.done_before

    def _select(self) -> Iterator[tuple[list[str], list[str]]]:
        """Yield the rows that are read again: as in predictions.csv, and without this reread."""
        outbox, name = self._config.outbox, self._table
        with closing(Rereads(outbox, without=name)) as rereads, open_tables(outbox) as tables:
            for row in results.parse_tables(tables):
                if self._is_stopped():
                    return
                _, before = results.reread(row.line, row.cells, rereads)
                if self._selection.includes(before):
                    yield row.cells, before

    def read(self) -> Iterator[Original]:
        """Yield what is not read yet; no row twice, though somebody may be editing the table."""
        for cells, _ in self._select():
            number = ids.decode(cells[_ID])
            if number not in self._done:
                self._done.add(number)
                yield from self._find(cells)

    def read_late(self) -> Iterator[Original]:
        """Yield the originals that were absent and are not any more; leave out the others."""
        absent, self.absent = self.absent, []
        self._claimed = _list_claimed(self._config.inbox)
        for cells in absent:
            yield from self._find(cells)

    def _find(self, cells: list[str]) -> Iterator[Original]:
        """Yield a row's original if it is there."""
        path = original_path(self._config.outbox, cells[_ORIGINAL])
        try:
            size = -1 if path is None else path.lstat().st_size
        except OSError:
            size = -1
        if path is None or size < 0:
            self.set_aside(cells)
            return
        received_at = rows.parse_timestamp(cells[_RECEIVED_AT]) or datetime.now(UTC)
        yield Original(cells, Job(cells[_ID], cells[_FILE], path, size, received_at))

    def set_aside(self, cells: list[str]) -> None:
        """Leave a row out whose original cannot be opened, or look again in ``read_late``."""
        if self._deletions.include(cells[_ID], cells[_PROCESSED_AT]):
            self.left_out.deleted += 1
        elif self._claimed is None:  # a running digitd may be about to publish it
            self.absent.append(cells)
            return
        elif cells[_ID] in self._claimed:
            self.left_out.unpublished += 1
        elif cells[_STATUS] == Status.ERROR:
            self.left_out.retried += 1
        else:
            self.left_out.missing.append(cells[_FILE])
        self._on_left_out()

    def leave_changed(self, cells: list[str]) -> None:
        """Leave a row out whose original has other bytes than those that were read."""
        # Once a file has gone, its name may be that of a newer one.
        if self._deletions.include(cells[_ID], cells[_PROCESSED_AT]):
            self.left_out.deleted += 1
        elif cells[_STATUS] == Status.ERROR:
            self.left_out.retried += 1
        else:
            self.left_out.changed.append(cells[_FILE])
        self._on_left_out()


def _list_claimed(inbox: Path) -> frozenset[str]:
    """Return the ids of the files in the work folder."""
    try:
        names = os.listdir(inbox / WORK_FOLDER)  # noqa: PTH208 - names are all we need
    except FileNotFoundError:
        return frozenset()
    return frozenset(name[: ids.LENGTH] for name in names)
