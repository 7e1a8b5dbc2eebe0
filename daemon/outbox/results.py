"""The final answers, each row's from a person or else a model; as CSV, JSON lines or Parquet.

The verdict of the newest reread takes the place of the row's own.
"""

import logging
import re
import sys
from array import array
from bisect import bisect_left
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from io import BufferedReader
from itertools import chain, islice
from json.encoder import encode_basestring as quote
from pathlib import Path
from typing import BinaryIO, NamedTuple

from daemon import ids
from daemon.errors import ConfigError, DestinationError, MissingPackageError
from daemon.files import complete_lines, open_result
from daemon.invocation import command
from daemon.layout import FAILED, LABELS, ORIGINALS, PICTURES, REREADS, TABLE
from daemon.outbox import labels, rows
from daemon.outbox.labels import AnswersInForce
from daemon.outbox.rereads import Rereads
from daemon.outbox.rotated import is_rotated_name
from daemon.outbox.spreadsheets import SavedTable
from daemon.outbox.table import check_header, open_tables
from daemon.records import Status

log = logging.getLogger(__name__)

COLUMNS = (*rows.COLUMNS, "answer", "answered_by")
PERSON, MODEL = "person", "model"
_ID, _STATUS, _DIGIT, _P0, _SHA256 = map(
    rows.COLUMNS.index, ("id", "status", "digit", "p0", "sha256")
)
# The columns of numbers are next to each other.
_FIRST_NUMBER = COLUMNS.index("confidence")
_AFTER_NUMBERS = COLUMNS.index(rows.PROBABILITIES[-1]) + 1
_NUMBER = re.compile(r"(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_NUMBER_CELLS = re.compile(
    rf"(?:{_NUMBER.pattern})?(?:,(?:{_NUMBER.pattern})?){{{_AFTER_NUMBERS - _FIRST_NUMBER - 1}}}"
)
_JSON_LINE = "{" + ", ".join(f'"{column}": %s' for column in COLUMNS) + "}\n"
_GROUP = 50_000  # rows in a Parquet row group: 20 MB in memory
_LINES = 1000  # written at once


@dataclass(slots=True)  # frozen would take 0.6 us more for each of a million rows
class FinalRow:
    """One row with its final answer.

    Attributes:
        line: the row as it is in predictions.csv, or as the newest reread has it, without its
            newline.
        cells: its cells.
        answer: a person's newest label for the row or else for a row with the same content, or
            else the text of an ``ok`` row, or else empty.
        answered_by: ``person`` or ``model``; empty if there is no answer.
        same_as: the id of the row with the same content that the person has answered; empty if
            they have answered this row, or none.
    """

    line: str
    cells: list[str]
    answer: str
    answered_by: str
    same_as: str = ""


class ParsedRow(NamedTuple):
    """One row of a table.

    Attributes:
        line: as it is in the table, without its newline.
        cells: its cells.
        table: the place of its table among those that were read.
        offset: where the line starts in the table's text.
        number: of the line in the table, from 1.
    """

    line: str
    cells: list[str]
    table: int
    offset: int
    number: int


def final_rows(outbox: Path) -> Iterator[FinalRow]:
    """Yield every row with its final answer, oldest first, including rotated tables.

    The rows are streamed: memory grows by 8 bytes for each row of a rotated table. At the end,
    warnings name lines that are no rows, and numbers that a spreadsheet has changed.

    Raises:
        ConfigError: the outbox does not exist, or a table is not digitd's.
        OSError: a table cannot be read.
    """
    check_outbox(outbox)
    answers = labels.load(outbox)
    remedy = f"read the files again with {command('reread')}"
    with closing(Rereads(outbox)) as rereads, open_tables(outbox) as tables:
        saved = [SavedTable(outbox / Path(one.name).name, remedy) for one in tables]
        for line, cells, table, _, number in _rows(outbox, tables):
            final = decide(line, cells, answers, rereads)
            # An answer or a reread replaces what a spreadsheet has changed. Plain digits, as in
            # nearly all rows, are skipped: 300,000 rows took 2.2 s instead of 1.7 (2-core x86).
            is_plain = len(cells[_DIGIT]) == 1 and cells[_P0]
            if not is_plain and final.cells is cells and final.answered_by != PERSON:
                saved[table].add(number, line, cells)
            yield final
    for change in chain.from_iterable(one.describe() for one in saved):
        log.warning("%s", change)


