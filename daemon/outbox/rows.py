"""Format and parse rows of predictions.csv; pure functions."""

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from daemon import ids, text
from daemon.errors import ConfigError
from daemon.records import DIGITS, Placement, Result, Status, Verdict, is_number

PROBABILITIES = (*(f"p{digit}" for digit in range(DIGITS)), "p_none")
COLUMNS = (
    "id",
    "file",
    "status",
    "digit",
    "confidence",
    *PROBABILITIES,
    "reason",
    "picture",
    "original",
    "sha256",
    "model",
    "received_at",
    "processed_at",
)
BOM = b"\xef\xbb\xbf"
HEAD_BYTES = 4096  # more than any header
LONGEST_LINE = 1 << 16  # bytes; a row has no more than some 2,000
STATUSES = frozenset(Status)
_ID, _STATUS, _DIGIT, _PROCESSED_AT = map(COLUMNS.index, ("id", "status", "digit", "processed_at"))
_FEW = frozenset({"", *map(str, range(DIGITS))})  # what nearly all cells of `digit` have
_SHA256_BYTES = 32
_DECIMAL = re.compile(r"[0-9]+(?:[.,][0-9]+)?(?:[eE][+-]?[0-9]+)?")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@dataclass(frozen=True, slots=True)
class Row:
    """One row: a result, where its files go, and when it was committed (UTC)."""

    result: Result
    placement: Placement
    processed_at: datetime

    @property
    def file(self) -> str:
        """The name under which the file was dropped, printable."""
        return text.printable(self.result.job.name)

    @property
    def verdict(self) -> Verdict:
        """The verdict."""
        return self.result.verdict

    @property
    def reason(self) -> str:
        """Why the status is not ``ok``, printable."""
        return text.escape(self.verdict.reason)

    @property
    def picture(self) -> str:
        """Path of the picture, relative to the outbox; empty if there is none."""
        return self.placement.picture

    @property
    def original(self) -> str:
        """Path of the original, relative to the outbox."""
        return self.placement.original

    def fields(self) -> dict[str, Any]:
        """Return the values by column: numbers as numbers, ``None`` for empty cells."""
        values = (
            self.result.job.id,
            self.file,
            *verdict_fields(self.verdict),
            self.picture,
            self.original,
            self.result.sha256,
            self.result.model,
            timestamp(self.result.job.received_at),
            timestamp(self.processed_at),
        )
        return dict(zip(COLUMNS, values, strict=True))


def verdict_fields(verdict: Verdict) -> tuple[str | float | None, ...]:
    """Return the values of the columns from ``status`` to ``reason``; see ``Row.fields``."""
    probabilities = verdict.probabilities or (None,) * (DIGITS + 1)
    return (
        verdict.status.value,
        verdict.text,
        _round(verdict.confidence),
        *map(_round, probabilities),
        text.escape(verdict.reason),
    )


def format_row(row: Row) -> str:
    """Return a row as one line of CSV: no cell contains a line break or is a formula."""
    fields = row.fields()
    return csv_line((fields | {"file": text.cell(row.file)}).values())


def has_header(head: bytes, header: str, path: Path, remedy: str) -> bool:
    """Return whether ``head``, the start of a file, is its header; ``False`` if it is torn.

    ``head`` has ``HEAD_BYTES``, or the whole file.

    Raises:
        ConfigError: the file begins with something else; ``remedy`` says what to do.
    """
    start = head.removeprefix(BOM)
    if len(start) < len(header) and header.startswith(start.decode("latin-1")):
        return False
    if fault := find_header_fault(head, header):
        raise ConfigError(f"{path}: does not begin with digitd's columns ({fault}): {remedy}")
    return True


def find_header_fault(head: bytes, header: str) -> str:
    """Return what is wrong with the header at the start of a file; empty if nothing.

    What spreadsheets do when they save a table is allowed: a byte order mark, CRLF, quotes around
    each cell, empty columns at the end.
    """
    line, newline, _ = head.removeprefix(BOM).partition(b"\n")
    if b"\0" in line:
        return "it is not UTF-8: a spreadsheet may have saved it as Unicode, which is UTF-16"
    if not newline:
        return (
            "its lines end with CR alone: save it with LF or CRLF" if b"\r" in line else "no line"
        )
    return _find_column_fault(line.decode("utf-8", "replace"), header.strip().split(","))


