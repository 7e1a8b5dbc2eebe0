"""Wake the daemon's loop: from a thread, from a signal handler, or by a worker's answer."""

import os
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait


class Bell:
    """An eventfd(2): ringing is one write, which a signal handler may do at any time."""

    def __init__(self) -> None:
        self._descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def ring(self) -> None:
        """Wake whoever waits, or the next who does."""
        os.eventfd_write(self._descriptor, 1)

    def wait(self, others: Sequence[Connection | int], seconds: float) -> None:
        """Sleep until it rings, one of the others is ready, or the seconds have passed."""
        if self._descriptor in wait([self._descriptor, *others], seconds):
            os.eventfd_read(self._descriptor)  # however often it rang

    def close(self) -> None:
        """Close it; nobody may ring it any more."""
        os.close(self._descriptor)
