"""Torture and measure reading through a cluster, all of it on this machine, with TLS.

``python -m benchmarks.cluster [--only kills|scheduler|frozen|network|scaling|loopback]``

The reader that is killed, frozen and counted is the tests' own, which sleeps; only ``loopback``
reads with the shipped model. ``network`` needs root and iproute2.
"""

from __future__ import annotations

import os
import random
import signal
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchmarks import material
from support import stand_in
from support.cluster import Cluster
from support.daemon import DIGITD, STAND_IN, Box, Daemon
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_FILES, _WORKERS = 5000, 3
_KILLS, _SCHEDULER_KILLS = 50, 10
_FROZEN_SECONDS = 60
_SCALES = (1, 2, 4, 8, 16)
_SLEEP_SECONDS = 0.05  # of the reader, a file
_SMALL, _ROUNDS = 4000, 3
_TIMEOUTS = 1800.0


def _dropped(box: Box, count: int, seconds: float) -> dict[str, bytes]:
    files = {
        f"digit{n}.png": stand_in.png_like(f"sleep {seconds} {n}") for n in range(1, count + 1)
    }
    for name, data in files.items():
        box.drop(name, data)
    return files


def _checked(box: Box, running: Daemon, dropped: dict[str, bytes]) -> str:
    """Wait for all rows; return what became of the files."""
    until(lambda: _lines(box) > len(dropped), "all rows", _TIMEOUTS)
    box.wait_until_settled()
    running.stop(60)
    rows = box.rows()
    names = Counter(row["file"] for row in rows)
    lost = len(dropped.keys() - names.keys())
    twice = sum(times > 1 for times in names.values())
    blamed = sum(row["status"] != "ok" for row in rows)
    box.check_books(dropped)
    return f"{lost} lost, {twice} twice, {blamed} blamed, every row right"


def _lines(box: Box) -> int:
    table = box.outbox / "predictions.csv"
    return table.read_bytes().count(b"\n") if table.exists() else 0


def _under_load(
    folder: Path, harm: Callable[[Box, Cluster, Daemon], None], seconds: float = 0.02
) -> str:
    """Read files while something is done to the cluster."""
    made = folder / "cluster"
    made.mkdir(parents=True)
    box = Box(folder)
    with Cluster(made) as cluster:
        box.configure(batch_size=16, **cluster.settings)
        cluster.start_workers(_WORKERS)
        dropped = _dropped(box, _FILES, seconds)
        with Daemon(box, STAND_IN) as running:
            until(lambda: _lines(box) > 1, "the first row", _TIMEOUTS)
            harm(box, cluster, running)
            return _checked(box, running, dropped)


def kills(folder: Path) -> Iterator[tuple[str, str]]:
    """Kill random workers, each replaced at once as by systemd."""
    chance = random.Random(7)

    def harm(box: Box, cluster: Cluster, _running: Daemon) -> None:
        for _ in range(_KILLS):
            before = _lines(box)
            until(lambda before=before: _lines(box) > before, "a row", 120)  # type: ignore[misc]
            time.sleep(chance.uniform(0, 1))
            cluster.replace_worker(chance.randrange(_WORKERS))

    yield f"{_KILLS} workers killed, {_FILES} files", _under_load(folder, harm, 0.1)


def scheduler(folder: Path) -> Iterator[tuple[str, str]]:
    """Kill the scheduler, and start it and the workers again."""

    def harm(box: Box, cluster: Cluster, _running: Daemon) -> None:
        for _ in range(_SCHEDULER_KILLS):
            before = _lines(box)
            until(lambda before=before: _lines(box) > before + 30, "rows", 300)  # type: ignore[misc]
            cluster.kill_scheduler()
            time.sleep(1)
            cluster.start_scheduler()
            for number in range(_WORKERS):
                cluster.replace_worker(number)

    yield f"{_SCHEDULER_KILLS} times no scheduler, {_FILES} files", _under_load(folder, harm, 0.1)


def frozen(folder: Path) -> Iterator[tuple[str, str]]:
    """Stop a worker for a minute."""

    def harm(_: Box, cluster: Cluster, __: Daemon) -> None:
        worker = cluster.workers[0]
        worker.send_signal(signal.SIGSTOP)
        time.sleep(_FROZEN_SECONDS)
        worker.send_signal(signal.SIGCONT)

    yield f"a worker frozen for {_FROZEN_SECONDS} s", _under_load(folder, harm)


