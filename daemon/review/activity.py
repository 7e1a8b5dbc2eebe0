"""What the daemon is doing, as every page shows it."""

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from daemon.config import Config
from daemon.errors import DigitdError, describe
from daemon.invocation import command
from daemon.loop.status import State, count_files_left, read_health
from daemon.text import escape

_REFRESH_SECONDS = 1.0
_MOST_WORK = 0.1  # share of the time; counting many files in the inbox takes long
_WORDS = {State.RUNNING: "reading"}  # for a person; the others are their own words


@dataclass(frozen=True, slots=True)
class Activity:
    """What the daemon is doing.

    Attributes:
        daemon: reading, paused, hung, stopped or starting; unknown if this user may not see it.
        notice: what a person should know about that; may be empty.
        waiting: the number of files without a row.
        per_minute: the number of files that were read in the last minute.
    """

    daemon: str
    notice: str
    waiting: int = 0
    per_minute: int = 0


class ActivityWatch:
    """Looks at the daemon at most once a second, for all open pages together.

    Attributes:
        last: what the last look found.
    """

    def __init__(
        self, read_config: Callable[[], Config], count_last_minute: Callable[[], int]
    ) -> None:
        self._read_config = read_config
        self._count_last_minute = count_last_minute
        self._looking = threading.Lock()
        self._due = 0.0
        self.last = Activity("unknown", "")

    @property
    def is_due(self) -> bool:
        """Whether ``current`` will look again, which may take long."""
        return time.monotonic() >= self._due

    def current(self) -> Activity:
        """Return what the daemon is doing; any thread may ask."""
        # The first request waits; later ones get the previous answer while a thread is looking.
        if self.is_due and self._looking.acquire(blocking=not self._due):
            try:
                if self.is_due:
                    start = time.monotonic()
                    self.last = self._look()
                    end = time.monotonic()
                    self._due = end + max(_REFRESH_SECONDS, (end - start) / _MOST_WORK)
            finally:
                self._looking.release()
        return self.last

    def _look(self) -> Activity:
        config = self._read_config()
        found = _describe_daemon(config)
        per_minute = self.last.per_minute
        with suppress(sqlite3.Error):  # the index is being rebuilt
            per_minute = self._count_last_minute()
        return replace(found, waiting=count_files_left(config), per_minute=per_minute)


def _describe_daemon(config: Config) -> Activity:
    try:
        health = read_health(config)
    except (DigitdError, OSError) as error:
        why = escape(describe(error))
        return Activity("unknown", f"It is not known whether digitd is reading: {why}.")
    notice = ""
    if health.state is State.STOPPED:
        notice = f"digitd has stopped: start it with {command('run')}."
    elif health.state is State.PAUSED:
        why = escape(health.why) or "the log says why"
        notice = f"digitd has paused: {why}. It resumes by itself."
    elif health.state is State.HUNG:
        notice = f"digitd hangs: {escape(health.why)}."
    elif health.model_fault:
        notice = f"The promoted model cannot be used: {escape(health.model_fault)}."
    return Activity(_WORDS.get(health.state, str(health.state)), notice)
