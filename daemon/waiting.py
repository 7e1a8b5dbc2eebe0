"""What a loop waits for: wake-ups from elsewhere, timers and backoff.

Times are in seconds of ``time.monotonic``.
"""

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait


class Wakeup:
    """Wakes a loop from a thread or a signal handler; a wrapper around eventfd(2)."""

    def __init__(self) -> None:
        self.descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def set(self) -> None:
        """Wake the current or the next call of ``wait``: one write, safe in a signal handler."""
        os.eventfd_write(self.descriptor, 1)

    def clear(self) -> None:
        """Forget all calls of ``set`` until now."""
        with suppress(BlockingIOError):
            os.eventfd_read(self.descriptor)

    def wait(self, others: Sequence[Connection | int], seconds: float) -> None:
        """Sleep until ``set`` is called, one of the others is ready, or the time has passed."""
        wait([self.descriptor, *others], max(0.0, seconds))
        self.clear()

    def close(self) -> None:
        """Close the descriptor; ``set`` must not be called after this."""
        os.close(self.descriptor)


class Timer:
    """When something is due; at once until the first ``restart``.

    Args:
        every: the default delay of ``restart``.
    """

    def __init__(self, every: float = 0.0) -> None:
        self._every = every
        self._due_at = 0.0

    @property
    def is_due(self) -> bool:
        """Whether the time has come."""
        return time.monotonic() >= self._due_at

    @property
    def seconds_left(self) -> float:
        """How long until it is due, at least 0; inf for never."""
        return max(0.0, self._due_at - time.monotonic())

    def restart(self, seconds: float | None = None) -> None:
        """Be due after ``seconds``, or after the default; inf for never."""
        self._due_at = time.monotonic() + (self._every if seconds is None else seconds)

    def expire(self) -> None:
        """Be due now."""
        self._due_at = 0.0


class Backoff(Timer):
    """The delay before the next try: doubled with each failure, up to a maximum.

    Attributes:
        failures: how many tries have failed in a row.
    """

    def __init__(self, first: float, at_most: float) -> None:
        super().__init__()
        self.failures = 0
        self._first = self._delay = first
        self._at_most = at_most

    def fail(self) -> None:
        """Count a failed try and start the next delay."""
        self.failures += 1
        self.restart(self._delay)
        self._delay = min(2 * self._delay, self._at_most)

    def succeed(self) -> None:
        """End the row of failures; the next try is due now."""
        self.failures = 0
        self._delay = self._first
        self.expire()
