"""The inbox and its watch, with real files, real events and threads that die."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import resource
import shutil
import signal
import socket
import string
import threading
import time
import unicodedata
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from daemon.config import Config
from daemon.errors import ConfigError
from daemon.inbox.inbox import Inbox
from daemon.inbox.listing import natural
from daemon.inbox.watch import InotifyWatch, sends_events
from daemon.pattern import ENDINGS
from support import heif
from support.waiting import DEADLINE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NEVER = 86_400.0  # no rescan happens during a test, so files are found only by events

PNG = b"\x89PNG\r\n\x1a\n" + bytes(50) + b"\0\0\0\0IEND\xaeB`\x82"
# A thumbnail with its own end marker comes before the image's scan.
JPEG = b"\xff\xd8\xff\xe1\x00\x08\xff\xd8\xff\xd9\0\0\xff\xda\x00\x02" + bytes(50) + b"\xff\xd9"


@pytest.fixture
def folder(inbox: Path) -> Path:
    return inbox


class Loop:
    """Tends an inbox and claims what it hands out, like the daemon's loop."""

    def __init__(self, folder: Path, **options: Any) -> None:  # noqa: ANN401 - any setting
        settings = {"settle_seconds": 0.2, "incomplete_seconds": 0.4, "rescan_seconds": NEVER}
        config = Config(inbox=folder, outbox=folder.parent / "outbox", **(settings | options))
        self.bell = threading.Event()
        self.inbox = Inbox(config, self.bell.set)
        self.claimed: list[str] = []
        self.data: list[bytes] = []
        self.tended = False

    def turn(self) -> None:
        try:
            self.inbox.poll()
            self.tended = True
        except OSError:
            self.tended = False
            return
        for name in self.inbox.take(64):
            path = self.inbox.folder / name
            self.data.append(path.read_bytes())
            path.unlink()
            self.claimed.append(name)

    def until(self, condition: Callable[[], bool]) -> None:
        def turn() -> None:
            self.bell.wait(min(0.05, self.inbox.seconds_left))
            self.bell.clear()
            self.turn()

        self.turn()
        until(condition, lambda: f"claimed only {self.claimed}", turn=turn)

    def until_claimed(self, count: int) -> None:
        self.until(lambda: len(self.claimed) >= count)

    def for_seconds(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() >= end)


@contextmanager
def running(folder: Path, *, live: bool = True, **options: Any) -> Iterator[Loop]:  # noqa: ANN401
    loop = Loop(folder, **options)
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)  # as the daemon does, for its leases
    loop.inbox.open(live=live)
    try:
        yield loop
    finally:
        loop.inbox.close()
        signal.signal(signal.SIGIO, before)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.inbox.inbox._CHECK_SECONDS", 0.05)
    monkeypatch.setattr("daemon.inbox.inbox._POLL_SECONDS", 0.05)
    monkeypatch.setattr("daemon.inbox.completeness._RECHECK_SECONDS", 0.05)


def names(*numbers: int) -> list[str]:
    return [f"digit{number}.png" for number in numbers]


def drop(folder: Path, name: str, data: bytes = PNG) -> None:
    made = folder.parent / f"made-{name}"
    made.write_bytes(data)
    made.rename(folder / name)


def test_files_present_at_start_come_in_numeric_order(folder: Path) -> None:
    for name in names(*range(120)):
        drop(folder, name)
    with running(folder, live=False) as loop:
        loop.until(lambda: loop.inbox.exhausted)
    assert loop.claimed == names(*range(120))


def test_every_number_in_a_name_is_sorted_by_value() -> None:
    found = ["b1.png", "a10b10.png", "a2b10.png", "a10b2.png"]
    assert sorted(found, key=natural) == ["a2b10.png", "a10b2.png", "a10b10.png", "b1.png"]
    assert sorted(["digit2.png", "digit10.png", "digit02.png"], key=natural)[2] == "digit10.png"


@settings(deadline=None, max_examples=200)
@given(st.lists(st.text(alphabet=string.printable + "٣²½\udcff", max_size=12), max_size=6))
def test_any_names_can_be_sorted(found: list[str]) -> None:
    assert sorted(map(natural, found)) == sorted(map(natural, found[::-1]))


