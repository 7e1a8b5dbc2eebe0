"""What the daemon is doing and what its config says, as every page shows it."""

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from daemon.config import Config, load
from daemon.errors import DigitdError, describe
from daemon.files import same_path
from daemon.invocation import command
from daemon.loop.status import State, count_files_left, read_health
from daemon.records import Stamp
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


class ConfigFile:
    """The config; a running page follows a change of the file, as digitd does at a reload.

    With the settings of the page's start, a key that means a digit could answer a number, and an
    added file get a name that digitd ignores by now.

    Attributes:
        last: what the last look found: the config that was valid and names the outbox of the start.
        fault: why the file was not taken then, as a sentence; empty if it was.
    """

    def __init__(self, config: Config) -> None:
        self.last, self.fault = config, ""
        self._stamp: Stamp | None = None

    @property
    def current(self) -> Config:
        """The settings now, for which the file is looked at again."""
        if self.last.file is not None:
            try:
                stamp = Stamp.of(self.last.file.stat())
                if stamp != self._stamp:
                    self._take(load(self.last.file))
                    self._stamp = stamp
            except (OSError, DigitdError) as error:
                self.fault = f"This page keeps the settings it had: {escape(describe(error))}."
        return self.last

    def _take(self, changed: Config) -> None:
        if same_path(changed.outbox, self.last.outbox):
            self.last, self.fault = changed, ""
        else:
            self.fault = (
                f"{escape(str(changed.file))} has another outbox now: start {command('review')} "
                "again to see it."
            )


class ActivityWatch:
    """Looks at the daemon at most once a second, for all open pages together.

    Attributes:
        last: what the last look found.
    """

    def __init__(self, config_file: ConfigFile, count_last_minute: Callable[[], int]) -> None:
        self._config_file = config_file
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
        config = self._config_file.current
        found = _describe_daemon(config)
        notice = " ".join(filter(None, (found.notice, self._config_file.fault)))
        per_minute = self.last.per_minute
        with suppress(sqlite3.Error):  # the index is being rebuilt
            per_minute = self._count_last_minute()
        return replace(
            found, notice=notice, waiting=count_files_left(config), per_minute=per_minute
        )


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
