"""Format and parse rows of predictions.csv; pure functions."""

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from daemon import ids, text
from daemon.errors import ConfigError
from daemon.records import DIGITS, Placement, Result, Status, Verdict

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
STATUSES = frozenset(Status)
_ID, _STATUS, _PROCESSED_AT = map(COLUMNS.index, ("id", "status", "processed_at"))
_NUMBER = re.compile(r"-?[0-9]+(?:[.,/:-][0-9]+)*")  # as people write it; never a formula
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
        verdict = self.verdict
        probabilities = verdict.probabilities or (None,) * (DIGITS + 1)
        values = (
            self.result.job.id,
            self.file,
            verdict.status.value,
            verdict.digit,
            _round(verdict.confidence),
            *map(_round, probabilities),
            self.reason,
            self.picture,
            self.original,
            self.result.sha256,
            self.result.model,
            timestamp(self.result.job.received_at),
            timestamp(self.processed_at),
        )
        return dict(zip(COLUMNS, values, strict=True))


def format_row(row: Row) -> str:
    """Return a row as one line of CSV: no cell contains a line break or is a formula."""
    fields = row.fields()
    return csv_line((fields | {"file": text.cell(row.file)}).values())


def has_header(head: bytes, header: str, path: Path, remedy: str) -> bool:
    """Return whether ``head``, the start of a file, is its header; ``False`` if it is torn.

    Raises:
        ConfigError: the file begins with something else; ``remedy`` says what to do.
    """
    expected = header.encode()
    if len(head) < len(expected) and expected.startswith(head):
        return False
    if head.strip() != expected.strip():
        raise ConfigError(f"{path}: does not begin with digitd's columns: {remedy}")
    return True


def parse(line: str) -> dict[str, str] | None:
    """Return the cells of one line by column name; ``None`` if it is not a complete row."""
    found = cells(line)
    return None if found is None else dict(zip(COLUMNS, found, strict=True))


def cells(line: str) -> list[str] | None:
    """Return the cells of one line in the order of ``COLUMNS``; ``None`` if it is not a row."""
    found = split(line)
    whole = (
        len(found) == len(COLUMNS)
        and ids.PATTERN.fullmatch(found[_ID])
        and found[_STATUS] in STATUSES
        and _TIME.fullmatch(found[_PROCESSED_AT])
    )
    return found if whole else None


def split(line: str) -> list[str]:
    """Return the cells of one line of CSV; none if it is malformed."""
    line = line.removesuffix("\n").removesuffix("\r")
    if '"' in line or "\r" in line or "\n" in line:
        try:
            return next(csv.reader([line], strict=True), [])
        except csv.Error:
            return []
    return line.split(",")  # nearly all rows; 0.7 us instead of 2.5


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
        return value if _NUMBER.fullmatch(value) else text.cell(value)
    return f"{value:.6f}" if isinstance(value, float) else str(value)


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


HEADER = csv_line(COLUMNS)  # the first line of predictions.csv
