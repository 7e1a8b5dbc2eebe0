"""What the events of real operations on files say about who has them open."""

from __future__ import annotations

import mmap
import os
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from daemon.inbox.completeness import Completeness, State
from daemon.inbox.watch import InotifyWatch
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

JPEG = b"\xff\xd8\xff\xda\x00\x02" + bytes(50) + b"\xff\xd9"


class Watch(InotifyWatch):
    """A watch that lets something happen just before a file is opened."""

    before_open: Callable[[], None] | None = None

    def open(self, path: Path) -> int:
        if self.before_open is not None:
            self.before_open()
        return super().open(path)


class Watched:
    """A folder whose events are recorded, and of whose files no lease says who has them open."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.arrived: list[str] = []
        self.losses = 0
        self.marks = 0
        self.watch = Watch(folder, self.arrived.append, self._count_loss)
        self.completeness = Completeness(folder, settle_seconds=60, incomplete_seconds=60)
        self.completeness.events = self.watch
        self.file = folder / "file"

    def _count_loss(self) -> None:
        self.losses += 1

    def stop_thread(self) -> None:
        """Leave all events in the kernel's queue until they are asked for."""
        os.eventfd_write(self.watch._stop, 1)  # noqa: SLF001
        self.watch._thread.join()  # noqa: SLF001

    def drain(self) -> None:
        """Wait until all events so far are recorded: an event of a later file is."""
        self.marks += 1
        mark = self.folder / f"mark{self.marks}"
        mark.write_bytes(b"")
        until(lambda: self.arrived.count(mark.name) == 2, "the events")  # created, closed

    def is_open(self) -> bool | None:
        self.drain()
        return self.watch.is_open("file")


@pytest.fixture
def watched(inbox: Path) -> Iterator[Watched]:
    watched = Watched(inbox)
    yield watched
    watched.watch.close()


def test_file_that_is_written_is_open_until_it_is_closed(watched: Watched) -> None:
    with watched.file.open("wb", buffering=0) as writer:
        assert watched.is_open() is True
        writer.write(b"1")
        assert watched.is_open() is True
    assert watched.is_open() is False


def test_file_is_known_to_be_open_before_the_thread_has_read_the_events(watched: Watched) -> None:
    watched.stop_thread()
    with watched.file.open("wb", buffering=0) as writer:
        writer.write(JPEG)
        assert watched.watch.is_open("file") is True
        assert watched.completeness.check("file") is State.UNFINISHED
    assert watched.watch.is_open("file") is False
    assert watched.completeness.check("file") is State.COMPLETE


def test_file_that_became_whole_while_it_was_checked_waits_for_its_writer(
    watched: Watched,
) -> None:
    watched.stop_thread()
    watched.file.touch()
    assert watched.watch.is_open("file") is False
    with ExitStack() as writers:

        def write() -> None:
            writers.enter_context(watched.file.open("r+b", buffering=0)).write(JPEG)

        watched.watch.before_open = write
        assert watched.completeness.check("file") is State.UNFINISHED
        watched.watch.before_open = None
    assert watched.completeness.check("file") is State.COMPLETE


def test_file_that_is_opened_again_is_open_before_it_is_modified(watched: Watched) -> None:
    watched.file.write_bytes(b"1")
    with watched.file.open("r+b"):
        assert watched.is_open() is True
    assert watched.is_open() is False


def test_reader_delays_a_file_only_while_it_has_it_open(watched: Watched) -> None:
    watched.file.write_bytes(b"1")
    with watched.file.open("rb"):
        assert watched.is_open() is True
        watched.arrived.clear()
    assert watched.is_open() is False
    assert watched.arrived.count("file") == 1  # so that the loop checks it at once


def test_mapped_file_is_open_until_it_is_unmapped(watched: Watched) -> None:
    watched.file.write_bytes(bytes(5000))
    descriptor = os.open(watched.file, os.O_RDWR)
    with mmap.mmap(descriptor, 5000) as content:
        os.close(descriptor)
        content[:1] = b"1"
        assert watched.is_open() is True
    assert watched.is_open() is False


def test_file_is_open_while_one_of_two_writers_has_it(watched: Watched) -> None:
    with watched.file.open("ab", buffering=0) as first:
        first.write(b"1")
        with watched.file.open("ab", buffering=0) as second:
            second.write(b"2")
        first.write(b"1")
        assert watched.is_open() is True
    assert watched.is_open() is False


def test_reader_does_not_hide_a_writer(watched: Watched) -> None:
    with watched.file.open("wb", buffering=0) as writer:
        watched.file.read_bytes()
        writer.write(b"1")
        watched.file.read_bytes()
        assert watched.is_open() is True


def test_open_file_is_followed_to_its_new_name(watched: Watched) -> None:
    with (watched.folder / "file.part").open("wb", buffering=0) as writer:
        writer.write(b"1")
        (watched.folder / "file.part").rename(watched.file)
        assert watched.is_open() is True
        assert watched.watch.is_open("file.part") is None
    assert watched.is_open() is False


def test_nothing_is_known_of_a_file_that_was_moved_or_linked_into_the_folder(
    watched: Watched, tmp_path: Path
) -> None:
    with (tmp_path / "made").open("wb", buffering=0) as writer:
        writer.write(b"1")
        (tmp_path / "made").rename(watched.file)
        assert watched.is_open() is None
        writer.write(b"2")
        assert watched.is_open() is True
    assert watched.is_open() is False
    watched.file.unlink()
    (tmp_path / "made").write_bytes(b"1")
    watched.file.hardlink_to(tmp_path / "made")
    assert watched.is_open() is None


def test_own_open_says_nothing_about_others(watched: Watched, tmp_path: Path) -> None:
    (tmp_path / "made").write_bytes(b"1")
    (tmp_path / "made").rename(watched.file)
    descriptor = watched.watch.open(watched.file)
    assert watched.is_open() is None
    os.close(descriptor)
    assert watched.is_open() is None


@pytest.mark.parametrize("change", ["truncate", "mtime"])
def test_change_without_a_handle_does_not_keep_a_file_open(watched: Watched, change: str) -> None:
    watched.file.write_bytes(b"123")
    if change == "truncate":
        os.truncate(watched.file, 1)
    else:
        subprocess.run(["touch", "-m", "-c", "-d", "yesterday", watched.file], check=True)
    assert watched.is_open() is not True


def test_writer_of_an_unlinked_file_says_nothing_about_the_next_one(watched: Watched) -> None:
    with watched.file.open("wb", buffering=0) as old:
        watched.file.unlink()
        with watched.file.open("wb", buffering=0) as new:
            new.write(b"1")
            old.close()
            assert watched.is_open() is True
    assert watched.is_open() is False


def test_everything_is_forgotten_after_an_overflow(watched: Watched) -> None:
    watched.file.write_bytes(b"1")
    assert watched.is_open() is False
    others = [watched.folder / "1", watched.folder / "2"]
    for other in others:
        other.write_bytes(b"")
    # Until the thread goes on, equal events are merged only if they follow each other.
    with watched.watch._open_files._lock:  # noqa: SLF001
        for number in range(40_000):
            os.truncate(others[number % 2], number % 100)
    until(lambda: watched.losses == 1, "the overflow")
    assert watched.is_open() is None


def test_only_the_newest_names_are_kept(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.inbox.open_files._MOST_NAMES", 8)
    watched.file.write_bytes(b"1")
    assert watched.is_open() is False
    for number in range(8):
        (watched.folder / str(number)).write_bytes(b"1")
    assert watched.is_open() is None
