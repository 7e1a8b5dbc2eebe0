"""The stand-in daemon with a disk that fails once, or a kill, at the Nth call.

``python -m support.faulty N ERRNO run --config FILE``: the daemon's Nth write, fsync, rename or
mkdir in the folder of the config file raises ERRNO once, and the log says which call it was. With
SIGKILL instead of ERRNO, the daemon and its workers are killed at that call.
"""

from __future__ import annotations

import errno
import functools
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daemon import files
from support import stand_in

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType


def _path(descriptor: int) -> str:
    return str(Path(f"/proc/self/fd/{descriptor}").readlink())


class FaultyDisk:
    """Wraps the operating system's calls and makes one of them fail."""

    def __init__(self, folder: Path, nth: int, fault: str) -> None:
        self._folder = str(folder)
        self._left = nth
        self._fault = fault

    def watch(self, module: ModuleType, name: str) -> None:
        call: Callable[..., Any] = getattr(module, name)

        @functools.wraps(call)
        def faulty(target: Any, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - any call
            place = _path(target) if isinstance(target, int) else target
            if os.fsdecode(place).startswith(self._folder):
                self._left -= 1
                if self._left == 0:
                    print(f"fault: {name} {place}", file=sys.stderr, flush=True)
                    if self._fault == "SIGKILL":
                        os.killpg(os.getpgid(0), signal.SIGKILL)
                    number = getattr(errno, self._fault)
                    raise OSError(number, os.strerror(number), os.fsdecode(place))
            return call(target, *arguments, **options)

        setattr(module, name, faulty)


if __name__ == "__main__":
    nth, fault = sys.argv[1:3]
    folder = Path(sys.argv[sys.argv.index("--config") + 1]).parent
    disk = FaultyDisk(folder, int(nth), fault)
    for name in ("write", "pwrite", "fsync", "rename", "mkdir", "ftruncate", "unlink"):
        disk.watch(os, name)
    disk.watch(files, "rename_noreplace")
    disk.watch(files, "sync_file_system")
    stand_in.main()
