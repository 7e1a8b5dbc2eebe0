"""Measure what must not take longer than a limit; fail if it does.

``python -m benchmarks.limits``

On a busy machine any of these may take longer, so that the tests leave them out.
"""

from __future__ import annotations

import statistics
import struct
import sys
import tempfile
import threading
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import click
import cv2
from playwright.sync_api import sync_playwright

from benchmarks.keys import time_keys
from daemon.assets import SHIPPED_MODEL
from daemon.config import Config
from daemon.errors import UnreadableError
from daemon.inbox.inbox import Inbox
from daemon.reading import formats, image, model, reader
from daemon.reading.formats import ImageFormat
from support import programs
from support.boxes import BOXES, Pauses, add_boxes, check_boxes, download
from support.daemon import Box
from support.drawn import large, painted
from support.factories import doubtful
from support.site import Server, Site
from support.stand_in import png_like

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser

_TIMES = 7
_KEYS = 120
_HONEST = Pauses(file=1, tile=0.1, correction=2)


def _best_ms(run: Callable[[], object]) -> float:
    """Return the fastest of some runs, in ms."""
    took = []
    for _ in range(_TIMES):
        started = time.perf_counter()
        run()
        took.append(1000 * (time.perf_counter() - started))
    return min(took)


def reading() -> Iterator[tuple[str, float, float]]:
    """Measure a small and a large image, and two hostile files."""
    shipped = model.load(SHIPPED_MODEL)
    for side, limit in ((28, 1), (1440, 60)):
        data = cv2.imencode(".jpg", painted(large(5, side)))[1].tobytes()
        took = _best_ms(lambda data=data: reader.find_digit(shipped, data, max_megapixels=50))  # type: ignore[misc]
        yield f"decode and find the digit, {side} px", took, limit
    # 30000x30000 pixels in 69 bytes. Decoding such a file takes 1.8 GB and several seconds.
    header = struct.pack(">II", 30000, 30000) + b"\1\0\0\0\0"
    crc = zlib.crc32(b"IHDR" + header).to_bytes(4, "big")
    bomb = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + header + crc + b"\0\0\0\0IEND\xaeB`\x82"

    def refuse() -> None:
        try:
            image.decode(bomb, max_megapixels=50)
        except UnreadableError:
            return
        raise AssertionError

    yield "refuse a PNG of 900 megapixels", _best_ms(refuse), 100
    for filler in (b"\xff", b"\xff\xe0\0\x02", b"\xff\xe0\0\0"):
        data = b"\xff\xd8" + filler * (20_000_000 // len(filler))

        def parse(data: bytes = data) -> None:
            formats.has_end(ImageFormat.JPEG, formats.memory_reader(data), len(data))
            formats.dimensions(data)

        yield f"parse 20 MB of JPEG markers, {filler.hex()}", _best_ms(parse), 1000


def events() -> Iterator[tuple[str, float, float]]:
    """Measure how soon a file is noticed while others are moved out of the inbox.

    With watchdog's own observer each of our moves, and all events after it, wait half a second.
    """
    with tempfile.TemporaryDirectory() as name:
        box = Box(Path(name))
        config = Config(inbox=box.inbox, outbox=box.outbox, rescan_seconds=86_400)
        wake = threading.Event()
        inbox = Inbox(config, wake.set)
        inbox.open()
        took = []
        for number in range(10):
            started = time.perf_counter()
            box.drop(f"digit{number}.png", png_like("fine"))
            while not (taken := [*inbox.take(1)]):
                wake.wait(0.05)
                wake.clear()
                inbox.poll()
            took.append(1000 * (time.perf_counter() - started))
            (box.inbox / taken[0]).rename(box.folder / "claimed")
        inbox.close()
        yield "a dropped file to its claim, 10 files", statistics.median(took), 100


def browser() -> Iterator[tuple[str, float, float]]:
    """Measure the review page in a browser."""
    chromium = programs.browser()
    if chromium is None:
        raise click.ClickException("no browser: install chromium, or name one in DIGITD_BROWSER")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield from _keys(started)
        yield from _boxes(started)
        started.close()


def _keys(started: Browser) -> Iterator[tuple[str, float, float]]:
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder))
        site.add_all([(f"digit{n}.png", doubtful(n % 10, 0.1 + n / 500)) for n in range(_KEYS + 1)])
        with Server(site) as server:
            server.wait_for_rows(_KEYS + 1)
            page = started.new_page()
            page.goto(server.url)
            median, high = time_keys(page, _KEYS)
            page.close()
    yield f"a key press to the next picture, {_KEYS} answers, median", median, 50
    yield f"a key press to the next picture, {_KEYS} answers, 95th percentile", high, 50


def _boxes(started: Browser) -> Iterator[tuple[str, float, float]]:
    """Measure a person who answers 8 doubtful boxes and corrects 3 among 292 sure ones."""
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder))
        digits = add_boxes(site)
        with Server(site) as server:
            server.wait_for_rows(BOXES)
            page = started.new_page()
            begun = time.perf_counter()
            page.goto(server.url)
            page.wait_for_selector("#file:not(:empty)")
            check_boxes(page, digits, _HONEST)
            took = 1000 * (time.perf_counter() - begun)
            if download(page) != digits:
                raise click.ClickException("an answer is wrong after all boxes were checked")
            page.close()
    yield f"check {BOXES} boxes, with a person's pauses", took, 90_000


@click.command()
def main() -> None:
    """Print a table; exit with 1 if anything took too long."""
    is_late = False
    click.echo("| what | ms | at most |\n|---|---|---|")
    for measure in (reading, events, browser):
        for what, took, limit in measure():
            click.echo(f"| {what} | {took:.2f} | {limit:.0f} |{' too long' * (took > limit)}")
            is_late |= took > limit
    sys.exit(is_late)


if __name__ == "__main__":
    main()
