"""Promote models and go back, each call killed at a random disk access; check what is left.

``python -m support.killed_promotions FOLDER SEED STEPS``: FOLDER is a ``models/`` with at least two
models. Exits with a traceback if a kill leaves neither the state before the call nor the one after.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.errors import PromotionError
from daemon.models.folder import ModelsFolder
from support.faulty import FaultyDisk

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_CALLS = 9  # about as many as each call makes


def chain(folder: Path) -> list[str | None]:
    """Return the model in use and those that rollbacks lead to, the shipped one last."""
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy, copy_function=os.link)
    models = ModelsFolder(copy)
    found = [models.current()]
    try:
        while True:
            models.rollback()
            found.append(models.current())
    except PromotionError:
        shutil.rmtree(copy)
        return found


def run_killed(call: Callable[[], object], folder: Path, nth: int) -> bool:
    """Make a call in another process, killed at its Nth disk access; return whether it was."""
    child = os.fork()
    if not child:
        os.setpgid(0, 0)
        disk = FaultyDisk(folder, nth, "SIGKILL")
        for name in ("fsync", "rename", "unlink", "write", "mkdir"):
            disk.watch(os, name)
        call()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.waitstatus_to_exitcode(status) == 0
    return False


def main(folder: Path, seed: int, steps: int) -> None:
    rng = random.Random(seed)
    models = ModelsFolder(folder)
    # Only two: a model that is in the history twice is the hard case.
    ids = [entry.id for entry in models.entries()][:2]
    before = chain(folder)
    killed = 0
    for _ in range(steps):
        goes_back = rng.random() < 0.2 * (len(before) - 1)  # so that no history becomes long
        chosen = None if goes_back else rng.choice([one for one in ids if one != before[0]])
        after = [chosen, *before] if chosen else before[1:]
        call = partial(models.promote, chosen) if chosen else models.rollback
        is_killed = run_killed(call, folder, rng.randint(1, _MOST_CALLS))
        killed += is_killed
        now = chain(folder)
        assert now in ([before, after] if is_killed else [after]), (before, after, now)
        before = now
    print(f"killed: {killed}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
