"""What a long command prints where no terminal is."""

from __future__ import annotations

import pytest

from daemon.commands import begin_stage


def test_log_has_a_line_a_minute(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 1000.0
    monkeypatch.setattr("daemon.commands.monotonic", lambda: now)
    with begin_stage("line reader", 150) as stage:
        for _ in range(150):
            now += 1.0
            stage.update(1)
    assert capsys.readouterr().err.splitlines() == [
        "line reader: 150 steps",
        "line reader: 60 of 150 steps",
        "line reader: 120 of 150 steps",
    ]
