"""What `digitd status` reports about the table and the folders."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import Any

import pytest

from daemon.config import Config
from daemon.locks import Lock
from daemon.loop import status
from daemon.outbox import rows
from daemon.records import Status, Verdict
from support.daemon import DIGITD, STAND_IN, Box, Daemon, digitd
from support.factories import BROKEN, row
from support.site import Server

# A time namespace, in which the machine has been up for two minutes longer.
LATER = ["unshare", "--user", "--map-root-user", "--time", "--monotonic", "120"]

SEVEN = Verdict(Status.OK, "7", 0.987, (0.001,) * 7 + (0.987, 0.002, 0.001, 0.002))


def test_only_rows_are_counted_by_status(config: Config) -> None:
    table = rows.format_row(row("digit1.png", SEVEN)), rows.format_row(row("digit2.png", BROKEN))
    text = f"{rows.HEADER}{table[0]}a note of mine\n{table[1]}{table[0]}"
    (config.outbox / "predictions.csv").write_text(text + table[1][:40])
    found = status.read_status(config)
    assert [found[key] for key in ("ok", "unsure", "error")] == [2, 0, 1]
    assert found["last"]["file"] == "digit1.png"
    assert found["last_error"]["reason"] == "text, not an image"


def test_pid_is_that_of_the_process_that_holds_the_inbox(config: Config) -> None:
    of_inbox, of_outbox = status.lock_files(config)
    of_inbox.parent.mkdir()
    of_outbox.write_text('{"pid": 1, "config": ""}')  # left by a digitd that has ended
    lock = Lock(of_inbox)
    lock.take()
    assert status.read_status(config)["pid"] == os.getpid()
    lock.release()


def test_status_shows_the_last_row(config: Config) -> None:
    text = rows.HEADER + rows.format_row(row("digit1.png", SEVEN))
    (config.outbox / "predictions.csv").write_text(text)
    assert status.read_status(config)["last"] == {
        "file": "digit1.png",
        "status": "ok",
        "digit": "7",
        "confidence": 0.987,
        "reason": "",
        "processed_at": "2026-11-21T09:05:07.042Z",
    }


def test_status_without_a_table_counts_nothing(config: Config) -> None:
    found = status.read_status(config)
    assert found["ok"] == 0
    assert found["last"] is found["last_error"] is None


def test_rows_of_rotated_tables_are_counted_and_quoted_names_do_not_confuse(config: Config) -> None:
    odd = 'digit1,ok,"7" .png'
    old = (
        rows.HEADER + rows.format_row(row(odd, BROKEN)) + rows.format_row(row("digit2.png", SEVEN))
    )
    (config.outbox / "predictions.csv.1").write_text(old)
    found = status.read_status(config)
    assert [found[key] for key in ("ok", "unsure", "error")] == [1, 0, 1]
    assert found["last"]["file"] == "digit2.png"
    (config.outbox / "predictions.csv").write_text(rows.HEADER + rows.format_row(row(odd, SEVEN)))
    found = status.read_status(config)
    assert [found[key] for key in ("ok", "unsure", "error")] == [2, 0, 1]
    assert (found["last"]["file"], found["last_error"]["file"]) == (odd, odd)


def test_table_of_many_blocks_is_counted_whole(config: Config) -> None:
    line = rows.format_row(row("digit1.png", SEVEN))
    count = 3 * (1 << 20) // len(line)
    text = rows.HEADER + rows.format_row(row("digit0.png", BROKEN)) + line * count
    (config.outbox / "predictions.csv").write_text(text)
    found = status.read_status(config)
    assert (found["ok"], found["error"]) == (count, 1)
    assert found["last_error"]["file"] == "digit0.png"


def ask(box: Box, *, later: bool = False) -> tuple[int, dict[str, Any]]:
    prefix = LATER if later else ()
    said = digitd("status", "--json", "--config", box.config, prefix=prefix)
    assert said.stdout, said.stderr
    return said.returncode, json.loads(said.stdout)


def test_daemon_that_no_longer_takes_turns_is_shown_as_hung(box: Box) -> None:
    if subprocess.run([*LATER, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this user may not create a time namespace")
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        running.until(lambda: ask(box)[1]["state"] == "running", "the state")
        first = json.loads((box.work / "status").read_text())["written_at"]
        running.until(
            lambda: json.loads((box.work / "status").read_text())["written_at"] > first,
            "the next report of an idle daemon",
        )
        running.send(signal.SIGSTOP)
        code, found = ask(box)
        assert (code, found["state"]) == (0, "running")
        code, found = ask(box, later=True)
        assert (code, found["running"], found["state"]) == (1, True, "hung")
        assert "has not reported for 1" in found["why"]
        assert found["why"].endswith("look at its log, then restart it")
        with Server(box, program=[*LATER, *DIGITD]) as server:
            reply = server.request("/healthz")
            assert reply.status == 503
            assert reply.text.startswith("hung: its loop has not reported for ")
            assert "digitd hangs: its loop has not reported" in server.request("/").text
        running.send(signal.SIGCONT)
        assert running.stop() == 0
        code, found = ask(box, later=True)
        assert (code, found["state"]) == (3, "stopped")
