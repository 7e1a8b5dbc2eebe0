"""Torture test: kill digitd at random moments under load, then prove that nothing was lost.

``python -m tests.torture [--kills 200] [--files 5000] [--real] [--folder DIR]``

Without ``--real`` the reader is the tests' own, which starts in half a second; everything else,
the claims, the rows, the pictures' way and the recovery, is the program's.
"""

from __future__ import annotations

import csv
import hashlib
import io
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import click

from daemon.config import load
from daemon.outbox.audit import find_discrepancies
from daemon.outbox.rows import COLUMNS
from support.daemon import DIGITD, SAMPLES, STAND_IN, Box, Daemon
from support.stand_in import png_like
from support.waiting import until

_HANDFUL = 5  # files dropped at a time, until a run has all its files


@dataclass
class Watcher:
    """Reads the table continuously, like users' scripts, and counts incomplete rows."""

    table: Path
    looks: int = 0
    torn: int = 0
    stopped: bool = False

    def run(self) -> None:
        while not self.stopped:
            time.sleep(0.01)
            if self.table.exists():
                text = self.table.read_text(encoding="utf-8")
                self.looks += 1
                complete = text[: text.rfind("\n") + 1]
                self.torn += any(
                    len(row) != len(COLUMNS) for row in csv.reader(io.StringIO(complete))
                )


def contents(real: bool, number: int) -> bytes:  # noqa: FBT001 - the option's value
    if real:
        return (SAMPLES / f"digit{number % 12 + 1}.png").read_bytes() + b"\0%d" % number
    # Slow enough that a run of one second on average barely finishes its files, so that every kill
    # hits files at every step.
    return png_like(f"sleep 0.02 {number}")


@click.command()
@click.option("--kills", default=200, show_default=True)
@click.option("--files", default=5000, show_default=True)
@click.option("--real", is_flag=True, help="Read with the shipped model.")
@click.option("--seed", default=7, show_default=True)
def main(kills: int, files: int, seed: int, *, real: bool) -> None:
    """Kill digitd and its workers at random moments while files arrive; check the result."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="digitd-torture-") as folder:
        box = Box(Path(folder))
        command = DIGITD
        if not real:
            command = STAND_IN
            box.configure(model="model.keras")
            (box.folder / "model.keras").write_bytes(b"a model")
        dropped: dict[str, bytes] = {}
        watcher = Watcher(box.outbox / "predictions.csv")
        thread = threading.Thread(target=watcher.run)
        thread.start()
        killed = 0
        share = -(-files // kills)
        longest = 12.0 if real else 2.0
        with click.progressbar(length=kills, label="killing", file=sys.stderr) as bar:
            while killed < kills or len(dropped) < files:
                with Daemon(box, command) as running:
                    end = time.monotonic() + chance.uniform(0, longest)
                    due = min(files, (killed + 1) * share)
                    while time.monotonic() < end:
                        if len(dropped) < due:
                            for _ in range(_HANDFUL):
                                name = f"digit{len(dropped) + 1}.png"
                                dropped[name] = contents(real, len(dropped))
                                box.drop(name, dropped[name])
                        time.sleep(0.05)
                    running.kill()
                killed += 1
                bar.update(1)
        with Daemon(box, command) as running:
            until(lambda: len(box.rows()) >= len(dropped), "every row", 600)
            box.wait_until_settled()
            running.stop()
        watcher.stopped = True
        thread.join()
        sys.exit(report(box, dropped, killed, watcher))


def report(box: Box, dropped: dict[str, bytes], killed: int, watcher: Watcher) -> int:
    """Print the result; return 1 if anything is wrong."""
    rows = box.rows()
    times = Counter(row["file"] for row in rows)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in dropped.items()}
    counted = {
        "kills": killed,
        "files dropped": len(dropped),
        "rows": len(rows),
        "looks at the table while it grew": watcher.looks,
    }
    wrong = {
        "rows with status error": sum(row["status"] == "error" for row in rows),
        "files without a row": sum(name not in times for name in dropped),
        "files with two rows": sum(count > 1 for count in times.values()),
        "originals altered or missing": sum(
            hashlib.sha256((box.outbox / row["original"]).read_bytes()).hexdigest()
            != digests[row["file"]]
            for row in rows
        ),
        "pictures missing": sum(not (box.outbox / row["picture"]).is_file() for row in rows),
        "half rows seen": watcher.torn,
        "breaks that audit finds": len(find_discrepancies(load(box.config)).discrepancies),
    }
    for what, number in (counted | wrong).items():
        click.echo(f"{what:34}{number:7}")
    return int(any(wrong.values()))


if __name__ == "__main__":
    main()
