"""Files that other programs still write, with the real program and another user's files."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from support.daemon import DIGITD, SAMPLES, STAND_IN, Box, Daemon, digitd, run_once
from support.stand_in import png_like
from support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

STRANGER = 65534
# A root without capabilities owns digitd's files, but may take no lease on another user's.
AS_A_USER = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *STAND_IN]
BITMAP = b"BM a format without an end marker"
JPEG = b"\xff\xd8\xff\xda\x00\x02" + bytes(50) + b"\xff\xd9"


@pytest.fixture
def box(box: Box) -> Box:
    (box.folder / "model.keras").write_bytes(b"a model")
    box.configure(model="model.keras", pattern='"*"', rescan_seconds=3600)
    return box


@pytest.fixture
def strangers(box: Box) -> Box:
    """Return a box in which root can make another user's files."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to make another user's files")
    if shutil.which("setpriv") is None:
        pytest.skip("needs setpriv")
    box.inbox.chmod(0o777)
    return box


def status(box: Box) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(digitd("status", "--json", "--config", box.config).stdout)
    return found


def give_away(file: Path) -> None:
    os.chown(file, STRANGER, STRANGER)
    file.chmod(0o644)


def drop_strangers(box: Box, name: str, data: bytes) -> None:
    (box.folder / name).write_bytes(data)
    give_away(box.folder / name)
    (box.folder / name).rename(box.inbox / name)


def wait_for_incomplete_seconds(box: Box) -> None:
    """Wait until a file of which nothing is known has its row."""
    rows = len(box.rows())
    drop_strangers(box, f"unknown{rows}", BITMAP)
    box.wait_for_rows(rows + 1)


def test_strangers_file_waits_while_it_is_open(strangers: Box) -> None:
    box = strangers
    files = {"created": BITMAP, "again": BITMAP, "part": png_like("fine"), "photo": JPEG}
    with Daemon(box, AS_A_USER) as running:
        running.wait_for_log("is ready")
        (box.inbox / ".again").write_bytes(BITMAP)
        (box.inbox / ".part").write_bytes(b"")
        give_away(box.inbox / ".again")
        give_away(box.inbox / ".part")
        writers = {
            "created": (box.inbox / "created").open("wb", buffering=0),
            "again": (box.inbox / ".again").open("r+b", buffering=0),
            "part": (box.inbox / ".part").open("wb", buffering=0),
            "photo": (box.inbox / "photo").open("wb", buffering=0),
        }
        writers["created"].write(BITMAP)
        writers["part"].write(png_like("fine"))
        writers["photo"].write(JPEG[:100])
        (box.inbox / ".part").rename(box.inbox / "part")
        (box.inbox / ".again").rename(box.inbox / "again")
        give_away(box.inbox / "created")
        give_away(box.inbox / "photo")
        wait_for_incomplete_seconds(box)
        until(lambda: set(status(box)["open"]) == set(files), lambda: f"{status(box)}")
        writers["photo"].write(JPEG[100:])
        wait_for_incomplete_seconds(box)
        until(lambda: set(status(box)["open"]) == set(files), lambda: f"{status(box)}")
        assert status(box)["waiting"] == 4
        said = digitd("status", "--config", box.config).stdout
        assert "open:" in said
        assert "photo" in said.partition("open:")[2].partition("\n")[0]
        writers["photo"].write(b"MotionPhoto_Data")
        files["photo"] += b"MotionPhoto_Data"
        for writer in writers.values():
            writer.close()
        box.wait_for_rows(6)
        box.wait_until_settled()
        until(lambda: status(box)["open"] == [], "no open file")
        running.stop()
    box.check_books(files | {"unknown0": BITMAP, "unknown1": BITMAP})


def test_whole_files_wait_for_writers_whose_events_are_not_recorded(strangers: Box) -> None:
    box = strangers
    names = {f"photo{number}" for number in range(50)}
    for other in (".other0", ".other1"):
        (box.inbox / other).touch()
    with Daemon(box, AS_A_USER) as running, ExitStack() as writers:
        running.wait_for_log("is ready")
        running.send(signal.SIGSTOP)
        for name in names:
            (box.inbox / name).touch()
            give_away(box.inbox / name)
        # The loop is woken by these events, and those of the writers come last. To record what is
        # between them takes the thread longer than Python's switch interval of 5 ms.
        for number in range(10_000):
            os.truncate(box.inbox / f".other{number % 2}", number % 100)
        for name in names:
            writers.enter_context((box.inbox / name).open("r+b", buffering=0)).write(JPEG)
        running.send(signal.SIGCONT)
        until(lambda: set(status(box)["open"]) == names, lambda: f"{status(box)}, {box.rows()}")
        writers.close()
        box.wait_for_rows(len(names))
        box.wait_until_settled()
    box.check_books(dict.fromkeys(names, JPEG))


