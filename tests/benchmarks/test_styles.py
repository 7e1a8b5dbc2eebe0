"""The drawn styles: their table, readable files, and the same bytes from the same seed."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from benchmarks.styles import __main__ as command
from daemon.assets import SHIPPED_MODEL
from daemon.reading import model, reader

EACH = 3
DIGITS = {
    "european-1": "1",
    "slashed-0": "0",
    "open-6": "6",
    "square-9": "9",
    "long-1": "1",
    "crossed-0": "0",
    "pointed-6": "6",
    "small-9": "9",
    "split-2": "2",
    "split-5": "5",
}


def drawn(folder: Path, seed: int) -> dict[str, bytes]:
    """Run the command and return the written files' contents by name."""
    arguments = [str(folder), "--each", str(EACH), "--seed", str(seed)]
    result = CliRunner().invoke(command.main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("styles") / "made-by-the-command"
    drawn(folder, seed=7)
    return folder


def test_table_lists_every_file_with_its_digit_and_style(folder: Path) -> None:
    with (folder / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    expected = [
        {"file": f"{style}-{number:04}.png", "label": digit, "traits": style}
        for style, digit in DIGITS.items()
        for number in range(1, EACH + 1)
    ]
    assert rows == expected
    assert {row["file"] for row in rows} == {file.name for file in folder.glob("*.png")}


def test_digitd_decodes_every_file_and_finds_ink(folder: Path) -> None:
    shipped = model.load(SHIPPED_MODEL)
    for file in sorted(folder.glob("*.png")):
        page = reader.find_digit(shipped, file.read_bytes(), max_megapixels=50)
        assert page.detection.glyph.any(), file.name


def test_odd_numbers_are_28_pixels_and_even_ones_larger(folder: Path) -> None:
    for file in sorted(folder.glob("*.png")):
        with Image.open(file) as opened:
            if int(file.stem[-4:]) % 2:
                assert opened.size == (28, 28)
            else:
                assert min(opened.size) >= 60
                assert max(opened.size) <= 400


def test_same_seed_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    again = drawn(tmp_path, seed=7)
    assert again == {file.name: file.read_bytes() for file in folder.iterdir()}


def test_another_seed_gives_other_images(folder: Path, tmp_path: Path) -> None:
    for name, data in drawn(tmp_path, seed=8).items():
        assert name == "labels.csv" or data != (folder / name).read_bytes()
