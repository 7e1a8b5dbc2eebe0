"""What reaches the journal's socket, and stderr if nobody listens there."""

from __future__ import annotations

import logging
import socket
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from daemon.records import Status, Verdict
from daemon.systemd.journal import JournalHandler
from support.factories import row
from support.waiting import DEADLINE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator


def entry_of(data: bytes) -> dict[str, str]:
    """Parse an entry as journald does."""
    fields = {}
    while data:
        line, _, rest = data.partition(b"\n")
        name, is_short, value = line.partition(b"=")
        if is_short:
            data = rest
        else:
            size = int.from_bytes(rest[:8], "little")
            value = rest[8 : 8 + size]
            assert rest[8 + size : 9 + size] == b"\n"
            data = rest[9 + size :]
        fields[name.decode()] = value.decode()
    return fields


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "socket"))
        receiver.settimeout(DEADLINE_SECONDS)
        yield receiver


@contextmanager
def logging_to(address: Path) -> Iterator[logging.Logger]:
    logger = logging.Logger("daemon.part", logging.DEBUG)  # noqa: LOG001 - only for this test
    handler = JournalHandler(address)
    logger.addHandler(handler)
    yield logger
    handler.close()


@pytest.mark.parametrize("text", ["7", "0471", "7,5", "-3"])
def test_row_is_sent_with_its_cells(tmp_path: Path, listening: socket.socket, text: str) -> None:
    made = row("digit7.png", Verdict(Status.UNSURE, text, 0.5, reason="low confidence"))
    with logging_to(tmp_path / "socket") as log:
        log.warning("%s: unsure", made.file, extra={"row": made})
    assert entry_of(listening.recv(1 << 16)) == {
        "MESSAGE": "digit7.png: unsure",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "digitd",
        "DIGITD_ID": made.result.job.id,
        "DIGITD_FILE": "digit7.png",
        "DIGITD_STATUS": "unsure",
        "DIGITD_DIGIT": text,
        "DIGITD_CONFIDENCE": "0.5",
        "DIGITD_REASON": "low confidence",
        "DIGITD_ORIGINAL": "originals/digit7.png",
        "DIGITD_MODEL": "model1",
    }


def test_several_lines_are_one_entry(tmp_path: Path, listening: socket.socket) -> None:
    with logging_to(tmp_path / "socket") as log:
        log.error("bad \udcff\nand worse")
    entry = entry_of(listening.recv(1 << 16))
    assert (entry["MESSAGE"], entry["PRIORITY"]) == ("bad \\udcff\nand worse", "3")


def test_lines_go_to_stderr_if_nobody_listens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with logging_to(tmp_path / "nothing") as log:
        log.info("one\ntwo")
    assert capsys.readouterr().err == "<6>one\n<6>two\n"


@pytest.mark.usefixtures("listening")
def test_line_larger_than_a_datagram_goes_to_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with logging_to(tmp_path / "socket") as log:
        log.info("a" * 10_000_000)
    assert capsys.readouterr().err == f"<6>{'a' * 10_000_000}\n"