def test_hidden_names_and_names_that_do_not_match_are_left_alone(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in (
        "digit1.jpg",
        "DIGIT2.png",
        ".digit3.png",
        "digit.png",
        "xdigit4.png",
        "digit5.png",
    ):
        drop(folder, name)
    (folder / "folder").mkdir()
    (folder / "circle").symlink_to("circle")
    (folder / "nowhere").symlink_to("missing")
    digits = "digit[0-9]*.png"
    with (
        caplog.at_level(logging.WARNING, "daemon"),
        running(folder, live=False, pattern=digits) as loop,
    ):
        loop.until(lambda: loop.inbox.exhausted)
        loop.inbox._scan()  # noqa: SLF001 - as the next rescan does, sooner
    assert loop.claimed == ["digit5.png"]
    for name in ("digit1.jpg", "DIGIT2.png", "digit.png", "xdigit4.png"):
        said = f"{name!r} in the inbox is ignored: its name does not match `pattern`: {digits}"
        assert caplog.text.count(said) == 1
    assert caplog.text.count("is ignored") == 4
    with running(folder, live=False, pattern=["*.jpg", "DIGIT*"]) as loop:
        loop.until(lambda: loop.inbox.exhausted)
    assert loop.claimed == ["DIGIT2.png", "digit1.jpg"]
    with running(folder, live=False, pattern="*") as loop:
        loop.until(lambda: loop.inbox.exhausted)
    assert sorted(loop.claimed) == ["digit.png", "xdigit4.png"]


def test_only_the_first_ignored_and_odd_files_are_logged(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def litter(start: int) -> None:
        for number in range(start, start + 30):
            (folder / f"note{number}.txt").touch()
            (folder / f"digit{number}.png").symlink_to("nowhere")

    litter(0)
    with caplog.at_level(logging.WARNING, "daemon"), running(folder, live=False) as loop:
        loop.until(lambda: loop.inbox.exhausted)
        litter(30)
        loop.inbox._scan()  # noqa: SLF001 - as the next rescan does, sooner
        loop.until(lambda: loop.inbox.exhausted)
    lines = caplog.text.splitlines()
    assert sum("is ignored: its name does not match" in line for line in lines) == 20
    assert sum("rename it, or change `pattern`" in line for line in lines) == 1
    assert sum("10 more files in the inbox are ignored" in line for line in lines) == 1
    assert sum("is not a regular file: left alone" in line for line in lines) == 20
    assert sum("more files in the inbox are left alone" in line for line in lines) == 1


def test_by_default_all_images_are_read_in_natural_order(folder: Path) -> None:
    names = ["10.png", "9.PNG", "a.JPeG", *(f"b.{ending}" for ending in ENDINGS), "é 1.tif"]
    ignored = ["png", "notes.txt", "a.png.part", "a.png~", "a.jpg:Zone.Identifier", "a.p\u0131df"]
    for name in (*ignored, *names, ".hidden.png"):
        drop(folder, name)
    with running(folder, live=False) as loop:
        loop.until(lambda: loop.inbox.exhausted)
    assert loop.claimed == sorted(names, key=natural)
    assert loop.claimed[:2] == ["9.PNG", "10.png"]
    assert sorted(path.name for path in folder.iterdir()) == sorted([*ignored, ".hidden.png"])


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_globs_are_compared_in_one_unicode_form(folder: Path, form: Literal["NFC", "NFD"]) -> None:
    dropped = [unicodedata.normalize(one, f"zähler{one}.png") for one in ("NFC", "NFD")]
    for name in dropped:
        drop(folder, name)
    glob = unicodedata.normalize(form, "zähler*")
    with running(folder, live=False, pattern=glob) as loop:
        loop.until(lambda: loop.inbox.exhausted)
    assert sorted(loop.claimed) == sorted(dropped)


def write_in_place(folder: Path) -> None:
    (folder / "digit7.png").write_bytes(PNG)


def rename_within(folder: Path) -> None:
    (folder / ".digit7.png.part").write_bytes(PNG)
    (folder / ".digit7.png.part").rename(folder / "digit7.png")


def move_in(folder: Path) -> None:
    drop(folder, "digit7.png")


def link_in(folder: Path) -> None:
    (folder.parent / "made").write_bytes(PNG)
    (folder / "digit7.png").hardlink_to(folder.parent / "made")


@pytest.mark.parametrize("arrive", [write_in_place, rename_within, move_in, link_in])
def test_every_way_of_arriving_causes_an_event(
    folder: Path, arrive: Callable[[Path], None]
) -> None:
    with running(folder) as loop:
        assert loop.inbox.mode == "inotify"
        loop.turn()
        arrive(folder)
        loop.until_claimed(1)
    assert loop.data == [PNG]


def test_claims_do_not_hide_events(folder: Path) -> None:
    with running(folder) as loop:
        for number in range(10):
            drop(folder, f"digit{number}.png")
            loop.until_claimed(number + 1)
            (folder / "moved-away").write_bytes(b"")
            (folder / "moved-away").rename(folder.parent / "moved-away")
    assert loop.claimed == names(*range(10))


@pytest.mark.parametrize("whole", [PNG, JPEG], ids=["png", "jpeg"])
@pytest.mark.parametrize("watch", ["inotify", "polling"])
def test_image_is_handed_out_when_it_has_its_end_marker_and_is_closed(
    folder: Path, impatient: None, whole: bytes, watch: str
) -> None:
    del impatient
    with running(folder, watch=watch, incomplete_seconds=NEVER, settle_seconds=3600.0) as loop:
        with (folder / "digit1.png").open("wb", buffering=0) as file:
            file.write(whole[:-1])
            loop.for_seconds(0.2)
            file.write(whole[-1:])
            loop.until(lambda: loop.inbox.open_files == ("digit1.png",))
            loop.for_seconds(0.2)
            assert loop.claimed == []
            assert loop.inbox.waiting == 1
        loop.until_claimed(1)
    assert loop.data == [whole]
    assert loop.inbox.open_files == ()


@pytest.mark.parametrize("whole", [PNG, JPEG], ids=["png", "jpeg"])
def test_image_is_handed_out_as_soon_as_its_last_writer_closes_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, whole: bytes
) -> None:
    monkeypatch.setattr(
        "daemon.inbox.completeness._RECHECK_SECONDS", NEVER
    )  # only an event can reveal its end
    with running(folder, incomplete_seconds=NEVER, settle_seconds=3600.0) as loop:
        for part in (whole[:9], whole[9:-1], whole[-1:]):
            assert loop.claimed == []
            with (folder / "digit1.png").open("ab") as file:
                file.write(part)
                file.flush()
                loop.for_seconds(0.1)
        loop.until_claimed(1)
    assert loop.data == [whole]


@pytest.mark.parametrize("whole", [heif.ONE, heif.avif(Image.new("L", (40, 40)))])
def test_heic_and_avif_are_handed_out_at_their_end(folder: Path, whole: bytes) -> None:
    with running(folder, incomplete_seconds=NEVER, settle_seconds=3600.0) as loop:
        drop(folder, "digit1.png", whole[:-1])
        loop.for_seconds(0.3)
        assert loop.claimed == []
        drop(folder, "digit1.png", whole)
        loop.until_claimed(1)
    assert loop.data == [whole]


def test_png_with_a_trailer_is_handed_out_at_once(folder: Path) -> None:
    drop(folder, "digit1.png", PNG + b"stray" * 1000)
    with running(folder, incomplete_seconds=NEVER, settle_seconds=3600.0) as loop:
        loop.until_claimed(1)


def test_closed_jpeg_with_a_trailer_is_handed_out_after_settle_seconds(folder: Path) -> None:
    drop(folder, "digit1.jpg", JPEG + b"MotionPhoto_Data" * 10)
    with running(folder, incomplete_seconds=NEVER, settle_seconds=0.3) as loop:
        started = time.monotonic()
        loop.until_claimed(1)
        assert time.monotonic() - started >= 0.3


def test_empty_file_waits_until_it_has_content(folder: Path, impatient: None) -> None:
    del impatient
    (folder / "digit1.png").touch()
    with running(folder, incomplete_seconds=0.1, settle_seconds=0.1, rescan_seconds=1) as loop:
        loop.until(lambda: loop.inbox.empty_files == ("digit1.png",))
        drop(folder, "digit2.png", b"text")
        loop.until_claimed(1)
        loop.for_seconds(0.3)
        assert loop.claimed == ["digit2.png"]
        assert loop.inbox.waiting == 0
        (folder / "digit1.png").write_bytes(PNG)
        loop.until_claimed(2)
    assert loop.data == [b"text", PNG]


def test_many_empty_files_do_not_keep_the_loop_busy(folder: Path) -> None:
    for number in range(3000):
        (folder / f"digit{number}.png").touch()
    with running(folder) as loop:
        loop.until(lambda: len(loop.inbox.empty_files) == 3000)

        def cost() -> float:
            used = time.process_time()
            for _ in range(200):
                loop.inbox.poll()
                assert loop.inbox.seconds_left <= 30
            return time.process_time() - used

        # Once the last events have come: 3000 checks take 0.1 s, 600,000 take 20 s.
        loop.until(lambda: cost() < 0.2)
        drop(folder, "digit5000.png")
        loop.until_claimed(1)


def test_reading_once_ends_with_files_that_stay_empty_or_open(
    folder: Path, impatient: None
) -> None:
    del impatient
    (folder / "digit1.png").touch()
    drop(folder, "digit3.png")
    with (
        (folder / "digit2.png").open("wb", buffering=0) as held,
        running(folder, live=False, incomplete_seconds=0.3) as loop,
    ):
        held.write(PNG)
        started = time.monotonic()
        loop.until(lambda: loop.inbox.exhausted)
        assert time.monotonic() - started >= 0.3
        assert loop.claimed == ["digit3.png"]
        assert loop.inbox.empty_files == ("digit1.png",)
        assert loop.inbox.open_files == ("digit2.png",)


def test_file_under_another_process_s_write_lease_waits(folder: Path, impatient: None) -> None:
    del impatient
    drop(folder, "digit1.png")
    held = os.open(folder / "digit1.png", os.O_RDWR)
    fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    with running(folder) as loop:
        loop.until(lambda: loop.inbox.open_files == ("digit1.png",))
        os.close(held)
        loop.until_claimed(1)


def test_image_without_an_end_marker_is_handed_out_after_incomplete_seconds(folder: Path) -> None:
    drop(folder, "digit1.png", PNG[:-5])
    with running(folder, incomplete_seconds=0.5, settle_seconds=0.0) as loop:
        started = time.monotonic()
        loop.until_claimed(1)
        assert time.monotonic() - started >= 0.5


@pytest.mark.parametrize("data", [b"text", b"BM bitmap", bytes(range(100))])
def test_file_in_another_format_is_handed_out_after_settle_seconds(
    folder: Path, data: bytes
) -> None:
    drop(folder, "digit1.png", data)
    with running(folder, settle_seconds=0.3, incomplete_seconds=NEVER) as loop:
        started = time.monotonic()
        loop.until_claimed(1)
        assert time.monotonic() - started >= 0.3


def test_each_change_restarts_the_settle_time(folder: Path, impatient: None) -> None:
    del impatient
    with running(folder, settle_seconds=0.4) as loop:
        for number in range(8):
            with (folder / "digit1.png").open("ab") as file:
                file.write(b"%d" % number)
            loop.for_seconds(0.1)
            assert loop.claimed == []
        loop.until_claimed(1)
    assert loop.data == [b"01234567"]


def make_link(path: Path) -> None:
    (path.parent.parent / "outside.png").write_bytes(PNG)
    path.symlink_to(path.parent.parent / "outside.png")


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (make_link, "is not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "is not a regular file"),
        (lambda path: path.symlink_to(path.name), "is not a regular file"),
        (os.mkfifo, "is not a regular file"),
        (make_socket, "is not a regular file"),
        (lambda path: path.mkdir(), "is not a regular file"),
    ],
    ids=["link", "link to a device", "link to itself", "fifo", "socket", "folder"],
)
def test_non_regular_file_is_left_alone_and_logged_once(
    folder: Path,
    caplog: pytest.LogCaptureFixture,
    make: Callable[[Path], None],
    kind: str,
) -> None:
    make(folder / "digit1.png")
    drop(folder, "digit2.png")
    with caplog.at_level(logging.WARNING, "daemon"), running(folder, rescan_seconds=1.0) as loop:
        loop.until_claimed(1)
        loop.inbox._scan()  # noqa: SLF001 - as the next rescan does, sooner
        loop.for_seconds(0.1)
    assert loop.claimed == ["digit2.png"]
    assert os.path.lexists(folder / "digit1.png")
    assert caplog.text.count(f"'digit1.png' in the inbox {kind}: left alone") == 1