def network(folder: Path) -> Iterator[tuple[str, str]]:
    """Cut the network of a worker that has a network namespace of its own."""

    def ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True)

    ip("netns", "add", "digitd")
    try:
        ip("link", "add", "digitd0", "type", "veth", "peer", "name", "digitd1", "netns", "digitd")
        ip("addr", "add", "10.234.5.1/24", "dev", "digitd0")
        ip("link", "set", "digitd0", "up")
        ip("-n", "digitd", "addr", "add", "10.234.5.2/24", "dev", "digitd1")
        ip("-n", "digitd", "link", "set", "digitd1", "up")
        ip("-n", "digitd", "link", "set", "lo", "up")
        made = folder / "cluster"
        made.mkdir(parents=True)
        box = Box(folder)
        with Cluster(made, host="10.234.5.1") as cluster:
            box.configure(batch_size=16, **cluster.settings)
            cluster.start_workers(2)
            cluster.start_workers(1, within=("ip", "netns", "exec", "digitd"))
            dropped = _dropped(box, _FILES, 0.02)
            with Daemon(box, STAND_IN) as running:
                until(lambda: _lines(box) > 1, "the first row", _TIMEOUTS)
                time.sleep(5)  # until the third worker reads as well
                ip("link", "set", "digitd0", "down")
                result = _checked(box, running, dropped)
        yield "the network of one worker cut", result
    finally:
        ip("netns", "delete", "digitd")


def scaling(folder: Path) -> Iterator[tuple[str, str]]:
    """Read with a reader that takes 50 ms a file, however many cores there are."""
    alone = 0.0
    for count in _SCALES:
        place = folder / f"scale{count}"
        made = place / "cluster"
        made.mkdir(parents=True)
        box = Box(place)
        with Cluster(made) as cluster:
            box.configure(batch_size=16, pictures="true", **cluster.settings)
            cluster.start_workers(count)
            until(lambda c=cluster, n=count: c.log.count("Registered to") >= n, "workers", 300)  # type: ignore[misc]
            dropped = _dropped(box, 320 * count, _SLEEP_SECONDS)
            with Daemon(box, STAND_IN) as running:
                _checked(box, running, dropped)
        rate = _rate(box)
        alone = alone or rate
        share = rate / (alone * count)
        yield f"{count} workers, files/s", f"{rate:.1f}, {share:.2f} of linear"


def loopback(folder: Path) -> Iterator[tuple[str, str]]:
    """Read small images with the shipped model, here and through a cluster, in turns."""
    samples = folder / "samples"
    samples.mkdir(parents=True)
    material.small_pngs(samples, _SMALL)
    files = {path.name: path.read_bytes() for path in samples.iterdir()}
    ratios, own = [], []
    for turn in range(_ROUNDS):
        rates = {}
        for kind in ("here", "cluster"):
            place = folder / f"{kind}{turn}"
            made = place / "cluster"
            made.mkdir(parents=True)
            box = Box(place)
            with Cluster(made) as cluster:
                if kind == "cluster":
                    box.configure(**cluster.settings)
                    cluster.start_workers(2)
                    until(lambda c=cluster: c.log.count("Registered to") >= 2, "workers", 300)  # type: ignore[misc]
                for name, data in files.items():
                    box.drop(name, data)
                with Daemon(box, DIGITD) as running:
                    until(lambda b=box: _lines(b) > 1, "the first row", _TIMEOUTS)  # type: ignore[misc]
                    before, done = _own_seconds(running.process.pid), _lines(box)
                    until(lambda b=box: _lines(b) > _SMALL, "all rows", _TIMEOUTS)  # type: ignore[misc]
                    seconds = _own_seconds(running.process.pid) - before
                    running.stop(60)
                if kind == "cluster":
                    own.append(1000 * seconds / (_SMALL + 1 - done))
            rates[kind] = _rate(box)
        ratios.append(rates["cluster"] / rates["here"])
        yield (
            f"turn {turn + 1}, files/s here / cluster",
            f"{rates['here']:.0f} / {rates['cluster']:.0f}",
        )
    yield (
        "cluster against here",
        f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
    )
    yield (
        "the daemon's own time for a file, ms of a core",
        f"{statistics.median(own):.2f} ({min(own):.2f} to {max(own):.2f})",
    )


def _own_seconds(pid: int) -> float:
    """Return a process's processor time so far, without its children."""
    cells = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(cells[11]) + int(cells[12])) / os.sysconf("SC_CLK_TCK")


def _rate(box: Box) -> float:
    """Return rows a second between the first batch and the last."""
    times = sorted(datetime.fromisoformat(row["processed_at"]) for row in box.rows())
    later = sum(moment > times[0] for moment in times)
    return later / (times[-1] - times[0]).total_seconds()


_PARTS = {part.__name__: part for part in (kills, scheduler, frozen, network, scaling, loopback)}


@click.command()
@click.option("--only", type=click.Choice(list(_PARTS)), help="Run one part.")
def main(only: str | None) -> None:
    """Print a table."""
    with tempfile.TemporaryDirectory(prefix="digitd-cluster-") as folder:
        for name, part in _PARTS.items():
            if only in {None, name}:
                for what, value in part(Path(folder) / name):
                    click.echo(f"| {what} | {value} |")


if __name__ == "__main__":
    main()
