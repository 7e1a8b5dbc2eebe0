"""Take a screenshot of each page of `digitd review`, and join them in one sheet.

``python -m benchmarks.screenshots [--folder DIR] [--sheet docs/pages.webp]``

digitd reads the shipped samples and two files without a digit. Each page is shown in a desktop's, a
tablet's and a phone's size, light and dark. Chromium and Playwright are needed, as by the browser
tests.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
import cv2
import numpy as np
from playwright.sync_api import sync_playwright

from support import programs
from support.daemon import SAMPLES, Box, Daemon
from support.site import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

_SIZES = {"desktop": (1440, 900), "tablet": (768, 1024), "phone": (390, 844)}
_SCHEMES = ("light", "dark")
_PAGES = {
    "check": "/",
    "look": "/look",
    "gallery": "/gallery",
    "live": "/live",
    "models": "/models",
}
_ANSWERS = {"digit1.png": "1", "empty box.png": "none"}
_UNSURE_BELOW = 0.99  # so that some of the samples are unsure
_LOADED = "() => [...document.images].every((one) => one.complete || one.hidden)"
_HEIGHT = 420  # of a page on the sheet, in pixels
_GAP = 12
_GREY = (128, 128, 128)
_QUALITY = 70  # WebP's


@contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """Yield the page of an outbox with the samples, two of them answered; digitd is reading."""
    box = Box(folder)
    box.configure(workers=1, unsure_below=_UNSURE_BELOW)
    files = {file.name: file.read_bytes() for file in SAMPLES.glob("*.png")}
    blank = cv2.imencode(".png", np.full((60, 60, 3), 250, np.uint8))[1].tobytes()
    files |= {"empty box.png": blank, "notes.png": b"a text"}
    for name, data in files.items():
        box.drop(name, data)
    with Daemon(box):
        rows = box.wait_for_rows(len(files))
        with Server(box) as server:
            server.wait_for_rows(len(files))
            for row in rows:
                if row["file"] in _ANSWERS:
                    server.answer(row["id"], _ANSWERS[row["file"]])
            yield server


def shoot(page: Page, url: str) -> np.ndarray:
    """Return the picture of a page, shape (height, width, 3), BGR."""
    page.goto(url)
    page.wait_for_selector(
        "#file:not(:empty), #done, #tiles button, #found, #figures, #models-list", state="visible"
    )
    page.wait_for_function(_LOADED)
    shot = page.screenshot(animations="disabled")  # at their ends
    picture = cv2.imdecode(np.frombuffer(shot, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise click.ClickException(f"{url}: Chromium's screenshot cannot be decoded; try again")
    return picture


def _shoot_all(browser: Browser, server: Server) -> dict[str, np.ndarray]:
    """Return the pictures by page, scheme and size."""
    shots = {}
    for scheme in _SCHEMES:
        for size, (width, height) in _SIZES.items():
            context = browser.new_context(viewport={"width": width, "height": height})
            page = context.new_page()
            page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            page.goto(server.url)
            for name, path in _PAGES.items():
                shots[f"{name}-{scheme}-{size}"] = shoot(page, server.base + path)
            context.close()
    return shots


def _join(shots: dict[str, np.ndarray]) -> np.ndarray:
    """Return a sheet: a row for each page and scheme, with its three sizes side by side."""
    rows = []
    for name in _PAGES:
        for scheme in _SCHEMES:
            cells = []
            for size in _SIZES:
                shot = shots[f"{name}-{scheme}-{size}"]
                width = round(shot.shape[1] * _HEIGHT / shot.shape[0])
                small = cv2.resize(shot, (width, _HEIGHT), interpolation=cv2.INTER_AREA)
                edges = (_GAP, 0, _GAP, 0)
                cells.append(cv2.copyMakeBorder(small, *edges, cv2.BORDER_CONSTANT, value=_GREY))
            rows.append(np.hstack(cells))
    return np.vstack(rows)


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), help="Store each screenshot here, too.")
@click.option("--sheet", type=click.Path(path_type=Path), default="docs/pages.webp")
def main(folder: Path | None, sheet: Path) -> None:
    """Write the sheet."""
    chromium = programs.require("chromium")
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        with serve(Path(scratch)) as server:
            shots = _shoot_all(browser, server)
        browser.close()
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, shot in shots.items():
            cv2.imwrite(str(folder / f"{name}.png"), shot)
    options = [cv2.IMWRITE_WEBP_QUALITY, _QUALITY]
    sheet.write_bytes(cv2.imencode(".webp", _join(shots), options)[1].tobytes())


if __name__ == "__main__":
    main()
