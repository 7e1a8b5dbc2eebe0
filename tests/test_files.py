"""Append, replace, rename and lock real files; read lines that are still being written."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from daemon import files
from daemon.errors import BusyError, StorageError, describe
from daemon.locks import Lock, is_held
from daemon.records import Stamp
from support.daemon import files_limited_to

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    descriptor = files.open_to_append(tmp_path / "log")
    yield descriptor
    os.close(descriptor)


def test_stamp_changes_when_a_file_is_written_to_or_replaced(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"1")
    before = Stamp.of(file.stat())
    os.utime(file, ns=(0, 0))
    assert before != Stamp.of(file.stat()) == Stamp(1, 0, before.inode)
    (tmp_path / "other").write_bytes(b"2")
    os.utime(tmp_path / "other", ns=(0, 0))
    (tmp_path / "other").replace(file)
    assert Stamp.of(file.stat()) != Stamp(1, 0, before.inode)


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_untrusted_path_is_opened_without_following_or_blocking(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"
    if kind == "link":
        (tmp_path / "secret").write_bytes(b"secret")
        path.symlink_to(tmp_path / "secret")
        with pytest.raises(OSError, match="symbolic links"):
            files.open_untrusted(path)
        return
    os.mkfifo(path) if kind == "fifo" else path.mkdir()
    descriptor = files.open_untrusted(path)
    assert not stat.S_ISREG(os.fstat(descriptor).st_mode)
    os.close(descriptor)


def test_untrusted_file_is_opened_in_an_open_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(b"seven")
    folder = files.open_untrusted(tmp_path / "folder")
    (tmp_path / "folder").rename(tmp_path / "moved")
    descriptor = files.open_untrusted("file", folder=folder)
    assert os.read(descriptor, 10) == b"seven"
    os.close(descriptor)
    os.close(folder)


def test_data_are_appended_by_every_descriptor(tmp_path: Path, descriptor: int) -> None:
    other = files.open_to_append(tmp_path / "log")
    for each, data in ((descriptor, b"1"), (other, b"2"), (descriptor, b"3")):
        files.append(each, data, tmp_path / "log")
    os.close(other)
    assert (tmp_path / "log").read_bytes() == b"123"


@pytest.mark.parametrize("write", [files.open_to_append, lambda path: files.write_new(path, b"")])
def test_own_files_are_not_written_through_a_symlink(tmp_path: Path, write: object) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert callable(write)
    with pytest.raises(OSError, match="symbolic links"):
        write(tmp_path / "link")
    assert not (tmp_path / "nowhere").exists()


def test_short_write_is_an_error(tmp_path: Path, descriptor: int) -> None:
    files.append(descriptor, b"12345", tmp_path / "log")
    with files_limited_to(8), pytest.raises(OSError, match="No space left") as caught:
        files.append(descriptor, b"67890", tmp_path / "log")
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(tmp_path / "log")
    assert (tmp_path / "log").read_bytes() == b"12345678"


def test_short_write_of_a_new_file_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"an older and longer one")
    files.write_new(file, b"12345")
    assert file.read_bytes() == b"12345"
    with files_limited_to(3), pytest.raises(OSError, match="No space left"):
        files.write_new(file, b"67890")


@pytest.mark.parametrize("durable", [True, False])
def test_file_is_created_and_replaced(tmp_path: Path, durable: bool) -> None:  # noqa: FBT001
    for data in (b"old", b"new"):
        files.replace_whole(tmp_path / "file", data, durable=durable)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": data}


def test_replacement_keeps_the_permissions_that_were_asked_for(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        files.replace_whole(tmp_path / "all", b"", durable=False)
        files.replace_whole(tmp_path / "group", b"", mode=0o600)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"all": 0o640, "group": 0o600}


def test_failed_replacement_leaves_the_old_file_and_no_part(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"old")
    with files_limited_to(4), pytest.raises(OSError, match="File too large"):
        files.replace_whole(file, b"larger than that")

    def stop_halfway() -> None:
        with files.open_replacement(file) as part:
            part.write(b"half")
            part.flush()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_halfway()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": b"old"}


def test_killed_replacement_leaves_the_old_file_and_is_repeated(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"old")
    program = (
        "import os, pathlib, signal, sys\n"
        "from daemon import files\n"
        "with files.open_replacement(pathlib.Path(sys.argv[1])) as part:\n"
        "    part.write(b'half')\n"
        "    part.flush()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(files.__file__).parents[1]
    subprocess.run([sys.executable, "-c", program, file], cwd=root, timeout=60, check=False)
    assert file.read_bytes() == b"old"
    assert (tmp_path / ".file.part").read_bytes() == b"half"
    files.replace_whole(file, b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": b"new"}


def test_replacement_is_durable_before_and_after_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def fsync(descriptor: int) -> None:
        calls.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)

    rename = os.rename

    def log_rename(source: Path, target: Path) -> None:
        calls.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", log_rename)
    files.replace_whole(tmp_path / "file", b"new")
    assert calls == ["rename"]
    calls.clear()
    files.replace_whole(tmp_path / "file", b"new", durable=True)
    assert calls == [".file.part", "rename", tmp_path.name]


@pytest.mark.parametrize("number", [0, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_rename_never_replaces_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    if number:  # as on a file system without RENAME_NOREPLACE
        monkeypatch.setattr(files, "_renameat2", lambda *_: number)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"ours")
    target.symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError) as caught:
        files.rename_noreplace(source, target)
    assert (caught.value.filename, caught.value.filename2) == (str(source), str(target))
    target.unlink()
    files.rename_noreplace(source, target)
    assert target.read_bytes() == b"ours"
    with pytest.raises(FileNotFoundError):
        files.rename_noreplace(source, tmp_path / "other")


def test_second_lock_is_refused_until_the_first_is_released(tmp_path: Path) -> None:
    first, second = (Lock(tmp_path / "lock") for _ in range(2))
    assert not is_held(tmp_path / "lock")
    first.take()
    assert [first.is_held(), second.is_held()] == [True, False]
    assert is_held(tmp_path / "lock")
    with pytest.raises(BusyError, match="another digitd holds"):
        second.take()
    first.release()
    assert [first.is_held(), second.is_held()] == [False, False]
    second.take()
    second.release()


def test_lock_on_a_removed_file_is_no_longer_held(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "lock")
    lock.take()
    (tmp_path / "lock").unlink()
    assert not lock.is_held()
    lock.release()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_file_system_without_locks_is_named_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(_descriptor: int, _operation: int) -> None:
        raise OSError(number, os.strerror(number))

    (tmp_path / "lock").touch()
    monkeypatch.setattr("fcntl.flock", refuse)
    expected = f"{tmp_path / 'lock'}: cannot be locked: {os.strerror(number)}: use a file system"
    with pytest.raises(StorageError, match=expected):
        Lock(tmp_path / "lock").take()
    with pytest.raises(StorageError, match=expected):
        is_held(tmp_path / "lock")


def test_lock_file_that_may_not_be_opened_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, _flags: int) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refuse)  # the tests may run as root
    with pytest.raises(StorageError, match="run this as the user that digitd runs as"):
        is_held(tmp_path / "lock")


def test_line_is_read_once_it_is_complete(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"one\ntwo\nthr")
    with log.open("rb") as file:
        assert list(files.complete_lines(file)) == [b"one\n", b"two\n"]
        assert list(files.complete_lines(file)) == []
        with log.open("ab") as writer:
            writer.write(b"ee\nfour")
        assert list(files.complete_lines(file)) == [b"three\n"]
        assert file.read() == b"four"


def test_lines_are_read_backwards_across_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_BLOCK", 7)
    log = tmp_path / "log"
    log.write_bytes(b"first\n\nthe second one\nlast, torn")
    assert list(files.lines_from_the_end(log)) == [b"last, torn", b"the second one", b"first"]
    log.write_bytes(b"")
    assert list(files.lines_from_the_end(log)) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b""),
        (b"row 1\nrow 2\n", b"row 1\nrow 2\n"),
        (b"row 1\nro", b"row 1\n"),
        (b"row 1\nrow 2", b"row 1\nrow 2\n"),  # an editor removed the last newline
        (b"row 1\nedited\n", b"row 1\nedited\n"),
        (b"row 1\nro\0\0\n\0\0\0", b"row 1\n"),
        (b"ro", b""),
        (bytes(3 << 20), b""),
    ],
)
def test_torn_lines_are_cut_off(
    tmp_path: Path, descriptor: int, before: bytes, after: bytes
) -> None:
    log = tmp_path / "log"
    log.write_bytes(before)
    cut = files.cut_torn_lines(descriptor, lambda line: len(line) == len("row 1"))
    assert log.read_bytes() == after
    assert cut == max(0, len(before) - len(after))


def test_error_of_a_copy_names_the_disk_that_is_full(tmp_path: Path, elsewhere: Path) -> None:
    source = tmp_path / "digit1.png"
    source.write_bytes(bytes(1 << 21))
    target = elsewhere / "digit1.png"
    with files_limited_to(1 << 20), pytest.raises(OSError, match=r"No space|too large") as failed:
        files.move_noreplace(source, target, ".copy.part")
    assert describe(failed.value).startswith(str(elsewhere / ".copy.part"))


def test_error_of_a_rename_names_the_target_if_it_is_to_blame(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for path in (one, other):
        path.touch()
    with pytest.raises(FileExistsError) as failed:
        files.rename_noreplace(one, other)
    assert describe(failed.value) == f"{other}: File exists"
    with pytest.raises(FileNotFoundError) as missing:
        files.rename_noreplace(tmp_path / "none", tmp_path / "new")
    assert describe(missing.value).startswith(str(tmp_path / "none"))


@pytest.mark.parametrize("write", [files.write_new, files.replace_whole])
def test_error_of_a_write_names_the_file(
    tmp_path: Path, write: Callable[[Path, bytes], None]
) -> None:
    path = tmp_path / "file"
    with files_limited_to(10), pytest.raises(OSError, match=r"No space|too large") as failed:
        write(path, bytes(1 << 20))
    assert describe(failed.value).startswith(str(path))
