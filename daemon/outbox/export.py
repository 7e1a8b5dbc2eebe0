"""Write the final answers as CSV, JSON lines or Parquet."""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from json.encoder import encode_basestring as quoted
from pathlib import Path
from typing import BinaryIO

from daemon.errors import DestinationError, MissingPackageError
from daemon.files import open_replacement
from daemon.layout import FAILED, LABELS, ORIGINALS, PICTURES, TABLE
from daemon.outbox.results import COLUMNS, FinalRow
from daemon.outbox.rows import PROBABILITIES, csv_line

_NUMBERS = frozenset({"confidence", *PROBABILITIES})
# The columns of numbers are next to each other.
_FIRST_NUMBER = COLUMNS.index("digit")
_AFTER_NUMBERS = COLUMNS.index(PROBABILITIES[-1]) + 1
_NUMBER = re.compile(r"(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_NUMBER_CELLS = re.compile(
    rf"(?:{_NUMBER.pattern})?(?:,(?:{_NUMBER.pattern})?){{{_AFTER_NUMBERS - _FIRST_NUMBER - 1}}}"
)
_JSON_LINE = "{" + ", ".join(f'"{column}": %s' for column in COLUMNS) + "}\n"
_GROUP = 50_000  # rows in a Parquet row group: 20 MB in memory
_LINES = 1000  # written at once

Write = Callable[[Iterable[FinalRow], BinaryIO], None]


def csv_lines(finals: Iterable[FinalRow]) -> Iterator[bytes]:
    """Yield blocks of lines of CSV, the header first."""
    yield csv_line(COLUMNS).encode()
    source = iter(finals)
    while block := list(islice(source, _LINES)):
        # The row is CSV already. An answer needs no quotes: labels.csv has digits and words.
        yield "".join(f"{one.line},{one.answer},{one.answered_by}\n" for one in block).encode()


def _write_csv(finals: Iterable[FinalRow], out: BinaryIO) -> None:
    out.writelines(csv_lines(finals))


def _write_jsonl(finals: Iterable[FinalRow], out: BinaryIO) -> None:
    source = iter(finals)
    while block := list(islice(source, _LINES)):
        out.write("".join(map(_json_line, block)).encode())


def _json_line(final: FinalRow) -> str:
    """Return one row as a JSON object: numbers as numbers, null for missing ones."""
    # The cells are JSON numbers already. json.dumps of a dict takes 20 us, this 6.
    numbers = final.cells[_FIRST_NUMBER:_AFTER_NUMBERS]
    if not _NUMBER_CELLS.fullmatch(",".join(numbers)):  # somebody edited the row
        numbers = [cell if _NUMBER.fullmatch(cell) else "" for cell in numbers]
    return _JSON_LINE % (
        *map(quoted, final.cells[:_FIRST_NUMBER]),
        *(number or "null" for number in numbers),
        *map(quoted, final.cells[_AFTER_NUMBERS:]),
        quoted(final.answer) if final.answer else "null",
        quoted(final.answered_by) if final.answered_by else "null",
    )


def _values(final: FinalRow) -> Iterator[str | float | None]:
    """Yield the values of a row for Parquet: numbers as numbers, ``None`` for missing ones."""
    for column, cell in zip(COLUMNS, final.cells, strict=False):
        if column in _NUMBERS or column == "digit":
            yield _number(cell)
        else:
            yield cell
    yield final.answer or None
    yield final.answered_by or None


def _number(cell: str) -> float | None:
    """Return the number in a cell; ``None`` if there is none, or somebody edited it."""
    try:
        return int(cell) if cell.isdecimal() else float(cell)
    except ValueError:
        return None


def _write_parquet(finals: Iterable[FinalRow], out: BinaryIO) -> None:
    try:
        import pyarrow as pa  # noqa: PLC0415 - 100 MB that only this format needs
        from pyarrow import parquet  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"{error.name} is not installed, and Parquet needs it: pip install pyarrow, or use "
            "another --format"
        ) from None
    kinds = {**dict.fromkeys(_NUMBERS, pa.float64()), "digit": pa.int64()}
    schema = pa.schema([(column, kinds.get(column, pa.string())) for column in COLUMNS])
    source = iter(finals)
    with parquet.ParquetWriter(out, schema) as writer:
        while group := list(islice(source, _GROUP)):
            columns = zip(*map(_values, group), strict=True)
            arrays = [
                pa.array(values, kind) for kind, values in zip(schema.types, columns, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


_WRITERS: dict[str, Write] = {
    "csv": _write_csv,
    "jsonl": _write_jsonl,
    "parquet": _write_parquet,
}
FORMATS = tuple(_WRITERS)


def write(finals: Iterable[FinalRow], out: BinaryIO, kind: str) -> None:
    """Write final answers in one of ``FORMATS``.

    Raises:
        MissingPackageError: the format needs a package that is not installed.
        OSError: they cannot be written.
    """
    _WRITERS[kind](finals, out)


def save(finals: Iterable[FinalRow], file: Path, kind: str, outbox: Path) -> None:
    """Write final answers to a file, which is replaced only when they are complete.

    Raises:
        DestinationError: the file is one of digitd's own, or cannot be written.
        MissingPackageError: the format needs a package that is not installed.
    """
    if _is_own(file, outbox):
        raise DestinationError(f"{file}: is one of digitd's own files: name another with --out")
    try:
        with open_replacement(file, durable=True) as out:
            write(finals, out, kind)
    except OSError as error:
        raise DestinationError(
            f"{file}: cannot be written: {error.strerror}: name another file with --out"
        ) from error


def _is_own(file: Path, outbox: Path) -> bool:
    folder = file.resolve().parent
    if folder == outbox.resolve():
        return file.name.startswith((TABLE, LABELS, "."))
    return folder in {(outbox / name).resolve() for name in (PICTURES, ORIGINALS, FAILED)}
