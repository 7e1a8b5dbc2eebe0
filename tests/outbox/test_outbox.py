"""Commit and publish, with a failing disk, a torn table and hostile names."""

from __future__ import annotations

import csv
import errno
import logging
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from daemon import ids
from daemon.errors import BusyError, ConfigError
from daemon.layout import TABLE
from daemon.outbox import rows
from daemon.outbox.outbox import CLAIMED_AT_MOST, Outbox, RecoveredRows
from daemon.records import Placement, Result, Verdict
from support.daemon import files_limited_to
from support.factories import BROKEN, SURE, job, result

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    (tmp_path / "outbox").mkdir()
    outbox = opened(tmp_path / "outbox")
    yield outbox
    outbox.close()


def opened(folder: Path) -> Outbox:
    outbox = Outbox(folder)
    outbox.ensure_open()
    return outbox


def ending(length: int, character: str = "x") -> str:
    return character * ((length - 4) // len(character.encode())) + ".png"


def file(outbox: Outbox, results: Sequence[Result]) -> list[rows.Row]:
    committed = outbox.commit(results)
    for row in committed:
        outbox.publish(row.result.job, row.placement)
    return committed


def table(outbox: Outbox) -> list[dict[str, str]]:
    with (outbox.folder / TABLE).open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def published(outbox: Outbox) -> dict[str, bytes]:
    """Return all files in the outbox's folders by relative path."""
    return {
        str(path.relative_to(outbox.folder)): path.read_bytes()
        for path in outbox.folder.glob("*/*")
        if path.is_file()
    }


def test_row_is_committed_before_its_files_are_published(outbox: Outbox, work: Path) -> None:
    made = result(work)
    (row,) = outbox.commit([made])
    assert [row["id"] for row in table(outbox)] == [made.job.id]
    assert published(outbox) == {}
    assert made.job.path.read_bytes() == b"seven"
    outbox.publish(row.result.job, row.placement)
    assert (row.picture, row.original) == ("annotated/digit7.png", "originals/digit7.png")
    assert published(outbox) == {row.picture: b"picture", row.original: b"seven"}
    assert list(work.iterdir()) == []


def test_batch_keeps_its_order_under_one_header(outbox: Outbox, work: Path) -> None:
    for batch in (range(3), range(3, 5)):
        file(outbox, [result(work, f"digit{number}.png") for number in batch])
    assert [row["file"] for row in table(outbox)] == [f"digit{n}.png" for n in range(5)]
    frame = pd.read_csv(outbox.folder / TABLE)
    assert list(frame.columns) == list(rows.COLUMNS)
    assert frame["p7"].tolist() == [0.99] * 5


def test_unreadable_file_is_moved_to_failed_unchanged(outbox: Outbox, work: Path) -> None:
    (row,) = file(outbox, [result(work, verdict=BROKEN, data=b"\0junk")])
    assert row.original == "failed/digit7.png"
    assert (outbox.folder / row.original).read_bytes() == b"\0junk"


def test_row_names_no_picture_if_there_is_none(outbox: Outbox, work: Path) -> None:
    (row,) = file(outbox, [result(work, picture=b"")])
    assert row.picture == ""
    assert list(published(outbox)) == ["originals/digit7.png"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("digit7.png", "digit7.png"),
        ("a.jpg", "a.jpg.png"),  # both pictures would be named a.jpg.png
        ("a.jpg.png", "a.jpg"),
        ("ü\udcff.png", "ü\\xff.png"),  # both are escaped to the second name
    ],
)
@pytest.mark.parametrize("when", ["same batch", "committed before", "published before"])
@pytest.mark.parametrize("verdict", [SURE, BROKEN])
def test_files_with_the_same_name_are_published_under_different_names(
    outbox: Outbox, work: Path, first: str, second: str, when: str, verdict: Verdict
) -> None:
    one = result(work, first, data=b"one", picture=b"one")
    two = result(work, second, verdict, data=b"two", picture=b"two")
    if when == "same batch":
        committed = outbox.commit([one, two])
    else:
        committed = outbox.commit([one])
        if when == "published before":
            outbox.publish(committed[0].result.job, committed[0].placement)
        committed += outbox.commit([two])
    for row in committed:
        outbox.publish(row.result.job, row.placement)
    files = published(outbox)
    assert len(files) == 4
    for row, data in zip(committed, (b"one", b"two"), strict=True):
        assert files[row.original] == files[row.picture] == data
    assert two.job.id in committed[1].original
    assert two.job.id in committed[1].picture


