"""Kill `digitd reread` at random moments, then prove that each row was read again once.

``python -m tests.torture_rereads [--kills 20]``
"""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import click

from support.site import Site
from tests.loop.test_reread import kill_at_random_moments


@click.command()
@click.option("--kills", default=20, show_default=True)
@click.option("--seed", default=7, show_default=True)
def main(kills: int, seed: int) -> None:
    """Kill rereads, and let the last one end."""
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder))
        site.configure(batch_size=2, workers=2)
        kill_at_random_moments(site, kills, random.Random(seed))
    click.echo(f"{kills} kills: each row was read again once")


if __name__ == "__main__":
    main()
