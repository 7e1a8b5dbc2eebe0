"""Check that each original has one row, and each row its original and its picture.

The tables of rereads are checked too.
"""

import hashlib
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from operator import attrgetter, itemgetter
from pathlib import Path, PurePath

from daemon import files, ids, layout
from daemon.config import Config
from daemon.layout import FAILED, ORIGINALS, PICTURES, WORK_FOLDER
from daemon.outbox import archive, rows
from daemon.outbox.outbox import is_running
from daemon.outbox.reread_audit import RereadAudit
from daemon.outbox.retention import load_deletions
from daemon.outbox.rotated import (
    Format,
    describe_unreadable,
    find_damage,
    find_format,
    list_rotated,
)
from daemon.outbox.table import open_tables, rows_from_the_end
from daemon.records import Status
from daemon.text import printable

_UNREADABLE = "\ufffd"  # in place of bytes that are not UTF-8
_CHECKED = ("id", "file", "status", "processed_at", "original", "picture", "sha256")
_get_checked = itemgetter(*map(rows.COLUMNS.index, _CHECKED))
_OWN = frozenset({layout.ATTEMPTS, layout.NEW_ATTEMPTS, layout.STATUS_PAGE, layout.WORK_LOCK})


@dataclass(frozen=True, slots=True)
class Audit:
    """Counts, and a line for each discrepancy that says what to do about it.

    Attributes:
        rows: the number of rows in all tables.
        files: the number of originals.
        in_flight: the number of files in the work folder.
        discrepancies: the lines.
        notes: lines about files of other programs, which are no discrepancies.
    """

    rows: int
    files: int
    in_flight: int
    discrepancies: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def find_discrepancies(config: Config, progress: Callable[[int], None] = lambda _: None) -> Audit:
    """Check the tables, rotated ones too, against the files, byte for byte.

    A copy of a table that lies next to it adds no rows. Files that a running digitd is working on
    are not discrepancies.

    Args:
        config: names the inbox and the outbox.
        progress: called with the number of rows checked since the last call.
    """
    running = is_running(config.inbox, config.outbox)
    work_folder = config.inbox / WORK_FOLDER
    # List the published files first, then read the tables, then list the work folder. Files move
    # in the opposite direction, so none is missed.
    published = {
        folder: list(archive.list_names(config.outbox / folder))
        for folder in (ORIGINALS, FAILED, PICTURES)
    }
    rereads = RereadAudit(config.outbox)
    discrepancies: list[str] = []
    found = _read_rows(config.outbox, discrepancies, running=running)
    auditor = _Auditor(config, found)
    discrepancies.extend(auditor.find_repeated())
    for row in found:
        wrong = list(auditor.check_files(row))
        if wrong and running:  # the files may just be on their way
            claimed = {name[: ids.LENGTH] for name in _list_folder(work_folder)}
            wrong = [] if row.id in claimed else list(auditor.check_files(row))
        discrepancies.extend(wrong)
        progress(1)
    work = _list_folder(work_folder)
    foreign = set(_find_foreign(published, work, found)).union(rereads.foreign)
    discrepancies.extend(_find_files_without_row(published, found, foreign))
    own = [name for name in work if f"{WORK_FOLDER}/{name}" not in foreign]
    discrepancies.extend(_find_unfinished(own, found, running=running))
    discrepancies.extend(rereads.find_discrepancies({row.id: row.sha256 for row in found}))
    return Audit(
        rows=len(found),
        files=len(published[ORIGINALS]) + len(published[FAILED]),
        in_flight=len({name[: ids.LENGTH] for name in work if ids.PATTERN.match(name)}),
        discrepancies=tuple(discrepancies),
        notes=tuple(_describe_foreign(path) for path in sorted(foreign)),
    )


@dataclass(frozen=True, slots=True)
class _Row:
    """The checked cells of a row; a million of them take 0.6 GB."""

    table: str
    id: str
    file: str
    status: str
    processed_at: str
    original: str
    picture: str
    sha256: str

    @property
    def content(self) -> str:
        """What identifies the row's file: its hash, or its name if it could not be read."""
        return self.sha256 or self.file


