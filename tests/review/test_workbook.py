"""The Excel workbook of `digitd results` and of the page: its cells, pictures, and process."""

from __future__ import annotations

import errno
import io
import subprocess
import sys
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import cv2
import numpy as np
import pytest
from xlsxwriter import Workbook

from daemon.errors import ConfigError
from daemon.outbox.results import COLUMNS
from daemon.outbox.rows import HEADER
from daemon.records import Status, Verdict
from daemon.review import workbook
from support.daemon import ROOT, digitd
from support.site import PICTURE, Server, Site, png

if TYPE_CHECKING:
    from pathlib import Path

NUMBER = Verdict(Status.OK, "0471", 0.98)
DOUBTFUL = Verdict(Status.UNSURE, "1", 0.5, (0.05,) * 11, "low confidence")
BROKEN = Verdict(Status.ERROR, reason="not an image")
NAMESPACE = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
LIMITS = workbook.Limits(50, 64)
PAYLOAD = b"what else the file has"


class Book:
    """A workbook, read back."""

    def __init__(self, data: bytes) -> None:
        self._zip = zipfile.ZipFile(io.BytesIO(data))

    def sheets(self) -> int:
        names = self._zip.namelist()
        return sum(name.startswith("xl/worksheets/sheet") for name in names)

    def sheet(self, number: int = 1) -> ET.Element:
        data = self._zip.read(f"xl/worksheets/sheet{number}.xml")
        return ET.fromstring(data)  # noqa: S314 - our own

    def rows(self, number: int = 1) -> list[dict[str, str | float]]:
        """Return the cells of each row by column: text, or numbers."""
        head, *table = [
            {
                cell.attrib["r"].rstrip("0123456789"): self._value(cell)
                for cell in row.iter(f"{NAMESPACE}c")
            }
            for row in self.sheet(number).iter(f"{NAMESPACE}row")
        ]
        return [{str(head[column]): value for column, value in row.items()} for row in table]

    @staticmethod
    def _value(cell: ET.Element) -> str | float:
        assert cell.find(f"{NAMESPACE}f") is None, "a formula"
        if cell.attrib.get("t") == "inlineStr":
            return "".join(cell.itertext())
        assert "t" not in cell.attrib
        return float("".join(cell.itertext()))

    def pictures(self) -> list[bytes]:
        names = sorted(name for name in self._zip.namelist() if name.startswith("xl/media/"))
        return [self._zip.read(name) for name in names]


def decode(data: bytes) -> np.ndarray[Any, Any]:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return pixels


@pytest.fixture
def four(site: Site) -> Site:
    """Return a site with rows of each kind, of which the second has no answer but a picture."""
    site.add("=1+1.png", NUMBER)
    site.add("photo.png", DOUBTFUL, data=png("1", 600) + PAYLOAD)
    site.add("<r>&.png", BROKEN)
    site.add("minus.png", Verdict(Status.OK, "-3", 0.9))
    return site