@pytest.mark.parametrize(("first", "second"), [(SURE, BROKEN), (BROKEN, SURE), (SURE, SURE)])
def test_original_without_a_picture_reserves_its_name(
    outbox: Outbox, work: Path, first: Verdict, second: Verdict
) -> None:
    for verdict in (first, second):
        file(outbox, [result(work, verdict=verdict, picture=b"")])
    assert len({Path(name).name for name in published(outbox)}) == 2


def test_publishing_never_overwrites_a_file(outbox: Outbox, work: Path) -> None:
    (row,) = outbox.commit([result(work)])
    place = outbox.folder / row.original
    place.write_bytes(b"a stranger's")
    with pytest.raises(FileExistsError):
        outbox.publish(row.result.job, row.placement)
    assert place.read_bytes() == b"a stranger's"
    assert row.result.job.path.read_bytes() == b"seven"
    place.unlink()
    outbox.publish(row.result.job, row.placement)
    assert place.read_bytes() == b"seven"


def test_publishing_does_not_overwrite_a_file_created_at_the_last_moment(
    outbox: Outbox, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = outbox.commit([result(work)])
    place = outbox.folder / row.original
    place.write_bytes(b"a stranger's")
    # As if the check happened just before the other file was created.
    really_there = os.path.lexists
    monkeypatch.setattr(os.path, "lexists", lambda path: Path(path) != place and really_there(path))
    with pytest.raises(FileExistsError):
        outbox.publish(row.result.job, row.placement)
    assert place.read_bytes() == b"a stranger's"
    assert row.result.job.path.read_bytes() == b"seven"


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS])
def test_target_is_checked_first_without_rename_noreplace(
    outbox: Outbox, work: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr("daemon.files._renameat2", lambda *_: number)
    (row,) = outbox.commit([result(work)])
    place = outbox.folder / row.original
    place.write_bytes(b"a stranger's")
    with pytest.raises(FileExistsError):
        outbox.publish(row.result.job, row.placement)
    assert place.read_bytes() == b"a stranger's"
    place.unlink()
    outbox.publish(row.result.job, row.placement)
    assert place.read_bytes() == b"seven"


def test_publishing_does_not_write_through_a_dangling_symlink(
    outbox: Outbox, work: Path, tmp_path: Path
) -> None:
    (row,) = outbox.commit([result(work)])
    (outbox.folder / row.original).symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError):
        outbox.publish(row.result.job, row.placement)
    assert not (tmp_path / "nowhere").exists()


def test_publishing_again_completes_an_interrupted_publish(outbox: Outbox, work: Path) -> None:
    (row,) = outbox.commit([result(work)])
    # Like a copy to another file system that was interrupted before the source was removed.
    (outbox.folder / row.original).write_bytes(b"seven")
    outbox.publish(row.result.job, row.placement)
    outbox.publish(row.result.job, row.placement)
    assert published(outbox) == {row.picture: b"picture", row.original: b"seven"}
    assert list(work.iterdir()) == []


def test_removed_outbox_folder_is_recreated(outbox: Outbox, work: Path) -> None:
    file(outbox, [result(work, "digit1.png")])
    shutil.rmtree(outbox.folder / "annotated")
    (row,) = file(outbox, [result(work, "digit2.png")])
    assert (outbox.folder / row.picture).read_bytes() == b"picture"


