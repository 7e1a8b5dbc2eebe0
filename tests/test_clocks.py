"""Clocks that are or were wrong, in either direction, with the real program."""

from __future__ import annotations

import os
import re
import signal
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.clock import Clock
from support.daemon import STAND_IN, Box, Daemon, run_once
from support.site import Server
from support.stand_in import png_like
from support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

FINE = png_like("fine")
DECADE = 3650.0  # days


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path)


def time_of(text: str) -> datetime:
    return datetime.fromisoformat(text)


def stop_workers(running: Daemon) -> list[int]:
    """Stop the workers, so that files stay claimed: with this clock, they cannot sleep (EINVAL)."""
    running.wait_for_log("is ready")
    workers = running.workers()
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    return workers


def oldest_waiting(file: Path) -> float:
    """Return the metric of the oldest waiting file, in seconds."""
    (value,) = (
        sample.value
        for family in text_string_to_metric_families(file.read_text())
        for sample in family.samples
        if sample.name == "digitd_oldest_waiting_seconds"
    )
    return value


@pytest.mark.parametrize("restart", [True, False], ids=["restarted", "while it runs"])
@pytest.mark.parametrize("days", [DECADE, -DECADE], ids=["ahead", "behind"])
def test_files_are_dated_right_after_the_clock_was_wrong(
    box: Box, clock: Clock, days: float, *, restart: bool
) -> None:
    box.configure(folders="daily")
    command = clock.command(STAND_IN)
    clock.set(days)
    box.drop("digit1.png", FINE)
    if restart:
        run_once(box, command)
        clock.set(0)
        before = datetime.now(UTC)
        box.drop("digit2.png", FINE)
        run_once(box, command)
    else:
        with Daemon(box, command) as running:
            box.wait_for_rows(1)
            clock.set(0)
            before = datetime.now(UTC)
            box.drop("digit2.png", FINE)
            box.wait_for_rows(2)
            box.wait_until_settled()
            assert running.stop() == 0
    first, second = box.rows()
    assert first["id"] < second["id"]
    received, processed = time_of(second["received_at"]), time_of(second["processed_at"])
    assert before - timedelta(milliseconds=1) <= received <= processed <= datetime.now(UTC)
    assert second["original"] == f"originals/{received:%Y-%m-%d}/digit2.png"
    with Server(box) as server:
        server.wait_for_rows(2)
        shown = server.request(f"/gallery?since={before:%Y-%m-%d}&until={received:%Y-%m-%d}").text
        assert ("digit1.png" in shown, "digit2.png" in shown) == (False, True)
        newest_first = server.request("/gallery").text
        assert newest_first.index("digit2.png") < newest_first.index("digit1.png")
        rate = re.search(r"in the last minute</dt><dd>(\d+)<", server.request("/live").text)
        assert rate is not None
        assert rate[1] == "1"


def test_time_of_arrival_survives_a_kill(box: Box, clock: Clock) -> None:
    command = clock.command(STAND_IN)
    clock.set(DECADE)  # from now on, ids are ahead of the clock
    box.drop("digit1.png", FINE)
    run_once(box, command)
    clock.set(0)
    before = datetime.now(UTC)
    with Daemon(box, command) as running:
        stop_workers(running)
        box.drop("digit2.png", FINE)
        until(lambda: bool(box.claimed()), "a claim")
        claimed = datetime.now(UTC)
        running.kill()
    clock.set(3)
    file = box.folder / "digitd.prom"
    box.configure(metrics_file=file)
    with Daemon(box, command) as running:
        until(file.exists, "the metrics, which are first written before a worker is ready")
        assert oldest_waiting(file) == pytest.approx(3 * 86400, abs=3600)
        box.wait_for_rows(2)
        assert running.stop() == 0
    row = box.row("digit2.png")
    assert before - timedelta(milliseconds=1) <= time_of(row["received_at"]) <= claimed
    assert time_of(row["processed_at"]) > claimed + timedelta(days=2)


def test_file_is_not_received_after_it_was_read(box: Box, clock: Clock) -> None:
    clock.set(DECADE)
    box.configure(folders="daily")
    with Daemon(box, clock.command(STAND_IN)) as running:
        workers = stop_workers(running)
        box.drop("digit1.png", FINE)
        until(lambda: bool(box.claimed()), "a claim")
        clock.set(0)
        for worker in workers:
            os.kill(worker, signal.SIGCONT)
        (row,) = box.wait_for_rows(1)
        box.wait_until_settled()
        assert running.stop() == 0
    assert time_of(row["received_at"]) <= time_of(row["processed_at"]) <= datetime.now(UTC)
    assert row["original"] == f"originals/{row['processed_at'][:10]}/digit1.png"
