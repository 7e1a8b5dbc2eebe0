"""The measuring set: complete, labelled, readable, and the same for the same seed."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import cv2
from click.testing import CliRunner

from benchmarks.pages import __main__ as command
from benchmarks.pages.kinds import KINDS

SMALL = Path(__file__).parent.parent / "data" / "mnist-small.npz"
EACH = 2


def write(folder: Path, seed: int) -> dict[str, bytes]:
    """Write a set and return its files, by name."""
    arguments = [str(SMALL), str(folder), "--each", str(EACH), "--seed", str(seed)]
    said = CliRunner().invoke(command.main, arguments)
    assert said.exit_code == 0, said.output
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def test_each_page_is_labelled_and_decodes(tmp_path: Path) -> None:
    files = write(tmp_path, 7)
    with (tmp_path / "labels.csv").open(newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    assert list(rows[0]) == ["file", "label", "traits"]
    assert {row["file"] for row in rows} == set(files) - {"labels.csv"}
    assert Counter(row["traits"] for row in rows) == dict.fromkeys(KINDS, EACH)
    assert {row["label"] for row in rows} <= set("0123456789")
    for row in rows:
        image = cv2.imread(str(tmp_path / row["file"]))
        assert image is not None
        assert all(100 <= side <= 900 for side in image.shape[:2])
        assert image.std() > 3


def test_a_seed_decides_every_byte(tmp_path: Path) -> None:
    first = write(tmp_path / "first", 7)
    assert write(tmp_path / "again", 7) == first
    other = write(tmp_path / "other", 8)
    assert not set(first.values()) & set(other.values())


def test_a_missing_mnist_is_named(tmp_path: Path) -> None:
    said = CliRunner().invoke(command.main, [str(tmp_path / "absent.npz"), str(tmp_path / "pages")])
    assert said.exit_code == 1
    assert "absent.npz: No such file or directory; name Keras's mnist.npz" in said.output
