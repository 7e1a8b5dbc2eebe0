"""Check that each original has one row, and each row its original and its picture."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePath

from daemon import ids, layout
from daemon.config import Config
from daemon.layout import FAILED, ORIGINALS, PICTURES, TABLE, WORK_FOLDER
from daemon.ledger import published, rows
from daemon.ledger.archive import dropped_name
from daemon.ledger.retention import deleted_before
from daemon.ledger.table import rotated, rows_from_the_end
from daemon.lock import is_running
from daemon.records import Status

_OWN = frozenset({layout.ATTEMPTS, layout.NEW_ATTEMPTS, layout.STATUS_PAGE, layout.WORK_LOCK})


@dataclass(frozen=True, slots=True)
class Audit:
    """Counts, and a line for each discrepancy that says what to do about it."""

    rows: int
    files: int
    in_work: int
    breaks: tuple[str, ...]


def audit(config: Config, progress: Callable[[int], None] = lambda _: None) -> Audit:
    """Check the table against the files, byte for byte.

    Files that a running digitd is working on are not discrepancies.

    Args:
        config: names the inbox and the outbox.
        progress: called with the number of originals checked since the last call.
    """
    running = is_running(config.inbox, config.outbox)
    work_folder = config.inbox / WORK_FOLDER
    # List the published files first, then read the table, then list the work folder. Files move in
    # the opposite direction, so none is missed.
    there = {
        place: list(published.names(config.outbox / place))
        for place in (ORIGINALS, FAILED, PICTURES)
    }
    breaks: list[str] = []
    found = list(_read(config.outbox / TABLE, breaks))
    # Rotated tables are not checked, but the files that they name are not reported as unknown.
    aside = [row for table in rotated(config.outbox) for row in _read(table, [])]
    retries = _Retries(config, [*found, *aside])
    deleted = deleted_before(config.outbox)
    breaks.extend(_doubled(found, retries))
    for row in found:
        faults = list(_missing(config.outbox, row, retries, deleted))
        if faults and running:
            claimed = {name[: ids.LENGTH] for name in _names(work_folder)}
            if row["id"] in claimed:
                faults = []
            else:
                faults = list(_missing(config.outbox, row, retries, deleted))
        breaks.extend(faults)
        progress(1)
    breaks.extend(_strangers(there, [*found, *aside]))
    work = _names(work_folder)
    breaks.extend(_stuck(work, [*found, *aside], running=running))
    return Audit(
        rows=len(found),
        files=len(there[ORIGINALS]) + len(there[FAILED]),
        in_work=len({name[: ids.LENGTH] for name in work if ids.PATTERN.match(name)}),
        breaks=tuple(breaks),
    )


def _read(table: Path, breaks: list[str]) -> Iterator[dict[str, str]]:
    try:
        data = table.read_bytes()
    except FileNotFoundError:
        return
    if not data:  # logrotate's `create` leaves it empty; the header comes with the next row
        return
    lines = data.split(b"\n")
    if lines[0].rstrip(b"\r") != rows.header().strip().encode():
        breaks.append(f"{TABLE}: the first line is not the header; move the file away")
    if lines.pop():
        breaks.append(
            f"{TABLE}: the last line has no newline (a torn row); digitd removes it at the next "
            "start and reads the file again"
        )
    for number, line in enumerate(lines[1:], 2):
        fields = rows.parse(line.decode("utf-8", "replace"))
        if fields is None:
            breaks.append(f"{TABLE}, line {number}: not a complete row; fix or remove the line")
        else:
            yield fields


class _Retries:
    """Tells which ``error`` rows had their file put back into the inbox by `digitd retry`."""

    def __init__(self, config: Config, found: list[dict[str, str]]) -> None:
        self._config = config
        self._newest: dict[str, str] = {}  # the highest id by content
        for row in found:
            content = _content(row)
            self._newest[content] = max(row["id"], self._newest.get(content, ""))

    def __contains__(self, row: dict[str, str]) -> bool:
        """Whether a row's bytes are in the inbox or the work folder, or have a later row."""
        if row["status"] != Status.ERROR:
            return False
        if self._newest.get(_content(row), "") > row["id"]:
            return True
        # In the direction in which files move, so that none is missed.
        return self._is_waiting(row) or any(
            _content(later) == _content(row)
            for later in takewhile(
                lambda later: later["id"] > row["id"], rows_from_the_end(self._config.outbox)
            )
        )

    def _is_waiting(self, row: dict[str, str]) -> bool:
        name = PurePath(row["original"]).name
        names = {name, dropped_name(name)}
        inbox = self._config.inbox
        waiting = [inbox / one for one in names]
        waiting += [
            inbox / WORK_FOLDER / claimed
            for claimed in _names(inbox / WORK_FOLDER)
            if claimed[ids.LENGTH + 1 :] in names
        ]
        return any(path.is_file() and _digest(path) in {row["sha256"], ""} for path in waiting)


def _content(row: dict[str, str]) -> str:
    """Return what identifies a row's file: its hash, or its name if it could not be read."""
    return row["sha256"] or row["file"]


def _digest(path: Path) -> str:
    """Return a file's sha256; empty if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _doubled(found: list[dict[str, str]], retries: _Retries) -> Iterator[str]:
    for key, what in (("id", "id"), ("original", "original")):
        for value, times in Counter(row[key] for row in found).items():
            if times > 1:
                same = [row for row in found if row[key] == value]
                # A file that was put back and failed again may have its old name in failed/.
                if key == "original" and all(row in retries for row in same[:-1]):
                    continue
                yield f"{TABLE}: {times} rows have the {what} {value}; remove all but the first"


def _missing(outbox: Path, row: dict[str, str], retries: _Retries, deleted: str) -> Iterator[str]:
    """Yield what is wrong with a row's files; those processed before ``deleted`` may be gone."""
    may_be_gone = row["processed_at"] < deleted
    who = f"row {row['id']} ({row['file']})"
    original = outbox / row["original"]
    try:
        with original.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        if row not in retries and not may_be_gone:
            where = row["original"]
            yield f"{who}: its original {where} is missing; put it back, or remove the row"
    except OSError as error:
        yield f"{who}: its original {row['original']} cannot be read: {error.strerror}"
    else:
        if row["sha256"] and digest != row["sha256"] and row not in retries:
            yield f"{who}: {row['original']} is not the file that was read (its sha256 differs)"
    picture = outbox / row["picture"]
    if row["picture"] and not may_be_gone and not (picture.is_file() and picture.stat().st_size):
        # A power failure just after a picture was written may leave it empty.
        yield (
            f"{who}: its picture {row['picture']} is missing or empty; "
            "`digitd predict --picture` makes a new one"
        )


def _strangers(there: dict[str, list[str]], found: list[dict[str, str]]) -> Iterator[str]:
    known = {row[key] for row in found for key in ("original", "picture")}
    for place, names in there.items():
        for name in sorted(names):
            if f"{place}/{name}" not in known:
                yield (
                    f"{place}/{rows.printable(name)}: no row names it; move it out of the "
                    "outbox, or into the inbox to have it read"
                )


def _stuck(work: list[str], found: list[dict[str, str]], *, running: bool) -> Iterator[str]:
    done = {row["id"] for row in found}
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
