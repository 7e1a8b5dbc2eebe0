"""The set of whole numbers: complete, labelled, spaced as its kinds say, the same for a seed."""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.numbers import __main__ as command
from benchmarks.numbers.kinds import KINDS
from benchmarks.numbers.texts import random_marked
from benchmarks.pages.write import Digits, load

SMALL = Path(__file__).parent.parent / "data" / "mnist-small.npz"
EACH = 2
NUMBER = re.compile(r"-?[0-9]+([.,/:-][0-9]+)*")


def write(folder: Path, seed: int) -> dict[str, bytes]:
    arguments = [str(SMALL), str(folder), "--each", str(EACH), "--seed", str(seed)]
    said = CliRunner().invoke(command.main, arguments, catch_exceptions=False)
    assert said.exit_code == 0, said.output
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture(scope="module")
def digits() -> Digits:
    return load(SMALL)


def test_each_number_is_labelled_and_decodes(tmp_path: Path) -> None:
    files = write(tmp_path / "first", 7)
    with (tmp_path / "first" / "labels.csv").open(newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    assert {row["file"] for row in rows} == set(files) - {"labels.csv"}
    assert Counter(row["traits"] for row in rows) == dict.fromkeys(KINDS, EACH)
    for row in rows:
        image = cv2.imread(str(tmp_path / "first" / row["file"]))
        assert image is not None
        assert image.shape[0] >= 28
        assert image.std() > 3
        assert (row["label"] == "none") == (row["traits"] == "struck")
        if row["traits"] not in {"marks", "struck"}:
            assert row["label"].isdigit()
            assert (len(row["label"]) > 6) == (row["traits"] == "long")
    assert write(tmp_path / "again", 7) == files
    assert not set(files.values()) & set(write(tmp_path / "other", 8).values())


def count_pieces(mask: np.ndarray) -> int:
    """Count what is connected, without specks."""
    _, _, boxes, _ = cv2.connectedComponentsWithStats((mask > 0.4).astype(np.uint8))
    areas = boxes[1:, cv2.CC_STAT_AREA]
    return int((areas >= 0.1 * areas.max()).sum())


@pytest.mark.parametrize(("kind", "touches"), [("apart", False), ("touching", True)])
def test_digits_touch_only_in_their_kind(digits: Digits, kind: str, touches: bool) -> None:  # noqa: FBT001
    pieces = []
    for seed in range(12):
        line = KINDS[kind](np.random.default_rng(seed), digits)
        pieces.append(count_pieces(line.layers[-1].mask) / len(line.text))
    assert (np.mean(pieces) < 0.7) == touches, pieces


def test_boxes_are_printed_around_the_ink(digits: Digits) -> None:
    for seed in range(4):
        box, written = KINDS["boxes"](np.random.default_rng(seed), digits).layers
        lines = np.argwhere(box.mask > 0.3)
        inked = np.argwhere(written.mask > 0.3)
        assert (lines.min(axis=0) < inked.min(axis=0)).all()
        assert (lines.max(axis=0) > inked.max(axis=0)).all()


def test_every_marked_text_is_a_number_with_a_mark() -> None:
    chance = np.random.default_rng(1)
    texts = [random_marked(chance) for _ in range(2000)]
    assert all(NUMBER.fullmatch(text) for text in texts)
    assert not any(text.isdigit() for text in texts)
    assert set(".,/:-") <= set("".join(texts))
