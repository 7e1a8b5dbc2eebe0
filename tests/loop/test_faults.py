"""A failing disk or a kill at every write, fsync, rename and mkdir on the path of one file."""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING

import pytest

from support.daemon import Box, Daemon, run_once
from support.stand_in import png_like
from support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

ERRORS = ("ENOSPC", "EIO", "EACCES")
CALLS = {"write", "pwrite", "fsync", "rename", "mkdir", "rename_noreplace", "sync_file_system"}
DATA = png_like("fine")


def faulty(folder: Path, nth: int, fault: str) -> tuple[Box, list[str]]:
    """Return a box with one file in it, and the command that causes the fault."""
    folder.mkdir()
    box = Box(folder)
    box.configure(model="model.keras")
    (folder / "model.keras").write_bytes(b"a model")
    box.drop("digit1.png", DATA)
    return box, [sys.executable, "-m", "support.faulty", str(nth), fault]


def struck(running: Daemon) -> str:
    """Return the call that failed, from the log; empty if there were fewer calls."""
    return running.log.partition("fault: ")[2].partition(" ")[0]


def wait_for_end_or_row(running: Daemon) -> None:
    """Wait until the daemon was killed, or has published the file despite the fault."""
    box = running.box
    until(
        lambda: running.process.poll() is not None or (bool(box.rows()) and not box.claimed()),
        "a kill or a published row",
    )


@pytest.mark.timeout(400)  # some twenty starts each: 20 s on two idle cores
def test_file_survives_a_disk_fault_at_every_call(tmp_path: Path) -> None:
    failed = []
    for nth in itertools.count(1):
        box, command = faulty(tmp_path / str(nth), nth, ERRORS[nth % len(ERRORS)])
        with Daemon(box, command) as running:
            wait_for_end_or_row(running)
            if running.process.poll() is None:
                assert running.stop() == 0, running.log
        if running.process.returncode:  # a fault at the start; systemd starts it again
            assert running.process.returncode == 1, running.log
            assert "Traceback" not in running.log
            run_once(box)
        (row,) = box.rows()
        assert row["status"] == "ok", running.log
        box.check_books({"digit1.png": DATA})
        if not struck(running):
            break
        failed.append(struck(running))
    assert set(failed) >= CALLS


@pytest.mark.timeout(400)  # some twenty starts each: 20 s on two idle cores
def test_file_survives_a_kill_at_every_call(tmp_path: Path) -> None:
    killed = []
    for nth in itertools.count(1):
        box, command = faulty(tmp_path / str(nth), nth, "SIGKILL")
        with Daemon(box, command) as running:
            wait_for_end_or_row(running)
            if running.process.poll() is None:
                running.stop()
        if not struck(running):
            break
        killed.append(struck(running))
        run_once(box)
        assert box.rows()[0]["status"] == "ok"
        box.check_books({"digit1.png": DATA})
    assert set(killed) >= CALLS
