"""Open, append to, sync, replace and rename files safely."""

import ctypes
import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from daemon.errors import DestinationError, add_path, may_be_of
from daemon.records import Stamp

PART_SUFFIX = ".part"  # of a file that is still being written
_BLOCK = 1 << 20

# Errors from file systems that don't support RENAME_NOREPLACE: NFS, some FUSE.
_UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
_NO_UNNAMED_FILES = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT})
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_libc = ctypes.CDLL(None, use_errno=True)


def open_untrusted(path: Path | str, *, folder: int | None = None) -> int:
    """Open a file that others may replace; return a descriptor, which the caller must close.

    Args:
        path: of the file; relative to ``folder`` if there is one.
        folder: a descriptor of the folder.

    Raises:
        OSError: the file cannot be opened, or is a symlink (ELOOP).
    """
    # Don't follow symlinks; don't block on FIFOs.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    return os.open(path, flags, dir_fd=folder)


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file for reading; see ``open_descriptor``."""
    return open(path, "rb", opener=lambda *_: open_descriptor(path))  # which keeps the path as name


def open_descriptor(path: Path) -> int:
    """Open a regular file for reading, or one that a symlink leads to; return its descriptor.

    Raises:
        OSError: it cannot be opened, or is no regular file, such as a FIFO, which would block.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
    raise OSError(errno.EINVAL, "it is not a regular file", str(path))


def open_to_append(path: Path) -> int:
    """Open or create a file for reading and appending; return its descriptor.

    Raises:
        OSError: the file cannot be opened, or is a symlink (ELOOP).
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(path, flags, 0o660)


def append(descriptor: int, data: bytes, path: Path) -> None:
    """Write all of ``data`` with one call; this does not fsync it.

    Args:
        descriptor: of a file opened for writing.
        data: what to write.
        path: of the file, for the error.

    Raises:
        OSError: not all of it was written, but perhaps a part.
    """
    with add_path(path):
        written = os.write(descriptor, data)
    if written != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def write_new(path: Path, data: bytes) -> None:
    """Create a file or truncate it, and write all of ``data``; this does not fsync it.

    Raises:
        OSError: it cannot be written, or is a symlink (ELOOP).
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o660)
    try:
        append(descriptor, data, path)
    finally:
        os.close(descriptor)


def try_to_create(folder: Path) -> None:
    """Raise OSError if a folder cannot hold a new file; create none."""
    try:
        os.close(os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC))
    except OSError as error:
        # Network file systems have no unnamed files. Those of the kernel hold no files at all.
        if error.errno not in _NO_UNNAMED_FILES or not os.statvfs(folder).f_blocks:
            raise


def check_writable(folder: Path) -> None:
    """Check a folder for results, which may be missing, before the work that they come from.

    Raises:
        DestinationError: it can hold no new file, or cannot be created.
    """
    try:
        try_to_create(next(each for each in (folder, *folder.parents) if each.exists()))
    except OSError as error:
        raise DestinationError(
            f"{folder}: cannot be written: {error.strerror}: let this user write there, or name "
            "another folder"
        ) from None


def replace_whole(path: Path, data: bytes, *, durable: bool = False, mode: int = 0o666) -> None:
    """Replace or create a file, so that readers see the old content or the new.

    The arguments are those of ``open_replacement``.
    """
    with open_replacement(path, durable=durable, mode=mode) as file:
        file.write(data)