def test_regular_file_that_replaces_a_non_regular_one_is_found(folder: Path) -> None:
    (folder / "digit1.png").symlink_to("nowhere")
    with running(folder) as loop:
        loop.turn()
        (folder / "digit1.png").unlink()
        drop(folder, "digit1.png")
        loop.until_claimed(1)


def test_unfinished_file_that_vanishes_is_forgotten(folder: Path) -> None:
    drop(folder, "digit1.png", b"text")
    with running(folder, live=False, settle_seconds=3600.0) as loop:
        loop.turn()
        assert not loop.inbox.exhausted
        (folder / "digit1.png").unlink()
        loop.until(lambda: loop.inbox.exhausted)
    assert loop.claimed == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open every file")
def test_file_without_read_permission_is_handed_out_after_settle_seconds(folder: Path) -> None:
    (folder / "digit1.png").write_bytes(PNG)
    (folder / "digit1.png").chmod(0)
    with running(folder) as loop:
        found: list[str] = []
        until(lambda: bool(found), "a file", turn=lambda: found.extend(loop.inbox.take(1)))
    assert found == ["digit1.png"]


def test_file_that_could_not_be_claimed_comes_first_next_time(folder: Path) -> None:
    for name in names(1, 2, 3):
        drop(folder, name)
    with running(folder) as loop:
        taken = loop.inbox.take(3)
        assert next(taken) == "digit1.png"
        taken.close()  # type: ignore[attr-defined]  # a generator, closed early as in the pipeline
        loop.until_claimed(3)
    assert loop.claimed == names(1, 2, 3)


