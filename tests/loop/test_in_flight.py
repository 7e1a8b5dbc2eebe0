"""The table of files in flight: order, delays, and counts that agree with a scan."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from daemon.loop.in_flight import InFlight, InFlightTable, Stage
from support.factories import job

if TYPE_CHECKING:
    import pytest


def add(table: InFlightTable, count: int) -> list[InFlight]:
    """Add files with rising ids; return them in this order."""
    files = [InFlight(job()) for _ in range(count)]
    table.add(files)
    return files


def ids(files: list[InFlight]) -> list[str]:
    return [file.job.id for file in files]


def test_claimed_files_are_taken_in_the_order_of_their_ids() -> None:
    table = InFlightTable()
    files = [InFlight(job()) for _ in range(5)]
    table.add(files[3:])
    table.add(files[:3])  # left by an earlier run, found later
    assert ids(table.at(Stage.CLAIMED)) == ids(files)
    assert table.at(Stage.CLAIMED, 2) == files[:2]


def test_requeued_files_come_before_newer_ones() -> None:
    table = InFlightTable()
    files = add(table, 6)
    for file in files[:4]:
        table.move(file, Stage.READING)
    table.requeue([files[3], files[1]])
    assert ids(table.at(Stage.CLAIMED)) == ids([files[1], *files[3:]])
    assert table.first(Stage.CLAIMED) is files[1]
    assert ids(table.at(Stage.READING)) == ids([files[0], files[2]])


def test_delayed_file_is_left_out_until_its_time_has_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    table = InFlightTable()
    first, second = add(table, 2)
    for file in (first, second):
        table.move(file, Stage.COMMITTED)
    table.delay(first, 10)
    assert table.at(Stage.COMMITTED) == [second]
    assert (len(table), len(table.delayed(Stage.COMMITTED)), table.seconds_left) == (2, 1, 10)
    now = 1009.0
    table.end_delays()
    assert table.at(Stage.COMMITTED) == [second]
    now = 1010.0
    table.end_delays()
    assert table.at(Stage.COMMITTED) == [second, first]
    assert not table.delayed(Stage.COMMITTED)
    table.delay(second, 10)
    table.remove(second)
    assert (len(table), len(table.delayed(Stage.COMMITTED))) == (1, 0)


def test_counts_agree_with_a_scan_after_any_moves() -> None:
    chance = random.Random(1)
    table = InFlightTable()
    files = add(table, 50)
    for _ in range(2000):
        file = chance.choice(files)
        if file.job.id not in table:
            table.add([file])
        elif chance.random() < 0.1:
            table.remove(file)
        elif chance.random() < 0.2:
            table.requeue([file])
        else:
            table.move(file, chance.choice(list(Stage)))
        for stage in Stage:
            scanned = [one for one in table if one.stage is stage]
            assert table.count(stage) == len(scanned)
        claimed = ids(table.at(Stage.CLAIMED))
        assert set(claimed) == {one.job.id for one in table if one.stage is Stage.CLAIMED}
