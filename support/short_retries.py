"""The daemon with the stand-in reader, which reads a file again after a second, not a minute.

``python -m support.short_retries run --config FILE [--once]``
"""

from __future__ import annotations

from daemon.inbox import attempts
from support import stand_in

if __name__ == "__main__":
    attempts._KILLED_SECONDS = (0.5, 1.0)  # noqa: SLF001 - 10 and 60 s in the program
    attempts._UNOPENED_SECONDS = (0.5,)  # noqa: SLF001 - 10 s in the program
    stand_in.main()
