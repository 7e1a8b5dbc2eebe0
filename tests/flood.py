"""Flood test: more arrivals than inotify can queue while the daemon is stopped.

``python -m tests.flood [--files 17000]``: stop the daemon, create the files, continue the daemon.
inotify silently drops events over its limit (16,384 by default).
"""

from __future__ import annotations

import signal
import sys
import tempfile
from pathlib import Path

import click

from support.daemon import STAND_IN, Box, Daemon
from support.stand_in import png_like
from support.waiting import until

_RESCAN_SECONDS = 5


@click.command()
@click.option("--files", default=17_000, show_default=True)
def main(files: int) -> None:
    """Overflow the inotify queue of a daemon and count the rows."""
    queue = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if files <= queue:
        click.echo(f"inotify queues {queue} events here: say --files {queue + 1000}")
        sys.exit(2)
    with tempfile.TemporaryDirectory(prefix="digitd-flood-") as folder:
        box = Box(Path(folder))
        box.configure(model="model.keras", rescan_seconds=_RESCAN_SECONDS)
        (box.folder / "model.keras").write_bytes(b"a model")
        dropped = {f"digit{n}.png": png_like(f"fine {n}") for n in range(files)}
        with Daemon(box, STAND_IN) as running:
            running.wait_for_log("is ready")
            running.send(signal.SIGSTOP)
            for name, data in dropped.items():
                box.drop(name, data)
            running.send(signal.SIGCONT)
            until(lambda: len(box.rows()) >= files, "every row", 600)
            box.wait_until_settled()
            running.stop()
        box.check_books(dropped)
    click.echo(f"{files} files, {queue} events queued at most: each has its row and its bytes")


if __name__ == "__main__":
    main()
