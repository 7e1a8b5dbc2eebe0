"""The live line at the bottom of a terminal: rows, rate and backlog."""

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from daemon.loop.service import Progress
from daemon.records import Status
from daemon.systemd.journal import set_up_logging

_REDRAW_SECONDS = 0.2
_RATE_SECONDS = 5.0  # the window over which the rate is averaged
_CLEAR_LINE = "\r\033[K"
_NARROWEST = 20  # columns; used if the terminal reports fewer


class Footer:
    """The live line. Log lines must go through ``handler``, which writes them above it."""

    def __init__(self, terminal: TextIO) -> None:
        self.handler = _AboveFooter(self, terminal)
        self._terminal = terminal
        self._text = ""
        self._drawn_at = -1.0
        self._samples: deque[tuple[float, int]] = deque()  # (time, rows so far)

    def show(self, progress: Progress) -> None:
        """Redraw the line, at most five times a second."""
        now = time.monotonic()
        if now < self._drawn_at + _REDRAW_SECONDS:
            return
        self._drawn_at = now
        self._text = format_line(progress, self._rate(now, progress.rows.total()))
        self.restore()

    def clear(self) -> None:
        """Remove the line from the terminal until it is drawn again."""
        self._terminal.write(_CLEAR_LINE)
        self._terminal.flush()

    def restore(self) -> None:
        """Draw the last line again."""
        # Leave one column free, because a full line would make the terminal scroll.
        columns = max(_NARROWEST, os.get_terminal_size(self._terminal.fileno()).columns) - 1
        self._terminal.write(_CLEAR_LINE + self._text[:columns])
        self._terminal.flush()

    def _rate(self, now: float, rows: int) -> float:
        """Return files per second over the last ``_RATE_SECONDS``."""
        self._samples.append((now, rows))
        while len(self._samples) > 1 and self._samples[1][0] <= now - _RATE_SECONDS:
            self._samples.popleft()
        oldest, rows_then = self._samples[0]
        return (rows - rows_then) / (now - oldest) if now > oldest else 0.0


class _AboveFooter(logging.StreamHandler[TextIO]):
    """Writes log lines above the footer."""

    def __init__(self, footer: Footer, terminal: TextIO) -> None:
        super().__init__(terminal)
        self._footer = footer

    def emit(self, record: logging.LogRecord) -> None:
        self._footer.clear()
        super().emit(record)
        self._footer.restore()


@contextmanager
def show_footer(terminal: TextIO, level: int) -> Iterator[Callable[[Progress], None]]:
    """Log to a terminal above a footer; yield the function that updates it."""
    footer = Footer(terminal)
    set_up_logging(level, footer.handler)
    try:
        yield footer.show
    finally:
        footer.clear()


def format_line(progress: Progress, rate: float) -> str:
    """Return the text of the line: state, rows by status, files per second, backlog."""
    counts = ", ".join(f"{progress.rows[status]:,} {status}" for status in Status)
    files = "file" if progress.backlog == 1 else "files"
    return (
        f"{progress.state} | {progress.rows.total():,} read: {counts} | {rate:,.0f} files/s | "
        f"{progress.backlog:,} {files} waiting | Ctrl-C stops"
    )
