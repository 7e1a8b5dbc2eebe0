"""Whole numbers through the daemon: from the worker to the log, the metrics and the answers."""

from __future__ import annotations

import io
import json
import signal
from typing import TYPE_CHECKING

from daemon import config
from daemon.outbox import drift, results
from daemon.outbox.audit import find_discrepancies
from daemon.records import Reads
from support.daemon import STAND_IN, Box, Daemon, digitd
from support.factories import NUMBERS
from support.stand_in import png_like
from support.waiting import until
from tests.loop.test_metrics import values

if TYPE_CHECKING:
    from pathlib import Path


def test_numbers_from_the_worker_to_the_results(box: Box, tmp_path: Path) -> None:
    box.configure(reads="number", metrics_file="digitd.prom")
    orders = {f"{n}.png": png_like(f"number {text}") for n, text in enumerate(NUMBERS)}
    with Daemon(box, STAND_IN) as running:
        for name, order in orders.items():
            box.drop(name, order)
        found = {row["file"]: row["digit"] for row in box.wait_for_rows(len(NUMBERS))}
        assert found == {f"{n}.png": text for n, text in enumerate(NUMBERS)}
        for n, text in enumerate(NUMBERS):
            running.wait_for_log(f"{n}.png: {text} (99.0%)")
        status = json.loads(digitd("status", "--json", "--config", box.config).stdout)
        assert status["last"]["digit"] in NUMBERS
        box.wait_until_settled()

        # What is read changes: the workers get it, and drift is measured again.
        box.configure(reads="digit", metrics_file="digitd.prom")
        running.send(signal.SIGHUP)
        running.wait_for_log("is ready", times=2)
        orders["more.png"] = png_like("number 0471 again")
        box.drop("more.png", orders["more.png"])
        box.wait_for_rows(len(NUMBERS) + 1)
        assert (box.row("more.png")["digit"], box.row("more.png")["reason"]) == (
            "",
            "several digits",
        )
        until(lambda: drift.load(box.outbox).reads is Reads.DIGIT, "a new reference")
        assert running.stop() == 0
    assert values(tmp_path / "digitd.prom")["digitd_confidence_ratio_count"] == len(NUMBERS)
    assert drift.load(box.outbox).reference.rows == 1
    lines = io.BytesIO()
    results.write(results.final_rows(box.outbox), lines, "jsonl")
    answers = {
        each["file"]: each["answer"] for each in map(json.loads, lines.getvalue().splitlines())
    }
    assert answers == found | {"more.png": None}
    assert find_discrepancies(config.load(box.config)).discrepancies == ()
    box.check_books(orders)
