"""Write the final answers as an Excel workbook, with pictures of the rows without an answer.

The review page runs this module as a program of its own: a large table takes minutes, and the
server's answers must not wait for it.
"""

import io
import signal
import struct
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import anyio

import daemon
from daemon.config import Config
from daemon.errors import DigitdError, ReviewError, describe
from daemon.outbox import rows
from daemon.outbox.results import COLUMNS, FinalRow, check_outbox, final_rows
from daemon.records import Status
from daemon.review.images import GONE, ImageRequest, Images

MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_PACKAGES = Path(daemon.__file__).parents[1]
_PICTURE_COLUMN = len(COLUMNS)
_HEADER = (*COLUMNS, "image")
_NUMBERS = frozenset({"confidence", *rows.PROBABILITIES})
_STATUS, _PICTURE, _ORIGINAL, _SHA256 = map(
    COLUMNS.index, ("status", "picture", "original", "sha256")
)
_SIDE = 160  # px of a picture, at most
_WIDTH, _HEIGHT = 160, 80  # px, in which it is shown
_FROZEN_COLUMNS = 2  # id and file
_WIDTHS = {"id": 15, "file": 24, "reason": 24, "answered_by": 12}  # characters


@dataclass(frozen=True, slots=True)
class Limits:
    """What a workbook may have.

    Attributes:
        megapixels: of an image to decode, as in the config.
        megabytes: of its file.
        pictures: in the workbook.
        rows: in a sheet below the header; Excel's limit.
    """

    megapixels: float
    megabytes: float
    pictures: int = 1000
    rows: int = 1_048_575


def write(outbox: Path, limits: Limits, out: BinaryIO) -> None:
    """Write the final answers of an outbox as a workbook.

    Memory does not grow with the number of rows: they go through temporary files.

    Raises:
        ConfigError: the outbox does not exist, or a table is not digitd's.
        OSError: a table cannot be read, or the workbook cannot be written.
    """
    import xlsxwriter  # noqa: PLC0415 - the server imports this module, and does not need it
    from xlsxwriter.exceptions import FileCreateError  # noqa: PLC0415

    check_outbox(outbox)
    with (
        TemporaryDirectory(prefix="digitd-") as folder,
        closing(Images(outbox, limits.megapixels, limits.megabytes)) as images,
    ):
        options = {"constant_memory": True, "tmpdir": folder}
        output = _Output(out)
        workbook = xlsxwriter.Workbook(output, options)
        workbook.use_zip64()
        pictures = _Pictures(images, limits.pictures)
        try:
            for number, finals in enumerate(_split(final_rows(outbox), limits.rows), 1):
                _write_sheet(workbook, f"results {number}", finals, pictures)
            workbook.close()
        except FileCreateError as error:
            raise error.args[0] from None
        finally:
            output.file = _Sink()
            for sheet in workbook.worksheets():
                sheet.fh.close()  # after an error, it would hold its file's space until the exit


class _Sink(io.BytesIO):
    """A file in memory that stays open while it is deleted together with its ZipFile."""

    def close(self) -> None:
        """Do nothing: the garbage collector may close it before the ZipFile writes to it."""


