"""The command ``python -m benchmarks.numbers``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np

from benchmarks import labels
from benchmarks.numbers.kinds import KINDS
from benchmarks.pages.write import Digits, with_digits
from benchmarks.sheets import encode_sheet


def write(digits: Digits, folder: Path, each: int, seed: int) -> Iterator[str]:
    """Write ``each`` numbers of each kind and labels.csv; yield each file's name when written."""
    with labels.table(folder) as add:
        for index, (kind, compose) in enumerate(KINDS.items()):
            for number in range(1, each + 1):
                chance = np.random.default_rng([seed, index, number])
                line = compose(chance, digits)
                ending, data = encode_sheet(chance, line.layers)
                name = f"{kind}-{number:04}{ending}"
                (folder / name).write_bytes(data)
                add(name, line.text, kind)
                yield name


@click.command()
@click.argument("mnist", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--each", default=1000, show_default=True, help="Numbers of each kind.")
@click.option("--seed", default=7, show_default=True, help="The same seed writes the same bytes.")
def main(mnist: Path, folder: Path, each: int, seed: int) -> None:
    """Write numbers of the test digits of MNIST, and their labels.csv, into FOLDER."""
    with_digits(
        mnist, lambda digits: write(digits, folder, each, seed), each * len(KINDS), "numbers"
    )


if __name__ == "__main__":
    main()
