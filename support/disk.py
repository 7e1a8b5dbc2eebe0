"""A file system of its own for a test, and power cuts of it; needs root."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from support.programs import require
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.daemon import Daemon

_BYTES = 400 << 20  # mkfs.xfs needs 300 MB; the file is sparse


class Disk:
    """A file system in a file, mounted through a loop device.

    The file has everything that the kernel has sent to the disk, in its order. So a copy of it is
    what a power cut leaves. (A real disk may also lose or reorder what was not flushed.)
    """

    def __init__(self, file: Path, kind: str, folder: Path, *options: str) -> None:
        """Make a file system of a ``kind`` such as ext4, and mount it at an empty folder.

        A new file has 400 MB. The options are those of mkfs.
        """
        if os.geteuid() != 0:
            pytest.skip("only root can mount")
        self.folder = folder
        self._file = file
        if not file.exists():
            file.touch()
            os.truncate(file, _BYTES)
        subprocess.run(
            [require(f"mkfs.{kind}"), "-q", *options, file], check=True, capture_output=True
        )
        self.mount()

    def sync(self) -> None:
        subprocess.run(["sync", "--file-system", self.folder], check=True)

    def copy(self) -> None:
        """Copy what a power cut would leave now; ``restore`` mounts it."""
        subprocess.run(["cp", "--sparse=always", self._file, self._copy], check=True)

    def restore(self) -> None:
        """Mount the copy; the disk must be unmounted."""
        self._copy.rename(self._file)
        self.mount()

    def unmount(self) -> None:
        def is_done() -> bool:
            done = subprocess.run(["umount", self.folder], check=False, capture_output=True)
            return done.returncode == 0

        until(is_done, f"nobody uses {self.folder}")

    @property
    def _copy(self) -> Path:
        return self._file.with_suffix(".copy")

    def mount(self) -> None:
        done = subprocess.run(
            ["mount", "-o", "loop", self._file, self.folder],
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            pytest.skip(f"this machine lets nobody mount: {done.stderr}")


@contextmanager
def disks(folder: Path, kind: str, *mount_points: str) -> Iterator[list[Disk]]:
    """Yield a disk for each mount point below ``folder``, which is itself the first one."""
    made: list[Disk] = []
    root = folder / "disk"
    try:
        for number, point in enumerate(("", *mount_points)):
            (root / point).mkdir()
            made.append(Disk(folder / f"{number}.img", kind, root / point))
        yield made
    finally:
        for disk in reversed(made):
            disk.unmount()


def cut_power(disks: list[Disk], running: Daemon) -> None:
    """End the daemon and its disks, and mount what they have stored."""
    for disk in disks:
        disk.copy()
    running.kill()
    for disk in reversed(disks):
        disk.unmount()
    for disk in disks:
        disk.restore()
