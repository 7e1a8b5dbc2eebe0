"""The rows of predictions.csv: what they say, written and read back; pure functions."""

from __future__ import annotations

import csv
import io
import os
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from daemon import ids
from daemon.records import DIGITS, Status

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from daemon.records import Entry, Verdict

COLUMNS = (
    "id",
    "file",
    "status",
    "digit",
    "confidence",
    *(f"p{digit}" for digit in range(DIGITS)),
    "reason",
    "picture",
    "original",
    "sha256",
    "model",
    "received_at",
    "processed_at",
)
# The smallest page, and block, that a file grows by; larger ones are multiples of it.
PAGE = 4096
ROOM = 512  # bytes of the longest row to be expected: 330 and three times a name of 60
STATUSES = frozenset(Status)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
# What a spreadsheet takes for the start of a formula:
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
# Control characters, line and paragraph separators, and bytes that are not UTF-8: each would
# break a line, or a reader's decoder.
_UNPRINTABLE = frozenset({"Cc", "Zl", "Zp", "Cs"})


@dataclass(frozen=True, slots=True)
class Row:
    """One row; ``picture`` and ``original`` are paths relative to the outbox."""

    id: str
    file: str
    verdict: Verdict
    picture: str
    original: str
    sha256: str
    model: str
    received_at: datetime
    processed_at: datetime

    def fields(self) -> dict[str, Any]:
        """Return the columns with their values: numbers as numbers, ``None`` for none."""
        verdict = self.verdict
        probabilities = verdict.probabilities or (None,) * DIGITS
        values = (
            self.id,
            self.file,
            verdict.status.value,
            verdict.digit,
            _rounded(verdict.confidence),
            *map(_rounded, probabilities),
            verdict.reason,
            self.picture,
            self.original,
            self.sha256,
            self.model,
            timestamp(self.received_at),
            timestamp(self.processed_at),
        )
        return dict(zip(COLUMNS, values, strict=True))


def row(entry: Entry, picture: str, original: str, processed_at: datetime) -> Row:
    """Make the row of an entry whose files are to be published under these paths."""
    return Row(
        id=entry.job.id,
        file=printable(entry.job.name),
        verdict=entry.reading.verdict,
        picture=picture,
        original=original,
        sha256=entry.sha256,
        model=entry.reading.model,
        received_at=entry.job.received_at,
        processed_at=processed_at,
    )


def line(row: Row, stretch: int = 0) -> str:
    """Write a row as one line of CSV: no cell holds a line break, none is a formula.

    Args:
        row: the row.
        stretch: characters to make it longer by: its probabilities get more zeros at their
            ends, which say nothing. It must have some.
    """
    values = list(row.fields().values())
    cells = [_cell(value) for value in values]
    numbers = [index for index, value in enumerate(values) if isinstance(value, float)]
    for index in range(stretch and len(numbers)):
        cells[numbers[index]] += "0" * len(range(index, stretch, len(numbers)))
    return _csv(cells)


def lines(table: Sequence[Row], start: int) -> bytes:
    """Write rows as they are to stand from byte ``start`` of the table on, page by page.

    A file system shows an append page by page: ext4 lets the size grow with each page that it
    has copied, and whoever reads in between would see half of a row that lies across two (in
    a run of the tests, pandas did). So where the next row would not fit on a page, a row on it
    is stretched to the page's end. Left as they are: a row too long for the room that was left,
    and the end of a page on which no row of this append has numbers.
    """
    texts = [line(row).encode() for row in table]
    room = max([ROOM, *map(len, texts)])  # left for a row that comes later
    end = start
    elastic = None  # the last row on this page that has numbers
    for index, row in enumerate(table):
        if end % PAGE == 0 or end % PAGE + len(texts[index]) > PAGE:
            elastic = None
        if row.verdict.probabilities:
            elastic = index
        end += len(texts[index])
        following = len(texts[index + 1]) if index + 1 < len(texts) else room
        left = -end % PAGE
        if left < following and elastic is not None:
            texts[elastic] = line(table[elastic], left).encode()
            end += left
    return b"".join(texts)


def header() -> str:
    """Return the first line of the file."""
    return _csv(list(COLUMNS))


def parse(text: str) -> dict[str, str] | None:
    """Read one line back by column name; ``None`` if it is not a whole row."""
    try:
        cells = next(csv.reader([text], strict=True), [])
    except csv.Error:
        return None
    if len(cells) != len(COLUMNS):
        return None
    fields = dict(zip(COLUMNS, cells, strict=True))
    whole = (
        ids.PATTERN.fullmatch(fields["id"])
        and fields["status"] in STATUSES
        and _TIME.fullmatch(fields["processed_at"])
    )
    return fields if whole else None


def printable(name: str) -> str:
    r"""Return a file name as it is shown and published: what cannot be printed is escaped.

    A name as ``os.listdir`` gives it, so bytes that are not UTF-8 are lone surrogates; they
    become ``\xff``, a line break ``\n``.
    """
    return _escaped(os.fsencode(name).decode("utf-8", "backslashreplace"))


def _escaped(text: str) -> str:
    if text.isascii() and text.isprintable():  # nearly all; 4,000 rows took 920,000 calls below
        return text
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) in _UNPRINTABLE else c
        for c in text
    )


def timestamp(moment: datetime) -> str:
    """Write a UTC time as ISO 8601 with milliseconds."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _csv(cells: list[str]) -> str:
    text = io.StringIO()
    # \n alone: every tool that appends, counts or cuts lines agrees on it, and every CSV
    # reader takes it.
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _cell(value: str | float | None) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6f}"
    text = _escaped(value) if isinstance(value, str) else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
