"""Measure `digitd review` and `digitd results` on a table with many rows.

``python -m benchmarks.review [--rows 1000000]``
"""

from __future__ import annotations

import random
import re
import resource
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from daemon import ids
from daemon.layout import TABLE
from daemon.outbox import rows
from daemon.records import Status
from support.daemon import DIGITD
from support.site import Server, Site

if TYPE_CHECKING:
    from collections.abc import Iterator

_START_MS = 1_764_000_000_000
_STEP_MS = 30_000  # a million rows in a year
_TIMES = 5
_PAGES = {
    "newest": "",
    "oldest": "sort=oldest",
    "least confident": "sort=least",
    "most confident, unsure": "sort=most&status=unsure",
    "errors": "status=error",
    "sevens, not answered": "value=7&answered=no",
    "answered": "answered=yes",
    "one day": "since=2026-03-01&until=2026-03-01",
    "one day, least confident": "since=2026-03-01&until=2026-03-01&sort=least",
    "name, rare": "name=digit77777",
    "name, common": "name=digit",
    "name, common, least confident, unsure": "name=digit&sort=least&status=unsure",
    "name, none": "name=zzz",
}


def _lines(count: int) -> Iterator[str]:
    """Yield rows as the daemon writes them: 95 % ok, 4 % unsure, 1 % error."""
    chance = random.Random(1)  # noqa: S311 - the same rows each time
    for number in range(count):
        share = chance.random()
        digit = str(chance.randrange(10))
        probabilities = ["0.001000"] * 11
        if share < 0.01:  # noqa: PLR2004
            status, digit, confidence, reason = Status.ERROR, "", "", "text, not an image"
        elif share < 0.05:  # noqa: PLR2004
            status, confidence = Status.UNSURE, f"{chance.uniform(0.2, 0.9):.6f}"
            reason = "low confidence"
        else:
            status, confidence, reason = Status.OK, f"{chance.uniform(0.9, 1):.6f}", ""
        folder = "failed" if status is Status.ERROR else "originals"
        name = f"digit{number}.png"
        moment = "2026-11-25T09:00:00.000Z"
        yield rows.csv_line(
            [
                ids.encode((_START_MS + number * _STEP_MS) << 12),
                *(name, status.value, digit, confidence, *probabilities, reason),
                *(f"annotated/{name}", f"{folder}/{name}", "ab" * 32, "model1", moment, moment),
            ]
        )


def _memory_mb(pid: int) -> float:
    """Return the highest resident memory of a process so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+)", status)
    return int(found[1]) / 1024 if found else 0.0


def _timed(server: Server, path: str) -> float:
    """Return the median time of a request in ms."""
    times = []
    for _ in range(_TIMES):
        started = time.perf_counter()
        reply = server.request(path)
        times.append(1000 * (time.perf_counter() - started))
        if reply.status != 200:  # noqa: PLR2004
            raise click.ClickException(f"{path}: {reply.status}")
    return statistics.median(times)


def _say(what: str, value: str) -> None:
    click.echo(f"| {what} | {value} |")


def _measure_results(site: Site) -> None:
    for kind in ("csv", "jsonl"):
        started = time.perf_counter()
        command = [*DIGITD, "results", "--config", str(site.config), "--format", kind]
        with Path("/dev/null").open("wb") as nowhere:
            subprocess.run(command, stdout=nowhere, check=True)  # noqa: S603 - our own program
        took = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        _say(f"`digitd results --format {kind}`: s / MB", f"{took:.1f} / {peak:.0f}")


def _measure_server(site: Site, count: int) -> None:
    started = time.perf_counter()
    with Server(site) as server:
        _say("start with no index, page answers after, s", f"{time.perf_counter() - started:.1f}")
        while server.request("/api/queue").json["state"]["indexing"] is not None:
            time.sleep(0.2)
        _say("index complete, s after the start", f"{time.perf_counter() - started:.1f}")
        for what, query in _PAGES.items():
            _say(f"gallery, {what}, ms", f"{_timed(server, f'/gallery?{query}'):.0f}")
        _say("queue, ms", f"{_timed(server, '/api/queue'):.0f}")
        _say("live, ms", f"{_timed(server, '/live'):.0f}")
        items = server.request("/api/queue").json["items"]
        times = []
        for item in items:
            sent = time.perf_counter()
            server.answer(item["id"], "5")
            times.append(1000 * (time.perf_counter() - sent))
        _say("an answer, fsynced, ms", f"{statistics.median(times):.1f}")
        _say("memory, highest, MB", f"{_memory_mb(server.process.pid):.0f}")
    started = time.perf_counter()
    with Server(site) as server:
        server.wait_for_rows(count)
        _say("start with the index of an earlier run, s", f"{time.perf_counter() - started:.1f}")


@click.command()
@click.option("--rows", "count", default=1_000_000, show_default=True, type=int)
def main(count: int) -> None:
    """Print a table."""
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder))
        with (site.outbox / TABLE).open("w", encoding="utf-8") as table:
            table.write(rows.header())
            table.writelines(_lines(count))
        _say("rows", f"{count}")
        _say("---", "---")
        _measure_server(site, count)
        _measure_results(site)


if __name__ == "__main__":
    main()
