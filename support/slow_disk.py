"""digitd on a disk where each read at a place of predictions.csv takes a while.

``python -m support.slow_disk review --config FILE``
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from daemon.cli import main
from daemon.layout import TABLE

SECONDS = 0.06

if __name__ == "__main__":
    pread = os.pread

    def slow_pread(descriptor: int, length: int, offset: int) -> bytes:
        if Path(f"/proc/self/fd/{descriptor}").readlink().name == TABLE:
            time.sleep(SECONDS)
        return pread(descriptor, length, offset)

    os.pread = slow_pread
    main()
