"""Format and parse rows of predictions.csv; pure functions."""

import csv
import io
import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from daemon import ids
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
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
# Characters that start a formula in a spreadsheet:
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
# Control characters, line and paragraph separators would break a line; bytes that are not UTF-8
# would break a decoder.
_UNPRINTABLE = frozenset({"Cc", "Zl", "Zp", "Cs"})


@dataclass(frozen=True, slots=True)
class Row:
    """One row: a result, where its files go, and when it was committed (UTC)."""

    result: Result
    placement: Placement
    processed_at: datetime

    @property
    def file(self) -> str:
        """The name under which the file was dropped, printable."""
        return printable(self.result.job.name)

    @property
    def verdict(self) -> Verdict:
        """The verdict."""
        return self.result.verdict

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
            verdict.reason,
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
    return csv_line(row.fields().values())


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


def parse(text: str) -> dict[str, str] | None:
    """Return the cells of one line by column name; ``None`` if it is not a complete row."""
    found = cells(text)
    return None if found is None else dict(zip(COLUMNS, found, strict=True))


def cells(text: str) -> list[str] | None:
    """Return the cells of one line in the order of ``COLUMNS``; ``None`` if it is not a row."""
    found = split(text)
    whole = (
        len(found) == len(COLUMNS)
        and ids.PATTERN.fullmatch(found[_ID])
        and found[_STATUS] in STATUSES
        and _TIME.fullmatch(found[_PROCESSED_AT])
    )
    return found if whole else None


def split(text: str) -> list[str]:
    """Return the cells of one line of CSV; none if it is malformed."""
    line = text.removesuffix("\n").removesuffix("\r")
    if '"' in line or "\r" in line or "\n" in line:
        try:
            return next(csv.reader([line], strict=True), [])
        except csv.Error:
            return []
    return line.split(",")  # nearly all rows; 0.7 us instead of 2.5


def printable(name: str) -> str:
    r"""Return a file name as it is shown and published, with unprintable characters escaped.

    The name is as ``os.listdir`` returns it: bytes that are not UTF-8 are lone surrogates. They
    become ``\xff``, and a line break becomes ``\n``.
    """
    return _escape(os.fsencode(name).decode("utf-8", "backslashreplace"))


def _escape(text: str) -> str:
    # Nearly all names. Without this, 4,000 rows needed 920,000 of the calls below.
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) in _UNPRINTABLE else c
        for c in text
    )


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
    text = io.StringIO()
    # \n without \r: all line-based tools agree on it, and every CSV reader accepts it.
    csv.writer(text, lineterminator="\n").writerow(map(_cell, values))
    return text.getvalue()


def _cell(value: str | float | None) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6f}"
    text = _escape(value) if isinstance(value, str) else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


HEADER = csv_line(COLUMNS)  # the first line of predictions.csv
