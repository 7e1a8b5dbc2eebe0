"""Measure `digitd review` and `digitd results` on a table with many rows.

One row in 100 has the same content as the row before it, and half of the random sample is answered.

``python -m benchmarks.review [--rows 1000000] [--reread]``
"""

from __future__ import annotations

import hashlib
import io
import os
import random
import re
import signal
import statistics
import subprocess
import tempfile
import time
from dataclasses import astuple
from itertools import islice, product
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import click
from playwright.sync_api import sync_playwright

from benchmarks.keys import time_keys
from daemon import ids
from daemon.layout import DELETED_BEFORE, LABELS, REREADS, TABLE
from daemon.outbox import labels, rows
from daemon.outbox.labels import Answer, Source
from daemon.outbox.rereads import table_name
from daemon.records import Reads, Status
from daemon.review import sample
from daemon.review.schema import ERROR_PRIORITY, SAMPLE_PRIORITY
from support import programs
from support.daemon import DIGITD
from support.site import Server, Site, half_open_connections, png

if TYPE_CHECKING:
    from collections.abc import Iterator

_STATUS, _MODEL = map(rows.COLUMNS.index, ("status", "model"))
_MOMENT = "2026-11-25T09:00:00.000Z"
_START_MS = 1_764_000_000_000
_STEP_MS = 30_000  # a million rows in a year
_PNG = png()
_TIMES = 5
_SLOWEST = 60  # pages that are measured again: the slowest 1 %
_ANSWERS_BESIDE = 20
_HALF_OPEN = 10_000
_KEYS = 120
# The gallery's form: every combination is measured. The other digits are like 7.
_FORM = {
    "status": ("", "ok", "unsure", "error"),
    "value": ("any", "7", "none", ""),
    "answered": ("", "yes", "no"),
    "name": ("", "digit", "git77", "zzz"),  # all rows, 1 in 90, none
    "since": ("", "2026-03-01"),
    "sort": ("newest", "oldest", "least", "most"),
}


def _lines(count: int) -> Iterator[str]:
    """Yield rows as the daemon writes them: 95 % ok, 4 % unsure, 1 % error."""
    chance = random.Random(1)
    for number in range(count):
        share = chance.random()
        digit = str(chance.randrange(10))
        probabilities = ["0.001000"] * 11
        if share < 0.01:
            status, digit, confidence, reason = Status.ERROR, "", "", "text, not an image"
        elif share < 0.05:
            status, confidence = Status.UNSURE, f"{chance.uniform(0.2, 0.9):.6f}"
            reason = "low confidence"
        else:
            status, confidence, reason = Status.OK, f"{chance.uniform(0.9, 1):.6f}", ""
        folder = "failed" if status is Status.ERROR else "originals"
        name = f"digit{number}.png"
        sha256 = hashlib.sha256(_content(number)).hexdigest()
        yield rows.csv_line(
            [
                _id(number),
                *(name, status.value, digit, confidence, *probabilities, reason),
                *(f"annotated/{name}", f"{folder}/{name}", sha256, "model1", _MOMENT, _MOMENT),
            ]
        )


def _content(number: int) -> bytes:
    """Return what the file of a row has."""
    # Decoders ignore what follows the end of a PNG.
    return _PNG + str(number if number % 100 else number - 1).encode()


def _reread_line(line: str) -> str:
    """Return a row as a reread has it: one in seven has another status."""
    cells = line.rstrip("\n").split(",")
    if (ids.decode(cells[0]) >> 12) % 7 == 0 and cells[_STATUS] != Status.ERROR:
        is_ok = cells[_STATUS] == Status.OK
        cells[_STATUS] = Status.UNSURE if is_ok else Status.OK
    cells[_MODEL] = "a" * 12
    return ",".join(cells) + "\n"


def _id(number: int) -> str:
    return ids.encode((_START_MS + number * _STEP_MS) << 12)


def _answers(table: Path) -> Iterator[Answer]:
    """Yield an answer to every other row of the random sample."""
    is_odd = False
    with table.open(encoding="utf-8") as lines:
        for line in islice(lines, 1, None):
            row = rows.parse(line)
            if row and row["status"] == Status.OK and sample.is_drawn(ids.decode(row["id"])):
                is_odd = not is_odd
                if is_odd:
                    cells = row["id"], row["sha256"], row["digit"], "Ana", _MOMENT, row["model"]
                    yield Answer(*cells, row["digit"], row["confidence"], Source.SAMPLE)


