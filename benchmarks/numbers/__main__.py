"""The command ``python -m benchmarks.numbers``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np

from benchmarks import labels
from benchmarks.numbers.kinds import KINDS
from benchmarks.pages.write import Digits, load
from benchmarks.sheets import encode_sheet
from daemon.errors import DataError, describe


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
    try:
        digits = load(mnist)
        with click.progressbar(
            write(digits, folder, each, seed), length=each * len(KINDS), label="numbers"
        ) as bar:
            for _ in bar:
                pass
    except (DataError, OSError) as fault:
        raise click.ClickException(describe(fault)) from fault


if __name__ == "__main__":
    main()