def test_publishing_to_another_file_system_copies_and_removes_the_source(
    elsewhere: Path, work: Path
) -> None:
    outbox = opened(elsewhere)
    data = os.urandom(3_000_000)
    made = result(work, data=data)
    os.utime(made.job.path, (1e9, 1e9))
    (row,) = file(outbox, [made])
    assert published(outbox) == {row.picture: b"picture", row.original: data}
    assert (elsewhere / row.original).stat().st_mtime == 1e9
    assert list(work.iterdir()) == []
    outbox.close()


def test_interrupted_copy_stays_hidden_and_is_repeated(elsewhere: Path, work: Path) -> None:
    outbox = opened(elsewhere)
    (row,) = outbox.commit([result(work, data=bytes(100_000))])
    with files_limited_to(50_000), pytest.raises(OSError, match="File too large"):
        outbox.publish(row.result.job, row.placement)
    assert row.result.job.path.stat().st_size == 100_000
    assert not (elsewhere / row.original).exists()
    outbox.close()
    assert list((elsewhere / "originals").iterdir()) != []
    outbox.ensure_open()
    assert list((elsewhere / "originals").iterdir()) == []
    outbox.publish(row.result.job, row.placement)
    assert (elsewhere / row.original).read_bytes() == bytes(100_000)
    outbox.close()


@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_non_regular_file_is_never_copied(
    elsewhere: Path, work: Path, tmp_path: Path, kind: str
) -> None:
    outbox = opened(elsewhere)
    (row,) = outbox.commit([result(work, verdict=BROKEN)])
    row.result.job.path.unlink()
    if kind == "link":
        (tmp_path / "secret").write_bytes(b"secret")
        row.result.job.path.symlink_to(tmp_path / "secret")
    else:
        os.mkfifo(row.result.job.path)
    with pytest.raises(PermissionError):
        outbox.publish(row.result.job, row.placement)
    assert not os.path.lexists(elsewhere / row.original)
    outbox.close()


