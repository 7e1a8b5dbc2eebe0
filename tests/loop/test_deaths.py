"""Deaths of workers and files that cannot be opened, for which the file may not be to blame."""

from __future__ import annotations

import os
import shutil
import signal
from functools import partial
from pathlib import Path

import pytest

from support.daemon import AS_USER, SHORT_RETRIES, STAND_IN, Box, Daemon, run_once
from support.stand_in import png_like
from support.waiting import until

needs_setpriv = pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv")


@pytest.fixture
def box(box: Box) -> Box:
    box.configure(model="model.keras", rescan_seconds=1)
    (box.folder / "model.keras").write_bytes(b"a model")
    return box


def kill_reader(running: Daemon) -> None:
    """SIGKILL both workers at the same instant, when one reads a file that was just given to it."""
    running.send(signal.SIGSTOP)
    for worker in running.workers():
        os.kill(worker, signal.SIGKILL)
    running.send(signal.SIGCONT)


def progress(worker: int) -> bytes:
    """Return what a worker says about itself: whether it reads or is idle."""
    for link in Path(f"/proc/{worker}/fd").iterdir():
        if "digitd-worker-progress" in str(link.readlink()):
            return link.read_bytes()
    return b""


def is_read(running: Daemon) -> bool:
    return any(progress(worker) == b"r" for worker in running.workers())


def wait_until_given(running: Daemon, name: str, times: int = 1) -> None:
    """Wait until a file was given to a worker."""
    running.wait_for_log(f"to a worker, the first is {name}", times)


def is_logged(box: Box, event: str) -> bool:
    """Return whether an attempt at the only file in flight is in the log of attempts."""
    return f" {event}\n" in (box.work / "attempts").read_text() + "\n"


def test_killed_worker_delays_its_file_over_a_restart_and_no_other_file(box: Box) -> None:
    with Daemon(box, STAND_IN, "--verbose") as running:
        running.wait_for_log("is ready")
        box.drop("digit1.png", png_like("sleep 2"))
        wait_until_given(running, "digit1.png")
        running.until(partial(is_read, running), "a worker that reads")
        kill_reader(running)
        running.wait_for_log("a worker went down (killed by SIGKILL)")
        running.until(partial(is_logged, box, "killed"), "a death in the log")
        running.kill()
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready", times=2)
        for number in range(2, 6):
            box.drop(f"digit{number}.png", png_like("fine"))
        box.wait_for_rows(5)
        assert running.stop() == 0
    assert [row["file"] for row in box.rows()][-1] == "digit1.png"  # ten seconds later
    assert {row["status"] for row in box.rows()} == {"ok"}


@pytest.mark.parametrize(
    ("order", "why"),
    [
        ("kill", "killed by SIGKILL"),
        ("swell", "out of memory, exit status 1: MemoryError"),
    ],
)
def test_file_is_blamed_when_the_third_worker_is_killed(box: Box, order: str, why: str) -> None:
    dropped = {f"digit{number}.png": png_like(f"fine {number}") for number in range(1, 12)}
    dropped["digit6.png"] = png_like(order)
    for name, data in dropped.items():
        box.drop(name, data)
    log = run_once(box, SHORT_RETRIES)  # waits for it
    assert log.count(" worker went down") == 3
    assert box.row("digit6.png")["status"] == "error"
    assert box.row("digit6.png")["reason"] == f"took its worker process down 3 times: {why}"
    assert sum(row["status"] == "ok" for row in box.rows()) == 10
    box.check_books(dropped)


def test_two_killed_workers_blame_no_file(box: Box) -> None:
    box.drop("digit1.png", png_like("sleep 2"))
    with Daemon(box, SHORT_RETRIES, "--verbose") as running:
        running.wait_for_log("is ready")
        for times in (1, 2):
            wait_until_given(running, "digit1.png", times)
            running.until(partial(is_read, running), "a worker that reads")
            kill_reader(running)
            running.wait_for_log("a worker went down", times=times)
        box.wait_for_rows(1)
        assert running.stop() == 0
    assert box.rows()[0]["status"] == "ok"


def test_claimed_file_that_is_out_of_sight_for_a_moment_is_read_again(box: Box) -> None:
    box.configure(workers=1)
    away = box.folder / "away"
    with Daemon(box, SHORT_RETRIES, "--verbose") as running:
        running.wait_for_log("is ready")
        (worker,) = running.workers()
        os.kill(worker, signal.SIGSTOP)
        box.drop("digit1.png", png_like("fine"))
        wait_until_given(running, "digit1.png")
        running.send(signal.SIGSTOP)
        box.inbox.rename(away)
        os.kill(worker, signal.SIGCONT)
        until(lambda: progress(worker) == b"i", "the worker's answer")
        away.rename(box.inbox)
        running.send(signal.SIGCONT)
        box.wait_for_rows(1)
        box.wait_until_settled()
        assert running.stop() == 0
        assert "trying again" in running.log
    assert box.rows()[0]["status"] == "ok"


@needs_setpriv
@pytest.mark.parametrize("mode", [0, 0o600])
def test_file_that_a_worker_may_not_open_is_tried_again_before_it_is_blamed(
    box: Box, mode: int
) -> None:
    box.drop("digit1.png", png_like("fine"))
    (box.inbox / "digit1.png").chmod(0)
    with Daemon(box, [*AS_USER, *SHORT_RETRIES]) as running:
        box.drop("digit2.png", png_like("fine"))
        running.wait_for_log("digit1.png cannot be opened by its worker, trying again")
        (claimed,) = box.work.glob("d*-digit1.png")
        claimed.chmod(mode)
        box.wait_for_rows(2)
        box.wait_until_settled()
        assert running.stop() == 0
    row = box.row("digit1.png")
    expected = ("ok", "") if mode else ("error", "cannot be opened: Permission denied")
    assert (row["status"], row["reason"]) == expected
    assert row["picture"]


@needs_setpriv
def test_work_folder_that_nobody_may_open_pauses_and_blames_no_file(box: Box) -> None:
    box.configure(workers=1)
    with Daemon(box, [*AS_USER, *SHORT_RETRIES], "--verbose") as running:
        running.wait_for_log("is ready")
        (worker,) = running.workers()
        os.kill(worker, signal.SIGSTOP)
        box.drop("digit1.png", png_like("fine"))
        wait_until_given(running, "digit1.png")
        box.work.chmod(0)
        try:
            os.kill(worker, signal.SIGCONT)
            running.wait_for_log("paused, files stay in the inbox")
        finally:
            box.work.chmod(0o770)
        box.wait_for_rows(1)
        box.wait_until_settled()
        assert "went down" not in running.log
        assert running.stop() == 0
    assert box.rows()[0]["status"] == "ok"
