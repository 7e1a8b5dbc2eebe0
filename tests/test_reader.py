"""The Python interface: `from daemon import Reader`."""

from __future__ import annotations

import csv
import doctest
import io
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from PIL import Image

import daemon
from daemon import DigitdError, ModelError, Reader, Status, Verdict
from daemon import reader as reader_module
from support.daemon import DIGITD, ROOT, SAMPLES, Box, digitd, run_once

if TYPE_CHECKING:
    from collections.abc import Callable


@cache
def reader() -> Reader:
    return Reader()


def grey(name: str = "digit7.png") -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.asarray(Image.open(SAMPLES / name).convert("L"))


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def write_odd_files(folder: Path) -> None:
    """Write images that digitd handles in a special way, and files that it cannot read."""
    seven = Image.open(SAMPLES / "digit7.png").convert("L")
    ink = Image.new("RGBA", seven.size, (200, 0, 0, 0))
    ink.putalpha(seven)
    ink.save(folder / "transparent.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = seven.resize((600, 800)).transpose(Image.Transpose.ROTATE_90)
    photo.convert("RGB").save(folder / "turned.jpg", exif=exif)
    deep = (np.asarray(seven).astype(np.uint16) << 4)[..., None].repeat(3, axis=2)
    (folder / "12-bits.png").write_bytes(cv2.imencode(".png", deep)[1].tobytes())
    seven.resize((4000, 3000)).save(folder / "large.jpg")
    Image.new("1", (9000, 9000), 1).save(folder / "too-large.png")
    Image.new("L", (5, 5)).save(folder / "too-small.png")
    Image.new("L", (40, 40), 255).save(folder / "blank.png")
    pair = np.hstack([cv2.resize(grey(f"digit{number}.png"), (90, 90)) for number in (3, 4)])
    (folder / "pair.png").write_bytes(png(Image.fromarray(pair)))
    (folder / "cut.png").write_bytes((SAMPLES / "digit7.png").read_bytes()[:-40])
    (folder / "text.png").write_text("no image\n")


def cells_of(verdict: Verdict) -> dict[str, object]:
    """Return a verdict as `predict --json` has it."""
    probabilities = verdict.probabilities or (None,) * 11
    names = (*(f"p{digit}" for digit in range(10)), "p_none")
    return {
        "status": verdict.status,
        "digit": verdict.text,
        "confidence": verdict.confidence and round(verdict.confidence, 6),
        "reason": verdict.reason,
        **{
            name: probability and round(probability, 6)
            for name, probability in zip(names, probabilities, strict=True)
        },
    }


@pytest.mark.parametrize("options", [{}, {"reads": "number", "expect": "[0-9]"}])
def test_reader_reads_what_run_and_predict_read(box: Box, options: dict[str, Any]) -> None:
    write_odd_files(box.inbox)
    for sample in SAMPLES.glob("digit*.png"):
        (box.inbox / sample.name).write_bytes(sample.read_bytes())
    files = sorted(box.inbox.glob("*.*g"))
    assert len(files) == 22
    used = Reader(**options)
    found = {file.name: cells_of(used.read(file)) for file in files}
    assert {each["status"] for each in found.values()} == {"ok", "unsure", "error"}

    if "expect" not in options:
        said = digitd("predict", "--json", *files)
        rows = [json.loads(line) for line in said.stdout.splitlines()]
        assert {row["model"] for row in rows} == {used.model}
        by_predict = {row["file"]: {key: row[key] for key in found["cut.png"]} for row in rows}
        assert by_predict == found

    box.configure(incomplete_seconds=0, **{key: f"'{value}'" for key, value in options.items()})
    run_once(box, DIGITD)
    with box.table.open(encoding="utf-8") as table:
        by_run = {
            row["file"]: {
                key: row[key] if key in {"status", "reason"} else row[key] or None
                for key in found["cut.png"]
            }
            for row in csv.DictReader(table)
        }
    for name, cells in found.items():
        as_text = {
            key: f"{value:.6f}" if isinstance(value, float) else value
            for key, value in cells.items()
        }
        assert by_run[name] == as_text


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_array_is_read_as_the_png_with_its_pixels(mode: str) -> None:
    shape = Image.open(SAMPLES / "digit7.png").convert("L")
    image = shape
    if mode == "RGB":
        other = Image.open(SAMPLES / "digit3.png").convert("L").resize(shape.size)
        image = Image.merge("RGB", (shape, shape, other))
    if mode == "RGBA":
        image = Image.new("RGBA", shape.size, (200, 30, 10, 0))
        image.putalpha(shape)
    verdict = reader().read(png(image))
    assert verdict == reader().read(np.asarray(image))
    assert verdict == reader().read(np.asarray(image)[:, ::-1][:, ::-1])
    if mode == "L":
        assert verdict == reader().read(np.asarray(image)[..., None])
    if mode == "RGB":
        assert verdict != reader().read(np.asarray(image)[..., ::-1])


@pytest.mark.parametrize(
    ("array", "error", "said"),
    [
        (np.zeros((28, 28)), TypeError, "is of float64, not uint8: if its values are from 0 to 1"),
        (
            np.full((28, 28), 9, np.uint16),
            TypeError,
            "is of uint16, not uint8: if its values are from 0 to 255, pass array.astype(",
        ),
        (
            np.full((28, 28), 256, np.uint16),
            TypeError,
            "is of uint16, not uint8: if its values are from 0 to 4095, pass (0.0622711 * array)",
        ),
        (np.full((28, 28), 99.5), TypeError, "if its values are from 0 to 255, pass array.astype"),
        (np.full((28, 28), -1.0), TypeError, "not uint8: its values must be from 0 to 255"),
        (np.full((28, 28), np.nan), TypeError, "not uint8: its values must be from 0 to 255"),
        (np.array([["a"]]), TypeError, "the array is of <U1, not uint8"),
        (
            np.zeros((28, 28), bool),
            TypeError,
            "is of bool, not uint8: if its values are from 0 to 1",
        ),
        (np.zeros(784, np.uint8), ValueError, "has the shape (784,): pass one image, (H, W)"),
        (np.zeros((28, 28, 2), np.uint8), ValueError, "has the shape (28, 28, 2)"),
        (np.zeros((60, 28, 28), np.uint8), ValueError, "has the shape (60, 28, 28)"),
        (np.zeros((0, 28), np.uint8), ValueError, "has the shape (0, 28): it is empty"),
        (np.array([]), ValueError, "has the shape (0,): it is empty"),
        ("", FileNotFoundError, "No such file or directory: ''"),
        ([[0, 255]], TypeError, "an image is a path, bytes or an array, not list"),
        (Image.new("L", (28, 28)), TypeError, "not Image: pass the images of a list one by one"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_images_are_refused(array: object, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=re.escape(said)):
        reader().read(array)  # type: ignore[arg-type]


def test_files_that_cannot_be_opened_raise(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "missing.png"))):
        reader().read(tmp_path / "missing.png")
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(IsADirectoryError, match="it is a folder"):
        reader().read(str(tmp_path))
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(OSError, match="not a regular file"):
        reader().read(tmp_path / "pipe.png")


def test_what_is_too_large_is_an_error() -> None:
    small = Reader(max_megapixels=0.0001, max_file_mb=0.001)
    assert small.read(np.zeros((20, 20), np.uint8)).reason.startswith("too large: 20x20 is")
    assert small.read(bytes(1001)).reason == "too large: more than 0.001 MB: make it smaller"
    assert small.read(SAMPLES / "README.md").status is Status.ERROR


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Reader(reads="numbers"), 'reads: numbers is not allowed; it must be "digit" or'),  # type: ignore[arg-type]
        (lambda: Reader(unsure_below=2), "unsure_below: 2 is not allowed; it must be a number f"),
        (lambda: Reader(expect="[0-9]"), "expect: [0-9] is only allowed with reads: number"),
        (lambda: Reader(reads="number", expect="[0-9"), "it must be a regular expression, but it"),
        (
            lambda: Reader(reads="number", expect_file=SAMPLES / "README.md"),
            "README.md has",
        ),
    ],
)
def test_arguments_that_are_not_allowed_raise_a_value_error(
    make: Callable[[], Reader], said: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        make()


def test_model_that_cannot_be_loaded_raises_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        Reader(tmp_path / "missing.keras")
    assert issubclass(ModelError, DigitdError)


def test_options_change_the_verdict(tmp_path: Path) -> None:
    assert Reader(unsure_below=1).read(grey()).reason == "low confidence"
    (tmp_path / "numbers.txt").write_text("7\n")
    allowed = Reader(reads="number", expect_file=tmp_path / "numbers.txt")
    assert allowed.read(grey()).status is Status.OK
    assert allowed.read(grey("digit3.png")).reason == "not expected: read 3"


def test_threads_share_a_reader() -> None:
    images = [grey(f"digit{number % 12 + 1}.png") for number in range(120)]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(reader().read, images))
    assert found == found[:12] * 10
    assert [verdict.text for verdict in found[:7]] == list("1234567")