def check_outbox(outbox: Path) -> None:
    """Check that there is an outbox, and that its table is digitd's.

    Raises:
        ConfigError: the outbox does not exist, or the table is not digitd's.
    """
    if not outbox.is_dir():
        raise ConfigError(
            f"outbox: {outbox} does not exist: mount its disk, start {command('run')} once, or "
            "name another folder in the config"
        )
    check_header(outbox)


def decide(line: str, cells: list[str], answers: AnswersInForce, rereads: Rereads) -> FinalRow:
    """Return a row with its final answer: a person's, or else the newest reread's, or its own."""
    line, cells = reread(line, cells, rereads)
    if not cells[_DIGIT] and rows.find_spoilt(line, cells):
        line = rows.csv_line(cells).rstrip("\n")
    found = answers.find(cells[_ID], cells[_SHA256])
    if found is not None:
        same_as = "" if found.given_to == cells[_ID] else found.given_to
        return FinalRow(line, cells, found.label, PERSON, same_as)
    if cells[_STATUS] == Status.OK and cells[_DIGIT]:
        return FinalRow(line, cells, cells[_DIGIT], MODEL)
    return FinalRow(line, cells, "", "")


def reread(line: str, cells: list[str], rereads: Rereads) -> tuple[str, list[str]]:
    """Return a row as the newest reread has it; as it is if there is none of the same content."""
    newest = rereads.find(cells[_ID])
    found = None if newest is None else parse_line(newest)
    is_same = found is not None and cells[_SHA256] in {"", found[1][_SHA256]}
    return found if found is not None and is_same else (line, cells)


def _rows(outbox: Path, tables: list[BufferedReader]) -> Iterator[ParsedRow]:
    """Yield each row once; a warning says how many lines are no rows."""
    left_out = yield from parse_tables(tables)
    if left_out:
        log.warning(
            "%s: left out %s: %s says which, and what to do",
            outbox / TABLE,
            "1 line that is not a row" if left_out == 1 else f"{left_out} lines that are not rows",
            command("audit"),
        )


def parse_tables(tables: list[BufferedReader]) -> Generator[ParsedRow, None, int]:
    """Yield each row of some tables once; return the number of lines that are not rows.

    The tables are read from their starts.
    """
    left_out = 0
    earlier = _Numbers()
    for place, table in enumerate(tables):
        is_last = place == len(tables) - 1
        numbers = array("Q")
        end = 0
        for number, raw in enumerate(complete_lines(table), 1):
            start, end = end, end + len(raw)
            parsed = parse_line(raw)
            if parsed is None:
                left_out += number > 1  # the first line is the header
                continue
            # Rows can be in two tables if somebody left a copy of the table next to it.
            if len(tables) > 1:
                if (row_id := ids.decode(parsed[1][_ID])) in earlier:
                    continue
                if not is_last:
                    numbers.append(row_id)
            yield ParsedRow(*parsed, place, start, number)
        earlier.add(numbers)
    return left_out


class _Numbers:
    """The numbers of the ids in some tables; 8 bytes each, not 130 as in a set of texts."""

    def __init__(self) -> None:
        self._tables: list[Sequence[int]] = []
        self._highest = -1

    def add(self, numbers: Sequence[int]) -> None:
        """Add those of one table."""
        if numbers:
            self._tables.append(array("Q", sorted(numbers)))
            self._highest = max(self._highest, self._tables[-1][-1])

    def __contains__(self, number: int) -> bool:
        """Return whether one of the tables has a number."""
        if number > self._highest:  # as nearly always, because ids increase
            return False
        for numbers in self._tables:
            place = bisect_left(numbers, number)
            if place < len(numbers) and numbers[place] == number:
                return True
        return False


def parse_line(raw: bytes) -> tuple[str, list[str]] | None:
    """Return a line without its newline, and its cells; ``None`` if it is not a row."""
    cells = rows.cells(line := raw.decode("utf-8", "replace").rstrip("\r\n"))
    if cells is None:
        return None
    if not line.endswith(cells[-1]):  # a spreadsheet added quotes or empty columns
        line = rows.csv_line(cells).rstrip("\n")
    return line, cells


