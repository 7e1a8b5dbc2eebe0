"""sd_notify with and without a real socket."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from daemon.systemd.notify import notify, watchdog_seconds

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_state_is_sent_to_the_notify_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    name = str(tmp_path / "socket") if kind == "path" else f"\0digitd-test-{os.getpid()}"
    monkeypatch.setenv("NOTIFY_SOCKET", name.replace("\0", "@"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name)
        listener.settimeout(10)
        notify("READY=1\nSTATUS=reading /srv/zw\u00f6lf \udcff")
        assert listener.recv(4096) == b"READY=1\nSTATUS=reading /srv/zw\xc3\xb6lf \xff"


def test_notify_is_a_no_op_without_a_listener(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", "vsock-stream:2:1234")
    notify("READY=1")


def test_watchdog_seconds_are_only_for_the_named_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    assert watchdog_seconds() is None
    monkeypatch.setenv("WATCHDOG_USEC", "2500000")
    assert watchdog_seconds() == 2.5
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert watchdog_seconds() == 2.5
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert watchdog_seconds() is None