@pytest.mark.parametrize("how", ["overwritten", "replaced"])
def test_file_that_changes_before_its_claim_is_checked_again(folder: Path, how: str) -> None:
    drop(folder, "digit1.png")
    with running(folder, incomplete_seconds=NEVER) as loop:
        assert next(loop.inbox.take(1)) == "digit1.png"
        if how == "replaced":
            (folder / "digit1.png").unlink()
        (folder / "digit1.png").write_bytes(PNG[:20])
        loop.for_seconds(0.2)
        assert loop.claimed == []
        (folder / "digit1.png").write_bytes(PNG + b"second")
        loop.until_claimed(1)
    assert loop.data == [PNG + b"second"]


def test_number_of_names_in_memory_is_bounded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.inbox.inbox._BACKLOG", 8)
    for name in names(*range(50)):
        drop(folder, name)
    with running(folder, live=False) as loop:
        assert len(loop.inbox._backlog) == 8  # noqa: SLF001 - the memory it takes is the matter
        loop.until(lambda: loop.inbox.exhausted)
    assert loop.claimed == names(*range(50))


def test_many_symlinks_do_not_crowd_out_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.inbox.inbox._BACKLOG", 8)
    for name in names(*range(30)):
        (folder / name).symlink_to("nowhere")
    for name in names(30, 31):
        drop(folder, name)
    with running(folder, live=False) as loop:
        loop.until(lambda: loop.inbox.exhausted)
    assert loop.claimed == names(30, 31)


