"""Folders for each day, and files that are deleted when they are too old, with the real daemon."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from daemon.config import load
from daemon.inbox.put import list_failed
from daemon.outbox.audit import Audit, find_discrepancies
from support.daemon import STAND_IN, Box, Daemon, digitd, run_once
from support.site import Server, Site, png
from support.stand_in import png_like
from support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

MOMENT = 0.000_01  # days, 0.9 s
FINE, BAD = png_like("fine"), png_like("bad 1")


def files(box: Box) -> list[str]:
    """Return the paths of all published files."""
    places = ("annotated", "originals", "failed")
    found = (path for place in places for path in (box.outbox / place).rglob("*"))
    return sorted(str(path.relative_to(box.outbox)) for path in found if path.is_file())


def test_daily_folders_hold_the_files_of_their_day(box: Box) -> None:
    box.configure(folders="daily")
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    for data in (FINE, png_like("fine too")):
        box.drop("digit7.png", data)
        run_once(box)
    box.drop("digit8.png", BAD)
    run_once(box)
    assert day == f"{datetime.now(UTC):%Y-%m-%d}", "midnight came between"
    first, second, bad = box.rows()
    assert (first["original"], first["picture"]) == (
        f"originals/{day}/digit7.png",
        f"annotated/{day}/digit7.png",
    )
    assert second["original"] == f"originals/{day}/digit7-{second['id']}.png"
    assert bad["original"] == f"failed/{day}/digit8.png"
    assert files(box) == sorted(row[key] for row in box.rows() for key in ("original", "picture"))
    assert find_discrepancies(load(box.config)) == Audit(rows=3, files=3, in_flight=0)
    (box.outbox / "originals" / day / "digit9.png").write_bytes(b"a stranger")
    (stranger,) = find_discrepancies(load(box.config)).discrepancies
    assert stranger.startswith(f"originals/{day}/digit9.png: no row names it")


def test_file_that_failed_on_a_day_is_put_back(box: Box) -> None:
    box.configure(folders="daily")
    box.drop("digit8.png", BAD)
    run_once(box)
    (name,) = list_failed(box.outbox)
    assert name.endswith("/digit8.png")
    done = digitd("retry", name, "--config", box.config)
    assert (done.returncode, done.stdout) == (
        0,
        f"{name}: put back into the inbox as digit8.png\n",
    )
    assert (box.inbox / "digit8.png").read_bytes() == BAD
    assert find_discrepancies(load(box.config)).discrepancies == ()


def test_outbox_may_change_from_flat_to_daily_and_back(box: Box) -> None:
    dropped = {}
    for number, folders in enumerate(("flat", "daily", "flat"), 1):
        box.configure(folders=folders)
        dropped[f"digit{number}.png"] = png_like(f"fine {number}")
        box.drop(f"digit{number}.png", dropped[f"digit{number}.png"])
        run_once(box)
    assert [row["original"].count("/") for row in box.rows()] == [1, 2, 1]
    box.check_books(dropped)


@pytest.mark.parametrize("folders", ["flat", "daily"])
def test_old_files_are_deleted_and_their_rows_stay(box: Box, folders: str) -> None:
    box.configure(folders=folders)
    for number in range(1, 4):
        box.drop(f"digit{number}.png", png_like(f"fine {number}"))
    box.drop("digit8.png", BAD)
    run_once(box)
    rows = box.rows()
    (bad,) = (row for row in rows if row["status"] == "error")
    # It was published long after it was made.
    os.utime(box.outbox / rows[0]["original"], (0, 0))
    box.configure(keep_days=300)
    run_once(box)
    assert len(files(box)) == 8
    box.configure(keep_days=f"{MOMENT:.5f}")
    time.sleep(MOMENT * 86400 + 0.1)  # what is measured
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("deleted 7 files")
        box.drop("digit9.png", FINE)
        until(lambda: len(box.rows()) == 5 and not box.claimed(), "another file")
        assert running.stop() == 0
    new = box.row("digit9.png")
    assert files(box) == sorted([bad["original"], new["original"], new["picture"]])
    assert box.rows()[:4] == rows
    # What was deleted is known even when the setting is gone, and what is missing otherwise is not.
    box.configure(keep_days="null")
    assert find_discrepancies(load(box.config)).discrepancies == ()
    (box.outbox / new["original"]).unlink()
    (missing,) = find_discrepancies(load(box.config)).discrepancies
    assert "digit9.png is missing" in missing


def test_name_of_a_deleted_file_comes_again(box: Box) -> None:
    box.drop("digit1.png", FINE)
    run_once(box)
    box.configure(keep_days=f"{MOMENT:.5f}")
    time.sleep(MOMENT * 86400 + 0.1)  # what is measured
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("deleted 2 files")
        box.drop("digit1.png", png_like("fine too"))
        box.wait_for_rows(2)
        assert running.stop() == 0
    box.configure(keep_days="null")
    old, new = box.rows()
    assert (old["original"], old["picture"]) == (new["original"], new["picture"])
    assert find_discrepancies(load(box.config)) == Audit(rows=2, files=1, in_flight=0)
    with Server(box) as server:
        server.wait_for_rows(2)
        for what in ("large", "seen"):
            reply = server.request(f"/image/{old['id']}/{what}")
            assert (reply.status, reply.json["error"]) == (404, "the file is gone")


def test_file_that_cannot_be_deleted_stops_neither_the_others_nor_the_daemon(box: Box) -> None:
    for number in (1, 2):
        box.drop(f"digit{number}.png", FINE)
    run_once(box)
    stuck = box.outbox / "originals" / "digit1.png"
    stuck.unlink()
    stuck.mkdir()
    time.sleep(MOMENT * 86400 + 0.1)  # what is measured
    box.configure(keep_days=f"{MOMENT:.5f}")
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("cannot be deleted yet")
        box.drop("digit3.png", FINE)
        box.wait_for_rows(3)
        box.wait_until_settled()
        assert running.stop() == 0
    assert stuck.is_dir()
    assert files(box) == ["annotated/digit3.png", "originals/digit3.png"]


@pytest.mark.parametrize("once", [True, False], ids=["once", "running"])
def test_age_is_that_of_the_row_whatever_happens_to_the_inode(box: Box, *, once: bool) -> None:
    for number in (1, 2, 3):
        box.drop(f"digit{number}.png", FINE)
    run_once(box)
    time.sleep(MOMENT * 86400 + 0.1)  # what is measured
    originals = box.outbox / "originals"
    (originals / "digit1.png").chmod(0o640)
    os.link(originals / "digit2.png", box.folder / "backup")
    copy = box.folder / "copy"  # restored from a backup
    (originals / "digit3.png").rename(copy)
    (originals / "digit3.png").write_bytes(copy.read_bytes())
    (originals / "digit4.png").write_bytes(b"no row names it")
    box.configure(keep_days=f"{MOMENT:.5f}")
    if once:
        run_once(box)
    else:
        with Daemon(box, STAND_IN) as running:
            running.wait_for_log("deleted 6 files")
            assert running.stop() == 0
    assert files(box) == ["originals/digit4.png"]
    assert (box.folder / "backup").read_bytes() == FINE


def test_name_that_a_person_made_free_is_not_deleted_with_its_first_row(box: Box) -> None:
    box.drop("digit1.png", FINE)
    run_once(box)
    for path in ("originals/digit1.png", "annotated/digit1.png"):
        (box.outbox / path).unlink()
    time.sleep(1)  # what is measured
    box.drop("digit1.png", png_like("fine too"))
    run_once(box)
    old, new = box.rows()
    assert old["original"] == new["original"]
    ages = [
        (datetime.now(UTC) - datetime.fromisoformat(row["processed_at"])).total_seconds()
        for row in (old, new)
    ]
    box.configure(keep_days=f"{sum(ages) / 2 / 86400:.9f}")  # only the first one is too old
    run_once(box)
    assert files(box) == ["annotated/digit1.png", "originals/digit1.png"]


def test_note_of_an_earlier_version_is_kept_until_it_lies_in_the_future(box: Box) -> None:
    for number in (1, 2):
        box.drop(f"digit{number}.png", FINE)
        run_once(box)
    first, second = box.rows()
    for path in files(box):
        (box.outbox / path).unlink()
    note = box.outbox / ".digitd.deleted-before"

    def missing() -> list[str]:
        lines = find_discrepancies(load(box.config)).discrepancies
        return [row["file"] for row in (first, second) if any(row["id"] in line for line in lines)]

    note.write_text(f"{second['processed_at']}\n")
    assert missing() == ["digit2.png"]
    box.configure(keep_days=f"{MOMENT:.5f}")
    time.sleep(MOMENT * 86400 + 0.1)  # what is measured
    run_once(box)  # the note is now an id
    note_now = note.read_text()
    assert missing() == []
    for wrong in ("2099-01-01T00:00:00.000Z", "zzz zzz", "9", "", "\xff"):
        note.write_bytes(f"{wrong}\n".encode("latin-1"))
        assert missing() == ["digit1.png", "digit2.png"], wrong
    assert note_now.endswith(f" {second['id']}\n")


def test_review_page_shows_files_of_a_day_and_follows_no_symlink(tmp_path: Path) -> None:
    site = Site(tmp_path)
    row = site.add("digit1.png")
    for place in ("originals", "annotated"):
        (site.outbox / place / "2026-11-24").mkdir()
        (site.outbox / place / "digit1.png").rename(
            site.outbox / place / "2026-11-24" / "digit1.png"
        )
    table = site.outbox / "predictions.csv"
    table.write_text(table.read_text().replace("/digit1.png", "/2026-11-24/digit1.png"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "digit1.png").write_bytes(png())
    with Server(site) as server:
        server.wait_for_rows(1)
        assert server.request(f"/image/{row}/large").status == 200
        (site.outbox / "originals" / "2026-11-24").rename(tmp_path / "away")
        (site.outbox / "originals" / "2026-11-24").symlink_to(elsewhere)
        assert server.request(f"/image/{row}/large").status == 404