def test_files_are_complete_after_the_time_that_fits_what_is_known(strangers: Box) -> None:
    box = strangers
    box.configure(settle_seconds=0.1, incomplete_seconds=5)
    with Daemon(box, AS_A_USER) as running:
        running.wait_for_log("is ready")
        dropped = time.monotonic()
        drop_strangers(box, "unknown", BITMAP)
        drop_strangers(box, "unknown.jpg", JPEG + b"more")
        drop_strangers(box, "whole.jpg", JPEG)
        drop_strangers(box, "whole.png", png_like("fine"))
        for name in ("closed", "closed.jpg"):
            (box.inbox / f".{name}").write_bytes(JPEG + b"more" if "jpg" in name else BITMAP)
            give_away(box.inbox / f".{name}")
            (box.inbox / f".{name}").rename(box.inbox / name)
        (box.inbox / "cut.png").write_bytes(png_like("fine")[:-1])
        box.wait_for_rows(4)
        names = {row["file"] for row in box.rows()}
        assert names == {"closed", "closed.jpg", "whole.jpg", "whole.png"}
        box.wait_for_rows(7)
        assert time.monotonic() - dropped >= 5


def test_strangers_reader_delays_a_file_only_while_it_has_it_open(strangers: Box) -> None:
    box = strangers
    with Daemon(box, AS_A_USER) as running:
        running.wait_for_log("is ready")
        (box.inbox / ".made").write_bytes(png_like("fine"))
        give_away(box.inbox / ".made")
        with (box.inbox / ".made").open("rb"):
            (box.inbox / ".made").rename(box.inbox / "digit1.png")
            wait_for_incomplete_seconds(box)
            until(lambda: status(box)["open"] == ["digit1.png"], lambda: f"{status(box)}")
        box.wait_for_rows(2)


def test_what_was_known_is_forgotten_at_a_restart(strangers: Box) -> None:
    box = strangers
    with (box.inbox / "digit1").open("wb", buffering=0) as writer:
        writer.write(BITMAP)
        give_away(box.inbox / "digit1")
        with Daemon(box, AS_A_USER) as running:
            running.wait_for_log("is ready")
            box.wait_for_rows(1)


def test_lease_tells_who_has_an_own_file_open_without_events(box: Box) -> None:
    box.configure(watch="polling")
    with (box.inbox / "digit1").open("wb", buffering=0) as writer:
        writer.write(BITMAP)
        with Daemon(box, STAND_IN) as running:
            running.wait_for_log("is ready")
            box.drop("digit2", BITMAP)
            box.wait_for_rows(1)
            until(lambda: status(box)["open"] == ["digit1"], lambda: f"{status(box)}")
            box.drop("cut.png", png_like("fine")[:-1])
            box.wait_for_rows(2)  # incomplete_seconds are over
            writer.write(b"more")
            writer.close()
            box.wait_for_rows(3)
            box.wait_until_settled()
    box.check_books(
        {"digit1": BITMAP + b"more", "digit2": BITMAP, "cut.png": png_like("fine")[:-1]}
    )


def test_writers_that_come_during_a_lease_kill_nobody_and_are_not_blocked(box: Box) -> None:
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        running.send(signal.SIGIO)
        end = time.monotonic() + 2
        while time.monotonic() < end:  # the daemon takes and releases leases on the same file
            (box.inbox / "digit1").write_bytes(BITMAP)
            with (box.inbox / "digit1").open("ab") as writer:
                writer.write(b"more")
        box.wait_for_rows(1)
        assert running.process.poll() is None


def test_empty_files_stay_and_are_counted(box: Box) -> None:
    box.configure(metrics_file=box.folder / "digitd.prom")
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        for name in ("digit1.png", "digit2", "digit3.jpg"):
            (box.inbox / name).touch()
        box.drop("digit4", BITMAP)
        box.wait_for_rows(1)
        box.drop("cut.png", png_like("fine")[:-1])
        box.wait_for_rows(2)  # incomplete_seconds are over
        found = status(box)
        assert (found["empty"], found["waiting"], found["open"]) == (3, 0, [])
        assert "empty:       3" in digitd("status", "--config", box.config).stdout
        (box.inbox / "digit1.png").write_bytes(png_like("fine"))
        box.wait_for_rows(3)
        running.stop()
    assert status(box)["empty"] == 2
    metrics = (box.folder / "digitd.prom").read_text()
    assert "digitd_waiting_files 0.0" in metrics
    assert "digitd_oldest_waiting_seconds 0.0" in metrics


def test_run_once_names_the_files_that_it_left(box: Box) -> None:
    del box.settings["model"]
    box.configure()
    (box.inbox / "digit2.png").touch()
    box.drop("digit1.png", (SAMPLES / "digit1.png").read_bytes())
    with (box.inbox / "digit10.png").open("wb", buffering=0) as writer:
        writer.write(png_like("fine"))
        (box.inbox / "digit3\n.png").touch()
        log = run_once(box, DIGITD)
    assert [row["file"] for row in box.rows()] == ["digit1.png"]
    assert log.endswith(
        "left in the inbox: digit2.png (empty), digit3\\n.png (empty), "
        "digit10.png (open in another program)\n"
    )
