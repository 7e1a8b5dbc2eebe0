"""The command ``python -m benchmarks.marks``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np

from benchmarks import labels
from benchmarks.marks.kinds import KINDS
from benchmarks.marks.sheet import compose
from benchmarks.pages.write import Digits, with_digits
from benchmarks.sheets import encode_sheet


def write(digits: Digits, folder: Path, each: int, seed: int) -> Iterator[str]:
    """Write ``each`` digits with each mark and labels.csv; yield each file's name when written."""
    with labels.table(folder) as add:
        for index, (name, kind) in enumerate(KINDS.items()):
            for number in range(1, each + 1):
                chance = np.random.default_rng([seed, index, number])
                digit = int(chance.choice(kind.digits))
                same = np.flatnonzero(digits.labels == digit)
                image = digits.images[same[chance.integers(len(same))]]
                ending, data = encode_sheet(chance, compose(chance, kind.draw, digit, image))
                file = f"{name}-{number:04}{ending}"
                (folder / file).write_bytes(data)
                add(file, digit if kind.is_digit else "none", name)
                yield file


@click.command()
@click.argument("mnist", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--each", default=200, show_default=True, help="Digits with each mark.")
@click.option("--seed", default=7, show_default=True, help="The same seed writes the same bytes.")
def main(mnist: Path, folder: Path, each: int, seed: int) -> None:
    """Write test digits of MNIST with marks, and their labels.csv, into FOLDER."""
    with_digits(mnist, lambda digits: write(digits, folder, each, seed), each * len(KINDS), "marks")


if __name__ == "__main__":
    main()
