"""Tables that logrotate moved aside, compressed or not: found, read, counted once, or named."""

from __future__ import annotations

import bz2
import gzip
import importlib
import importlib.util
import lzma
import os
import re
import shutil
import subprocess
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from daemon import ids
from daemon.config import load
from daemon.layout import COUNTS, TABLE
from daemon.loop.status import read_status
from daemon.outbox import rows
from daemon.outbox.audit import find_discrepancies
from daemon.outbox.outbox import Outbox
from daemon.outbox.results import final_rows
from daemon.outbox.rotated import list_rotated
from daemon.outbox.table import rows_from_the_end
from support import programs
from support.daemon import ROOT, digitd, run_once
from support.factories import row
from support.site import Server
from support.stand_in import png_like

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.daemon import Box
    from support.site import Site

COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "xz": lzma.compress,
    "bz2": bz2.compress,
}
if importlib.util.find_spec("compression") is not None:
    COMPRESSED["zst"] = importlib.import_module("compression.zstd").compress
FORMATS = pytest.mark.parametrize("ending", COMPRESSED)


def rotate(site: Site, name: str, ending: str = "") -> Path:
    """Move the table aside, as logrotate does."""
    moved = site.outbox / name
    site.table.rename(moved)
    if not ending:
        return moved
    compressed = moved.with_name(f"{name}.{ending}")
    compressed.write_bytes(COMPRESSED[ending](moved.read_bytes()))
    shutil.copystat(moved, compressed)
    moved.unlink()
    return compressed


def test_tables_are_in_the_order_of_their_ids_whatever_their_times(tmp_path: Path) -> None:
    """The clock was ahead when logrotate moved one of them, or a backup was restored."""
    lines = {name: rows.format_row(row(name)) for name in ("old.png", "middle.png", "new.png")}
    for name, table, moment in zip(
        lines, (f"{TABLE}.3", f"{TABLE}.1", TABLE), (4e9, 1, 2), strict=True
    ):
        (tmp_path / table).write_bytes((rows.HEADER + lines[name]).encode())
        os.utime(tmp_path / table, (moment, moment))
    assert [path.name for path in list_rotated(tmp_path)] == [f"{TABLE}.1", f"{TABLE}.3"]
    assert [final.cells[1] for final in final_rows(tmp_path)] == list(lines)
    ids_from_the_end = [one["file"] for one in rows_from_the_end(tmp_path)]
    assert ids_from_the_end == list(lines)[::-1]


def results(site: Site) -> list[str]:
    return [one.cells[1] for one in final_rows(site.outbox)]


def test_tables_are_found_by_every_name_that_logrotate_gives(tmp_path: Path) -> None:
    found = [
        f"{TABLE}.1",
        f"{TABLE}-20261128.gz",
        "predictions-20261128.csv",
        "predictions.2.csv.xz",
        f"{TABLE}.bak",
    ]
    others = [
        "predictions.txt",
        "predictions-final.csv",
        "labels.csv.1",
        "xpredictions.csv.1",
        TABLE,
    ]
    for age, name in enumerate([*found, *others, TABLE]):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    (tmp_path / f"{TABLE}.d").mkdir()
    assert [path.name for path in list_rotated(tmp_path)] == found


@FORMATS
def test_compressed_table_is_read_by_every_command(site: Site, ending: str) -> None:
    site.add("digit1.png")
    rotate(site, f"{TABLE}-20261127", ending)
    site.add("digit2.png")
    rotate(site, "predictions-20261128.csv", ending)
    site.add("digit3.png")
    assert results(site) == ["digit1.png", "digit2.png", "digit3.png"]
    assert find_discrepancies(load(site.config)).discrepancies == ()
    assert read_status(load(site.config))["ok"] == 3


@FORMATS
def test_compressed_table_is_in_the_review_page(site: Site, ending: str) -> None:
    first = site.add("digit1.png")
    with Server(site) as server:
        server.wait_for_rows(1)
        rotate(site, f"{TABLE}.1", ending)
        site.add("digit2.png")
        server.wait_for_rows(2)
        assert server.request(f"/api/rows/{first}").json["file"] == "digit1.png"
        assert server.request(f"/image/{first}/small").status == 200
    with Server(site) as server:  # from the index of the last run
        server.wait_for_rows(2)
        assert server.request(f"/api/rows/{first}").json["file"] == "digit1.png"


