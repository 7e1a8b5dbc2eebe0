"""What an earlier version left is taken over without loss."""

from __future__ import annotations

import csv
import io
import shutil
from typing import TYPE_CHECKING

from daemon.config import load
from daemon.outbox.audit import Audit, find_discrepancies
from support.daemon import ROOT, SAMPLES, Box, Daemon, digitd

if TYPE_CHECKING:
    from pathlib import Path

# Of a digitd 0.1.0 that was killed: four files have their row, of which one is not published;
# one is claimed; three wait. A person has corrected one row.
LEFT = ROOT / "tests" / "data" / "outbox-0.1.0"


def test_outbox_of_0_1_0_is_taken_over(box: Box, tmp_path: Path) -> None:
    shutil.copytree(LEFT, tmp_path, dirs_exist_ok=True)
    table, labels = box.outbox / "predictions.csv", box.outbox / "labels.csv"
    old, answers = table.read_bytes(), labels.read_bytes()
    with Daemon(box) as running:
        box.wait_for_rows(8)
        box.wait_until_settled()
        assert running.stop() == 0
    assert table.read_bytes().startswith(old)
    assert labels.read_bytes() == answers
    rows = {row["file"]: row for row in box.rows()}
    assert sorted(rows) == [f"digit{number}.png" for number in range(1, 9)]
    for name, row in rows.items():
        if name != "digit4.png":  # a shopping list
            assert row["digit"] == name[5]
            assert (box.outbox / row["original"]).read_bytes() == (SAMPLES / name).read_bytes()
    assert rows["digit5.png"]["id"] == "d06h15pxxcm00"  # as it was claimed
    assert find_discrepancies(load(box.config)) == Audit(rows=8, files=8, in_flight=0)
    done = digitd("results", "--config", box.config)
    finals = {row["file"]: row for row in csv.DictReader(io.StringIO(done.stdout))}
    assert (finals["digit2.png"]["answer"], finals["digit2.png"]["answered_by"]) == ("3", "person")
    assert (finals["digit5.png"]["answer"], finals["digit5.png"]["answered_by"]) == ("5", "model")