def _memory_mb(pid: int) -> str:
    """Return the highest resident memory of a process so far; empty if it has ended."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+)", status)
    return f"{int(found[1]) / 1024:.0f}" if found else ""


def _processor_seconds(pid: int) -> float:
    """Return the processor time of a process so far, which depends little on the load."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _timed(server: Server, path: str, repeats: int = _TIMES) -> float:
    """Return the median time of a request in ms."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        reply = server.request(path)
        times.append(1000 * (time.perf_counter() - started))
        if reply.status != 200:
            raise click.ClickException(f"{path}: {reply.status}")
    return statistics.median(times)


def _say(what: str, value: str) -> None:
    click.echo(f"| {what} | {value} |")


def _measure_results(site: Site) -> None:
    for kind in ("csv", "jsonl", "xlsx"):
        file = site.folder / f"results.{kind}"
        started = time.perf_counter()
        peak = ""
        with subprocess.Popen([*_results(site), "--out", str(file)]) as process:
            while process.poll() is None:
                # Not rusage: it begins with the memory of the process that has started this one.
                peak = _memory_mb(process.pid) or peak
                time.sleep(0.05)
        took = time.perf_counter() - started
        if process.returncode:
            raise click.ClickException(f"`digitd results --out {file}` failed")
        size = file.stat().st_size / 1e6
        _say(
            f"`digitd results`, {kind}: s / MB of memory / MB",
            f"{took:.1f} / {peak} / {size:.0f}",
        )
        file.unlink()


def _results(site: Site) -> list[str]:
    return [*DIGITD, "results", "--config", str(site.config)]


def _measure_follow(site: Site, count: int) -> None:
    """Measure when the first line comes, when all have, and how an answer and a row follow."""
    started = time.perf_counter()
    command = [*_results(site), "--follow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        lines = process.stdout or io.BytesIO()
        lines.readline()
        _say("`results --follow`, first line, s", f"{time.perf_counter() - started:.1f}")
        for _ in range(count - 1):
            lines.readline()
        _say("`results --follow`, all lines, s", f"{time.perf_counter() - started:.1f}")
        for what, number in (("oldest", 0), ("newest", count - 1)):
            sent = time.perf_counter()
            cells = _id(number), "", "7", "Ana", _MOMENT, "model1", "7", "0.5", Source.GALLERY
            labels.append(site.outbox, Answer(*cells))
            lines.readline()
            took = time.perf_counter() - sent
            _say(f"`results --follow`, an answer to the {what} row, s", f"{took:.1f}")
        _say("`results --follow`, highest memory, MB", _memory_mb(process.pid))
        process.send_signal(signal.SIGKILL)
    started = time.perf_counter()
    command += ["--after", _id(count - 2)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        (process.stdout or io.BytesIO()).readline()
        took = time.perf_counter() - started
        _say("`results --follow --after` the last row but one, s", f"{took:.1f}")
        process.send_signal(signal.SIGKILL)


def _measure_look_through(site: Site, server: Server, count: int) -> None:
    middle, last = _id(count // 2), _id(count - 60)
    for place in ("", middle, last):
        path = f"/api/unseen?limit=60&after={place}"
        _say(f"look-through after `{place}`, ms", f"{_timed(server, path):.0f}")
    (site.outbox / DELETED_BEFORE).write_text(f"{_MOMENT} {middle}\n")
    took = _timed(server, "/api/unseen?limit=60")
    _say("look-through, the files of half of the rows are deleted, ms", f"{took:.0f}")
    (site.outbox / DELETED_BEFORE).unlink()


def _queries(count: int) -> Iterator[str]:
    """Yield the query of the first, a middle and the last page of each combination."""
    first, middle, last = map(_id, (60, count // 2, count - 60))
    places = {
        "newest": (f"0.0,{middle}", f"0.0,{first}"),
        "oldest": (f"0.0,{middle}", f"0.0,{last}"),
        "least": (f"0.95,{middle}", f"0.99999,{middle}"),
        "most": (f"0.95,{middle}", f"-1.0,{first}"),
    }
    for values in product(*_FORM.values()):
        form = dict(zip(_FORM, values, strict=True))
        form["until"] = form["since"]
        for after in ("", *places[form["sort"]]):
            yield urlencode(form | {"after": after})


def _measure_gallery(server: Server, count: int) -> None:
    """Measure each page once and the slowest again: a busy machine makes any page slow once.

    Measuring all pages again that took longer than a limit took hours on a busy machine.
    """
    times = {query: _timed(server, f"/gallery?{query}", 1) for query in _queries(count)}
    for query in sorted(times, key=lambda query: times[query])[-_SLOWEST:]:
        times[query] = _timed(server, f"/gallery?{query}")
    ranked = sorted(times, key=lambda query: times[query])
    _say(f"gallery, {len(ranked)} pages, median, ms", f"{statistics.median(times.values()):.0f}")
    _say("gallery, 99 of 100 pages, ms", f"{times[ranked[len(ranked) * 99 // 100]]:.0f}")
    _say(f"gallery, slowest page, ms: `{ranked[-1]}`", f"{times[ranked[-1]]:.0f}")


def _measure_answers(server: Server, job_ids: list[str]) -> list[float]:
    """Return how long each answer takes until it is fsynced, in ms."""
    times = []
    for job_id in job_ids:
        sent = time.perf_counter()
        reply = server.answer(job_id, "5")
        times.append(1000 * (time.perf_counter() - sent))
        if reply.status != 200:
            raise click.ClickException(f"{job_id}: {reply.text}")
    return times


def _measure_half_open(server: Server) -> None:
    job_ids = [item["id"] for item in server.request("/api/queue").json["items"]]
    with half_open_connections(server, _HALF_OPEN) as opened:
        times = _measure_answers(server, job_ids[:_ANSWERS_BESIDE])
    _say(f"an answer beside {opened} half-open connections, ms", f"{statistics.median(times):.1f}")
    _say("the slowest of 20 such answers, ms", f"{max(times):.1f}")


def _measure_keys(site: Site, server: Server) -> None:
    """Measure key presses in a browser; the rows that are answered get pictures."""
    chromium = programs.browser()
    if chromium is None:
        _say("a key press to the next picture", "not measured: no Chromium")
        return
    (site.outbox / "originals").mkdir(exist_ok=True)
    place, left = "", _KEYS + 1
    while left > 0:
        items = server.request(f"/api/queue?after={quote(place)}").json["items"]
        for item in items:
            number = int(item["file"].removeprefix("digit").removesuffix(".png"))
            (site.outbox / "originals" / item["file"]).write_bytes(_content(number))
        place, left = items[-1]["place"], left - len(items)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(server.url)
        median, high = time_keys(page, _KEYS)
        browser.close()
    what = f"a key press to the next picture, {_KEYS} answers: median / 95th percentile, ms"
    _say(what, f"{median:.0f} / {high:.0f}")


def _measure_server(site: Site, count: int) -> None:
    started = time.perf_counter()
    with Server(site) as server:
        _say("start with no index, page answers after, s", f"{time.perf_counter() - started:.1f}")
        while server.request("/api/queue").json["state"]["indexing"] is not None:
            time.sleep(0.2)
        _say("index complete, s after the start", f"{time.perf_counter() - started:.1f}")
        _say("processor time until then, s", f"{_processor_seconds(server.process.pid):.1f}")
        _say("resident memory after indexing, highest, MB", _memory_mb(server.process.pid))
        _measure_gallery(server, count)
        for name, key in (("", None), (", sample", SAMPLE_PRIORITY), (", errors", ERROR_PRIORITY)):
            after = "" if key is None else f"{key},{_id(0)}"
            _say(f"queue{name}, ms", f"{_timed(server, f'/api/queue?after={after}'):.0f}")
        _measure_look_through(site, server, count)
        for span in ("day", "year"):
            _say(f"live, {span}, ms", f"{_timed(server, f'/live?span={span}'):.0f}")
        job_ids = [item["id"] for item in server.request("/api/queue").json["items"]]
        times = _measure_answers(server, job_ids)
        _say("an answer, fsynced, ms", f"{statistics.median(times):.1f}")
        row = f"/row/{job_ids[0]}"
        _say("one row, ms", f"{_timed(server, row):.0f}")
        row_by_name = _timed(server, f"{row}?name=digit")
        _say("one row with its neighbours by a name that all have, ms", f"{row_by_name:.0f}")
        _measure_half_open(server)
        _measure_keys(site, server)
        _say("resident memory, highest, MB", _memory_mb(server.process.pid))
    started = time.perf_counter()
    with Server(site) as server:
        server.wait_for_rows(count)
        _say("start with the index of an earlier run, s", f"{time.perf_counter() - started:.1f}")


@click.command()
@click.option("--rows", "count", default=1_000_000, show_default=True, type=int)
@click.option("--reread", is_flag=True, help="All rows have a reread.")
def main(count: int, *, reread: bool) -> None:
    """Print a table."""
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder))
        with (site.outbox / TABLE).open("w", encoding="utf-8") as table:
            table.write(rows.HEADER)
            table.writelines(_lines(count))
        if reread:
            (site.outbox / REREADS).mkdir()
            name = table_name("a" * 12, Reads.DIGIT)
            with (site.outbox / REREADS / name).open("w", encoding="utf-8") as table:
                table.write(rows.HEADER)
                table.writelines(map(_reread_line, _lines(count)))
        with (site.outbox / LABELS).open("w", encoding="utf-8") as answers:
            answers.write(labels.HEADER)
            answers.writelines(rows.csv_line(astuple(one)) for one in _answers(site.outbox / TABLE))
        _say("rows", f"{count}")
        _say("---", "---")
        _say("load of the machine before", f"{os.getloadavg()[0]:.1f}")
        _measure_server(site, count)
        _measure_results(site)
        _measure_follow(site, count)
        _say("load of the machine after", f"{os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
