"""The pipeline with a real worker: files that vanish, that cannot be published, found twice."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from daemon import ids
from daemon.config import Config
from daemon.inbox.attempts import Attempts
from daemon.inbox.claims import Claims
from daemon.inbox.inbox import Inbox
from daemon.layout import TABLE
from daemon.loop.committer import Committer
from daemon.loop.in_flight import InFlightTable, Stage
from daemon.loop.pipeline import Pipeline
from daemon.outbox.outbox import Outbox
from daemon.waiting import Wakeup
from daemon.workers.pool import Pool
from support import stand_in
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from daemon.outbox.rows import Row


class Line:
    """A pipeline between two folders, run step by step."""

    def __init__(self, folder: Path) -> None:
        (folder / "model.keras").write_bytes(b"a model")
        config = Config(
            inbox=folder / "inbox", outbox=folder / "outbox", model=folder / "model.keras"
        )
        config.inbox.mkdir()
        config.outbox.mkdir()
        self.rows: list[Row] = []
        self.tell: Callable[[Row], None] = lambda _: None
        self.inbox = Inbox(config, lambda: None)
        self.claims = Claims(config.inbox)
        self.outbox = Outbox(config.outbox)
        self.pool = Pool(stand_in.worker_settings(config.reading), 2)
        self.changes = 0
        self.wakeup = Wakeup()
        self.files = InFlightTable()
        self.pipeline = Pipeline(
            self.files, self.inbox, self.claims, self.pool, self.outbox, self.wakeup
        )
        self.committer = Committer(
            *(self.files, self.claims, self.outbox, self.wakeup),
            on_row=[self._on_row],
            on_change=self._count_change,
        )
        self.claims.ensure_open()
        self.outbox.ensure_open()

    def drop(self, *names: str, order: str = "fine") -> None:
        for name in names:
            (self.inbox.folder / name).write_bytes(stand_in.png_like(order))
        self.inbox.open(live=False)

    def collect_until(self, condition: Callable[[], bool]) -> None:
        def turn() -> None:
            self.wakeup.wait(self.pool.waitables, 0.05)
            self.pipeline.collect()

        until(condition, "the workers' results", turn=turn)

    def until_ready(self) -> None:
        self.collect_until(lambda: self.pool.self_test is not None)

    def finish(self) -> None:
        """Wait until all batches are read and durable, and commit and publish them."""
        self.collect_until(lambda: not self.reading)
        self.commit()
        self.committer.publish()

    def commit(self) -> None:
        def turn() -> None:
            self.wakeup.wait((), 0.05)
            self.committer.commit()

        self.committer.commit()
        until(lambda: not self.files.count(Stage.READ), "durable files", turn=turn)

    def _on_row(self, row: Row) -> None:
        self.rows.append(row)
        self.tell(row)

    def _count_change(self) -> None:
        self.changes += 1

    @property
    def reading(self) -> int:
        """The number of files that workers have, or get when their attempts are durable."""
        return sum(self.files.count(stage) for stage in (Stage.LOGGED, Stage.READING))

    @property
    def attempts(self) -> str:
        return (self.claims.folder / "attempts").read_text()

    @property
    def claimed(self) -> list[Path]:
        return sorted(self.claims.folder.glob("d*-*"))

    def close(self) -> None:
        self.pipeline.close()
        self.committer.close()
        self.pool.close()
        self.inbox.close()
        self.claims.close()
        self.outbox.close()
        self.wakeup.close()


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    line = Line(tmp_path)
    line.until_ready()
    yield line
    line.close()


def test_file_removed_from_the_work_folder_is_forgotten_and_blocks_no_other(line: Line) -> None:
    line.drop("digit1.png", "digit2.png")
    # An earlier run that died tried it once, so an attempt is logged.
    name = next(line.inbox.take(1))
    job = line.claims.claim(name)
    assert job is not None
    line.claims.attempts.begin([job.id])
    line.pipeline.recover()
    job.path.unlink()
    line.inbox.open(live=False)
    line.pipeline.submit(64)
    line.finish()
    line.pipeline.submit(64)
    line.finish()
    assert [row.file for row in line.rows] == ["digit2.png"]
    assert len(line.files) == 0
    assert line.attempts == ""


def test_file_whose_target_exists_waits_and_blocks_no_other(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.loop.committer._PARKED_SECONDS", 0.0)
    line.drop("digit1.png", "digit2.png")
    line.pipeline.submit(64)

    def take_its_place(row: Row) -> None:
        if row.file == "digit1.png":
            (line.outbox.folder / row.original).write_bytes(b"a stranger's")

    line.tell = take_its_place
    line.finish()
    assert len(line.files.delayed(Stage.COMMITTED)) == 1
    assert (line.outbox.folder / "originals/digit2.png").exists()
    assert (line.outbox.folder / "originals/digit1.png").read_bytes() == b"a stranger's"
    (line.outbox.folder / "originals/digit1.png").unlink()
    line.finish()
    assert len(line.files) == 0
    assert (line.outbox.folder / "originals/digit1.png").read_bytes() == stand_in.png_like("fine")


def append_to(file: Path, data: bytes) -> None:
    with file.open("ab") as writer:
        writer.write(data)


def test_file_that_changes_before_its_row_is_read_again(line: Line) -> None:
    line.drop("digit1.png", "digit2.png")
    line.pipeline.submit(64)
    line.collect_until(lambda: not line.reading)
    append_to(line.claimed[0], b"more")
    line.finish()
    assert [row.file for row in line.rows] == ["digit2.png"]
    assert line.attempts.splitlines().count(f"{line.claimed[0].name[: ids.LENGTH]} ended") == 1

    def read() -> bool:
        line.pipeline.submit(64)
        line.finish()
        return len(line.rows) == 2

    until(read, "the second row")
    row = line.rows[1]
    kept = (line.outbox.folder / row.original).read_bytes()
    assert kept == stand_in.png_like("fine") + b"more"
    assert row.result.sha256 == hashlib.sha256(kept).hexdigest()
    assert line.changes == 0


def test_kill_between_the_reading_and_the_row_blames_no_file(line: Line) -> None:
    """On a busy disk the row comes long after the reading."""
    line.drop("digit1.png")
    line.pipeline.submit(64)
    line.collect_until(lambda: not line.reading)
    assert not line.rows
    job_id = line.claimed[0].name[: ids.LENGTH]
    next_run = Attempts(line.claims.folder)
    next_run.open([job_id])
    assert not next_run.is_suspect(job_id)
    next_run.close()
    line.finish()
    assert [row.file for row in line.rows] == ["digit1.png"]


def test_file_that_changes_all_the_time_gets_its_row(line: Line) -> None:
    line.drop("digit1.png")

    def read_and_change() -> bool:
        line.pipeline.submit(64)
        line.collect_until(lambda: not line.reading)
        append_to(line.claimed[0], b".")
        line.commit()
        return bool(line.rows)

    until(read_and_change, "a row")
    line.committer.publish()
    assert line.changes == 1


def test_file_that_changes_after_its_row_is_published_with_an_error(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    line.drop("digit1.png", "digit2.png", "digit3.png")

    def change(row: Row) -> None:
        if row.file == "digit1.png":
            append_to(row.result.job.path, b"late")
        elif row.file == "digit2.png":
            os.utime(row.result.job.path)

    line.tell = change
    line.pipeline.submit(64)
    line.finish()
    assert len(line.files) == 0
    row = line.rows[0]
    kept = (line.outbox.folder / row.original).read_bytes()
    assert kept == stand_in.png_like("fine") + b"late"
    (error,) = (record.getMessage() for record in caplog.records if record.levelname == "ERROR")
    assert error == (
        f"digit1.png changed after its row {row.result.job.id} was written: the row has sha256 "
        f"{row.result.sha256}, the file has {hashlib.sha256(kept).hexdigest()}: drop the file again"
    )
    assert line.changes == 1


def test_recovering_again_queues_no_file_twice(line: Line) -> None:
    line.drop("digit1.png", "digit2.png")
    for name in line.inbox.take(2):
        assert line.claims.claim(name) is not None
    for _ in range(3):
        line.pipeline.recover()
    assert len(line.files) == 2
    line.pipeline.submit(64)
    line.pipeline.recover()
    line.finish()
    line.pipeline.recover()
    line.finish()
    assert sorted(row.file for row in line.rows) == ["digit1.png", "digit2.png"]
    assert (line.outbox.folder / TABLE).read_text().count("\n") == 3
    assert line.claimed == []


def test_file_waits_if_its_attempt_cannot_be_logged(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    line.drop("digit1.png")
    for name in line.inbox.take(1):
        assert line.claims.claim(name) is not None
    line.pipeline.recover()

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as broken:
        broken.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            line.pipeline.submit(64)
    assert not line.reading
    assert len(line.files) == 1
    line.pipeline.submit(64)
    line.finish()
    assert [row.file for row in line.rows] == ["digit1.png"]


def test_full_disk_for_pictures_blames_no_file(line: Line) -> None:
    line.drop("digit1.png", "digit2.png", order="sleep 0.3")  # time to block the picture's path
    line.pipeline.submit(64)
    for path in line.claimed:
        # A folder at the picture's path makes writing fail, as a full disk would.
        line.claims.folder.joinpath(f"{path.name.partition('-')[0]}.picture").mkdir()
    for _ in range(5):
        line.collect_until(lambda: not line.reading)
        with pytest.raises(IsADirectoryError):
            line.pipeline.submit(64)
        assert line.reading == 2  # one more try, of one batch
        with pytest.raises(IsADirectoryError):
            line.pipeline.submit(64)
    for folder in line.claims.folder.glob("*.picture"):
        folder.rmdir()
    line.finish()
    line.pipeline.submit(64)
    line.finish()
    assert [(row.file, row.verdict.status.value) for row in line.rows] == [
        ("digit1.png", "ok"),
        ("digit2.png", "ok"),
    ]


def test_all_finished_batches_are_committed_with_one_append_and_one_fsync(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    line.drop(*(f"digit{n}.png" for n in range(1, 7)))
    line.pipeline.submit(2)  # three batches, as many as one worker takes
    line.collect_until(lambda: not line.reading)
    synced: list[str] = []
    fsync = os.fsync

    def count(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", count)
    line.commit()
    assert len(line.rows) == 6
    assert synced == [str(line.outbox.folder / TABLE)]
    line.committer.publish()
    assert len(line.files) == 0
