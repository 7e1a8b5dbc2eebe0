"""Keep an outbox's record of drift while the daemon runs."""

import logging
import time
from pathlib import Path

from daemon.outbox import drift
from daemon.outbox.rows import Row

log = logging.getLogger(__name__)

_EVERY_SECONDS = 15.0


class Drift:
    """The record of one outbox; the rows of at most 15 seconds are not in it after a kill."""

    def __init__(self, outbox: Path) -> None:
        self._outbox = outbox
        self._record = drift.Record()
        self._is_saved = True
        self._save_at = 0.0

    def open(self) -> None:
        """Load the record."""
        self._record = drift.load(self._outbox)

    def count(self, row: Row) -> None:
        """Add a committed row."""
        self._record = self._record.plus(row)
        self._is_saved = False

    def tend(self) -> None:
        """Save the record if it is due."""
        if not self._is_saved and time.monotonic() >= self._save_at:
            self._save()

    def close(self) -> None:
        """Save the record."""
        if not self._is_saved:
            self._save()

    @property
    def differences(self) -> list[str]:
        """A line for each respect in which today's rows differ from the reference."""
        return drift.differences(self._record)

    def _save(self) -> None:
        self._save_at = time.monotonic() + _EVERY_SECONDS
        try:
            drift.save(self._outbox, self._record)
            self._is_saved = True
        except OSError as error:  # the outbox's own faults are reported by what needs it
            log.debug("the record of drift is not saved: %s", error)
