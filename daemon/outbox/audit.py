"""Check that each original has one row, and each row its original and its picture."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import takewhile
from operator import attrgetter
from pathlib import Path, PurePath
from typing import BinaryIO

from daemon import ids, layout
from daemon.config import Config
from daemon.layout import FAILED, ORIGINALS, PICTURES, WORK_FOLDER
from daemon.outbox import published, rows
from daemon.outbox.archive import dropped_name
from daemon.outbox.outbox import is_running
from daemon.outbox.retention import deleted_before
from daemon.outbox.table import opened, rows_from_the_end
from daemon.records import Status

_CHECKED = ("id", "file", "status", "processed_at", "original", "picture", "sha256")
_OWN = frozenset({layout.ATTEMPTS, layout.NEW_ATTEMPTS, layout.STATUS_PAGE, layout.WORK_LOCK})


@dataclass(frozen=True, slots=True)
class Audit:
    """Counts, and a line for each discrepancy that says what to do about it."""

    rows: int
    files: int
    in_work: int
    breaks: tuple[str, ...]


def audit(config: Config, progress: Callable[[int], None] = lambda _: None) -> Audit:
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
    there = {
        place: list(published.names(config.outbox / place))
        for place in (ORIGINALS, FAILED, PICTURES)
    }
    breaks: list[str] = []
    found = _rows(config.outbox, breaks, running=running)
    retries = _Retries(config, found)
    deleted = deleted_before(config.outbox)
    breaks.extend(_doubled(found, retries, deleted))
    for row in found:
        faults = list(_missing(config.outbox, row, retries, deleted))
        if faults and running:
            claimed = {name[: ids.LENGTH] for name in _names(work_folder)}
            if row.id in claimed:
                faults = []
            else:
                faults = list(_missing(config.outbox, row, retries, deleted))
        breaks.extend(faults)
        progress(1)
    breaks.extend(_strangers(there, found))
    work = _names(work_folder)
    breaks.extend(_stuck(work, found, running=running))
    return Audit(
        rows=len(found),
        files=len(there[ORIGINALS]) + len(there[FAILED]),
        in_work=len({name[: ids.LENGTH] for name in work if ids.PATTERN.match(name)}),
        breaks=tuple(breaks),
    )


@dataclass(frozen=True, slots=True)
class _Row:
    """What is checked of a row; a million of them take 0.6 GB."""

    table: str
    id: str
    file: str
    status: str
    processed_at: str
    original: str
    picture: str
    sha256: str


def _rows(outbox: Path, breaks: list[str], *, running: bool) -> list[_Row]:
    """Return the rows of all tables, oldest first; add what is wrong with a table's lines."""
    found: list[_Row] = []
    seen: set[str] = set()
    with ExitStack() as stack:
        for table in opened(outbox, stack):
            lines = _lines(table, breaks, running=running)
            new = [row for row in lines if row.id not in seen]
            seen.update(row.id for row in new)
            found.extend(new)
    return found


def _lines(table: BinaryIO, breaks: list[str], *, running: bool) -> Iterator[_Row]:
    name = Path(table.name).name
    for number, raw in enumerate(table, 1):
        if not raw.endswith(b"\n"):
            if not running:  # it is writing the row
                breaks.append(
                    f"{name}: the last line has no newline (a torn row); digitd removes it at the "
                    "next start and reads the file again"
                )
        elif number == 1:
            if raw.rstrip() != rows.header().strip().encode():
                breaks.append(f"{name}: the first line is not the header; move the file away")
        elif (fields := rows.parse(raw.decode("utf-8", "replace").rstrip("\n"))) is None:
            breaks.append(f"{name}, line {number}: not a complete row; fix or remove the line")
        else:
            yield _Row(name, *map(fields.__getitem__, _CHECKED))


