"""The daemon with the stand-in reader, for which each minute is a day.

``python -m support.fast_days run --config FILE``. It looks for old files every 15 seconds instead
of every hour.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from daemon.outbox import archive, retention
from support import stand_in

DAY_SECONDS = 60.0
SWEEP_SECONDS = 15.0
_FIRST = datetime(2026, 1, 1)  # noqa: DTZ001 - only its date counts


def day(moment: datetime) -> str:
    minutes = moment.timestamp() // DAY_SECONDS
    return f"{_FIRST + timedelta(days=minutes % 10_000):%Y-%m-%d}"


if __name__ == "__main__":
    archive.day_folder = day
    retention._EVERY_SECONDS = SWEEP_SECONDS  # noqa: SLF001 - an hour in the program
    stand_in.main()