def _find_column_fault(line: str, columns: list[str]) -> str:
    """Return how a header differs from digitd's columns; empty if it doesn't."""
    found = split(line, len(columns))
    missing = [column for column in columns if column not in found]
    extra = [repr(cell) for cell in found if cell not in columns]
    separators = (";", "\t", "|")
    if found == columns:
        return ""
    if any(split(line.replace(each, ","), len(columns)) == columns for each in separators):
        return "its columns are not separated by commas"
    if found and ids.PATTERN.fullmatch(found[0]):
        return "its first line is missing"
    if len(missing) > len(columns) // 2:
        return "it is another file"
    changes = [f"lacks {', '.join(missing)}"] * bool(missing)
    changes += [f"has also {', '.join(extra)}"] * bool(extra)
    return f"it {' and '.join(changes) or 'has them in another order'}"


def parse(line: str) -> dict[str, str] | None:
    """Return the cells of one line by column name; ``None`` if it is not a complete row."""
    found = cells(line)
    return None if found is None else dict(zip(COLUMNS, found, strict=True))


def cells(line: str) -> list[str] | None:
    """Return the cells of one line in the order of ``COLUMNS``; ``None`` if it is not a row.

    ``digit`` is empty if it is no number, such as the ``03. Apr`` that a spreadsheet makes of 3/4.
    """
    found = split(line, len(COLUMNS))
    whole = (
        len(found) == len(COLUMNS)
        and ids.PATTERN.fullmatch(found[_ID])
        and found[_STATUS] in STATUSES
        and _TIME.fullmatch(found[_PROCESSED_AT])
    )
    if not whole:
        return None
    # The set takes 0.05 us, and the regular expression 0.3.
    if found[_DIGIT] not in _FEW and not is_number(found[_DIGIT]):
        found[_DIGIT] = ""
    return found


def find_spoilt(line: str, found: Sequence[str]) -> str | None:
    """Return what a row has in place of its digit or number; ``None`` if nothing is wrong.

    Args:
        line: the row.
        found: its ``cells``.
    """
    if found[_DIGIT]:
        return None
    text = split(line, len(COLUMNS))[_DIGIT]
    return text if text or found[_STATUS] == Status.OK else None


def split(line: str, width: int) -> list[str]:
    """Return the cells of one line of CSV without empty ones after ``width``; none if malformed."""
    line = line.removesuffix("\n").removesuffix("\r")
    if '"' in line or "\r" in line or "\n" in line:
        try:
            found = next(csv.reader([line], strict=True), [])
        except csv.Error:
            return []
    else:
        found = line.split(",")  # nearly all rows; 0.7 us instead of 2.5
    return found if any(found[width:]) else found[:width]


def parse_number(cell: str) -> float | None:
    """Return the number in a cell, as digitd or a spreadsheet wrote it; ``None`` if it is none."""
    number = float(cell.replace(",", ".")) if _DECIMAL.fullmatch(cell) else math.inf
    return number if math.isfinite(number) else None


def parse_sha256(cell: str) -> bytes | None:
    """Return the hash in a cell; ``None`` if it is empty, or somebody has edited it."""
    try:
        digest = bytes.fromhex(cell)
    except ValueError:
        return None
    return digest if len(digest) == _SHA256_BYTES else None


def timestamp(moment: datetime) -> str:
    """Return a UTC time as ISO 8601 with milliseconds."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def parse_timestamp(text: str) -> datetime | None:
    """Return what ``timestamp`` was given, to the millisecond; ``None`` for any other text."""
    if not _TIME.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:  # the 30th of February
        return None


def csv_line(values: Iterable[str | float | None]) -> str:
    """Return values as one line of CSV: numbers with six decimals, ``None`` as an empty cell."""
    out = io.StringIO()
    # \n without \r: all line-based tools agree on it, and every CSV reader accepts it.
    csv.writer(out, lineterminator="\n").writerow(map(_cell, values))
    return out.getvalue()


def _cell(value: str | float | None) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value if is_number(value) else text.cell(value)  # a number is no formula
    return f"{value:.6f}" if isinstance(value, float) else str(value)


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


HEADER = csv_line(COLUMNS)  # the first line of predictions.csv
