"""Kill `digitd learn` at random moments beside a running daemon, then let it end.

``python -m tests.torture_learning [--kills 20] [--seed 7]``

After each kill no model is half-written, the promoted one is in use, the daemon reads a new file
with it, and the answers are as before.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import click

from daemon.config import load
from daemon.models.folder import ModelsFolder
from daemon.outbox.audit import find_discrepancies
from support import killed_additions
from support.daemon import ROOT, SAMPLES, Box, Daemon, Terminal
from support.models import add_model
from support.waiting import until
from tests.training.test_learn import LONG, SHORT, read_drawings


def learn(box: Box, printed: int | None = None) -> int:
    """Run `learn`, killed once it has printed so many characters; return how many it printed.

    So the moment depends on its progress, not on the speed of the machine. It may end earlier: the
    promoted model is compared only once.
    """
    with Terminal() as terminal:
        running = subprocess.Popen(
            [*SHORT, "learn", "--config", str(box.config)],
            cwd=ROOT,
            stdout=terminal.programs,
            stderr=terminal.programs,
            start_new_session=True,
        )
        until(
            lambda: (
                running.poll() is not None or (printed is not None and len(terminal.text) > printed)
            ),
            lambda: f"the end of `learn`: {terminal.text[-1000:]}",
            seconds=LONG,
        )
        with suppress(ProcessLookupError):  # it may have ended
            os.killpg(running.pid, signal.SIGKILL)
        status = running.wait()
    assert status in {0, -signal.SIGKILL}, terminal.text[-1000:]
    assert printed is not None or status == 0
    return len(terminal.text)


def check(box: Box, promoted: str, answers: bytes) -> None:
    """Check that nothing is lost, and that the promoted model is whole and reads."""
    killed_additions.check(ModelsFolder(box.folder / "models"), {promoted}, promoted)
    assert (box.outbox / "labels.csv").read_bytes() == answers
    name = f"digit{len(box.rows()) + 1000}.png"
    box.drop(name, (SAMPLES / "digit1.png").read_bytes())
    until(lambda: any(row["file"] == name for row in box.rows()), name)
    assert box.row(name)["model"] == promoted
    box.wait_until_settled()
    assert find_discrepancies(load(box.config)).discrepancies == ()


@click.command()
@click.option("--kills", default=20, show_default=True)
@click.option("--seed", default=7, show_default=True)
def main(kills: int, seed: int) -> None:
    """Kill calls of `learn`, and let the last one end."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        box = Box(Path(folder) / "box")
        answered = read_drawings(box)
        answered.answer(box)
        promoted = add_model(ModelsFolder(box.folder / "models"), "promoted")
        ModelsFolder(box.folder / "models").promote(promoted)
        whole = Path(folder) / "whole"
        shutil.copytree(box.folder, whole)
        printed = learn(Box(whole))
        answers = (box.outbox / "labels.csv").read_bytes()
        with Daemon(box):
            for _ in range(kills):
                learn(box, chance.randrange(printed))
                check(box, promoted, answers)
            learn(box)
            check(box, promoted, answers)
    click.echo(f"{kills} kills: the promoted model stayed in use, no answer is lost")


if __name__ == "__main__":
    main()
