"""Tables of rereads: which verdict counts, in every format; torn lines, locks and the audit."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from daemon import config
from daemon.commands.terminal import format_newest
from daemon.errors import BusyError, ConfigError, DestinationError, StorageError
from daemon.layout import REREADS
from daemon.outbox import labels, results, rows
from daemon.outbox.audit import find_discrepancies
from daemon.outbox.labels import Answer
from daemon.outbox.rereads import Rereads, RereadWriter, list_tables
from daemon.outbox.results import final_rows
from daemon.records import Status, Verdict
from daemon.review import workbook
from support.daemon import files_limited_to
from support.factories import BROKEN, SURE, doubtful
from tests.outbox.test_follow import following
from tests.review.test_workbook import Book

if TYPE_CHECKING:
    from support.site import Site

A, B, C = "a" * 12, "b" * 12, "c" * 12
ONE = Verdict(Status.OK, "1", 0.97, (0.003,) + (0.97,) + (0.003,) * 9)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def site(site: Site) -> Site:
    """Return a site with a sure, a doubtful and an unreadable file."""
    site.add_all([("sure.png", SURE), ("doubtful.png", doubtful(4, 0.4)), ("text.png", BROKEN)])
    return site


def finals(site: Site) -> dict[str, tuple[str, str, str]]:
    """Return answer, by whom and status by file."""
    return {
        one.cells[1]: (one.answer, one.answered_by, one.cells[2]) for one in final_rows(site.outbox)
    }


def written(site: Site, format_: str) -> bytes:
    out = io.BytesIO()
    results.write(final_rows(site.outbox), out, format_)
    return out.getvalue()


def answer(site: Site, name: str, label: str) -> None:
    row = site.row(name)
    now = rows.timestamp(datetime.now(UTC))
    labels.append(
        site.outbox, Answer(row["id"], row["sha256"], label, "Ana", now, A, "1", "0.5", "queue")
    )


def test_newest_verdict_is_in_every_format(site: Site) -> None:
    before = site.table.read_bytes()
    site.reread(A, {"sure.png": doubtful(2, 0.3), "doubtful.png": ONE, "text.png": ONE})
    assert finals(site) == {
        "sure.png": ("", "", "unsure"),
        "doubtful.png": ("1", "model", "ok"),
        "text.png": ("1", "model", "ok"),
    }
    table = list(csv.DictReader(io.StringIO(written(site, "csv").decode())))
    objects = [json.loads(line) for line in written(site, "jsonl").splitlines()]
    frame = pd.read_parquet(io.BytesIO(written(site, "parquet")))
    out = io.BytesIO()
    workbook.write(site.outbox, workbook.Limits(50, 64), out)
    sheet = Book(out.getvalue()).rows()
    found: list[list[Any]] = [table, objects, frame.to_dict("records"), sheet]
    for each in found:
        assert [row["status"] for row in each] == ["unsure", "ok", "ok"]
        assert [row["digit"] for row in each] == ["2", "1", "1"]
        assert [float(row["confidence"]) for row in each] == [0.3, 0.97, 0.97]
        assert [row["model"] for row in each] == [A] * 3
    assert [row["reason"] for row in table] == ["low confidence", "", ""]
    assert [row["original"] for row in table] == [row["original"] for row in site.rows()]
    shown = format_newest(final_rows(site.outbox), 100, 40).splitlines()
    assert shown[1].split() == ["sure.png", "unsure:", "low", "confidence"]
    assert shown[2].split() == ["doubtful.png", "1", "model", "ok"]
    assert site.table.read_bytes() == before


def test_answer_of_a_person_stands_above(site: Site) -> None:
    answer(site, "doubtful.png", "9")
    site.reread(A, {"doubtful.png": ONE})
    assert finals(site)["doubtful.png"] == ("9", "person", "ok")


def test_file_that_cannot_be_read_again_keeps_its_verdict(site: Site) -> None:
    site.reread(A, {"doubtful.png": ONE})
    site.reread(B, {"sure.png": BROKEN, "doubtful.png": BROKEN, "text.png": BROKEN})
    assert finals(site)["sure.png"] == ("7", "model", "ok")
    assert finals(site)["doubtful.png"] == ("1", "model", "ok")
    assert finals(site)["text.png"] == ("", "", "error")


def test_reread_of_another_content_does_not_count(site: Site) -> None:
    table = site.reread(A, {"sure.png": ONE})
    sha256 = site.row("sure.png")["sha256"]
    table.write_text(table.read_text().replace(sha256, "0" * 64))
    assert finals(site)["sure.png"] == ("7", "model", "ok")


def test_reread_that_was_started_last_counts_whatever_the_clock_says(site: Site) -> None:
    first = site.reread(A, {"sure.png": ONE, "doubtful.png": ONE})
    second = site.reread(B, {"sure.png": doubtful(3, 0.6)}, LONG_AGO)
    os.utime(first, (2e9, 2e9))
    os.utime(second, (1e9, 1e9))
    assert [path.name for path in list_tables(site.outbox)] == [first.name, second.name]
    assert finals(site)["sure.png"] == ("", "", "unsure")
    assert finals(site)["doubtful.png"] == ("1", "model", "ok")
    site.reread(A, {})  # all is read already: its results count most again
    assert finals(site)["sure.png"] == ("1", "model", "ok")


def test_copied_order_and_lost_order_are_read(site: Site) -> None:
    site.reread(B, {"sure.png": ONE})
    site.reread(A, {"sure.png": doubtful(3, 0.6)})
    order = site.outbox / ".digitd.rereads"
    with order.open("a") as file:
        file.write(f"\n{B}-dig")  # a kill tore it
    assert finals(site)["sure.png"] == ("", "", "unsure")
    site.reread(B, {})
    assert finals(site)["sure.png"] == ("1", "model", "ok")
    order.unlink()
    assert set(finals(site)) == {"sure.png", "doubtful.png", "text.png"}


def test_torn_line_is_cut_and_no_row_has_two_results(site: Site) -> None:
    table = site.reread(A, {"sure.png": ONE, "doubtful.png": ONE})
    whole = table.read_bytes()
    table.write_bytes(whole[:-20])
    assert finals(site)["doubtful.png"] == ("", "", "unsure")  # an incomplete line is no result
    writer = RereadWriter(site.outbox, table.name)
    assert len(writer.numbers) == 1
    writer.close()
    assert table.read_bytes() == whole[: whole.rfind(b"\n", 0, -1) + 1]
    assert table.read_bytes().count(b"\n") == 2


def test_torn_header_is_written_again(site: Site) -> None:
    table = site.reread(A, {})
    table.write_bytes(rows.HEADER.encode()[:9])
    site.reread(A, {"sure.png": ONE})
    assert finals(site)["sure.png"][0] == "1"


def test_second_reread_into_a_table_is_refused(site: Site) -> None:
    writer = RereadWriter(site.outbox, f"{A}-digit.csv")
    with pytest.raises(BusyError, match=f"{A}-digit.csv: another .*reread.* wait"):
        RereadWriter(site.outbox, f"{A}-digit.csv")
    RereadWriter(site.outbox, f"{B}-digit.csv").close()
    writer.close()
    RereadWriter(site.outbox, f"{A}-digit.csv").close()


def test_table_that_is_not_digitds_is_refused(site: Site) -> None:
    table = site.reread(A, {})
    table.write_text("name,age\nAna,9\n")
    said = f"{A}-digit.csv: does not begin with digitd's columns"
    descriptors = Path("/proc/self/fd")
    opened = len(list(descriptors.iterdir()))
    for _ in range(3):  # as often as `results --follow` tries
        with pytest.raises(ConfigError, match=said):
            Rereads(site.outbox)
    assert len(list(descriptors.iterdir())) == opened
    with pytest.raises(ConfigError, match=said):
        finals(site)
    with pytest.raises(ConfigError, match="move it out"):
        RereadWriter(site.outbox, table.name)


def test_failed_append_leaves_whole_lines(site: Site) -> None:
    table = site.reread(A, {"sure.png": ONE})
    whole = table.read_bytes()
    writer = RereadWriter(site.outbox, table.name)
    line = whole.splitlines(keepends=True)[1].decode()
    with files_limited_to(len(whole) + 50), pytest.raises(StorageError, match="make room"):
        writer.append([line, line])
    writer.close()
    assert table.read_bytes() == whole


def test_results_go_to_no_file_among_the_tables(site: Site) -> None:
    site.reread(A, {})
    with (
        pytest.raises(DestinationError, match="one of digitd's own"),
        results.open_output(site.outbox / REREADS / "x.csv", site.outbox),
    ):
        pass


def test_many_results_out_of_order_are_found(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.outbox.rereads._MOST_UNSORTED", 3)
    site.add_all([(f"digit{n}.png", SURE) for n in range(20)])
    names = [f"digit{n}.png" for n in range(20)]
    for name in names[7:] + names[:7]:
        site.reread(A, {name: replace(ONE, text=name[5])})
    found = finals(site)
    assert [found[name][0] for name in names] == [name[5] for name in names]


def test_changed_verdicts_come_again_while_they_are_followed(site: Site) -> None:
    with following(site) as follower:
        follower.wait_for(("sure.png", "7"), ("doubtful.png", None), ("text.png", None))
        site.reread(A, {"doubtful.png": ONE})
        follower.wait_for(("doubtful.png", "1"))
        site.reread(B, {"doubtful.png": doubtful(4, 0.4), "sure.png": ONE})
        follower.wait_for(("sure.png", "1"), ("doubtful.png", None))
        site.reread(A, {"text.png": ONE})  # counts most again
        follower.wait_for(("doubtful.png", "1"), ("text.png", "1"))
        site.add("new.png", SURE)
        follower.wait_for(("new.png", "7"))


def test_following_continues_with_verdicts_that_changed_meanwhile(site: Site) -> None:
    site.reread(A, {"sure.png": ONE}, LONG_AGO)
    order = site.outbox / ".digitd.rereads"
    order.write_text(order.read_text().replace(str(datetime.now(UTC).year), "2020"))
    site.add("last.png", SURE)
    site.reread(B, {"doubtful.png": ONE})
    last = site.row("last.png")["id"]
    with following(site, "--after", last) as follower:
        follower.wait_for(("doubtful.png", "1"))


def audit(site: Site) -> tuple[tuple[str, ...], tuple[str, ...]]:
    found = find_discrepancies(config.load(site.config))
    return found.discrepancies, found.notes


def test_audit_knows_rereads(site: Site) -> None:
    table = site.reread(A, {"sure.png": ONE, "doubtful.png": BROKEN})
    table.with_suffix(".png").write_bytes(b"picture")
    assert audit(site) == ((), ())


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda text: text + text.splitlines()[1] + "\n", "line 4: the row d.* has a line above"),
        (lambda text: text.replace("\nd", "\ndz"), "line 2: not a complete row; remove"),
        (lambda text: text.replace("\nd0", "\nd1"), "line 2: no row has the id d1"),
        (lambda text: text.replace(A, C), f"line 2: was read by the model {C}"),
        (lambda text: text[:-9], "the last line has no newline"),
        (lambda text: "x" + text, "the first line is not the header"),
    ],
)
def test_audit_names_what_is_wrong_with_a_table(site: Site, edit: Any, expected: str) -> None:  # noqa: ANN401
    table = site.reread(A, {"sure.png": ONE, "doubtful.png": ONE})
    table.write_text(edit(table.read_text()))
    found, _ = audit(site)
    assert any(re.match(f"rereads/{table.name}.*{expected}", line) for line in found), found


def test_audit_names_another_content_and_files_that_do_not_belong(site: Site) -> None:
    table = site.reread(A, {"sure.png": ONE})
    table.write_text(table.read_text().replace(site.row("sure.png")["sha256"], "0" * 64))
    (table.parent / "notes.txt").write_text("mine")
    (table.parent / f"{A}-digit (conflicted copy).csv").write_text("mine")
    (table.parent / "x-digit.csv").write_text("mine")
    found, notes = audit(site)
    assert len(found) == 3
    assert "is about another file than the row" in found[2]
    assert found[0].startswith("rereads/notes.txt: is no table of a reread; move it out")
    assert found[1].startswith("rereads/x-digit.csv: is no table")
    assert "conflicted copy" in notes[0]


def test_retention_keeps_the_verdict_of_a_row_whose_file_is_deleted(site: Site) -> None:
    site.reread(A, {"sure.png": ONE})
    row = site.row("sure.png")
    (site.outbox / row["original"]).unlink()
    (site.outbox / row["picture"]).unlink()
    (site.outbox / ".digitd.deleted-before").write_text(f"2026-01-01 {row['id']}")
    assert finals(site)["sure.png"] == ("1", "model", "ok")
    assert audit(site) == ((), ())
