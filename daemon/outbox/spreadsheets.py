"""Notice what a spreadsheet has made of the numbers in a table that it has saved."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from daemon.outbox import rows
from daemon.text import count, escape

_DIGIT, _CONFIDENCE, _P0 = map(rows.COLUMNS.index, ("digit", "confidence", "p0"))
_AS_WRITTEN = re.compile(r"[01]\.[0-9]{6}")  # a confidence


def describe_spoilt(text: str) -> str:
    """Return what is wrong with a cell, and what to do; see ``rows.find_spoilt``."""
    what = f"{escape(text)!r} is no number" if text else "the digit is missing"
    return f"{what}, a spreadsheet may have changed it; restore the cell"


@dataclass(slots=True)
class SavedTable:
    """What a spreadsheet has changed in the numbers of one table; lines count from 1.

    A cell that is no number any more is certain: 3/4 has become ``03. Apr``. That 0471 has become
    471 cannot be seen in the number. But digitd writes each confidence with six decimals, and a
    spreadsheet that takes cells for numbers saves 0.98 for 0.980000 too. Lines that digitd has
    appended since are as they should be.

    Attributes:
        path: of the table.
        remedy: what else helps than to restore it.
    """

    path: Path
    remedy: str
    _spoilt: int = 0
    _first: tuple[int, str] = 0, ""  # spoilt cell: its line and what it has
    _numbers: int = 0
    _has_zeros: bool = False
    _last: tuple[int, str] = 0, ""  # confidence that digitd has not written like this
    _doubtful: int = 0  # the numbers up to there

    def add(self, number: int, line: str, cells: Sequence[str]) -> None:
        """Add the row in a line with a number, and its cells."""
        text = cells[_DIGIT]
        if not text:
            spoilt = rows.find_spoilt(line, cells)
            if spoilt is not None:
                self._first = self._first if self._spoilt else (number, spoilt)
                self._spoilt += 1
        elif len(text) > 1 or not cells[_P0]:  # a digit has probabilities, 05 has none
            self.add_number(number, text, cells[_CONFIDENCE])

    def add_number(self, line: int, text: str, confidence: str) -> None:
        """Add a number that may have had leading zeros."""
        self._numbers += 1
        self._has_zeros |= len(text) > 1 and text[0] == "0" and text[1].isdigit()
        if confidence and not _AS_WRITTEN.fullmatch(confidence):
            self._last = line, confidence
            # A spreadsheet that has left one zero has left all.
            self._doubtful = 0 if self._has_zeros else self._numbers

    def describe(self) -> Iterator[str]:
        """Yield a line for each kind of change: the table, what is wrong, what to do."""
        if self._spoilt:
            line, text = self._first
            yield (
                f"{self.path}: {count(self._spoilt, 'row')} without a digit, the first in line "
                f"{line}: {describe_spoilt(text)}, or {self.remedy}"
            )
        if self._doubtful:
            line, confidence = self._last
            yield (
                f"{self.path}: was saved by a spreadsheet, which wrote the confidence "
                f"{confidence} in line {line}: it may have taken leading zeros from "
                f"{count(self._doubtful, 'number')} up to there; restore the table, or "
                f"{self.remedy}"
            )
