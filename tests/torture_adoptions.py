"""Kill `digitd model adopt` at random moments, then prove that no model is lost or half-written.

``python -m tests.torture_adoptions [--kills 20] [--seed 7]``
"""

from __future__ import annotations

import random
import subprocess
import tempfile
import time
from pathlib import Path

import click

from daemon.models.folder import ModelsFolder
from daemon.training import frameworks
from support.daemon import DIGITD, Box
from support.killed_additions import check
from support.models import add_model


@click.command()
@click.option("--kills", default=20, show_default=True)
@click.option("--seed", default=7, show_default=True)
def main(kills: int, seed: int) -> None:
    """Kill adoptions, and let the last one end."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        box = Box(Path(folder))
        models = ModelsFolder(box.folder / "models")
        promoted = add_model(models, "promoted")
        models.promote(promoted)
        file = box.folder / "handwritten.keras"
        _save_network(file)
        command = [*DIGITD, "model", "adopt", str(file), "--config", str(box.config)]
        began = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.monotonic() - began
        adopted = {entry.id for entry in models.entries()}
        for _ in range(kills):
            for name in adopted - {promoted}:  # so that it is written again
                models.path_of(name).unlink(missing_ok=True)
            with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
                try:
                    process.wait(rng.uniform(0, seconds))
                except subprocess.TimeoutExpired:
                    process.kill()
            check(models, {promoted}, promoted)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        check(models, {promoted}, promoted)
    click.echo(f"{kills} kills: the promoted model stayed in use, and no model is half-written")


def _save_network(file: Path) -> None:
    """Save the tutorials' network, untrained: how well it reads does not matter here."""
    keras = frameworks.import_keras()
    layers = [keras.layers.Flatten(), keras.layers.Dense(128, "relu"), keras.layers.Dense(10)]
    keras.Sequential([keras.Input((28, 28)), *layers]).save(file)


if __name__ == "__main__":
    main()