def csv_lines(finals: Iterable[FinalRow]) -> Iterator[bytes]:
    """Yield blocks of lines of CSV, the header first."""
    # The row is CSV already. Of the answers, only numbers with marks may need quotes.
    lines = (
        f"{one.line},{one.answer},{one.answered_by}\n"
        if one.answer.isalnum() or not one.answer
        else f"{one.line},{rows.csv_line([one.answer, one.answered_by])}"
        for one in finals
    )
    return _blocks(chain([rows.csv_line(COLUMNS)], lines))


def _blocks(lines: Iterator[str]) -> Iterator[bytes]:
    while block := "".join(islice(lines, _LINES)):
        yield block.encode()


def format_json(final: FinalRow) -> str:
    """Return one row as a JSON object: numbers but ``digit`` as numbers, null if missing."""
    # The cells are JSON numbers already. json.dumps of a dict takes 20 us, this 6.
    numbers = final.cells[_FIRST_NUMBER:_AFTER_NUMBERS]
    if not _NUMBER_CELLS.fullmatch(",".join(numbers)):  # somebody edited the row
        numbers = [cell.replace(",", ".") for cell in numbers]
        numbers = [cell if _NUMBER.fullmatch(cell) else "" for cell in numbers]
    return _JSON_LINE % (
        *map(quote, final.cells[:_DIGIT]),
        quote(final.cells[_DIGIT]) if final.cells[_DIGIT] else "null",
        *(number or "null" for number in numbers),
        *map(quote, final.cells[_AFTER_NUMBERS:]),
        quote(final.answer) if final.answer else "null",
        quote(final.answered_by) if final.answered_by else "null",
    )


def _parse_cells(final: FinalRow) -> Iterator[str | float | None]:
    """Yield the values of a row for Parquet: ``None`` for missing numbers."""
    yield from final.cells[:_DIGIT]
    yield final.cells[_DIGIT] or None
    yield from map(rows.parse_number, final.cells[_FIRST_NUMBER:_AFTER_NUMBERS])
    yield from final.cells[_AFTER_NUMBERS:]
    yield final.answer or None
    yield final.answered_by or None


def _write_parquet(finals: Iterable[FinalRow], out: BinaryIO) -> None:
    try:
        import pyarrow as pa  # noqa: PLC0415 - 100 MB that only this format needs
        from pyarrow import parquet  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"{error.name} is not installed, and Parquet needs it: pip install 'digitd[parquet]', "
            "or use another --format"
        ) from None
    numbers = COLUMNS[_FIRST_NUMBER:_AFTER_NUMBERS]
    types = dict.fromkeys(numbers, pa.float64())
    schema = pa.schema([(column, types.get(column, pa.string())) for column in COLUMNS])
    source = iter(finals)
    with parquet.ParquetWriter(out, schema) as writer:
        while group := list(islice(source, _GROUP)):
            columns = zip(*map(_parse_cells, group), strict=True)
            arrays = [
                pa.array(values, type_) for type_, values in zip(schema.types, columns, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def write(finals: Iterable[FinalRow], out: BinaryIO, format_: str) -> None:
    """Write final answers as ``csv``, ``jsonl`` or ``parquet``.

    Raises:
        MissingPackageError: the format needs a package that is not installed.
        OSError: they cannot be written.
    """
    match format_:
        case "csv":
            out.writelines(csv_lines(finals))
        case "jsonl":
            out.writelines(_blocks(map(format_json, finals)))
        case "parquet":
            _write_parquet(finals, out)


@contextmanager
def open_output(
    file: Path | None, outbox: Path, others: Collection[Path] = ()
) -> Iterator[BinaryIO]:
    """Yield what results are written to: standard output if ``file`` is ``None``.

    The file is replaced when the block ends, so only by complete results.

    Args:
        file: see ``open_result``.
        outbox: no file of it is replaced.
        others: files that are not replaced either, and folders whose files are not.

    Raises:
        DestinationError: the file is one of digitd's own, or cannot be written.
    """
    if file is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = file.resolve()
    is_other = any(one.resolve() in {path, path.parent} for one in others)
    if is_other or _is_own(path, outbox):
        raise DestinationError(f"{file}: is one of digitd's own files: name another with --out")
    with open_result(file, "--out") as out:
        yield out


def _is_own(path: Path, outbox: Path) -> bool:
    folder = path.parent
    if folder == outbox.resolve():
        is_table = path.name == TABLE or is_rotated_name(path.name)
        return is_table or path.name.startswith((LABELS, "."))
    return folder in {(outbox / name).resolve() for name in (PICTURES, ORIGINALS, FAILED, REREADS)}
