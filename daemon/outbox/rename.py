"""Rename a file without replacing another."""

import ctypes
import errno
import os
from pathlib import Path

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
# Errors from file systems that don't support RENAME_NOREPLACE: NFS, some FUSE.
_UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})

_libc = ctypes.CDLL(None, use_errno=True)


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
        if os.path.lexists(target):
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
    done = call(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE)
    return 0 if done == 0 else ctypes.get_errno()
