"""Log to stderr for people, and to the journal under systemd."""

import logging
import os
import sys
from typing import TextIO

from daemon.records import Status
from daemon.systemd.journal import JournalHandler

# ANSI colours that are readable on dark and on light terminals.
_LEVEL_COLOURS = {logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "31"}
_STATUS_COLOURS = {Status.OK: "32", Status.UNSURE: "33", Status.ERROR: "31"}


class _ColourFormatter(logging.Formatter):
    """Colours each line by its ``status``, if it has one, or else by its level."""

    def format(self, record: logging.LogRecord) -> str:
        status = getattr(record, "status", None)
        colour = _STATUS_COLOURS.get(status) if status else _LEVEL_COLOURS.get(record.levelno)
        line = super().format(record)
        return f"\033[{colour}m{line}\033[0m" if colour else line


def level(*, quiet: bool, verbose: bool) -> int:
    """Return the lowest level to log; ``quiet`` wins."""
    if quiet:
        return logging.WARNING
    return logging.DEBUG if verbose else logging.INFO


def set_up(level: int = logging.INFO, handler: logging.StreamHandler[TextIO] | None = None) -> None:
    """Log messages of ``level`` and above to stderr, in local time with its offset from UTC.

    On a terminal the lines have colours, unless NO_COLOR is set (https://no-color.org). If stderr
    is the journal, they go there with fields.

    Args:
        level: the lowest level to log.
        handler: writes the lines to a terminal; ``None`` for a plain handler on stderr.
    """
    ours = logging.getLogger("daemon")
    ours.setLevel(level)
    if _is_journal(sys.stderr.fileno()):
        ours.addHandler(JournalHandler())
    else:
        handler = handler or logging.StreamHandler(sys.stderr)
        coloured = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
        formatter = _ColourFormatter if coloured else logging.Formatter
        handler.setFormatter(
            formatter("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%d %H:%M:%S%z")
        )
        ours.addHandler(handler)


def _is_journal(fd: int) -> bool:
    """Return whether a descriptor is connected to systemd's journal."""
    info = os.fstat(fd)
    return os.environ.get("JOURNAL_STREAM") == f"{info.st_dev}:{info.st_ino}"
