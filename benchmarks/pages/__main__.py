"""The command ``python -m benchmarks.pages``."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.pages.kinds import KINDS
from benchmarks.pages.write import load, write_pages
from daemon.errors import DataError, describe


@click.command()
@click.argument("mnist", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--each", default=200, show_default=True, help="Pages of each kind.")
@click.option("--seed", default=7, show_default=True, help="The same seed writes the same bytes.")
def main(mnist: Path, folder: Path, each: int, seed: int) -> None:
    """Write pages with the test digits of MNIST, and their labels.csv, into FOLDER."""
    try:
        digits = load(mnist)
        with click.progressbar(
            write_pages(digits, folder, each, seed), length=each * len(KINDS), label="pages"
        ) as bar:
            for _ in bar:
                pass
    except (DataError, OSError) as fault:
        raise click.ClickException(describe(fault)) from fault


if __name__ == "__main__":
    main()
