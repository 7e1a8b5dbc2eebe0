"""`digitd retry` with the real daemon and its books, and files that cannot be put back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from daemon import ids
from daemon.config import Config, load
from daemon.errors import RetryError
from daemon.inbox import put
from daemon.inbox.put import list_failed, retry_file
from daemon.layout import TABLE
from daemon.outbox.audit import Audit, find_discrepancies
from support.daemon import Box, digitd, run_once
from support.stand_in import png_like

BAD = png_like("bad 1")


@pytest.fixture
def box(box: Box) -> Box:
    """Return a box in which two files of the same name were read and failed."""
    box.configure(workers=1)
    for data in (BAD, png_like("bad 2")):
        box.drop("digit7.png", data)
        run_once(box)
    return box


def run_retry(box: Box, *arguments: str) -> tuple[int, str]:
    done = digitd("retry", *arguments, "--config", box.config)
    return done.returncode, done.stdout + done.stderr


def test_all_files_are_put_back_and_read_as_new_files(box: Box) -> None:
    first, second = list_failed(box.outbox)
    assert (first, second.startswith("digit7-d")) == ("digit7.png", True)
    status, said = run_retry(box, "--all")
    assert status == 0
    assert said == (
        f"digit7.png: put back into the inbox as digit7.png\n"
        f"{second}: put back into the inbox as {second}\n"
    )
    assert list_failed(box.outbox) == []
    assert find_discrepancies(load(box.config)).discrepancies == ()
    run_once(box)
    assert [row["status"] for row in box.rows()] == ["error"] * 4
    assert find_discrepancies(load(box.config)) == Audit(rows=4, files=2, in_flight=0)
    assert {(box.outbox / "failed" / name).read_bytes() for name in list_failed(box.outbox)} == {
        BAD,
        png_like("bad 2"),
    }


@pytest.mark.parametrize("given", ["digit7.png", "failed/digit7.png", "{outbox}/failed/digit7.png"])
def test_one_file_is_put_back(box: Box, given: str) -> None:
    assert run_retry(box, given.format(outbox=box.outbox))[0] == 0
    assert (box.inbox / "digit7.png").read_bytes() == BAD
    assert len(list_failed(box.outbox)) == 1


def test_file_takes_back_the_name_under_which_it_was_dropped(box: Box) -> None:
    _, second = list_failed(box.outbox)
    assert run_retry(box, second) == (
        0,
        f"{second}: put back into the inbox as digit7.png\n",
    )


def test_name_under_which_a_file_was_dropped_leads_to_its_name_in_the_outbox(box: Box) -> None:
    _, second = list_failed(box.outbox)
    (box.outbox / "failed" / "digit7.png").unlink()
    status, said = run_retry(box, "digit7.png")
    assert status == 1
    assert f"digit7.png: is not in {box.outbox}/failed: name {second}\n" in said


def test_file_in_the_inbox_is_never_overwritten(box: Box) -> None:
    (box.inbox / "digit7.png").write_bytes(b"new")
    status, said = run_retry(box, "digit7.png")
    assert status == 1
    assert "digit7.png: a file with this name is already in the inbox: try again" in said
    assert (box.inbox / "digit7.png").read_bytes() == b"new"
    assert (box.outbox / "failed" / "digit7.png").read_bytes() == BAD


def test_each_name_that_cannot_be_put_back_is_reported_and_the_others_are(box: Box) -> None:
    (box.folder / "secret").write_bytes(b"secret")
    (box.outbox / "failed" / "digit9.png").symlink_to(box.folder / "secret")
    names = ["digit1.png", "../predictions.csv", "digit9.png", "digit7.png"]
    status, said = run_retry(box, *names)
    assert status == 1
    assert "digit1.png: is not in " in said
    assert "../predictions.csv: is not in " in said
    assert "digit9.png: is not a regular file: remove it from " in said
    assert [path.name for path in box.inbox.glob("digit*")] == ["digit7.png"]


def test_name_that_no_pattern_matches_stays(box: Box) -> None:
    box.configure(pattern="scan*.png")
    status, said = run_retry(box, "digit7.png")
    assert status == 1
    assert "digit7.png: would be ignored in the inbox" in said


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [([], "which files?"), (["--all", "digit7.png"], "leave out the names")],
)
def test_usage_error(tmp_path: Path, arguments: list[str], expected: str) -> None:
    status, said = run_retry(Box(tmp_path), *arguments)
    assert status == 2
    assert expected in said


def test_nothing_failed_is_not_an_error(tmp_path: Path) -> None:
    assert run_retry(Box(tmp_path), "--all") == (0, "")


def test_file_is_moved_to_another_file_system(tmp_path: Path, elsewhere: Path) -> None:
    config = Config(inbox=tmp_path, outbox=elsewhere)
    (elsewhere / "failed").mkdir()
    (elsewhere / "failed" / "digit7.png").write_bytes(BAD)
    assert retry_file(config, "digit7.png") == "digit7.png"
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"digit7.png": BAD}
    assert list_failed(elsewhere) == []


def test_failed_copy_from_another_file_system_leaves_no_trace(
    tmp_path: Path, elsewhere: Path
) -> None:
    config = Config(inbox=tmp_path, outbox=elsewhere)
    (elsewhere / "failed").mkdir()
    (elsewhere / "failed" / "digit7.png").write_bytes(BAD)
    (tmp_path / "digit7.png").write_bytes(b"new")
    with pytest.raises(RetryError):
        retry_file(config, "digit7.png")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"digit7.png": b"new"}
    assert list_failed(elsewhere) == ["digit7.png"]


def test_parts_of_a_killed_run_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = put.new_part(tmp_path)
    for path in (part, tmp_path / "digit7.png"):
        path.write_bytes(b"half")
        os.utime(path, (0, 0))  # a copy has the times of its source
    put.remove_parts(tmp_path)
    assert part.exists()
    monkeypatch.setattr("daemon.inbox.put._STALE_SECONDS", -1.0)
    put.remove_parts(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["digit7.png"]


def test_audit_still_reports_a_failed_file_that_was_not_put_back(box: Box) -> None:
    (box.outbox / "failed" / "digit7.png").unlink()
    (said,) = find_discrepancies(load(box.config)).discrepancies
    assert "its original failed/digit7.png is missing" in said


def test_audit_accepts_the_same_name_failing_again_without_pictures(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.configure(workers=1)
    box.drop("digit7.png", BAD)
    run_once(box)
    (box.outbox / "annotated" / "digit7.png").unlink()
    table = box.outbox / TABLE
    table.write_text(table.read_text().replace("annotated/digit7.png", ""))
    assert run_retry(box, "--all")[0] == 0
    run_once(box)
    assert [row["original"] for row in box.rows()] == ["failed/digit7.png"] * 2
    assert find_discrepancies(load(box.config)).discrepancies == ()


def test_names_with_something_like_an_id_are_kept(tmp_path: Path) -> None:
    box = Box(tmp_path)
    (box.outbox / "failed").mkdir()
    name = f"digit7-{ids.Ids().next()}x.png"
    (box.outbox / "failed" / name).write_bytes(BAD)
    assert retry_file(load(box.config), name) == name
