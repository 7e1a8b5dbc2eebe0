"""The command ``predict`` on whole numbers."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path

import cv2
import pytest

from benchmarks.numbers.__main__ import write
from benchmarks.pages.write import load
from daemon.assets import SHIPPED_MODEL
from daemon.errors import EX_CONFIG
from daemon.reading import model
from support.daemon import SAMPLES, digitd

SMALL = Path(__file__).parent / "data" / "mnist-small.npz"
READS_NUMBERS = model.load(SHIPPED_MODEL).read_line is not None


@pytest.mark.skipif(not READS_NUMBERS, reason="the shipped model cannot read numbers")
def test_predict_reads_numbers(tmp_path: Path) -> None:
    folder, seen = tmp_path / "numbers", tmp_path / "seen"
    files = [folder / name for name in write(load(SMALL), folder, each=2, seed=7)]
    with (folder / "labels.csv").open(encoding="utf-8") as table:
        labels = [row["label"] for row in csv.DictReader(table)]
    said = digitd("predict", "--reads", "number", "--json", "--picture", seen, *files)
    assert said.returncode == 0, said.stderr
    rows = [json.loads(line) for line in said.stdout.splitlines()]
    assert [row["file"] for row in rows] == [file.name for file in files]
    right = [row for row, label in zip(rows, labels, strict=True) if row["digit"] == label]
    assert len(right) >= 10
    assert all(row["p0"] is None for row in right if len(row["digit"]) > 1)
    for row in rows:
        picture = cv2.imread(row["picture"])
        assert picture is not None
        assert picture.shape == (340, 768, 3)

    as_text = digitd("predict", "--reads", "number", *files[:2]).stdout.splitlines()
    for line, row in zip(as_text, rows, strict=False):
        assert line.startswith(f"{row['original']}: {row['digit']} ")
        assert f"{row['confidence']:.1%}  {row['status']}" in line


def test_model_without_a_line_reader_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "digits-only.keras"
    with zipfile.ZipFile(SHIPPED_MODEL) as old, zipfile.ZipFile(other, "w") as new:
        for name in set(old.namelist()) - {model.LINE_MEMBER}:
            new.writestr(name, old.read(name))
    sample = SAMPLES / "digit1.png"
    said = digitd("predict", "--reads", "number", "--model", other, sample)
    assert said.returncode == EX_CONFIG
    assert f"{other}: cannot read numbers" in said.stderr
    assert digitd("predict", "--model", other, sample).returncode == 0
