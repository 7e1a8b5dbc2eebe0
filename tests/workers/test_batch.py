"""One batch of claimed files: open safely, hash, read, write the pictures."""

from __future__ import annotations

import errno
import hashlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from daemon.config import Config
from daemon.records import FileContent, Reading, ReadOptions, Result, Status, Verdict
from daemon.workers.readers import Batch, Unopened
from daemon.workers.worker import read_batch, reject
from support.daemon import files_limited_to
from support.factories import claimed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from daemon.workers.worker import Read

OPTIONS = replace(Config().reading, max_file_mb=1.0)


class Reader:
    """A reader that records its contents and returns "ok" or the reason for a refusal."""

    def __init__(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        self.contents: list[list[FileContent]] = []
        self._meanwhile = meanwhile

    def __call__(self, _: ReadOptions, contents: Sequence[FileContent]) -> list[Reading]:
        self.contents.append(list(contents))
        self._meanwhile()
        return [self._read(content) for content in contents]

    def _read(self, content: FileContent) -> Reading:
        if content.rejection:
            return Reading(Verdict(Status.ERROR, reason=content.rejection), "m", b"a picture")
        return Reading(Verdict(Status.OK, "7", 0.9), "m", b"a picture of " + content.data)


def read_results(read: Read, options: ReadOptions, batch: Batch) -> list[Result]:
    """Read a batch whose files can all be opened."""
    results = read_batch(read, options, batch)
    assert not [one for one in results if isinstance(one, Unopened)]
    return [one for one in results if isinstance(one, Result)]


def test_each_file_gets_a_hash_a_verdict_and_a_picture(tmp_path: Path) -> None:
    jobs = [claimed(tmp_path, f"digit{n}.png", os.urandom(300_000)) for n in (3, 1, 2)]
    reader = Reader()
    results = read_results(reader, OPTIONS, Batch(tuple(jobs)))
    assert [result.job for result in results] == jobs
    assert len(reader.contents) == 1
    for result, content in zip(results, reader.contents[0], strict=True):
        data = result.job.path.read_bytes()
        assert content == FileContent(result.job.name, data)
        assert result.sha256 == hashlib.sha256(data).hexdigest()
        assert result.has_picture
        assert result.job.picture_path.read_bytes() == b"a picture of " + data


def test_no_picture_is_written_if_pictures_are_off(tmp_path: Path) -> None:
    (result,) = read_results(
        lambda _, contents: [Reading(Verdict(Status.OK, "7", 0.9), "m") for _ in contents],
        OPTIONS,
        Batch((claimed(tmp_path),)),
    )
    assert not result.has_picture
    assert not result.job.picture_path.exists()


def test_file_over_the_limit_is_refused_but_hashed(tmp_path: Path) -> None:
    jobs = [claimed(tmp_path, data=bytes(1001)), claimed(tmp_path, data=bytes(1000))]
    reader = Reader()
    large, small = read_results(reader, replace(OPTIONS, max_file_mb=0.001), Batch(tuple(jobs)))
    assert [content.data for content in reader.contents[0]] == [b"", bytes(1000)]
    assert large.verdict.reason == "too large: 0.0 MB, the limit is 0.001 MB"
    assert large.sha256 == hashlib.sha256(bytes(1001)).hexdigest()
    assert small.verdict.status is Status.OK


def test_refused_job_is_hashed_but_not_decoded(tmp_path: Path) -> None:
    rejected = Batch((claimed(tmp_path),), rejection="took its worker process down 2 times")
    reader = Reader()
    (result,) = read_results(reader, OPTIONS, rejected)
    assert reader.contents == [[FileContent("digit7.png", b"", rejected.rejection)]]
    assert result.sha256 == hashlib.sha256(b"seven").hexdigest()
    unread = reject(rejected.jobs[0], rejected.rejection)
    assert unread is not None
    assert unread.verdict == Verdict(Status.ERROR, reason=rejected.rejection)
    assert (unread.sha256, unread.has_picture) == (result.sha256, False)


def test_missing_file_is_reported(tmp_path: Path) -> None:
    jobs = [claimed(tmp_path), claimed(tmp_path)]
    jobs[0].path.unlink()
    missing, found = read_batch(Reader(), OPTIONS, Batch(tuple(jobs)))
    assert missing == Unopened(jobs[0], "No such file or directory")
    assert found.job == jobs[1]
    assert read_batch(Reader(), OPTIONS, Batch((jobs[0],))) == [missing]
    assert reject(jobs[0], "a reason") is None


@pytest.mark.parametrize("kind", ["symlink", "fifo", "folder"])
def test_non_regular_file_is_not_read(tmp_path: Path, kind: str) -> None:
    one = claimed(tmp_path)
    one.path.unlink()
    if kind == "symlink":
        (tmp_path / "secret").write_bytes(b"secret")
        one.path.symlink_to(tmp_path / "secret")
    elif kind == "fifo":
        os.mkfifo(one.path)
    else:
        one.path.mkdir()
    reader = Reader()
    (result,) = read_results(reader, OPTIONS, Batch((one,)))
    assert reader.contents[0][0].data == b""
    assert result.sha256 == ""
    expected = "cannot be opened: " if kind == "symlink" else "is not a regular file"
    assert result.verdict.reason.startswith(expected)


def test_file_modified_while_being_read_is_read_again(tmp_path: Path) -> None:
    jobs = [claimed(tmp_path, "digit1.png"), claimed(tmp_path, "digit2.png")]
    reader = Reader()

    def modify_once() -> None:
        if len(reader.contents) == 1:
            jobs[0].path.write_bytes(b"seven and more")

    reader = Reader(modify_once)
    results = read_results(reader, OPTIONS, Batch(tuple(jobs)))
    assert [[content.name for content in batch] for batch in reader.contents] == [
        ["digit1.png", "digit2.png"],
        ["digit1.png"],
    ]
    assert [result.job for result in results] == jobs
    assert results[0].sha256 == hashlib.sha256(b"seven and more").hexdigest()
    assert jobs[0].picture_path.read_bytes() == b"a picture of seven and more"


def test_constantly_modified_file_is_read_three_times(tmp_path: Path) -> None:
    one = claimed(tmp_path)

    def append() -> None:
        with one.path.open("ab") as file:
            file.write(b".")

    reader = Reader(append)
    (result,) = read_results(reader, OPTIONS, Batch((one,)))
    assert len(reader.contents) == 3
    assert result.sha256 == hashlib.sha256(b"seven..").hexdigest()


def failing_open(number: int, times: int) -> Callable[..., int]:
    """Return an ``os.open`` that fails with an errno the given number of times."""
    real = os.open
    left = times

    def fail_first(path: str, *arguments: int, **options: int) -> int:
        nonlocal left
        if str(path).endswith("digit7.png") and left:
            left -= 1
            raise OSError(number, os.strerror(number), str(path))
        return real(path, *arguments, **options)

    return fail_first


def test_read_error_is_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.workers.worker._PAUSE_SECONDS", 0.01)
    one = claimed(tmp_path)
    monkeypatch.setattr(os, "open", failing_open(errno.EIO, 2))
    (result,) = read_results(Reader(), OPTIONS, Batch((one,)))
    assert result.verdict.status is Status.OK


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.EPERM, errno.ENXIO])
def test_file_that_cannot_be_opened_is_refused_only_when_it_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr("daemon.workers.worker._PAUSE_SECONDS", 0.01)
    one = claimed(tmp_path)
    monkeypatch.setattr(os, "open", failing_open(number, 99))
    assert read_batch(Reader(), OPTIONS, Batch((one,))) == [Unopened(one, os.strerror(number))]
    given_up = Batch((one,), alone=True, rejection="cannot be opened")
    (result,) = read_results(Reader(), OPTIONS, given_up)
    assert (result.verdict.reason, result.sha256) == ("cannot be opened", "")


@pytest.mark.parametrize("number", [errno.ESTALE, errno.ENOTCONN, errno.EMFILE])
def test_unreachable_file_server_is_not_the_files_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    one = claimed(tmp_path)
    monkeypatch.setattr(os, "open", failing_open(number, 99))
    with pytest.raises(OSError, match=os.strerror(number)):
        read_results(Reader(), OPTIONS, Batch((one,)))


def test_full_disk_for_a_picture_is_not_the_files_fault(tmp_path: Path) -> None:
    one = claimed(tmp_path, data=bytes(1000))
    with files_limited_to(100), pytest.raises(OSError, match=r"No space left|File too large"):
        read_results(Reader(), OPTIONS, Batch((one,)))
    (result,) = read_results(Reader(), OPTIONS, Batch((one,)))
    assert result.job.picture_path.stat().st_size > 1000