def test_table_and_its_compressed_copy_count_once(site: Site) -> None:
    site.add("digit1.png")
    moved = rotate(site, f"{TABLE}.1")
    site.add("digit2.png")
    whole = gzip.compress(moved.read_bytes())
    copy = moved.with_name(f"{TABLE}.1.gz")
    for content in (b"", whole[:40], whole):
        copy.write_bytes(content)
        assert results(site) == ["digit1.png", "digit2.png"]
        audit = digitd("audit", "--config", site.config)
        assert audit.stdout == "2 rows, 2 files, 0 in work, 0 discrepancies\n"
        assert not audit.stderr
        assert read_status(load(site.config))["ok"] == 2


def test_copy_of_a_table_counts_once(site: Site) -> None:
    site.add("digit1.png")
    (site.outbox / f"{TABLE}.bak").write_bytes(site.table.read_bytes())
    site.add("digit2.png")
    assert read_status(load(site.config))["ok"] == 2


UNKNOWN = {"zst": b"\x28\xb5\x2f\xfd", "lz4": b"\x04\x22\x4d\x18", "zip": b"PK\x03\x04"}


@pytest.mark.parametrize("ending", UNKNOWN)
def test_table_in_another_format_is_named_and_not_parsed(
    site: Site, caplog: pytest.LogCaptureFixture, ending: str
) -> None:
    if ending in COMPRESSED:
        pytest.skip("this Python reads zstd")
    site.add("digit1.png")
    line = site.table.read_bytes().splitlines(keepends=True)[1]
    other = site.outbox / f"{TABLE}.1.{ending}"
    other.write_bytes(UNKNOWN[ending] + bytes(50) + b"\n" + line.replace(b"digit1", b"digit2"))
    said = f"{other} is not read: it is neither text"
    assert results(site) == ["digit1.png"]
    assert caplog.text.count(said) == 1
    assert read_status(load(site.config))["ok"] == 1
    assert caplog.text.count(said) == 2
    (discrepancy,) = find_discrepancies(load(site.config)).discrepancies
    assert discrepancy.startswith(said)


def test_commands_and_page_name_a_table_that_they_do_not_read(site: Site) -> None:
    site.add("digit1.png")
    other = site.outbox / f"{TABLE}.1.lz4"
    other.write_bytes(UNKNOWN["lz4"])
    for command, status in (("audit", 1), ("results", 0), ("status", 3)):
        done = digitd(command, "--config", site.config)
        assert f"{other} is not read: it is neither text" in done.stderr
        assert "Traceback" not in done.stderr
        assert done.returncode == status
    with Server(site) as server:
        server.wait_for_rows(1)
        assert f"{other} is not read" in server.log


@pytest.mark.parametrize("ending", ["gz", "xz", "bz2"])
@pytest.mark.parametrize("damage", [b"", b"\x01\x02\x03\x04"])
def test_damaged_table_is_named_and_read_as_far_as_it_goes(
    site: Site, caplog: pytest.LogCaptureFixture, ending: str, damage: bytes
) -> None:
    site.add("digit1.png")
    damaged = rotate(site, f"{TABLE}.1", ending)
    site.add("digit2.png")
    damaged.write_bytes(damaged.read_bytes()[:-4] + damage)
    said = f"{damaged} is damaged: restore it from a backup, or move it away"
    assert results(site)[-1] == "digit2.png"
    assert caplog.text.count(said) == 1
    assert read_status(load(site.config))["ok"] in {1, 2}
    assert said in find_discrepancies(load(site.config)).discrepancies


@FORMATS
def test_start_finds_the_row_of_a_leftover_in_a_compressed_table(box: Box, ending: str) -> None:
    box.drop("digit1.png", png_like("good"))
    run_once(box)
    (read,) = box.rows()
    # As after a kill between the row and the publication.
    (box.outbox / read["original"]).rename(box.work / f"{read['id']}-digit1.png")
    moved = box.outbox / f"{TABLE}.1.{ending}"
    moved.write_bytes(COMPRESSED[ending](box.table.read_bytes()))
    box.table.write_text(rows.HEADER)
    log = run_once(box)
    assert "recovered 1 file of an earlier run: 0 to read, 1 to publish" in log
    assert (box.outbox / read["original"]).exists()
    assert not box.rows()


def test_start_reads_compressed_tables_only_if_the_others_do_not_answer(site: Site) -> None:
    site.add("digit1.png")
    damaged = rotate(site, f"{TABLE}.2", "gz")
    damaged.write_bytes(damaged.read_bytes()[:-4])  # whoever reads it says so
    site.add("digit2.png")
    assert "damaged" not in run_once(site)
    site.work.joinpath("d0123456789ab-digit3.png").write_bytes(png_like("good"))
    assert "damaged" in run_once(site)


