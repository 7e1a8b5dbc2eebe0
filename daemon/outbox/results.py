"""The final answers: each row of predictions.csv with what a person or the model says."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from daemon.errors import ConfigError
from daemon.files import complete_lines
from daemon.outbox import labels, rows
from daemon.outbox.table import check_header, open_tables
from daemon.records import Status

COLUMNS = (*rows.COLUMNS, "answer", "answered_by")
PERSON, MODEL = "person", "model"
_ID, _STATUS, _DIGIT = map(rows.COLUMNS.index, ("id", "status", "digit"))


@dataclass(slots=True)  # frozen would take 0.6 us more for each of a million rows
class FinalRow:
    """One row with its final answer.

    Attributes:
        line: the row as it is in predictions.csv, without its newline.
        cells: its cells.
        answer: what it is: a person's newest label, or the digit of an ``ok`` row; empty if nobody
            has said.
        answered_by: ``person`` or ``model``; empty if there is no answer.
    """

    line: str
    cells: list[str]
    answer: str
    answered_by: str


def final_rows(outbox: Path) -> Iterator[FinalRow]:
    """Yield every row with its final answer, oldest first, including rotated tables.

    The rows are read one by one: a million of them take no memory.

    Raises:
        ConfigError: the outbox does not exist, or a table is not digitd's.
        OSError: a table cannot be read.
    """
    if not outbox.is_dir():
        raise ConfigError(
            f"outbox: {outbox} does not exist: start `digitd run` once, or name another in the "
            "config"
        )
    check_header(outbox)
    answers = labels.latest(outbox)
    for line, cells in _rows(outbox):
        label = answers.get(cells[_ID])
        if label is not None:
            yield FinalRow(line, cells, label, PERSON)
        elif cells[_STATUS] == Status.OK:
            yield FinalRow(line, cells, cells[_DIGIT], MODEL)
        else:
            yield FinalRow(line, cells, "", "")


def _rows(outbox: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each row once: the line without its newline, and its cells."""
    with open_tables(outbox) as tables:
        # Rows can be in two tables if somebody left a copy of the table next to it.
        seen: set[str] | None = set() if len(tables) > 1 else None
        for raw in chain.from_iterable(map(complete_lines, tables)):
            cells = rows.cells(line := raw.decode("utf-8", "replace").rstrip("\r\n"))
            if cells is None:
                continue  # the header, or a line that `digitd audit` reports
            if seen is not None:
                if cells[_ID] in seen:
                    continue
                seen.add(cells[_ID])
            yield line, cells
