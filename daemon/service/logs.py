"""Log lines to stderr: plain for people, with priorities for the journal."""

import logging
import os
import sys

# sd-daemon(3): a line that begins so has this priority in the journal.
_PRIORITIES = {
    logging.DEBUG: "<7>",
    logging.INFO: "<6>",
    logging.WARNING: "<4>",
    logging.ERROR: "<3>",
    logging.CRITICAL: "<2>",
}


class _JournalFormatter(logging.Formatter):
    """The journal stamps the time itself; each line of a message needs its own priority."""

    def format(self, record: logging.LogRecord) -> str:
        priority = _PRIORITIES.get(record.levelno, "<6>")
        return "\n".join(priority + line for line in super().format(record).splitlines())


def set_up(level: int = logging.INFO) -> None:
    """Send this program's log to stderr, from a level on."""
    handler = logging.StreamHandler(sys.stderr)
    if _is_journal(sys.stderr.fileno()):
        handler.setFormatter(_JournalFormatter("%(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    ours = logging.getLogger("daemon")
    ours.addHandler(handler)
    ours.setLevel(level)


def _is_journal(fd: int) -> bool:
    """Tell whether a descriptor is the one that systemd connected to its journal."""
    info = os.fstat(fd)
    return os.environ.get("JOURNAL_STREAM") == f"{info.st_dev}:{info.st_ino}"
