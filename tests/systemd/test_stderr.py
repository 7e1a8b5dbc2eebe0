"""The stderr of a program that uses ``daemon.systemd.journal``."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import logging
from daemon.systemd.journal import set_up_logging
set_up_logging()
log = logging.getLogger("daemon.part")
log.debug("too much")
log.info("read\\nand written")
log.warning("odd")
log.error("bad \\udcff")
logging.getLogger("somebody.else").info("not ours")
"""


def run(program: str, stderr: int, **environment: str) -> None:
    """Run a program with a descriptor as its stderr, and close the descriptor."""
    subprocess.run(
        [sys.executable, "-c", program],
        stderr=stderr,
        env={**os.environ, **environment},
        cwd=Path(__file__).parents[2],
        check=True,
        timeout=30,
    )
    os.close(stderr)


def stderr_of(program: str, *, journal: bool) -> str:
    reader, writer = os.pipe()
    info = os.fstat(writer)
    stream = f"{info.st_dev}:{info.st_ino}" if journal else f"{info.st_dev}:{info.st_ino + 1}"
    run(program, writer, JOURNAL_STREAM=stream)
    with open(reader, encoding="utf-8") as written:  # noqa: PTH123 - a descriptor
        return written.read()


def test_plain_lines_have_the_time_and_the_level() -> None:
    lines = stderr_of(PROGRAM, journal=False).splitlines()
    assert [re.sub(r"^[\d-]+ [\d:]+[+-]\d{4} ", "", line) for line in lines] == [
        "INFO    read",
        "and written",
        "WARNING odd",
        "ERROR   bad \\udcff",
    ]
    # Local time, with its offset from UTC.
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d{4} ", lines[n]) for n in (0, 2, 3))


@pytest.mark.parametrize("journal", [True, False])
def test_journal_is_used_if_stderr_is_the_journal(*, journal: bool) -> None:
    program = """
import logging, sys
from daemon.systemd.journal import set_up_logging
set_up_logging()
(handler,) = logging.getLogger("daemon").handlers
sys.stderr.write(type(handler).__name__)
"""
    assert (stderr_of(program, journal=journal) == "JournalHandler") is journal


COLOURFUL = """
import logging
from daemon.records import Status
from daemon.systemd.journal import set_up_logging
set_up_logging()
log = logging.getLogger("daemon.part")
log.info("plain")
log.info("unsure", extra={"status": Status.UNSURE})
log.error("wrong")
"""


@pytest.mark.parametrize("no_color", ["", "1"])
def test_terminal_lines_have_colours_unless_no_color_is_set(no_color: str) -> None:
    terminal, program_end = pty.openpty()
    run(COLOURFUL, program_end, NO_COLOR=no_color)
    plain, unsure, wrong, _ = os.read(terminal, 4096).decode().split("\r\n")
    os.close(terminal)
    assert "\033" not in plain
    assert unsure.startswith("\033[33m") is not bool(no_color)
    assert wrong.startswith("\033[31m") is not bool(no_color)
