"""The stand-in daemon with a disk on which syncfs takes as long as a file ``slow`` exists.

``python -m support.slow_sync run --config FILE``: the file is next to the config.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from daemon import files
from support import stand_in

if __name__ == "__main__":
    slow = Path(sys.argv[sys.argv.index("--config") + 1]).with_name("slow")
    sync = files.sync_file_system

    def wait_and_sync(descriptor: int, path: Path) -> None:
        while slow.exists():
            time.sleep(0.02)
        sync(descriptor, path)

    files.sync_file_system = wait_and_sync
    stand_in.main()
