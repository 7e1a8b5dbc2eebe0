"""Rows are written and read back by digitd's parser, by csv and by pandas."""

from __future__ import annotations

import csv
import io
import os

import pandas as pd
from hypothesis import example, given, settings
from hypothesis import strategies as st

from daemon import ids
from daemon.outbox import rows
from daemon.records import Status, Verdict
from daemon.text import printable
from support.factories import NOW, row

SEVEN = Verdict(Status.OK, "7", 0.98765432, (0.0, 1e-9, 0.5, *(0.0625,) * 8))
ID = ids.encode(int(NOW.timestamp() * 1000) << 12)
ANY_TEXT = st.text(st.characters(), max_size=30)


def make(name: str = "digit7.png", verdict: Verdict = SEVEN) -> rows.Row:
    return row(name, verdict, job_id=ID, picture="annotated/digit7.png", sha256="ab" * 32)


def test_columns_match_the_documented_format() -> None:
    assert rows.HEADER == (
        "id,file,status,digit,confidence,p0,p1,p2,p3,p4,p5,p6,p7,p8,p9,p_none,"
        "reason,picture,original,sha256,model,received_at,processed_at\n"
    )


def test_row_is_one_line_with_all_columns_in_order() -> None:
    assert rows.format_row(make()) == (
        f"{ID},digit7.png,ok,7,0.987654,"
        "0.000000,0.000000,0.500000,0.062500,0.062500,0.062500,0.062500,0.062500,0.062500,0.062500,"
        "0.062500,"
        f",annotated/digit7.png,originals/digit7.png,{'ab' * 32},model1,"
        "2026-11-21T09:05:07.042Z,2026-11-21T09:05:07.042Z\n"
    )


def test_missing_values_are_empty_cells_and_none() -> None:
    row = make(verdict=Verdict(Status.ERROR, reason="the file is empty"))
    fields = rows.parse(rows.format_row(row))
    assert fields is not None
    assert {fields[key] for key in ("digit", "confidence", "p0", "p9")} == {""}
    assert fields["reason"] == "the file is empty"
    assert row.fields()["digit"] is row.fields()["p0"] is row.fields()["confidence"] is None


@settings(deadline=None, max_examples=100)
@given(
    name=st.one_of(ANY_TEXT, st.binary(max_size=30).map(os.fsdecode)),
    reason=ANY_TEXT,
)
@example(name="=1+1", reason="=HYPERLINK()")
@example(name="\r\n", reason="\x85\u2028\u2029\0")
@example(name="x", reason="\ud800 \udfff")
@example(name='","', reason='"\n"')
def test_no_name_or_reason_can_break_a_line_or_be_a_formula(name: str, reason: str) -> None:
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        name = "no file system has that name"
    line = rows.format_row(make(name, Verdict(Status.UNSURE, reason=reason)))
    line.encode()
    assert len(line.splitlines()) == 1
    cells = next(csv.reader(io.StringIO(line)))
    assert len(cells) == len(rows.COLUMNS)
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in cells)
    fields = rows.parse(line)
    assert fields == dict(zip(rows.COLUMNS, cells, strict=True))
    assert fields["file"].removeprefix("'").endswith(printable(name).removeprefix("'"))
    frame = pd.read_csv(io.StringIO(rows.HEADER + line), dtype=str, keep_default_na=False)
    assert frame.to_numpy().tolist() == [cells]


def test_no_prefix_of_a_row_is_parsed_as_a_row() -> None:
    line = rows.format_row(make()).rstrip("\n")
    assert rows.parse(line) is not None
    assert not [cut for cut in range(len(line)) if rows.parse(line[:cut])]


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=200))
@example(rows.HEADER)
@example("\0" * 100)
@example('"' + "x" * 200_000)
@example("," * 22)
def test_malformed_rows_are_not_parsed_and_do_not_raise(text: str) -> None:
    assert rows.parse(text) is None


def test_number_stays_a_number() -> None:
    assert rows.csv_line(["-3", "-3,5", "19/10/2023", -3]) == '-3,"-3,5",19/10/2023,-3\n'
    assert rows.csv_line(["-3 Grad", "+3"]) == "'-3 Grad,'+3\n"