def test_files_beyond_the_event_limit_are_found_without_a_rescan(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.inbox.inbox._BACKLOG", 8)
    with running(folder) as loop:
        loop.turn()
        for name in names(*range(100)):
            drop(folder, name)
        time.sleep(0.1)
        assert len(loop.inbox._arrived) <= 8  # noqa: SLF001 - the memory it takes is the matter
        loop.until_claimed(100)
    assert sorted(loop.claimed, key=natural) == names(*range(100))


def test_replaced_inbox_is_watched_again(folder: Path, impatient: None) -> None:
    del impatient
    with running(folder) as loop:
        loop.turn()
        folder.rename(folder.parent / "old")
        folder.mkdir()
        drop(folder, "digit1.png")
        loop.until_claimed(1)
        drop(folder, "digit2.png")
        loop.until_claimed(2)
        drop(folder.parent / "old", "digit3.png")
        loop.for_seconds(0.2)
    assert loop.claimed == names(1, 2)


def test_missing_inbox_is_watched_again_when_it_returns(folder: Path, impatient: None) -> None:
    del impatient
    with running(folder) as loop:
        loop.turn()
        shutil.rmtree(folder)
        loop.until(lambda: not loop.tended)
        folder.mkdir()
        loop.until(lambda: loop.tended)
        drop(folder, "digit1.png")
        loop.until_claimed(1)
        assert loop.inbox.mode == "inotify"


def inotify_of(loop: Loop) -> InotifyWatch | None:
    watch = loop.inbox._watch  # noqa: SLF001 - the threads are in there
    return None if watch is None else watch._watch  # noqa: SLF001


def test_dead_watch_thread_is_noticed_and_replaced(
    folder: Path, impatient: None, caplog: pytest.LogCaptureFixture
) -> None:
    del impatient
    with caplog.at_level(logging.WARNING, "daemon"), running(folder) as loop:
        loop.turn()
        watch = inotify_of(loop)
        assert watch is not None
        assert watch.alive()
        os.eventfd_write(watch._stop, 1)  # noqa: SLF001
        watch._thread.join(DEADLINE_SECONDS)  # noqa: SLF001
        assert not watch.alive()
        drop(folder, "digit1.png")
        loop.until(lambda: inotify_of(loop) is not watch)
        loop.until_claimed(1)
        drop(folder, "digit2.png")
        loop.until_claimed(2)
    assert "died: watching again" in caplog.text


def test_close_ends_all_threads_and_descriptors_of_the_watch(folder: Path) -> None:
    def held() -> tuple[int, int]:
        return threading.active_count(), len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    before = held()
    for _ in range(3):
        with running(folder) as loop:
            loop.inbox.open()
    assert held() == before


def test_polling_finds_files_without_a_watch(folder: Path, impatient: None) -> None:
    del impatient
    with running(folder, watch="polling") as loop:
        assert loop.inbox.mode == "polling"
        for number in range(3):
            drop(folder, f"digit{number}.png")
            loop.until_claimed(number + 1)


def test_run_once_neither_watches_nor_lists_again(folder: Path, impatient: None) -> None:
    del impatient
    drop(folder, "digit1.png")
    with running(folder, live=False) as loop:
        loop.until_claimed(1)
        drop(folder, "digit2.png")
        loop.for_seconds(0.1)
        assert loop.inbox.exhausted
    assert loop.claimed == names(1)


@contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """Limit this process to ``count`` more descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(fd) for fd in os.listdir("/proc/self/fd"))  # noqa: PTH208 - only the names
    fillers = [os.open("/", os.O_RDONLY)]
    while fillers[-1] < highest:  # closed descriptors leave gaps
        fillers.append(os.open("/", os.O_RDONLY))
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(3, fillers[-1] + 1 + count), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in fillers:
            os.close(fd)


def test_exhausted_inotify_falls_back_to_polling_or_fails_as_configured(
    folder: Path, impatient: None
) -> None:
    del impatient
    asked = Loop(folder, watch="inotify")
    with descriptors_left(0), pytest.raises(ConfigError, match="watch: inotify is not available"):
        asked.inbox.open()
    loop = Loop(folder)
    with descriptors_left(1):  # enough for inotify itself, but not for the eventfd
        loop.inbox.open()
    assert loop.inbox.mode == "polling"
    drop(folder, "digit1.png")
    loop.until_claimed(1)
    loop.inbox.close()


def test_watch_that_could_not_be_restarted_is_restarted_later(
    folder: Path, impatient: None
) -> None:
    del impatient
    with running(folder, watch="inotify") as loop:
        loop.turn()
        folder.rename(folder.parent / "old")
        folder.mkdir()
        with descriptors_left(-1000):  # not even those of the old watch can be reused
            loop.until(lambda: not loop.tended)
        loop.until(lambda: loop.inbox.mode == "inotify")
        drop(folder, "digit1.png")
        loop.until_claimed(1)


def test_watch_on_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    threads = threading.active_count()
    with pytest.raises(OSError, match=os.strerror(errno.ENOENT)):
        InotifyWatch(tmp_path / "gone", lambda _: None, lambda: None)
    until(lambda: threading.active_count() <= threads, "the end of the watch's threads")


def test_file_systems_of_this_machine_send_events(tmp_path: Path) -> None:
    assert sends_events(tmp_path)
    with pytest.raises(FileNotFoundError):
        sends_events(tmp_path / "gone")


def test_loop_that_reads_once_sleeps_while_files_are_read(folder: Path) -> None:
    drop(folder, "digit1.png")
    with running(folder, live=False) as loop:
        loop.until(lambda: loop.inbox.exhausted)
        assert loop.claimed == names(1)
        assert loop.inbox.seconds_left > 1


def test_loop_sleeps_until_the_first_file_is_due(folder: Path) -> None:
    with running(folder, settle_seconds=0.3) as loop:
        loop.turn()
        assert loop.inbox.seconds_left > 1
        drop(folder, "digit1.png", b"text")
        loop.until(lambda: not loop.inbox.exhausted)
        assert loop.inbox.seconds_left <= 0.3