class _Retries:
    """Tells which ``error`` rows had their file put back into the inbox by `digitd retry`."""

    def __init__(self, config: Config, found: list[_Row]) -> None:
        self._config = config
        self._newest: dict[str, str] = {}  # the highest id by content
        for row in found:
            content = _content(row)
            self._newest[content] = max(row.id, self._newest.get(content, ""))

    def __contains__(self, row: _Row) -> bool:
        """Whether a row's bytes are in the inbox or the work folder, or have a later row."""
        if row.status != Status.ERROR:
            return False
        if self._newest.get(_content(row), "") > row.id:
            return True
        # In the direction in which files move, so that none is missed.
        return self._is_waiting(row) or any(
            (later["sha256"] or later["file"]) == _content(row)
            for later in takewhile(
                lambda later: later["id"] > row.id, rows_from_the_end(self._config.outbox)
            )
        )

    def _is_waiting(self, row: _Row) -> bool:
        name = PurePath(row.original).name
        names = {name, dropped_name(name)}
        inbox = self._config.inbox
        waiting = [inbox / one for one in names]
        waiting += [
            inbox / WORK_FOLDER / claimed
            for claimed in _names(inbox / WORK_FOLDER)
            if claimed[ids.LENGTH + 1 :] in names
        ]
        return any(path.is_file() and _digest(path) in {row.sha256, ""} for path in waiting)


def _content(row: _Row) -> str:
    """Return what identifies a row's file: its hash, or its name if it could not be read."""
    return row.sha256 or row.file


def _digest(path: Path) -> str:
    """Return a file's sha256; empty if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _doubled(found: list[_Row], retries: _Retries, deleted: str) -> Iterator[str]:
    for what in ("id", "original"):
        name = attrgetter(what)
        times = Counter(map(name, found))
        doubled: dict[str, list[_Row]] = {}
        for row in found:
            if times[name(row)] > 1:
                doubled.setdefault(name(row), []).append(row)
        for value, same in doubled.items():
            # The name is free again once its file was put back by retry, or deleted for its age.
            if what == "original" and all(
                row in retries or row.processed_at < deleted for row in same[:-1]
            ):
                continue
            yield (
                f"{same[-1].table}: {len(same)} rows have the {what} {value}; "
                "remove all but the first"
            )


def _missing(outbox: Path, row: _Row, retries: _Retries, deleted: str) -> Iterator[str]:
    """Yield what is wrong with a row's files; those processed before ``deleted`` may be gone."""
    may_be_gone = row.processed_at < deleted
    who = f"row {row.id} ({row.file})"
    original = outbox / row.original
    try:
        with original.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        if row not in retries and not may_be_gone:
            where = row.original
            yield f"{who}: its original {where} is missing; put it back, or remove the row"
    except OSError as error:
        yield f"{who}: its original {row.original} cannot be read: {error.strerror}"
    else:
        is_another = row.sha256 not in {"", digest}
        if is_another and row not in retries and not may_be_gone:
            yield f"{who}: {row.original} is not the file that was read (its sha256 differs)"
    picture = outbox / row.picture
    if row.picture and not may_be_gone and not (picture.is_file() and picture.stat().st_size):
        # A power failure just after a picture was written may leave it empty.
        yield (
            f"{who}: its picture {row.picture} is missing or empty; "
            "`digitd predict --picture` makes a new one"
        )


def _strangers(there: dict[str, list[str]], found: list[_Row]) -> Iterator[str]:
    known = {name for row in found for name in (row.original, row.picture)}
    for place, names in there.items():
        for name in sorted(names):
            if f"{place}/{name}" not in known:
                yield (
                    f"{place}/{rows.printable(name)}: no row names it; move it out of the "
                    "outbox, or into the inbox to have it read"
                )


def _stuck(work: list[str], found: list[_Row], *, running: bool) -> Iterator[str]:
    done = {row.id for row in found}
    for name in sorted(work):
        ours = ids.PATTERN.match(name) is not None
        shown = f"{WORK_FOLDER}/{rows.printable(name)}"
        if name in _OWN or (ours and running):
            continue
        if not ours:
            yield f"{shown}: does not belong in the work folder; move it out"
        elif name[ids.LENGTH :] in {layout.PICTURE_SUFFIX, layout.NAME_SUFFIX}:
            continue  # reported with its original
        elif name[: ids.LENGTH] in done:
            yield f"{shown}: has a row but is not published; digitd publishes it at the next start"
        else:
            yield f"{shown}: claimed but not read yet; digitd reads it at the next start"


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names are all we need
    except FileNotFoundError:
        return []
