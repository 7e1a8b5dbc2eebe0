"""Workers whose settings are large."""

from __future__ import annotations

import os
from dataclasses import replace
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

from daemon.records import Expected
from daemon.workers.process import WorkerProcess
from daemon.workers.worker import WorkerSettings
from support.waiting import until
from tests.workers.test_pool import OPTIONS, obey

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

WAIT_FOR_MARK = """
import os, time
while not os.path.exists(os.environ["MARK"]):
    time.sleep(0.02)
"""


def test_start_of_a_worker_does_not_wait_for_it_to_read_its_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(WAIT_FOR_MARK)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("MARK", str(tmp_path / "mark"))
    values = frozenset(f"{n:08}" for n in range(100_000))
    options = replace(OPTIONS, expected=Expected(values=values))
    worker = WorkerProcess(WorkerSettings(options, obey))
    (tmp_path / "mark").touch()
    try:
        until(
            lambda: worker.receive() is not None,
            "a ready worker",
            turn=lambda: wait(worker.waitables, 0.1),
        )
        assert worker.self_test is not None
    finally:
        worker.kill()
