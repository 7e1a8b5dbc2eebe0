"""Log to stderr: plain lines for people, lines with priorities for the journal."""

import logging
import os
import sys

# sd-daemon(3): the prefix gives a line its priority in the journal.
_PRIORITIES = {
    logging.DEBUG: "<7>",
    logging.INFO: "<6>",
    logging.WARNING: "<4>",
    logging.ERROR: "<3>",
    logging.CRITICAL: "<2>",
}


class _JournalFormatter(logging.Formatter):
    """Puts a priority before each line; the journal adds the time itself."""

    def format(self, record: logging.LogRecord) -> str:
        priority = _PRIORITIES.get(record.levelno, "<6>")
        return "\n".join(priority + line for line in super().format(record).splitlines())


def set_up(level: int = logging.INFO) -> None:
    """Log messages of ``level`` and above to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    if _is_journal(sys.stderr.fileno()):
        handler.setFormatter(_JournalFormatter("%(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    ours = logging.getLogger("daemon")
    ours.addHandler(handler)
    ours.setLevel(level)


def _is_journal(fd: int) -> bool:
    """Return whether a descriptor is connected to systemd's journal."""
    info = os.fstat(fd)
    return os.environ.get("JOURNAL_STREAM") == f"{info.st_dev}:{info.st_ino}"
