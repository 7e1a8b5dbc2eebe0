"""A disk that fails: every single write, fsync, rename and mkdir of one file's way through."""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING

from tests.harness import Box, Running
from tests.stand_in import png_like

if TYPE_CHECKING:
    from pathlib import Path

ERRORS = ("ENOSPC", "EIO", "EACCES")


def test_a_file_survives_each_single_fault_of_the_disk_on_its_way(tmp_path: Path) -> None:
    failed = []
    for nth in itertools.count(1):
        folder = tmp_path / str(nth)
        folder.mkdir()
        box = Box(folder)
        box.configure(model="model.keras")
        (folder / "model.keras").write_bytes(b"a model")
        dropped = {"digit1.png": png_like("fine")}
        box.drop("digit1.png", dropped["digit1.png"])
        error = ERRORS[nth % len(ERRORS)]
        command = [sys.executable, "-m", "tests.faulty", str(nth), error]
        with Running(box, command) as running:
            (row,) = box.wait_for_rows(1)
            box.wait_until_settled()
            assert running.stop() == 0, running.log
        assert row["status"] == "ok", running.log
        box.check_books(dropped)
        if "fault: " not in running.log:
            break
        failed.append(running.log.partition("fault: ")[2].split()[0])
    assert {"write", "pwrite", "fsync", "rename", "mkdir"} <= set(failed)
    assert len(failed) > 12
