"""The set of marked digits: complete, labelled, each mark visible, the same for a seed."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from benchmarks.marks import __main__ as command
from benchmarks.marks.kinds import KINDS
from benchmarks.marks.sheet import Marking, compose
from benchmarks.pages.write import load

SMALL = Path(__file__).parent.parent / "data" / "mnist-small.npz"
EACH = 2


def write(folder: Path, seed: int) -> dict[str, bytes]:
    arguments = [str(SMALL), str(folder), "--each", str(EACH), "--seed", str(seed)]
    said = CliRunner().invoke(command.main, arguments, catch_exceptions=False)
    assert said.exit_code == 0, said.output
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_each_digit_is_labelled_and_decodes(tmp_path: Path) -> None:
    files = write(tmp_path / "first", 7)
    with (tmp_path / "first" / "labels.csv").open(newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    assert {row["file"] for row in rows} == set(files) - {"labels.csv"}
    assert Counter(row["traits"] for row in rows) == dict.fromkeys(KINDS, EACH)
    for row in rows:
        kind = KINDS[row["traits"]]
        assert (row["label"] != "none") == kind.is_digit
        assert not kind.is_digit or int(row["label"]) in kind.digits
        image = cv2.imread(str(tmp_path / "first" / row["file"]))
        assert image is not None
        assert min(image.shape[:2]) >= 28
    assert write(tmp_path / "again", 7) == files
    assert not set(files.values()) & set(write(tmp_path / "other", 8).values())


def extent(name: str, seed: int) -> NDArray[np.float64]:
    """Return (left, top, right, bottom) of a mark on a digit 1 high and 0.6 wide."""
    marking = Marking(np.random.default_rng(seed), 3, aspect=0.6, line=0.1, strokes=[])
    KINDS[name].draw(marking)
    points = np.concatenate(marking.strokes)
    return np.concatenate([points.min(axis=0), points.max(axis=0)])


@pytest.mark.parametrize("name", KINDS)
def test_a_mark_is_where_its_name_says(name: str) -> None:
    for seed in range(30):
        left, top, right, bottom = extent(name, seed)
        if name in {"minus", "sign"}:
            assert right < 0
        elif name == "bar":
            assert bottom < 0
        elif name == "tick":
            assert right < 0 or left > 0.6
        elif name.startswith("underlined"):
            assert top > 1
        elif name.startswith("dotted"):
            assert top > 1 or (left > 0.6 and top > 0.8)
        else:
            assert left < 0.3 < right
            assert top < 0.7
            assert bottom > 0.3


def test_a_mark_that_the_digit_hides_is_drawn_again() -> None:
    digits = load(SMALL)
    image = digits.images[np.flatnonzero(digits.labels == 1)[0]]
    tries = []

    def draw(mark: Marking) -> None:
        tries.append(mark)
        x = mark.aspect / 2 if len(tries) < 3 else 2.0
        mark.stroke((x, 0.45), (x, 0.55))

    layers = compose(np.random.default_rng(3), draw, 1, image)
    assert len(tries) == 3
    assert layers[0].mask.any()
