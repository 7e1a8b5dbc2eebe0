"""Check that each original has one row, and each row its original and its picture.

The tables of rereads are checked too.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from operator import attrgetter
from pathlib import Path, PurePath

from daemon import ids, layout
from daemon.config import Config
from daemon.layout import FAILED, ORIGINALS, PICTURES, TABLE, WORK_FOLDER
from daemon.outbox import archive
from daemon.outbox.outbox import is_running
from daemon.outbox.reread_audit import RereadAudit
from daemon.outbox.retention import load_deletions
from daemon.outbox.table import rows_from_the_end
from daemon.outbox.table_audit import CheckedRow, TableAudit, read_tables
from daemon.records import Status
from daemon.text import count, printable

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
    tables = read_tables(config.outbox, running=running)
    found, discrepancies = tables.rows, tables.discrepancies
    auditor = _Auditor(config, found)
    discrepancies.extend(auditor.find_repeated())
    for row in found:
        wrong = list(auditor.check_files(row))
        if wrong and running:  # the files may just be on their way
            claimed = {name[: ids.LENGTH] for name in _list_folder(work_folder)}
            wrong = [] if row.id in claimed else list(auditor.check_files(row))
        discrepancies.extend(wrong)
        progress(1)
    discrepancies.extend(auditor.find_missing_folders())
    if config.outbox.is_dir() and not config.inbox.is_dir():
        discrepancies.append(
            f"inbox: {printable(str(config.inbox))} is missing, so the files in it are not "
            "counted; mount its disk, or move the folder back"
        )
    work = _list_folder(work_folder)
    foreign = set(_find_foreign(published, work, found)).union(rereads.foreign)
    without_row = list(_find_files_without_row(published, found, foreign))
    discrepancies.extend(_explain_loss(tables, len(without_row)) or without_row)
    own = [name for name in work if f"{WORK_FOLDER}/{name}" not in foreign]
    discrepancies.extend(_find_unfinished(own, found, running=running))
    if not tables.unread:  # or each of their lines may be about a row that was not read
        discrepancies.extend(rereads.find_discrepancies({row.id: row.sha256 for row in found}))
    return Audit(
        rows=len(found),
        files=len(published[ORIGINALS]) + len(published[FAILED]),
        in_flight=len({name[: ids.LENGTH] for name in work if ids.PATTERN.match(name)}),
        discrepancies=tuple(discrepancies),
        notes=tuple(_describe_foreign(path) for path in sorted(foreign)),
    )


class _Auditor:
    """Checks the rows of one outbox against its files."""

    def __init__(self, config: Config, found: list[CheckedRow]) -> None:
        self._inbox = config.inbox
        self._outbox = config.outbox
        self._rows = found
        self._deletions = load_deletions(config.outbox)
        folders = (ORIGINALS, FAILED, PICTURES)
        # The folders that are missing, and the files that should be there.
        self._gone: dict[str, set[str]] = {
            one: set() for one in folders if not (config.outbox / one).is_dir()
        }
        self._newest: dict[str, str] = {}  # the highest id by content
        for row in found:
            self._newest[row.content] = max(row.id, self._newest.get(row.content, ""))

    def find_repeated(self) -> Iterator[str]:
        """Yield a line for each id and each original that several rows have."""
        for column in ("id", "original"):
            get = attrgetter(column)
            first: dict[str, CheckedRow] = {}
            repeated: dict[str, list[CheckedRow]] = {}
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

    def check_files(self, row: CheckedRow) -> Iterator[str]:
        """Yield what is wrong with a row's files."""
        name = f"row {row.id} ({row.file})"
        try:
            digest = _hash(self._outbox / row.original)
        except FileNotFoundError:
            if not self._may_have_left(row) and not self._is_gone(row.original):
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
        is_there = picture.is_file() and picture.stat().st_size
        if is_expected and not is_there and not self._is_gone(row.picture):
            # A power failure just after a picture was written may leave it empty.
            yield (
                f"{name}: its picture {row.picture} is missing or empty; "
                "`digitd predict FILE --picture FOLDER` makes a new one"
            )

    def _is_gone(self, path: str) -> bool:
        """Return whether a file's whole folder is missing, and record the file."""
        folder = path.partition("/")[0]
        if folder not in self._gone:
            return False
        self._gone[folder].add(path)
        return True

    def find_missing_folders(self) -> Iterator[str]:
        """Yield a line for each folder that is missing, after ``check_files`` of all rows."""
        for folder, files in self._gone.items():
            if files:
                yield (
                    f"{folder}/: is missing, with {count(len(files), 'file')} that rows name; put "
                    "it back, or restore it from a backup"
                )

    def _may_have_left(self, row: CheckedRow) -> bool:
        """Return whether a row's original may have been removed by digitd itself."""
        return self._may_be_deleted(row) or self._was_retried(row)

    def _may_be_deleted(self, row: CheckedRow) -> bool:
        return self._deletions.include(row.id, row.processed_at)

    def _was_retried(self, row: CheckedRow) -> bool:
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

    def _is_waiting(self, row: CheckedRow) -> bool:
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
    published: dict[str, list[str]], work: list[str], found: list[CheckedRow]
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
    published: dict[str, list[str]], found: list[CheckedRow], foreign: set[str]
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


def _explain_loss(tables: TableAudit, files: int) -> list[str]:
    """Return one line in place of one for each file without a row, if all have the same cause."""
    if tables.unread and files:
        names = ", ".join(map(printable, tables.unread))
        text = f"{count(files, 'file')} without a row: run this again when {names} can be read"
        return [f"{text}; rereads are checked then, too"]
    if files > 1 and not tables.rows:
        return [f"{TABLE}: has no rows, and there are {files} files: restore it from a backup"]
    return []


def _find_unfinished(work: list[str], found: list[CheckedRow], *, running: bool) -> Iterator[str]:
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