def _read_rows(outbox: Path, discrepancies: list[str], *, running: bool) -> list[_Row]:
    """Return the rows of all tables, oldest first; add what is wrong with a table's lines."""
    found: list[_Row] = []
    seen: set[str] = set()
    discrepancies.extend(
        describe_unreadable(path)
        for path in list_rotated(outbox)
        if find_format(path) is Format.UNREADABLE
    )
    with open_tables(outbox) as tables:
        for table in tables:
            lines = _read_table(table, discrepancies, running=running)
            new = [row for row in lines if row.id not in seen]
            seen.update(row.id for row in new)
            found.extend(new)
    return found


def _read_table(
    table: io.BufferedReader, discrepancies: list[str], *, running: bool
) -> Iterator[_Row]:
    name = Path(table.name).name
    for number, raw in enumerate(files.complete_lines(table), 1):
        if number == 1:
            if fault := rows.find_header_fault(raw, rows.HEADER):
                discrepancies.append(
                    f"{name}: the first line is not the header: {fault}; move the file away"
                )
        elif (cells := rows.cells(line := raw.decode("utf-8", "replace"))) is None:
            discrepancies.append(
                f"{name}, line {number}: not a complete row; fix or remove the line"
            )
        else:
            if _UNREADABLE in line:
                discrepancies.append(
                    f"{name}, line {number}: is not UTF-8, a spreadsheet may have saved it; "
                    "restore the line, or save the table as CSV UTF-8"
                )
            yield _Row(name, *_get_checked(cells))
    if damage := find_damage(table):
        discrepancies.append(damage)
    elif table.read(1) and not running:  # a running digitd is writing the row
        discrepancies.append(
            f"{name}: the last line has no newline (a torn row); digitd removes it at the "
            "next start and reads the file again"
        )


class _Auditor:
    """Checks the rows of one outbox against its files."""

    def __init__(self, config: Config, found: list[_Row]) -> None:
        self._inbox = config.inbox
        self._outbox = config.outbox
        self._rows = found
        self._deletions = load_deletions(config.outbox)
        self._newest: dict[str, str] = {}  # the highest id by content
        for row in found:
            self._newest[row.content] = max(row.id, self._newest.get(row.content, ""))

    def find_repeated(self) -> Iterator[str]:
        """Yield a line for each id and each original that several rows have."""
        for column in ("id", "original"):
            get = attrgetter(column)
            first: dict[str, _Row] = {}
            repeated: dict[str, list[_Row]] = {}
            for row in self._rows:
                if (earlier := first.setdefault(get(row), row)) is not row:
                    repeated.setdefault(get(row), [earlier]).append(row)
            for value, same in repeated.items():
                # The name is free again once `digitd retry` or the retention has removed the file.
                if column == "original" and all(map(self._may_have_left, same[:-1])):
                    continue
                yield (
                    f"{same[-1].table}: {len(same)} rows have the {column} {value}; "
                    "remove all but the first"
                )

    def check_files(self, row: _Row) -> Iterator[str]:
        """Yield what is wrong with a row's files."""
        name = f"row {row.id} ({row.file})"
        try:
            digest = _hash(self._outbox / row.original)
        except FileNotFoundError:
            if not self._may_have_left(row):
                yield (
                    f"{name}: its original {row.original} is missing; put it back, or remove the "
                    "row"
                )
        except OSError as error:
            yield f"{name}: its original {row.original} cannot be read: {error.strerror}"
        else:
            if row.sha256 not in {"", digest} and not self._may_have_left(row):
                yield (
                    f"{name}: {row.original} is not the file that was read (its sha256 differs); "
                    "restore it from a backup, or drop it again as a new file"
                )
        picture = self._outbox / row.picture
        is_expected = row.picture and not self._may_be_deleted(row)
        if is_expected and not (picture.is_file() and picture.stat().st_size):
            # A power failure just after a picture was written may leave it empty.
            yield (
                f"{name}: its picture {row.picture} is missing or empty; "
                "`digitd predict --picture` makes a new one"
            )

    def _may_have_left(self, row: _Row) -> bool:
        """Return whether a row's original may have been removed by digitd itself."""
        return self._may_be_deleted(row) or self._was_retried(row)

    def _may_be_deleted(self, row: _Row) -> bool:
        return self._deletions.include(row.id, row.processed_at)

    def _was_retried(self, row: _Row) -> bool:
        """Return whether `digitd retry` has put a row's file back into the inbox.

        Then its bytes are in the inbox or in the work folder, or have a later row.
        """
        if row.status != Status.ERROR:
            return False
        if self._newest.get(row.content, "") > row.id:
            return True
        # In the direction in which files move, so that none is missed.
        return self._is_waiting(row) or any(
            (later["sha256"] or later["file"]) == row.content
            for later in takewhile(
                lambda later: later["id"] > row.id, rows_from_the_end(self._outbox)
            )
        )

    def _is_waiting(self, row: _Row) -> bool:
        """Return whether the inbox or the work folder has a file with a row's name and bytes."""
        name = PurePath(row.original).name
        names = {name, archive.dropped_name(name)}
        waiting = [self._inbox / one for one in names]
        waiting += [
            self._inbox / WORK_FOLDER / claimed
            for claimed in _list_folder(self._inbox / WORK_FOLDER)
            if claimed[ids.LENGTH + 1 :] in names
        ]
        return any(path.is_file() and _may_have_hash(path, row.sha256) for path in waiting)


