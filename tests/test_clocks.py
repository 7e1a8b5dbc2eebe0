"""Clocks that are or were wrong, in either direction, with the real program."""

from __future__ import annotations

import json
import os
import re
import signal
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from daemon.config import load
from daemon.layout import CLOCKS
from daemon.outbox.audit import find_discrepancies
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


@pytest.mark.parametrize(
    ("days", "restart"),
    [
        pytest.param(DECADE, True, id="ahead at the last start"),
        pytest.param(DECADE, False, id="set back while it runs"),
        pytest.param(-DECADE, False, id="set forward while it runs"),
    ],
)
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


def test_ids_are_in_the_order_of_arrival_while_the_clock_moves(box: Box, clock: Clock) -> None:
    box.configure(folders="daily", keep_days=365)
    command = clock.command(STAND_IN)
    names = [f"digit{number}.png" for number in range(1, 19)]
    offsets = [0, 400, -1 / 24, -400, DECADE, 0]  # an hour, as summer time
    for part, reload in ((names[:6], False), (names[6:12], True), (names[12:], False)):
        with Daemon(box, command) as running:
            for name, days in zip(part, offsets, strict=True):
                clock.set(days)
                if reload and name != part[0]:  # digitd is up
                    running.send(signal.SIGHUP)
                box.drop(name, FINE)
                until(lambda path=box.inbox / name: not path.exists(), name)  # type: ignore[misc]
            box.wait_for_rows(names.index(part[-1]) + 1)
            box.wait_until_settled()
            assert running.stop() == 0
    ids = {row["file"]: row["id"] for row in box.rows()}
    assert len(ids) == len(set(ids.values())) == len(names)
    assert sorted(names, key=ids.__getitem__) == names
    assert all(row["received_at"] <= row["processed_at"] for row in box.rows())
    assert len(list((box.outbox / "originals").rglob("*.png"))) == len(names)
    assert find_discrepancies(load(box.config)).discrepancies == ()


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


def saved_clocks(box: Box) -> dict[str, float | str]:
    clocks: dict[str, float | str] = json.loads((box.outbox / ".digitd.clocks").read_text())
    return clocks


def save_clocks(box: Box, **changes: float | str) -> None:
    (box.outbox / ".digitd.clocks").write_text(json.dumps(saved_clocks(box) | changes))


def originals(box: Box) -> list[str]:
    return sorted(path.name for path in (box.outbox / "originals").iterdir())


@pytest.mark.parametrize("reboot", [False, True], ids=["same boot", "reboot"])
def test_clock_that_jumps_ahead_deletes_nothing(box: Box, clock: Clock, *, reboot: bool) -> None:
    box.configure(keep_days=365)
    command = clock.command(STAND_IN)
    for number in (1, 2, 3):
        box.drop(f"digit{number}.png", FINE)
    run_once(box, command)
    if reboot:
        save_clocks(box, boot_id="another", boot=1e6, running=1e6)
    clock.set(400)
    box.drop("digit4.png", FINE)
    with Daemon(box, command) as running:
        running.wait_for_log("set the clock if")
        box.wait_for_rows(4)
        box.wait_until_settled()
        assert running.stop() == 0
        assert running.log.count("ERROR") == 1
    assert "no file is deleted for another 24.0 hours" in run_once(box, command)
    assert len(originals(box)) == 4
    # The clock is right again: the audit knows the row that is dated ahead, and notices each loss.
    clock.set(0)
    box.drop("digit5.png", FINE)
    run_once(box, command)
    assert find_discrepancies(load(box.config)).discrepancies == ()
    (box.outbox / "originals" / "digit5.png").unlink()
    (missing,) = find_discrepancies(load(box.config)).discrepancies
    assert "digit5.png is missing" in missing


def test_files_are_deleted_after_24_hours_of_running(box: Box, clock: Clock) -> None:
    box.configure(keep_days=365)
    command = clock.command(STAND_IN)
    box.drop("digit1.png", FINE)
    run_once(box, command)
    clock.set(400)
    run_once(box, command)
    running = float(saved_clocks(box)["running"])
    save_clocks(box, running=running - 23.5 * 3600)
    run_once(box, command)
    assert originals(box) == ["digit1.png"]
    save_clocks(box, running=running - 3600)
    box.drop("digit2.png", FINE)
    run_once(box, command)
    assert originals(box) == ["digit2.png"]
    clock.set(0)
    assert find_discrepancies(load(box.config)).discrepancies == ()
    assert (box.outbox / ".digitd.deleted-before").read_text() < f"{datetime.now(UTC).isoformat()}"
    with Server(box) as server:
        server.wait_for_rows(2)
        reply = server.request(f"/image/{box.row('digit2.png')['id']}/seen")
        assert reply.json["error"] != "the file is gone"  # a stand-in's picture is not an image


def test_jump_is_known_when_keep_days_is_set_later(box: Box, clock: Clock) -> None:
    command = clock.command(STAND_IN)
    clock.set(0)
    box.drop("digit1.png", FINE)
    run_once(box, command)
    box.configure(keep_days=30)
    clock.set(500)
    said = run_once(box, command)
    assert "days ahead of the time that the machine was on" in said
    assert originals(box) == ["digit1.png"]


def test_without_an_earlier_sweep_the_rows_decide(box: Box, clock: Clock) -> None:
    command = clock.command(STAND_IN)
    for number, days in enumerate((0.0, 500.0, 1.0, 100.0), 1):
        clock.set(days)
        box.drop(f"digit{number}.png", FINE)
        run_once(box, command)
    box.configure(keep_days=30)
    (box.outbox / CLOCKS).unlink()
    clock.set(101)
    run_once(box, command)
    assert originals(box) == ["digit4.png"]
    clock.set(0)
    assert find_discrepancies(load(box.config)).discrepancies == ()


def test_board_whose_clock_starts_in_1970_still_deletes(box: Box, clock: Clock) -> None:
    box.configure(keep_days=f"{0.00003:.5f}")
    command = clock.command(STAND_IN)
    box.drop("digit1.png", FINE)
    run_once(box, command)
    clock.set(-20_000)  # it boots
    assert "ERROR" not in run_once(box, command)
    assert originals(box) == ["digit1.png"]
    clock.set(1)  # its clock is set
    log = run_once(box, command)
    assert "ERROR" not in log
    assert originals(box) == []
