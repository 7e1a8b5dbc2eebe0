"""The command ``python -m benchmarks.styles``."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from benchmarks import labels
from benchmarks.styles.canvas import paint, photograph
from benchmarks.styles.shapes import STYLES


def write(folder: Path, each: int, seed: int) -> None:
    """Write ``each`` images of every style, and ``labels.csv``; the same seed, the same bytes."""
    with labels.table(folder) as add:
        for place, (style, (digit, draw)) in enumerate(STYLES.items()):
            for number in range(1, each + 1):
                chance = np.random.default_rng([seed, place, number])
                make = paint if number % 2 else photograph
                name = f"{style}-{number:04}.png"
                make(draw, chance).save(folder / name)
                add(name, digit, style)


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--each", default=500, show_default=True, help="The images of each style.")
@click.option("--seed", default=7, show_default=True, help="The same seed, the same bytes.")
def main(folder: Path, each: int, seed: int) -> None:
    """Draw digits in rare styles into FOLDER, with a table of their labels."""
    write(folder, each, seed)


if __name__ == "__main__":
    main()
