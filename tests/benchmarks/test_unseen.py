"""The set without digits: complete and labelled; missing fonts are named."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from benchmarks import unseen
from daemon.training import data

SMALL = Path(__file__).parent.parent / "data" / "mnist-small.npz"
HAS_FONTS = bool(data.find_fonts(held_out=True))


def write(folder: Path) -> Result:
    return CliRunner().invoke(unseen.main, [str(SMALL), str(folder), "--each", "3"])


@pytest.mark.skipif(not HAS_FONTS, reason="needs the held-out fonts of docs/training.md")
def test_each_kind_is_labelled(tmp_path: Path) -> None:
    said = write(tmp_path)
    assert said.exit_code == 0, said.output
    with (tmp_path / "labels.csv").open(newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    kinds = ("pair", "letter", "blank", "noise", "word", "symbol")
    assert Counter(row["traits"] for row in rows) == dict.fromkeys(kinds, 3)
    assert {row["label"] for row in rows if row["traits"] != "pair"} == {"none"}
    assert all((tmp_path / row["file"]).stat().st_size for row in rows)


@pytest.mark.skipif(HAS_FONTS, reason="the held-out fonts are installed")
def test_missing_fonts_are_named_in_one_line(tmp_path: Path) -> None:
    said = write(tmp_path / "unseen")
    assert said.exit_code == 1
    assert said.output.count("\n") == 1
    assert "Ecolier" in said.output
    assert "apt-get install fonts-sjfonts" in said.output
    assert not (tmp_path / "unseen").exists()