def test_short_write_is_undone_and_the_batch_committed_later(outbox: Outbox, work: Path) -> None:
    file(outbox, [result(work, "digit0.png")])
    before = (outbox.folder / TABLE).read_bytes()
    batch = [result(work, f"digit{number}.png") for number in range(1, 9)]
    with files_limited_to(len(before) + 700), pytest.raises(OSError, match="No space left"):
        outbox.commit(batch)
    assert (outbox.folder / TABLE).read_bytes() == before
    file(outbox, batch)
    assert [row["file"] for row in table(outbox)] == [f"digit{n}.png" for n in range(9)]
    assert table(outbox)[-1]["original"] == "originals/digit8.png"


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_rows_are_undone_if_fsync_fails(
    outbox: Outbox, work: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    before = (outbox.folder / TABLE).read_bytes()
    batch = [result(work)]
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", _failing(number))
        with pytest.raises(OSError, match=os.strerror(number)):
            outbox.commit(batch)
    assert (outbox.folder / TABLE).read_bytes() == before
    file(outbox, batch)
    assert [row["file"] for row in table(outbox)] == ["digit7.png"]


def test_failed_undo_is_repeated_before_the_next_append(
    outbox: Outbox, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = [result(work)]
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", _failing(errno.EIO))
        broken.setattr(os, "ftruncate", _failing(errno.EIO))
        for _ in range(2):
            with pytest.raises(OSError, match="Input/output error"):
                outbox.commit(batch)
    file(outbox, batch)
    assert [row["id"] for row in table(outbox)] == [batch[0].job.id]


def _failing(number: int) -> object:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def test_row_torn_at_any_byte_is_cut_off(outbox: Outbox, work: Path) -> None:
    file(outbox, [result(work, "digit1.png"), result(work, 'zwölf, "12".png')])
    path = outbox.folder / TABLE
    whole = path.read_bytes()
    kept = whole[: whole.rindex(b"\n", 0, -1) + 1]
    for end in range(len(kept), len(whole) - 1):
        outbox.close()
        path.write_bytes(whole[:end])
        outbox.ensure_open()
        assert path.read_bytes() == kept, whole[len(kept) : end]


@pytest.mark.parametrize(
    "tail",
    [
        bytes(5000),
        b"d01234567" + bytes(5000),
        b"d01234567" + bytes(5000) + b"rest,of,a,row\n",
        b"d01234567" + bytes(3_000_000),
        b"d01234567,digit1.png,ok",
    ],
    ids=["zeros", "row and zeros", "zeros in a row", "megabytes", "half"],
)
def test_row_torn_by_a_power_failure_is_cut_off_and_logged(
    outbox: Outbox, work: Path, caplog: pytest.LogCaptureFixture, tail: bytes
) -> None:
    file(outbox, [result(work)])
    path = outbox.folder / TABLE
    whole = path.read_bytes()
    outbox.close()
    path.write_bytes(whole + tail)
    with caplog.at_level(logging.WARNING, "daemon"):
        outbox.ensure_open()
    assert path.read_bytes() == whole
    assert "cut a torn row" in caplog.text


def test_edited_lines_are_not_cut_off(outbox: Outbox, work: Path) -> None:
    file(outbox, [result(work)])
    path = outbox.folder / TABLE
    edited = path.read_bytes() + b"a note of mine\n" + rows.HEADER.encode() + b"\n"
    outbox.close()
    path.write_bytes(edited)
    outbox.ensure_open()
    assert path.read_bytes() == edited


def test_last_row_without_a_newline_is_kept(outbox: Outbox, work: Path) -> None:
    file(outbox, [result(work, "digit1.png")])
    path = outbox.folder / TABLE
    outbox.close()
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    outbox.ensure_open()
    file(outbox, [result(work, "digit2.png")])
    assert [row["file"] for row in table(outbox)] == ["digit1.png", "digit2.png"]


def test_table_saved_with_crlf_is_accepted(outbox: Outbox, work: Path) -> None:
    file(outbox, [result(work, "digit1.png")])
    path = outbox.folder / TABLE
    outbox.close()
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    outbox.ensure_open()
    file(outbox, [result(work, "digit2.png")])
    assert [row["file"] for row in table(outbox)] == ["digit1.png", "digit2.png"]


def test_foreign_table_is_refused_and_left_unchanged(tmp_path: Path) -> None:
    (tmp_path / TABLE).write_bytes(b"name,price\nmilk,1\n")
    outbox = Outbox(tmp_path)
    with pytest.raises(ConfigError, match="does not begin with digitd's columns"):
        outbox.ensure_open()
    assert (tmp_path / TABLE).read_bytes() == b"name,price\nmilk,1\n"
    (tmp_path / TABLE).unlink()
    outbox.ensure_open()
    outbox.close()


def test_foreign_table_that_replaces_ours_is_never_written_to(outbox: Outbox, work: Path) -> None:
    file(outbox, [result(work, "digit1.png")])
    path = outbox.folder / TABLE
    path.rename(outbox.folder / "mine.csv")
    path.write_bytes(b"name,price\nmilk,1\n")
    batch = [result(work, "digit2.png")]
    for _ in range(2):
        with pytest.raises(ConfigError):
            outbox.commit(batch)
    assert path.read_bytes() == b"name,price\nmilk,1\n"
    path.unlink()
    file(outbox, batch)
    assert [row["file"] for row in table(outbox)] == ["digit2.png"]


@pytest.mark.parametrize("how", ["moved", "moved, an empty one made", "copied and emptied"])
def test_logrotate_loses_no_row_and_every_table_has_a_header(
    outbox: Outbox, work: Path, how: str
) -> None:
    file(outbox, [result(work, "digit1.png")])
    path, aside = outbox.folder / TABLE, outbox.folder / f"{TABLE}.1"
    if how == "copied and emptied":
        shutil.copy(path, aside)
        os.truncate(path, 0)
    else:
        path.rename(aside)
        if how == "moved, an empty one made":
            path.touch()
    file(outbox, [result(work, "digit2.png")])
    assert [row["file"] for row in table(outbox)] == ["digit2.png"]
    assert list(pd.read_csv(aside)["file"]) == ["digit1.png"]


@pytest.mark.parametrize("length", [0, 1, 50, len(rows.HEADER) - 1])
def test_torn_header_is_rewritten(tmp_path: Path, length: int) -> None:
    (tmp_path / TABLE).write_text(rows.HEADER[:length])
    opened(tmp_path).close()
    assert (tmp_path / TABLE).read_text() == rows.HEADER


def test_new_table_that_cannot_be_created_is_created_later(outbox: Outbox, work: Path) -> None:
    file(outbox, [result(work, "digit1.png")])
    (outbox.folder / TABLE).rename(outbox.folder / f"{TABLE}.1")
    batch = [result(work, "digit2.png", picture=b"")]
    for _ in range(2):
        with files_limited_to(20), pytest.raises(OSError, match=r"No space left|File too large"):
            outbox.commit(batch)
    file(outbox, batch)
    assert [row["file"] for row in table(outbox)] == ["digit2.png"]


def test_leftover_with_a_row_is_published_to_the_paths_in_its_row(
    outbox: Outbox, work: Path
) -> None:
    file(outbox, [result(work)])
    made, unread = result(work), result(work, "digit8.png")
    (row,) = outbox.commit([made])
    outbox.close()
    again = opened(outbox.folder)
    found = again.find([made.job, unread.job])
    assert found.placements == {made.job.id: Placement(row.picture, row.original)}
    assert found.highest_id == made.job.id
    again.publish(made.job, found.placements[made.job.id])
    assert (outbox.folder / row.original).read_bytes() == b"seven"
    again.close()


def test_name_of_a_leftover_with_a_row_stays_reserved(outbox: Outbox, work: Path) -> None:
    made = result(work, data=b"first")
    outbox.commit([made])
    outbox.close()
    again = opened(outbox.folder)
    found = again.find([made.job])
    (row,) = file(again, [result(work, data=b"second")])
    again.publish(made.job, found.placements[made.job.id])
    assert row.original != "originals/digit7.png"
    assert (again.folder / "originals/digit7.png").read_bytes() == b"first"
    again.close()


def test_row_is_found_in_rotated_tables(outbox: Outbox, work: Path) -> None:
    made = result(work)
    outbox.commit([made])
    (outbox.folder / TABLE).rename(outbox.folder / f"{TABLE}-20261121")
    file(outbox, [result(work, "digit8.png")])
    found = outbox.find([made.job])
    assert list(found.placements) == [made.job.id]
    assert found.highest_id is not None
    assert found.highest_id > made.job.id


def lines(count: int, made: Result) -> list[str]:
    """Return rows of files that were claimed after this one."""
    placement = Placement("annotated/x.png", "originals/x.png")
    line = rows.format_row(rows.Row(made, placement, made.job.received_at))
    return [line.replace(made.job.id, job().id) for _ in range(count)]


def test_row_is_found_before_many_rows_that_were_claimed_later(outbox: Outbox, work: Path) -> None:
    # A file whose target exists may wait for months, with megabytes of rows after its own.
    made = result(work)
    outbox.commit([made])
    later = lines(8000, made)
    with (outbox.folder / TABLE).open("a") as file:
        file.write("".join(later))
    assert (outbox.folder / TABLE).stat().st_size > 2 << 20
    found = outbox.find([made.job])
    assert list(found.placements) == [made.job.id]
    jobs = [replace(made.job, id=line[: ids.LENGTH]) for line in later]
    found = outbox.find(jobs)
    assert list(found.placements) == [job.id for job in reversed(jobs)]


def test_row_is_found_before_the_maximum_number_of_older_rows(outbox: Outbox, work: Path) -> None:
    # These were claimed before it, but read after it by a slower worker.
    older = lines(CLAIMED_AT_MOST, result(work))
    made = result(work)
    outbox.commit([made])
    with (outbox.folder / TABLE).open("a") as file:
        file.write("".join(older))
    found = outbox.find([made.job])
    assert list(found.placements) == [made.job.id]
    assert found.highest_id == made.job.id


def test_copy_of_the_table_does_not_end_the_search(outbox: Outbox, work: Path) -> None:
    older = lines(CLAIMED_AT_MOST, result(work))
    made = result(work)
    outbox.commit([made])
    path = outbox.folder / TABLE
    aside = path.rename(outbox.folder / f"{TABLE}.1")
    os.utime(aside, (1e9, 1e9))
    path.write_text(rows.HEADER + "".join(older))
    shutil.copy(path, outbox.folder / f"{TABLE}.bak")
    found = outbox.find([made.job])
    assert list(found.placements) == [made.job.id]


def test_search_reads_only_the_end_of_a_long_table(outbox: Outbox, work: Path) -> None:
    older = lines(20_000, result(work))
    with (outbox.folder / TABLE).open("a") as file:
        file.write("".join(older))
        first = rows.HEADER + older[0]
    # If the table were read to its beginning, the row there would be found.
    path = outbox.folder / TABLE
    new = result(work)
    with path.open("r+") as file:
        file.write(first.replace(older[0][: ids.LENGTH], new.job.id))
    found = outbox.find([new.job])
    assert found.placements == {}
    assert found.highest_id == older[-1][: ids.LENGTH]


def test_search_in_an_empty_table_finds_nothing(outbox: Outbox, work: Path) -> None:
    assert outbox.find([result(work).job]) == RecoveredRows({}, None)


def test_removed_outbox_is_reopened_when_it_returns(outbox: Outbox, work: Path) -> None:
    file(outbox, [result(work, "digit1.png")])
    shutil.rmtree(outbox.folder)
    batch = [result(work, "digit2.png")]
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            outbox.commit(batch)
    outbox.folder.mkdir()
    file(outbox, batch)
    assert [row["file"] for row in table(outbox)] == ["digit2.png"]


def test_failed_open_can_be_retried(tmp_path: Path, work: Path) -> None:
    outbox = Outbox(tmp_path)
    (tmp_path / "originals").write_bytes(b"in the way")
    for _ in range(2):
        with pytest.raises(FileExistsError):
            outbox.ensure_open()
    (tmp_path / "originals").unlink()
    outbox.ensure_open()
    assert [row.file for row in file(outbox, [result(work)])] == ["digit7.png"]
    outbox.close()


def test_second_digitd_cannot_lock_the_same_outbox(outbox: Outbox) -> None:
    with pytest.raises(BusyError):
        Outbox(outbox.folder).ensure_open()


NAMES = st.binary(min_size=1, max_size=255).map(
    lambda name: os.fsdecode(name.replace(b"/", b"_").replace(b"\0", b"_"))
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(names=st.lists(NAMES, min_size=1, max_size=3))
@example([ending(255)] * 2)
@example([ending(255, "é")] * 2)
@example(["x" * 255] * 2)
@example(["x." + "y" * 253] * 2)
@example(["\udcff" * 255] * 2)
@example(["\n" * 255] * 2)
@example([".."] * 2)
@example(["=cmd()", "+1", "-1", "@x"])
@example(["a,b.png", 'a"b.png', "a;b.png", "a\tb.png", "a\r\nb.png", "a\u2028b.png"])
def test_any_name_gets_a_path_in_the_outbox_and_one_line(
    outbox: Outbox, work: Path, names: list[str]
) -> None:
    batch = [result(work, name, data=name.encode("utf-8", "surrogateescape")) for name in names]
    before = len(published(outbox))
    committed = file(outbox, batch)
    after = published(outbox)
    assert len(after) == before + 2 * len(names)
    for made, row in zip(batch, committed, strict=True):
        assert after[row.original] == os.fsencode(made.job.name)
        assert after[row.picture] == b"picture"
        assert Path(row.original).parent == Path("originals")
    found = table(outbox)[-len(names) :]
    assert [row["original"] for row in found] == [row.original for row in committed]
    assert not any(row["file"].startswith(("=", "+", "-", "@", "\t", "\r")) for row in found)
