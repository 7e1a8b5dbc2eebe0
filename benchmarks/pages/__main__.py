"""The command ``python -m benchmarks.pages``."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.pages.kinds import KINDS
from benchmarks.pages.write import with_digits, write_pages


@click.command()
@click.argument("mnist", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--each", default=200, show_default=True, help="Pages of each kind.")
@click.option("--seed", default=7, show_default=True, help="The same seed writes the same bytes.")
def main(mnist: Path, folder: Path, each: int, seed: int) -> None:
    """Write pages with the test digits of MNIST, and their labels.csv, into FOLDER."""
    with_digits(
        mnist, lambda digits: write_pages(digits, folder, each, seed), each * len(KINDS), "pages"
    )


if __name__ == "__main__":
    main()