def save(site: Site, out: Path) -> Book:
    done = digitd("results", "--config", site.config, "--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    return Book(out.read_bytes())


def test_cells_are_text_or_numbers_and_never_formulas(four: Site, tmp_path: Path) -> None:
    table = four.outbox / "predictions.csv"
    edited = table.read_text().replace("not an image", "<r>=1+1</r>")
    table.write_text(edited)
    rows = save(four, tmp_path / "results.xlsx").rows()
    assert [row["file"] for row in rows] == ["'=1+1.png", "photo.png", "<r>&.png", "minus.png"]
    assert [row.get("answer") for row in rows] == ["0471", None, None, "-3"]
    assert [row.get("answered_by") for row in rows] == ["model", None, None, "model"]
    assert [row.get("confidence") for row in rows] == [0.98, 0.5, None, 0.9]
    assert rows[1]["p3"] == pytest.approx(0.05)
    assert str(rows[2]["reason"]).rstrip() == "<r>=1+1</r>"


def test_header_is_frozen_and_has_filters(four: Site, tmp_path: Path) -> None:
    sheet = save(four, tmp_path / "results.xlsx").sheet()
    (pane,) = sheet.iter(f"{NAMESPACE}pane")
    assert (pane.attrib["state"], pane.attrib["ySplit"]) == ("frozen", "1")
    (filters,) = sheet.iter(f"{NAMESPACE}autoFilter")
    last = chr(ord("A") + len(COLUMNS))
    assert filters.attrib["ref"] == f"A1:{last}5"


def test_rows_without_an_answer_have_pictures_that_were_encoded_again(
    four: Site, tmp_path: Path
) -> None:
    book = save(four, tmp_path / "results.xlsx")
    pictures = book.pictures()
    assert len(pictures) == 2
    original = decode(png("1", 600))
    (shown,) = (one for one in map(decode, pictures) if one.shape[0] == one.shape[1])
    assert max(shown.shape) <= 160
    small = cv2.resize(original, shown.shape[:2], interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - shown).mean() < 10
    assert not any(PAYLOAD in data or data == PICTURE for data in pictures)


def test_more_pictures_than_allowed_are_told(four: Site) -> None:
    assert LIMITS.pictures == 1000
    out = io.BytesIO()
    workbook.write(four.outbox, replace(LIMITS, pictures=1), out)
    book = Book(out.getvalue())
    assert len(book.pictures()) == 1
    told = "not shown: there are at most 1 pictures"
    assert [row.get("image") for row in book.rows()] == [None, None, told, None]


def test_picture_that_is_gone_leaves_the_row(four: Site, tmp_path: Path) -> None:
    (four.outbox / "originals" / "photo.png").unlink()
    rows = save(four, tmp_path / "results.xlsx").rows()
    assert rows[1]["file"] == "photo.png"
    assert rows[1]["image"] == "the file is gone"


@pytest.mark.parametrize(("at_most", "expected"), [(3, [3, 1]), (4, [4]), (2, [2, 2]), (5, [4])])
def test_rows_beyond_a_sheet_go_on_in_the_next(
    four: Site, at_most: int, expected: list[int]
) -> None:
    out = io.BytesIO()
    workbook.write(four.outbox, replace(LIMITS, rows=at_most), out)
    book = Book(out.getvalue())
    found = [book.rows(number) for number in range(1, book.sheets() + 1)]
    assert [len(rows) for rows in found] == expected
    files = [row["file"] for rows in found for row in rows]
    assert files == ["'=1+1.png", "photo.png", "<r>&.png", "minus.png"]


def test_sheet_has_as_many_rows_as_excel_opens() -> None:
    sheet = Workbook(io.BytesIO()).add_worksheet()
    last = LIMITS.rows  # its first row is the header, with the number 0
    assert sheet.write_string(last, 0, "x") == 0
    assert sheet.write_string(last + 1, 0, "x") < 0


def test_table_without_rows_has_a_header(site: Site) -> None:
    site.table.write_text(HEADER)
    out = io.BytesIO()
    workbook.write(site.outbox, LIMITS, out)
    assert Book(out.getvalue()).rows() == []


def test_outbox_that_does_not_exist_writes_nothing(tmp_path: Path) -> None:
    out = io.BytesIO()
    with pytest.raises(ConfigError, match="does not exist"):
        workbook.write(tmp_path / "outbox", LIMITS, out)
    assert out.getvalue() == b""


# A disk that is full before the temporary file of the rows is complete.
WRITE_ON_A_FULL_DISK = """
import io, pathlib, resource, sys
from daemon.review import workbook
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    workbook.write(pathlib.Path(sys.argv[1]), workbook.Limits(50, 64), io.BytesIO())
except OSError as error:
    opened = [one.readlink() for one in pathlib.Path("/proc/self/fd").iterdir() if one.is_symlink()]
    print(error.errno, [str(file) for file in opened if "digitd-" in str(file)])
"""


def test_error_half_way_frees_the_space_of_temporary_files(site: Site) -> None:
    site.add_all([(f"{number}.png", NUMBER) for number in range(100)])
    command = [sys.executable, "-c", WRITE_ON_A_FULL_DISK, str(site.outbox)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=1) == [f"{errno.EFBIG}", "[]\n"]


def test_full_disk_is_one_line_and_no_traceback(site: Site, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 160, 160), np.uint8)
    for number, pixels in enumerate(noise):
        site.add(f"{number}.png", DOUBTFUL, data=cv2.imencode(".png", pixels)[1].tobytes())
    out = tmp_path / "r.xlsx"
    full = ["prlimit", "--fsize=200000"]  # each picture fits, all together don't
    done = digitd("results", "--config", site.config, "--out", out, prefix=full)
    assert done.returncode != 0
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "File too large" in done.stderr
    assert not out.exists()


def test_page_sends_the_workbook_and_says_why_there_is_none(four: Site) -> None:
    with Server(four) as server:
        reply = server.request("/results.xlsx")
        assert reply.status == 200
        assert reply.headers["content-type"] == workbook.MEDIA_TYPE
        assert reply.headers["content-disposition"].endswith('.xlsx"')
        assert len(Book(reply.body).rows()) == 4
        assert '/results.xlsx" download' in server.request("/").text
        (four.outbox / "predictions.csv").write_text("another file\n")
        reply = server.request("/results.xlsx")
        assert reply.status == 409
        assert "does not begin with digitd's columns" in reply.text
        assert server.request("/results.xlsx", headers={"cookie": None}).status != 200
