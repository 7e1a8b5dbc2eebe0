"""The metrics file, as a real daemon writes it and Prometheus's own parser reads it."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from daemon import __version__
from support import stand_in
from support.daemon import STAND_IN, Box, Daemon, digitd
from support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path


def values(file: Path) -> dict[str, float]:
    """Return each sample by its name and labels."""
    return {
        " ".join((sample.name, *sample.labels.values())): sample.value
        for family in text_string_to_metric_families(file.read_text())
        for sample in family.samples
    }


def test_metrics_count_what_the_daemon_did(box: Box, tmp_path: Path) -> None:
    box.configure(metrics_file="digitd.prom")
    file = tmp_path / "digitd.prom"
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        until(file.exists, "a metrics file")
        assert values(file)["digitd_files_total ok"] == 0
        for number, order in enumerate(("fine", "fine", "crash"), 1):
            box.drop(f"digit{number}.png", stand_in.png_like(order))
        box.wait_for_rows(3)
        box.wait_until_settled()
        assert running.stop() == 0
    found = values(file)
    assert [found[f"digitd_files_total {status}"] for status in ("ok", "unsure", "error")] == [
        *(2, 0, 1)
    ]
    assert found["digitd_worker_restarts_total"] >= 2  # it was read alone once more
    assert found["digitd_batch_seconds_count"] >= 1
    assert found["digitd_confidence_ratio_count"] == 2
    assert found["digitd_waiting_files"] == found["digitd_paused"] == 0
    assert time.time() - found["digitd_heartbeat_timestamp_seconds"] < 60
    assert found[f"digitd_build_info stand-in {__version__}"] == 1


def test_paused_daemon_says_so_and_how_long_files_wait(box: Box, tmp_path: Path) -> None:
    box.configure(metrics_file="digitd.prom")
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("is ready")
        box.outbox.rename(tmp_path / "away")
        box.outbox.write_bytes(b"in the way")
        box.drop("digit1.png", stand_in.png_like("fine"))
        running.wait_for_log("paused")
        time.sleep(1)  # what is measured
        running.stop()
    found = values(tmp_path / "digitd.prom")
    assert found["digitd_paused"] == 1
    assert found["digitd_waiting_files"] == 1
    assert found["digitd_oldest_waiting_seconds"] >= 1


def test_node_exporter_can_read_the_file_whatever_the_umask(box: Box, tmp_path: Path) -> None:
    file = tmp_path / "textfile" / "digitd.prom"
    file.parent.mkdir()
    box.configure(metrics_file=file)
    unit = digitd("service", "--config", box.config).stdout
    (umask,) = re.findall(r"^UMask=(\d+)$", unit, re.MULTILINE)
    for mask in (umask, "0077"):
        with Daemon(box, ["sh", "-c", f'umask {mask}; exec "$@"', "sh", *STAND_IN]) as running:
            running.until(file.exists, "a metrics file")
            assert file.stat().st_mode & 0o777 == 0o644
            assert running.stop() == 0
        assert [path.name for path in file.parent.iterdir()] == ["digitd.prom"]
        file.unlink()


def test_file_that_cannot_be_written_does_not_stop_the_daemon(box: Box) -> None:
    box.configure(metrics_file="missing/digitd.prom")
    with Daemon(box, STAND_IN) as running:
        running.wait_for_log("missing/digitd.prom cannot be written: No such file or directory")
        box.drop("digit1.png", stand_in.png_like("fine"))
        assert box.wait_for_rows(1)[0]["status"] == "ok"
        assert running.stop() == 0
        assert running.log.count("cannot be written") == 1
