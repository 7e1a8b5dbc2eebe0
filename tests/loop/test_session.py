"""One session, run step by step: it stops in time with a batch in flight."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from daemon.config import Config
from daemon.loop.in_flight import Stage
from daemon.loop.metrics import Metrics
from daemon.loop.session import Session
from daemon.loop.status import RunHistory
from daemon.outbox.outbox import is_running
from daemon.waiting import Wakeup
from daemon.workers.pool import Pool
from daemon.workers.worker import Timeouts, WorkerSettings
from support import stand_in
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from daemon.outbox.rows import Row


@pytest.fixture
def config(config: Config, tmp_path: Path) -> Config:
    (tmp_path / "model.keras").write_bytes(b"a model")
    return config.model_copy(update={"model": tmp_path / "model.keras"})


@pytest.fixture
def wakeup() -> Iterator[Wakeup]:
    wakeup = Wakeup()
    yield wakeup
    wakeup.close()


def make(config: Config, wakeup: Wakeup, rows: list[Row]) -> Session:
    pool = Pool(WorkerSettings(config.reading, stand_in.read, Timeouts(start=60.0, batch=60.0)), 2)
    return Session(
        config, pool, wakeup, rows.append, Metrics(), once=False, history=RunHistory("now")
    )


def turn_until(session: Session, condition: Callable[[], bool]) -> None:
    def turn() -> None:
        session.turn()
        session.wait(None)

    until(condition, "the session's progress", turn=turn)


def test_batch_that_exceeds_the_stop_timeout_is_left_for_the_next_start(
    config: Config, wakeup: Wakeup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.loop.session._STOP_SECONDS", 0.5)
    rows: list[Row] = []
    session = make(config, wakeup, rows)
    session.start()
    attempts = config.inbox / ".digitd" / "attempts"
    (config.inbox / "digit1.png").write_bytes(stand_in.png_like("sleep 3600"))
    # The pool has its batch, not only the log.
    turn_until(session, lambda: session._files.count(Stage.READING) == 1)  # noqa: SLF001
    started = time.monotonic()
    session.stop()
    assert time.monotonic() - started > 0.4
    assert rows == []
    assert not is_running(config.inbox, config.outbox)
    # The file is not to blame, so it need not be read alone.
    events = [line.split()[1] for line in attempts.read_text().splitlines() if line]
    assert events == ["received", "begun", "ended"]
    (claimed,) = (config.inbox / ".digitd").glob("d*-digit1.png")
    claimed.write_bytes(stand_in.png_like("fine"))
    again = make(config, wakeup, rows)
    again.start()
    turn_until(again, lambda: bool(rows))
    again.stop()
    assert [row.file for row in rows] == ["digit1.png"]