class _Output:
    """The file of a workbook, to replace when the workbook is complete or cannot be written.

    After an error, XlsxWriter leaves its ZipFile open. When this is deleted, it writes the end of
    the archive, and prints a traceback if the file is closed or the disk full.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    def __getattr__(self, name: str) -> object:
        return getattr(self.file, name)


def _split(finals: Iterator[FinalRow], at_most: int) -> Iterator[Iterator[FinalRow]]:
    """Yield the rows of each sheet, which must be read before the next; at least one sheet."""
    yield islice(finals, at_most)
    while (first := next(finals, None)) is not None:
        yield chain([first], islice(finals, at_most - 1))


def _write_sheet(
    workbook: Any,  # noqa: ANN401 - xlsxwriter ships no types
    name: str,
    finals: Iterable[FinalRow],
    pictures: "_Pictures",
) -> None:
    """Add a sheet."""
    sheet = workbook.add_worksheet(name)
    bold = workbook.add_format({"bold": True})
    centred = workbook.add_format({"valign": "vcenter"})
    for column, heading in enumerate(COLUMNS):
        sheet.set_column(column, column, _WIDTHS.get(heading, 10), centred)
    sheet.set_column_pixels(_PICTURE_COLUMN, _PICTURE_COLUMN, _WIDTH + 8, centred)
    sheet.freeze_panes(1, _FROZEN_COLUMNS)
    for column, heading in enumerate(_HEADER):
        sheet.write_string(0, column, heading, bold)
    row = 0
    for row, final in enumerate(finals, 1):
        encoded = b"" if final.answer else pictures.find(final)
        if isinstance(encoded, bytes) and encoded:
            sheet.set_row_pixels(row, _HEIGHT + 8)
        for column, value in enumerate(_values(final)):
            if isinstance(value, float):
                sheet.write_number(row, column, value)
            elif value:
                sheet.write_string(row, column, value)
        if isinstance(encoded, str):
            sheet.write_string(row, _PICTURE_COLUMN, encoded)
        elif encoded:
            _insert(sheet, row, encoded)
    sheet.autofilter(0, 0, max(row, 1), _PICTURE_COLUMN)
    # Excel would mark each digit, which is text, with a green triangle.
    sheet.ignore_errors({"number_stored_as_text": f"A1:Z{row + 1}"})


def _values(final: FinalRow) -> Iterator[str | float]:
    """Yield the cells of a row: text, or a number where the column has numbers."""
    for column, cell in zip(
        COLUMNS, chain(final.cells, (final.answer, final.answered_by)), strict=True
    ):
        number = rows.parse_number(cell) if column in _NUMBERS else None
        if number is not None:
            yield number
        elif cell.startswith("<r>") and cell.endswith("</r>"):
            yield f"{cell} "  # XlsxWriter takes it for XML, and does not escape it
        else:
            yield cell


class _Pictures:
    """The pictures of the rows without an answer, as long as there are not too many."""

    def __init__(self, images: Images, at_most: int) -> None:
        self._images = images
        self._at_most = self._left = at_most

    def find(self, final: FinalRow) -> bytes | str:
        """Return a row's picture as PNG, nothing if it has none, or a text that says why."""
        if not self._left:
            return f"not shown: there are at most {self._at_most:,} pictures"
        # What could not be read is shown as digitd painted it, with the reason.
        if final.cells[_STATUS] == Status.ERROR:
            request = ImageRequest(final.cells[_PICTURE], _SIDE)
        else:
            request = ImageRequest(final.cells[_ORIGINAL], _SIDE, final.cells[_SHA256])
        if not request.named:
            return b""
        encoded = self._images.decode(request)
        # One that stops the decoder counts too: it takes the longest.
        self._left -= encoded.error != GONE
        return encoded.data or encoded.error


def _insert(sheet: Any, row: int, png: bytes) -> None:  # noqa: ANN401
    width, height = struct.unpack(">II", png[16:24])
    scale = min(1, _WIDTH / width, _HEIGHT / height)
    options = {
        "image_data": io.BytesIO(png),
        "x_scale": scale,
        "y_scale": scale,
        "x_offset": 4,
        "y_offset": 4,
        "object_position": 1,  # a filter hides it with its row
        "description": "the image that this row is about",
    }
    sheet.insert_image(row, _PICTURE_COLUMN, "image.png", options)


async def make(config: Config) -> AsyncGenerator[bytes]:
    """Yield the blocks of a workbook, which another process writes.

    Raises:
        ReviewError: it cannot be made.
    """
    limits = str(config.max_megapixels), str(config.max_file_mb)
    command = [sys.executable, "-m", __name__, str(config.outbox), *limits]
    # In this folder, -m finds this digitd and no other package named daemon.
    process = await anyio.open_process(
        command, stdin=subprocess.DEVNULL, cwd=_PACKAGES, start_new_session=True
    )
    try:
        if process.stdout is not None:
            async for block in process.stdout:
                yield block
        if await process.wait() and process.stderr is not None:
            why = b"".join([block async for block in process.stderr]).decode(errors="replace")
            raise ReviewError(f"the Excel file could not be made: {why.strip()}")
    finally:
        if process.returncode is None:
            process.terminate()
        with anyio.CancelScope(shield=True):
            await process.aclose()


def _end(_signal: int, _frame: object) -> None:
    sys.exit(1)


def main() -> None:
    """Write the workbook of the outbox that the arguments name to standard output."""
    signal.signal(signal.SIGTERM, _end)  # remove the temporary files
    outbox, megapixels, megabytes = sys.argv[1:]
    try:
        write(Path(outbox), Limits(float(megapixels), float(megabytes)), sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except (DigitdError, OSError) as error:
        sys.exit(describe(error))


if __name__ == "__main__":
    main()