def test_compressed_rows_come_backwards_in_bounded_memory(tmp_path: Path) -> None:
    one = row("digit1.png")
    found = [ids.encode(number) for number in range(40_000)]
    line = rows.format_row(one)
    lines = "".join(line.replace(one.result.job.id, each) for each in found)
    (tmp_path / f"{TABLE}.1.gz").write_bytes(gzip.compress((rows.HEADER + lines).encode(), 1))
    tracemalloc.start()
    backwards = [each["id"] for each in rows_from_the_end(tmp_path, compressed=True)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert backwards == found[::-1]
    assert peak < len(lines)


def test_what_was_counted_of_a_finished_table_is_kept(site: Site) -> None:
    site.add("digit1.png")
    moved = rotate(site, f"{TABLE}.1")
    site.add("digit2.png")
    config = load(site.config)
    assert read_status(config)["ok"] == 2
    kept = (site.outbox / COUNTS).read_bytes()
    info = moved.stat()
    with moved.open("r+b") as file:  # the same file by its inode, size and time
        file.write(b"x" * info.st_size)
    os.utime(moved, ns=(info.st_atime_ns, info.st_mtime_ns))
    moved = moved.rename(site.outbox / f"{TABLE}.2")
    status = read_status(config)
    assert (status["ok"], status["last"]["file"]) == (2, "digit2.png")
    assert (site.outbox / COUNTS).read_bytes() == kept
    moved.write_text(rows.HEADER)
    (site.outbox / COUNTS).write_text('{"1 2 3": 4}')
    assert read_status(config)["ok"] == 1
    assert find_discrepancies(config).files == 2


def test_table_moved_out_of_sight_is_said(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.add("digit1.png")
    outbox = Outbox(site.outbox)
    outbox.ensure_open()
    said = "was moved to where digitd does not look"
    for name, is_said in (("predictions.csv.1", False), ("old.csv", True)):
        site.table.rename(site.outbox / name)
        _commit(site, outbox)
        assert (said in caplog.text) == is_said
    outbox.close()


def test_table_that_a_spreadsheet_replaced_was_not_moved(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):
        site.add(f"digit{number}.png")
    outbox = Outbox(site.outbox)
    outbox.ensure_open()
    header, *lines = site.table.read_bytes().splitlines()
    for table in ([header, *reversed(lines)], [b'"id"' + header[2:], *lines]):
        saved = site.folder / "saved.csv"
        saved.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join([*table, b""]))
        saved.replace(site.table)
        _commit(site, outbox)
    assert "was moved" not in caplog.text
    assert len(site.rows()) == 4
    outbox.close()


def _commit(site: Site, outbox: Outbox) -> None:
    """Append a row with the table that is open."""
    result = row("digit2.png", job_id=site.ids.next()).result
    outbox.commit([result])


def test_start_on_a_new_table_warns_that_files_may_be_read_twice(box: Box) -> None:
    box.drop("digit1.png", png_like("good"))
    run_once(box)
    (read,) = box.rows()
    (box.outbox / read["original"]).rename(box.work / f"{read['id']}-digit1.png")
    box.table.rename(box.outbox / "foreign-name")
    log = run_once(box)
    assert f"{box.table} is new, and 1 claimed files have no row" in log
    assert f"move it back to {box.table}.1, or they are read twice" in log


def test_shipped_logrotate_file_loses_no_row(site: Site) -> None:
    programs.require("logrotate")
    shipped = (ROOT / "docs/logrotate.conf").read_text()
    shipped = shipped.replace("/srv/digits/outbox", str(site.outbox))
    config = site.folder / "logrotate.conf"
    # There is no such user here, and all rotations are on one day.
    config.write_text(re.sub(r"\n +(su .*|dateext)", "", shipped))
    state = site.folder / "logrotate.state"
    site.outbox.chmod(0o755)
    outbox = Outbox(site.outbox)
    outbox.ensure_open()
    for number in range(4):
        _commit(site, outbox)
        if number < 3:
            done = subprocess.run(
                ["logrotate", "--force", "--state", state, config],
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
            assert done.returncode == 0, done.stderr
    outbox.close()
    assert sorted(path.name for path in list_rotated(site.outbox)) == [
        f"{TABLE}.1",
        f"{TABLE}.2.gz",
        f"{TABLE}.3.gz",
    ]
    assert len(results(site)) == 4
    assert read_status(load(site.config))["ok"] == 4
