"""Log to systemd's journal with a row's cells as fields, so that it can be searched by them.

The protocol: https://systemd.io/JOURNAL_NATIVE_PROTOCOL
"""

import logging
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

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


class JournalHandler(logging.Handler):
    """Sends each record to the journal, and writes it to stderr if that fails.

    A record with an attribute ``row`` also gets the fields ``DIGITD_ID``, ``DIGITD_FILE`` and so
    on.
    """

    def __init__(self, address: Path = SOCKET) -> None:
        super().__init__()
        self._address = str(address)
        self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._stderr = logging.StreamHandler(sys.stderr)
        self._stderr.setFormatter(_PrefixFormatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Send or write one record."""
        try:
            self._sender.sendto(encoded(_fields(record, self.format(record))), self._address)
        except OSError:  # no journald, or the record is larger than a datagram may be
            self._stderr.handle(record)

    def close(self) -> None:
        """Close the socket."""
        self._sender.close()
        super().close()


class _PrefixFormatter(logging.Formatter):
    """Puts sd-daemon(3)'s prefix, the priority, before each line."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{_priority(record)}>"
        return "\n".join(prefix + line for line in super().format(record).splitlines())


def encoded(fields: Mapping[str, str]) -> bytes:
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