def test_documented_example_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (example,) = doctest.DocTestFinder(recurse=False).find(
        Reader, "Reader", module=reader_module, globs={}
    )
    assert len(example.examples) == 5
    ran = doctest.DocTestRunner().run(example)
    assert ran.failed == 0


_WATCHED = """
import sys
import daemon

assert not {"numpy", "cv2", "pydantic", "yaml"} & sys.modules.keys(), "importing it is not light"
seen = []
starts = {"subprocess.Popen", "os.fork", "os.posix_spawn", "os.mkdir", "os.rename", "os.remove"}

def watch(event, arguments):
    if event == "open" and arguments[1] and not set("wxa+").isdisjoint(arguments[1]):
        seen.append(arguments)
    if event == "open" and arguments[2] & 0o103 and arguments[0] != "/dev/null":
        seen.append(arguments)  # opened for writing, or created
    if event in starts:
        seen.append((event, arguments))

sys.addaudithook(watch)
print(daemon.Reader().read(sys.argv[1]).text)
print(seen)
"""


def test_reader_writes_no_file_and_starts_no_process(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", _WATCHED, SAMPLES / "digit7.png"],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": str(tmp_path),
            "MPLCONFIGDIR": str(tmp_path / "matplotlib"),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.stdout, ran.stderr) == ("7\n[]\n", "")


def test_public_names_are_there() -> None:
    assert {"Reader", "Status", "Verdict", "DigitdError", "ModelError"} < set(daemon.__all__)
    assert all(hasattr(daemon, name) for name in daemon.__all__)
    assert not hasattr(daemon, "Painter")
