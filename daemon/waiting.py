"""What a loop waits for: wake-ups from elsewhere, timers and backoff.

Times are in seconds of ``time.monotonic``.
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
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


class SyncThread:
    """Runs a function that waits for the disk in a thread, and wakes a loop after each run.

    Each run makes durable what was written before it began, however long the disk takes. The thread
    starts with the first request.
    """

    def __init__(self, sync: Callable[[], None], wakeup: Wakeup) -> None:
        """Take the function, which may raise ``OSError``, and what wakes the loop."""
        self._sync = sync
        self._wakeup = wakeup
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._requested = self._begun = self._ended = 0
        self._error: Exception | None = None
        self._is_closed = False

    def request(self) -> int:
        """Ask for a run that begins after this call; return its number."""
        if self._thread is None:
            # A daemon thread, because an exit must not wait for the disk.
            self._thread = threading.Thread(target=self._run, name="sync", daemon=True)
            self._thread.start()
        with self._changed:
            self._requested = self._begun + 1
            self._changed.notify()
            return self._requested

    def ended(self) -> int:
        """Return the number of the last run that has ended.

        Raises:
            OSError: a run has failed since the last call. Nothing that waits for a run may be
                called durable, because the kernel reports a lost write only once.
        """
        with self._changed:
            error, self._error = self._error, None
            if error is not None:
                raise error
            return self._ended

    def close(self) -> None:
        """End the thread after the run in progress; don't wait for it."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()

    def _run(self) -> None:
        error: Exception | None = None
        while True:
            with self._changed:
                if self._begun:
                    self._ended = self._begun
                    self._error = error or self._error
                    if not self._is_closed:  # afterwards the descriptor may be another file's
                        self._wakeup.set()
                self._changed.wait_for(lambda: self._is_closed or self._requested > self._begun)
                if self._is_closed:
                    return
                self._begun = self._requested
            error = None
            try:
                self._sync()
            except Exception as raised:  # noqa: BLE001 - `ended` raises it in the loop
                error = raised


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