@contextmanager
def open_replacement(path: Path, *, durable: bool = False, mode: int = 0o666) -> Iterator[BinaryIO]:
    """Yield a hidden file next to ``path``, and rename it to ``path`` when the block ends.

    After an exception the hidden file is removed, and ``path`` is unchanged.

    Args:
        path: of the file to replace or create.
        durable: whether the new file survives a power failure once the block has ended.
        mode: the permissions of the new file, before the umask.

    Raises:
        OSError: it cannot be written or renamed.
    """
    part = part_of(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(part, flags, mode)
    try:
        with add_path(path), open(descriptor, "wb") as file:  # noqa: PTH123 - opened safely
            yield file
            if durable:
                file.flush()
                os.fsync(descriptor)
        part.rename(path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
    if durable:
        sync_folder(path.parent)


@contextmanager
def open_result(path: Path, option: str) -> Iterator[BinaryIO]:
    """Yield what the result of a command is written to; a file is replaced when the block ends.

    What is no regular file, such as /dev/stdout or a FIFO, is written to.

    Args:
        path: of the file.
        option: of the command, that names the file.

    Raises:
        DestinationError: it cannot be written.
    """
    is_special = path.exists() and not path.is_file()
    try:
        with path.open("wb") if is_special else open_replacement(path, durable=True) as file:
            yield file
    except OSError as error:
        if not may_be_of(error, path, part_of(path)):  # what the result is made of cannot be read
            raise
        raise DestinationError(
            f"{path}: cannot be written: {error.strerror}: name another file with {option}"
        ) from error


def part_of(path: Path) -> Path:
    """Return the hidden file that ``open_replacement`` writes."""
    return path.with_name(f".{path.name.removeprefix('.')}{PART_SUFFIX}")


def rename_noreplace(source: Path, target: Path) -> None:
    """Rename ``source`` to ``target``; see renameat2(2), RENAME_NOREPLACE.

    If the file system does not support that, this checks for a file at ``target`` before the
    rename. A file that another process creates there between the two is lost.

    Raises:
        FileExistsError: something is at ``target``.
        OSError: it cannot be renamed.
    """
    number = _renameat2(source, target)
    if number in _UNSUPPORTED:
        if is_there(target):
            number = errno.EEXIST
        else:
            source.rename(target)
            return
    if number:
        raise OSError(number, os.strerror(number), str(source), None, str(target))


def _renameat2(source: Path, target: Path) -> int:
    """Return 0, or the errno."""
    try:
        call = _libc.renameat2  # glibc 2.28, musl 1.2.5
    except AttributeError:
        return errno.ENOSYS
    failed = call(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE)
    return ctypes.get_errno() if failed else 0


def move_noreplace(source: Path, target: Path, part_name: str) -> None:
    """Move a file, also to another file system, without replacing another.

    Args:
        source: the file.
        target: its new path.
        part_name: of a copy in the target's folder, which is left there if copying fails.

    Raises:
        FileExistsError: something is at ``target``.
        PermissionError: ``source`` is on another file system and not a regular file.
        OSError: it cannot be moved.
    """
    try:
        rename_noreplace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    else:
        return
    if not stat.S_ISREG(source.lstat().st_mode):
        # Copying a symlink would read another file, and copying a FIFO would never end.
        raise PermissionError(errno.EPERM, "is not a regular file: not copied", str(source))
    part = target.with_name(part_name)
    _copy(source, part)
    publish_part(part, target)
    source.unlink()


def rewrite(path: Path, part: Path) -> None:
    """Write a file's bytes to the disk once more, through a copy that replaces it.

    Args:
        path: of the file.
        part: of the copy, on the same file system; left there if this fails.

    Raises:
        OSError: they cannot be read or written.
    """
    _copy(path, part)
    sync_file(part)
    part.rename(path)
    sync_folder(path.parent)


def _copy(source: Path, part: Path) -> None:
    # Each error gets the path of its own disk.
    with add_path(part), open(open_untrusted(source), "rb") as old, part.open("wb") as new:
        while True:
            with add_path(source):
                data = old.read(_BLOCK)
            if not data:
                break
            new.write(data)
    with suppress(OSError):  # not every file system supports owners, permissions and times
        shutil.copystat(source, part, follow_symlinks=False)


def publish_part(part: Path, target: Path) -> None:
    """Give a written file its final name, which then survives a power failure.

    Raises:
        FileExistsError: something is at ``target``.
        OSError: it cannot be renamed.
    """
    sync_file(part)
    rename_noreplace(part, target)
    sync_folder(target.parent)


def make_folder(folder: Path) -> bool:
    """Create a folder that survives a power failure; return whether it was missing."""
    if folder.is_dir():
        return False
    folder.mkdir(mode=0o770, exist_ok=True)
    with suppress(PermissionError):  # a folder may be writable and not readable
        sync_folder(folder.parent)
    return True


def hash_file(path: Path) -> str:
    """Return the sha256 of a file's bytes in hex digits; symlinks are not followed."""
    with open(open_untrusted(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_file(path: Path) -> None:
    """Make a file's content survive a power failure; symlinks are not followed."""
    descriptor = open_untrusted(path)
    try:
        with add_path(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file_system(descriptor: int, path: Path) -> None:
    """Make everything written to a file system survive a power failure; see syncfs(2).

    Args:
        descriptor: of a file or folder on it. A lost write is only reported if this was opened
            before.
        path: of the same, for the error.

    Raises:
        OSError: not everything was written.
    """
    if _libc.syncfs(descriptor):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path))


def sync_folder(folder: Path) -> None:
    """Make the names of new and renamed files in a folder survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with add_path(folder):
            os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot sync a folder
            raise
    finally:
        os.close(descriptor)


def is_there(path: Path | str) -> bool:
    """Return whether something is at a path, even a broken symlink.

    Raises:
        OSError: the disk does not say. ``os.path.lexists`` would return ``False``.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def same_path(one: Path | str, other: Path | str) -> bool:
    """Return whether two paths, whose files may be missing, are the same without .. and links."""
    return os.path.realpath(one) == os.path.realpath(other)


def was_modified(path: Path, stamp: Stamp | None) -> bool:
    """Return whether a file was written to or replaced since it had a stamp.

    ``False`` if it is gone, or had none.
    """
    try:
        return stamp is not None and Stamp.of(path.lstat()) != stamp
    except FileNotFoundError:
        return False


def is_open_at(descriptor: int, path: Path) -> bool:
    """Return whether an open file is still the file at a path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def complete_lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines from the file's position on, each with its newline.

    A last line without a newline may still be being written. It is not yielded, and the file's
    position stays at its start.
    """
    for line in file:
        if not line.endswith(b"\n"):
            file.seek(-len(line), os.SEEK_CUR)
            return
        yield line


def lines_from_the_end(path: Path) -> Iterator[bytes]:
    """Yield a file's lines without newlines, last one first; read only as much as is consumed.

    Empty lines are left out.
    """
    with open_regular(path) as file:
        position = file.seek(0, os.SEEK_END)
        rest = b""
        while position:
            step = min(_BLOCK, position)
            position -= step
            file.seek(position)
            first, *lines = (file.read(step) + rest).split(b"\n")
            yield from (line for line in reversed(lines) if line)
            rest = first
        if rest:
            yield rest


def cut_torn_lines(descriptor: int, is_row: Callable[[str], bool]) -> int:
    """Cut off what a power failure or a kill left of rows that were being appended.

    A torn line has no newline, or contains the zeros of a block that never reached the disk. Any
    other malformed line was edited by someone and is kept.

    Args:
        descriptor: of a file opened for reading and appending.
        is_row: returns whether a line is a whole row; it must refuse every prefix of a row.

    Returns:
        The number of bytes that were cut off.

    Raises:
        OSError: the file cannot be read or written.
    """
    cut = 0
    while size := os.fstat(descriptor).st_size:
        tail = os.pread(descriptor, _BLOCK, max(0, size - _BLOCK))
        keep = len(tail)
        while keep and not _is_whole(tail, keep, is_row):
            keep = tail.rfind(b"\n", 0, keep - 1) + 1
        if keep == len(tail):
            if not tail.endswith(b"\n"):  # an editor removed the last newline
                os.write(descriptor, b"\n")
            break
        cut += len(tail) - keep
        os.ftruncate(descriptor, size - (len(tail) - keep))
        if keep:
            break
    if cut:
        os.fsync(descriptor)
    return cut


def _is_whole(tail: bytes, end: int, is_row: Callable[[str], bool]) -> bool:
    """Return whether the last line up to ``end`` is whole."""
    start = tail.rfind(b"\n", 0, end - 1) + 1
    line = tail[start:end]
    if b"\0" in line:
        return False
    return line.endswith(b"\n") or is_row(line.decode("utf-8", "replace"))
