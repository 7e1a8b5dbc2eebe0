"""Log to systemd's journal, with a row's cells as searchable fields, or else to stderr.

The protocol: https://systemd.io/JOURNAL_NATIVE_PROTOCOL
"""

import logging
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from daemon.records import Status
from daemon.text import escape_lines

SOCKET = Path("/run/systemd/journal/socket")
# syslog(3)'s numbers.
_PRIORITIES = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}
_COLUMNS = ("id", "file", "status", "digit", "confidence", "reason", "original", "model")
# ANSI colours that are readable on dark and on light terminals.
_LEVEL_COLOURS = {logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "31"}
_STATUS_COLOURS = {Status.OK: "32", Status.UNSURE: "33", Status.ERROR: "31"}


def prefix_warnings() -> None:
    """Begin the warnings of a command without a log with ``digitd:``, like its other messages."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_SafeFormatter("digitd: %(message)s"))


def set_up_logging(
    level: int = logging.INFO, handler: logging.StreamHandler[TextIO] | None = None
) -> None:
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
        has_colours = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
        formatter = _ColourFormatter if has_colours else _SafeFormatter
        handler.setFormatter(
            formatter("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%d %H:%M:%S%z")
        )
        ours.addHandler(handler)


class JournalHandler(logging.Handler):
    """Sends each record to the journal, or writes it to stderr if that fails.

    A record with an attribute ``row`` also gets the fields ``DIGITD_ID``, ``DIGITD_FILE`` and so
    on.
    """

    def __init__(self, address: Path = SOCKET) -> None:
        super().__init__()
        self.setFormatter(_SafeFormatter())
        self._address = str(address)
        self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._stderr = logging.StreamHandler(sys.stderr)
        self._stderr.setFormatter(_PriorityFormatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Send or write one record."""
        try:
            self._sender.sendto(_encode(_fields(record, self.format(record))), self._address)
        except OSError:  # no journald, or the record is larger than a datagram may be
            self._stderr.handle(record)

    def close(self) -> None:
        """Close the socket."""
        self._sender.close()
        super().close()


class _SafeFormatter(logging.Formatter):
    """Escapes what must not be shown, such as a control character in the name of a file."""

    def format(self, record: logging.LogRecord) -> str:
        return escape_lines(super().format(record))


class _PriorityFormatter(_SafeFormatter):
    """Puts the priority before each line, as in sd-daemon(3)."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{_priority(record)}>"
        return "\n".join(prefix + line for line in super().format(record).splitlines())


class _ColourFormatter(_SafeFormatter):
    """Colours each line by its ``status``, if it has one, or else by its level."""

    def format(self, record: logging.LogRecord) -> str:
        status = getattr(record, "status", None)
        colour = _STATUS_COLOURS.get(status) if status else _LEVEL_COLOURS.get(record.levelno)
        line = super().format(record)
        return f"\033[{colour}m{line}\033[0m" if colour else line


def _is_journal(descriptor: int) -> bool:
    """Return whether a descriptor is connected to systemd's journal."""
    info = os.fstat(descriptor)
    return os.environ.get("JOURNAL_STREAM") == f"{info.st_dev}:{info.st_ino}"


def _encode(fields: Mapping[str, str]) -> bytes:
    """Return one entry: ``NAME=value``, or the value's length first if it has several lines."""
    entry = bytearray()
    for name, value in fields.items():
        data = value.encode("utf-8", "backslashreplace")
        if b"\n" in data:
            entry += name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"
        else:
            entry += name.encode() + b"=" + data + b"\n"
    return bytes(entry)


def _fields(record: logging.LogRecord, message: str) -> dict[str, str]:
    fields = {
        "MESSAGE": message,
        "PRIORITY": str(_priority(record)),
        "SYSLOG_IDENTIFIER": "digitd",
    }
    row = getattr(record, "row", None)
    if row is not None:
        cells = row.fields()
        fields |= {
            f"DIGITD_{column.upper()}": str(cells[column])
            for column in _COLUMNS
            if cells[column] not in {None, ""}
        }
    return fields


def _priority(record: logging.LogRecord) -> int:
    return _PRIORITIES.get(record.levelno, 6)
