"""Timers and backoff on a clock that the test sets; a wake-up from a thread and one from before."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from daemon.waiting import Backoff, Timer, Wakeup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    def set_clock(now: float) -> None:
        monkeypatch.setattr("time.monotonic", lambda: now)

    set_clock(1000)
    return set_clock


@pytest.fixture
def wakeup() -> Iterator[Wakeup]:
    wakeup = Wakeup()
    yield wakeup
    wakeup.close()


def test_timer_is_due_at_first_and_after_each_interval(
    set_clock: Callable[[float], None],
) -> None:
    def state_at(now: float) -> tuple[bool, float]:
        set_clock(now)
        return timer.is_due, timer.seconds_left

    timer = Timer(15)
    assert state_at(1000) == (True, 0)
    timer.restart()
    assert state_at(1010) == (False, 5)
    assert state_at(1015) == (True, 0)
    timer.restart(2)
    assert state_at(1016) == (False, 1)
    timer.expire()
    assert state_at(1016) == (True, 0)


def test_backoff_doubles_up_to_its_maximum_until_a_try_succeeds(
    set_clock: Callable[[float], None],
) -> None:
    set_clock(1000)
    backoff = Backoff(0.5, 8.0)
    assert backoff.is_due
    delays = []
    for _ in range(6):
        backoff.fail()
        delays.append(backoff.seconds_left)
    assert delays == [0.5, 1, 2, 4, 8, 8]
    assert backoff.failures == 6
    for _ in range(5000):  # a disk that is full for days
        backoff.fail()
    assert backoff.seconds_left == 8
    backoff.succeed()
    assert backoff.is_due
    backoff.fail()
    assert backoff.seconds_left == 0.5


def test_wakeup_ends_a_wait_from_a_thread(wakeup: Wakeup) -> None:
    started = time.monotonic()
    thread = threading.Timer(0.1, wakeup.set)
    thread.start()
    wakeup.wait([], 60)
    assert time.monotonic() - started < 30
    thread.join()


def test_wakeup_before_a_wait_counts_once(wakeup: Wakeup) -> None:
    wakeup.set()
    wakeup.set()
    started = time.monotonic()
    wakeup.wait([], 60)
    assert time.monotonic() - started < 30
    wakeup.wait([], 0.01)
    assert time.monotonic() - started >= 0.01