def _find_foreign(
    published: dict[str, list[str]], work: list[str], found: list[_Row]
) -> Iterator[str]:
    """Yield the paths of files that other programs have left among digitd's."""
    rows_by_id = {row.id: row for row in found}
    in_rows = {path for row in found for path in (row.original, row.picture)}
    for folder, names in published.items():
        for path in (f"{folder}/{name}" for name in names):
            if path not in in_rows and layout.is_foreign(PurePath(path).name):
                yield path
    claimed = ""
    for name in sorted(work, key=layout.claim_order):
        job_id = layout.claimed_id(name)
        if job_id is None:
            is_foreign = layout.is_foreign(name) and not ids.PATTERN.match(name)
        else:
            row = rows_by_id.get(job_id)
            is_copy = row is not None and not layout.is_conflict_copy(row.file)
            is_foreign = job_id == claimed or (is_copy and layout.is_conflict_copy(name))
            claimed = job_id
        if is_foreign:
            yield f"{WORK_FOLDER}/{name}"


def _describe_foreign(path: str) -> str:
    return (
        f"{printable(path)}: was left by a sync program, a file manager or an editor; remove it, "
        "and exclude this folder from that program"
    )


def _find_files_without_row(
    published: dict[str, list[str]], found: list[_Row], foreign: set[str]
) -> Iterator[str]:
    """Yield a line for each published file that no row names."""
    known = foreign.union(path for row in found for path in (row.original, row.picture))
    for folder, names in published.items():
        for name in sorted(names):
            if f"{folder}/{name}" not in known:
                read = "" if folder == PICTURES else ", or into the inbox to have it read"
                yield (
                    f"{folder}/{printable(name)}: no row names it; move it out of the outbox{read}"
                )


def _find_unfinished(work: list[str], found: list[_Row], *, running: bool) -> Iterator[str]:
    """Yield a line for each file in the work folder that should not be there."""
    with_row = {row.id for row in found}
    for name in sorted(work):
        is_claimed = ids.PATTERN.match(name) is not None
        shown = f"{WORK_FOLDER}/{printable(name)}"
        if name in _OWN or (is_claimed and running):
            continue
        if not is_claimed:
            yield f"{shown}: does not belong in the work folder; move it out"
        elif name[ids.LENGTH :] in layout.SUFFIXES:
            continue  # reported with its original
        elif name[: ids.LENGTH] in with_row:
            yield f"{shown}: has a row but is not published; digitd publishes it at the next start"
        else:
            yield f"{shown}: claimed but not read yet; digitd reads it at the next start"


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _may_have_hash(path: Path, sha256: str) -> bool:
    """Return whether a file has this sha256 or cannot be read."""
    try:
        return _hash(path) == sha256
    except OSError:
        return True


def _list_folder(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names are all we need
    except FileNotFoundError:
        return []
