"""Format final answers as a short table for a terminal; pure functions."""

import textwrap
import unicodedata
from collections import deque
from collections.abc import Callable, Iterable
from itertools import chain

from daemon.invocation import command
from daemon.outbox.results import COLUMNS, PERSON, FinalRow
from daemon.records import Status
from daemon.text import count, escape

_HEADER = ("file", "answer", "by", "status")
_ID, _FILE, _STATUS, _REASON = map(COLUMNS.index, ("id", "file", "status", "reason"))
_LINES_AROUND = 5  # the header, two lines below the table, the prompt, and the command
_FEWEST_ROWS = 5
_MANY = 1_000_000
_NARROWEST = 8  # of a file name
_GAP = "  "
_ELLIPSIS = "…"


def format_newest(
    finals: Iterable[FinalRow],
    width: int,
    height: int,
    has_file: Callable[[list[str]], bool] = lambda _: True,
) -> str:
    """Return the newest rows as a table that fits a terminal, newest last, and what is left out.

    Args:
        finals: all rows, oldest first.
        width: of the terminal, in columns.
        height: of the terminal, in lines.
        has_file: returns whether the file of an ``error`` row, given its cells, is in ``failed/``.
    """
    review = escape(command("review"))
    longest = _wrap(f"{count(_MANY, 'row')} without an answer: {review}", width)
    most = height - _LINES_AROUND - (len(longest) - 1)
    newest: deque[FinalRow] = deque(maxlen=max(_FEWEST_ROWS, most))
    answered_files = dict[str, str]()  # by the ids of the rows that a person answered
    number = unanswered = 0
    for final in finals:
        number += 1
        if final.answered_by == PERSON and not final.same_as:
            answered_files[final.cells[_ID]] = final.cells[_FILE]
        # A file that was put back into the inbox has another row.
        is_retried = final.cells[_STATUS] == Status.ERROR and not has_file(final.cells)
        unanswered += not final.answer and not is_retried
        newest.append(final)
    if not number:
        return "No file has been read yet.\n"
    notes = []
    if unanswered:
        notes.append(f"{count(unanswered, 'row')} without an answer: {review}")
    if older := number - len(newest):
        notes.append(
            f"{count(older, 'older row')} not shown: --out results.csv writes all {number}"
        )
    else:
        notes.append(f"{count(number, 'row')}: --out results.csv writes all columns")
    cells = [_cells(final, answered_files.get(final.same_as, "")) for final in newest]
    lines = [*_format(cells, width), ""]
    return "\n".join(chain(lines, *(_wrap(note, width) for note in notes))) + "\n"


def _wrap(note: str, width: int) -> list[str]:
    return textwrap.wrap(note, width, break_on_hyphens=False)


def _cells(final: FinalRow, same_file: str) -> tuple[str, ...]:
    """Return what the table shows of a row; ``same_file``: the file whose answer the row shares."""
    status, reason = final.cells[_STATUS], final.cells[_REASON]
    if final.same_as:
        reason = f"same file as {same_file or 'another one'}"
    shown = f"{status}: {reason}" if reason else status
    return tuple(map(escape, (final.cells[_FILE], final.answer, final.answered_by, shown)))


def _format(cells: list[tuple[str, ...]], width: int) -> list[str]:
    """Return a line for the header and one for each row, none wider than ``width``."""
    cells = [_HEADER, *cells]
    *widths, status = (max(map(_width, column)) for column in zip(*cells, strict=True))
    # The file name gives way to the other columns, and the reason to the file name.
    rest = sum(widths[1:]) + len(_GAP) * len(widths)
    short = min(status, len("unsure: several digits"))
    widths[0] = min(widths[0], max(_NARROWEST, width - rest - short))
    widths.append(max(0, width - rest - widths[0]))
    return [
        _fit(_GAP.join([_pad(_cut_middle(row[0], widths[0]), widths[0]), *rest]), width)
        for row in cells
        for rest in [map(_pad, row[1:], widths[1:])]
    ]


def _pad(text: str, width: int) -> str:
    text = _fit(text, width)
    return text + " " * (width - _width(text))


def _cut_middle(text: str, width: int) -> str:
    """Return both ends of a text if it is wider than ``width``: names of files differ there."""
    if _width(text) <= width:
        return text
    while text and _width(text) + len(_ELLIPSIS) > width:
        text = text[: len(text) // 2] + text[len(text) // 2 + 1 :]
    return text[: len(text) // 2] + _ELLIPSIS + text[len(text) // 2 :]


def _fit(text: str, width: int) -> str:
    """Return the start of a text if it is wider than ``width``."""
    text = text.rstrip()
    if _width(text) <= width:
        return text
    while text and _width(text) + len(_ELLIPSIS) > width:
        text = text[:-1]
    return text + _ELLIPSIS if width else ""


def _width(text: str) -> int:
    """Return how many columns a terminal needs for a text."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.category(c) in {"Mn", "Me", "Cf"} for c in text)
