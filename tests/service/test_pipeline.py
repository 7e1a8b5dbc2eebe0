"""The files in hand: vanished, in the way of others, found twice; with a real worker process."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from daemon.config import Config
from daemon.intake.claims import Spool
from daemon.intake.inbox import Inbox
from daemon.layout import TABLE
from daemon.ledger.outbox import Outbox
from daemon.service.pipeline import Pipeline
from daemon.workers.pool import Engine, Work
from tests import stand_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from daemon.ledger.rows import Row
    from daemon.records import Parcel, Reading

DEADLINE_SECONDS = 60.0


def read(parcels: Sequence[Parcel]) -> list[Reading]:
    return [stand_in._read(parcel) for parcel in parcels]  # noqa: SLF001 - with no model to load


class Line:
    """A pipeline between two folders, turned by hand."""

    def __init__(self, folder: Path) -> None:
        config = Config(inbox=folder / "inbox", outbox=folder / "outbox")
        config.inbox.mkdir()
        config.outbox.mkdir()
        self.inbox = Inbox(config, lambda: None)
        self.spool = Spool(config.inbox, max_file_mb=1.0)
        self.outbox = Outbox(config.outbox)
        self.engine = Engine(Work(self.spool.load, self.spool.begin, read), 1, lambda: None)
        self.pipeline = Pipeline(self.inbox, self.spool, self.engine, self.outbox)
        self.rows: list[Row] = []
        self.spool.open()
        self.outbox.open()

    def drop(self, *names: str) -> None:
        for name in names:
            (self.inbox.folder / name).write_bytes(stand_in.png_like("fine"))
        self.inbox.open(live=False)

    def finish(self, tell: Callable[[Row], None] = lambda _: None) -> None:
        """Have all that was fed read, committed and published."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while self.pipeline.working:
            assert time.monotonic() < deadline
            self.pipeline.collect()
            time.sleep(0.01)

        def told(row: Row) -> None:
            self.rows.append(row)
            tell(row)

        self.pipeline.settle(told)

    @property
    def attempts(self) -> str:
        return (self.spool.folder / "attempts").read_text()

    @property
    def claimed(self) -> list[Path]:
        return sorted(self.spool.folder.glob("d*-*"))

    def close(self) -> None:
        self.engine.close()
        self.inbox.close()
        self.spool.close()
        self.outbox.close()


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    line = Line(tmp_path)
    yield line
    line.close()


@pytest.mark.parametrize("when", ["before it is read", "before it has a row"])
def test_a_file_taken_out_of_the_work_folder_is_forgotten_and_holds_up_none(
    line: Line, when: str
) -> None:
    line.drop("digit1.png", "digit2.png")
    if when == "before it is read":
        # Tried once by a run that died, so that its attempt is on the books.
        line.pipeline.recover()
        (found, _) = line.inbox.take(2)
        job = line.spool.claim(found)
        assert job is not None
        line.spool.begin([job])
        line.pipeline.recover()
        job.path.unlink()
        line.pipeline.feed(64, fresh=False)
        line.inbox.open(live=False)
        line.pipeline.feed(64)
        line.finish()
    else:
        line.pipeline.feed(64)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while line.attempts.count("begun") < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        line.claimed[0].unlink()
        line.finish()
    assert [row.file for row in line.rows] == ["digit2.png"]
    assert line.pipeline.in_hand == 0
    assert line.attempts == ""


def test_a_file_whose_place_was_taken_waits_and_holds_up_no_other(line: Line) -> None:
    line.drop("digit1.png", "digit2.png")
    line.pipeline.feed(64)

    def take_its_place(row: Row) -> None:
        if row.file == "digit1.png":
            (line.outbox.folder / row.original).write_bytes(b"a stranger's")

    line.finish(take_its_place)
    assert line.pipeline.parked == 1
    assert (line.outbox.folder / "originals/digit2.png").exists()
    assert (line.outbox.folder / "originals/digit1.png").read_bytes() == b"a stranger's"
    (line.outbox.folder / "originals/digit1.png").unlink()
    line.pipeline.unpark()
    line.finish()
    assert line.pipeline.in_hand == 0
    assert (line.outbox.folder / "originals/digit1.png").read_bytes() == stand_in.png_like("fine")


def test_recovering_again_takes_up_no_file_twice(line: Line) -> None:
    line.drop("digit1.png", "digit2.png")
    for found in line.inbox.take(2):
        assert line.spool.claim(found) is not None
    for _ in range(3):
        line.pipeline.recover()
    assert line.pipeline.in_hand == 2
    line.pipeline.feed(64)
    line.pipeline.recover()
    line.finish()
    line.pipeline.recover()
    line.finish()
    assert sorted(row.file for row in line.rows) == ["digit1.png", "digit2.png"]
    assert (line.outbox.folder / TABLE).read_text().count("\n") == 3
    assert line.claimed == []
