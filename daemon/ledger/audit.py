"""Check that each original has one row, and each row its original and its picture."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from daemon import ids, layout
from daemon.config import Config
from daemon.layout import FAILED, ORIGINALS, PICTURES, TABLE, WORK_FOLDER
from daemon.ledger import rows
from daemon.ledger.table import rotated
from daemon.lock import is_running

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
    published = {place: _names(config.outbox / place) for place in (ORIGINALS, FAILED, PICTURES)}
    breaks: list[str] = []
    found = list(_read(config.outbox / TABLE, breaks))
    # Rotated tables are not checked, but the files that they name are not reported as unknown.
    aside = [row for table in rotated(config.outbox) for row in _read(table, [])]
    breaks.extend(_doubled(found))
    for row in found:
        faults = list(_missing(config.outbox, row))
        if faults and running:
            claimed = {name[: ids.LENGTH] for name in _names(work_folder)}
            faults = [] if row["id"] in claimed else list(_missing(config.outbox, row))
        breaks.extend(faults)
        progress(1)
    breaks.extend(_strangers(published, [*found, *aside]))
    work = _names(work_folder)
    breaks.extend(_stuck(work, [*found, *aside], running=running))
    return Audit(
        rows=len(found),
        files=len(published[ORIGINALS]) + len(published[FAILED]),
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


def _doubled(found: list[dict[str, str]]) -> Iterator[str]:
    for key, what in (("id", "id"), ("original", "original")):
        for value, times in Counter(row[key] for row in found).items():
            if times > 1:
                yield f"{TABLE}: {times} rows have the {what} {value}; remove all but the first"


def _missing(outbox: Path, row: dict[str, str]) -> Iterator[str]:
    who = f"row {row['id']} ({row['file']})"
    original = outbox / row["original"]
    try:
        with original.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        yield f"{who}: its original {row['original']} is missing; put it back, or remove the row"
    except OSError as error:
        yield f"{who}: its original {row['original']} cannot be read: {error.strerror}"
    else:
        if row["sha256"] and digest != row["sha256"]:
            yield f"{who}: {row['original']} is not the file that was read (its sha256 differs)"
    picture = outbox / row["picture"]
    if row["picture"] and not (picture.is_file() and picture.stat().st_size):
        # A power failure just after a picture was written may leave it empty.
        yield (
            f"{who}: its picture {row['picture']} is missing or empty; "
            "`digitd predict --picture` makes a new one"
        )


def _strangers(published: dict[str, list[str]], found: list[dict[str, str]]) -> Iterator[str]:
    known = {row[key] for row in found for key in ("original", "picture")}
    for place, names in published.items():
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
        names = os.listdir(folder)  # noqa: PTH208 - names are all we need
    except FileNotFoundError:
        return []
    # Unfinished copies from another file system.
    return [name for name in names if not (name.startswith(".") and name.endswith(".part"))]
