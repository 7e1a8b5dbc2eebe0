"""Wake the daemon's loop from a thread, a signal handler or a worker's reply."""

import os
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait


class Bell:
    """A wrapper around eventfd(2): ringing is one write, which is safe in a signal handler."""

    def __init__(self) -> None:
        self._descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def ring(self) -> None:
        """Wake the current or the next call of ``wait``."""
        os.eventfd_write(self._descriptor, 1)

    def wait(self, others: Sequence[Connection | int], seconds: float) -> None:
        """Sleep until the bell rings, one of the others is ready, or the time has passed."""
        if self._descriptor in wait([self._descriptor, *others], seconds):
            os.eventfd_read(self._descriptor)  # resets the counter, however often it rang

    def close(self) -> None:
        """Close the descriptor; ``ring`` must not be called after this."""
        os.close(self._descriptor)
