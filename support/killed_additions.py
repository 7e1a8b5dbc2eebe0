"""Add a model to ``models/``, killed at each disk access in turn; check what is left.

``python -m support.killed_additions FOLDER FILE``: FOLDER is a ``models/``, FILE a model that it
lacks. Exits with a traceback if a kill leaves something half-written that is taken for a model.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from daemon.models.folder import ModelsFolder
from daemon.models.report import Report
from daemon.reading.model import read_file
from support.killed_promotions import run_killed
from support.models import MADE


def check(models: ModelsFolder, ids: set[str], current: str | None) -> None:
    """Check that each listed model is whole, that none is lost, and which one is in use."""
    for entry in models.entries():
        assert read_file(entry.path)[2] == entry.id
        assert not entry.faults, entry.faults
    assert ids <= {entry.id for entry in models.entries()}
    assert models.current() == current


def main(folder: Path, file: Path) -> None:
    models = ModelsFolder(folder)
    ids, current = {entry.id for entry in models.entries()}, models.current()
    report = Report(MADE, by="adopt", pictures=("curves.png",))
    (file.parent / "curves.png").write_bytes(b"a picture")
    kills = 0
    while run_killed(partial(models.add, file, report), folder, kills + 1):
        kills += 1
        check(models, ids, current)
        for each in models.path.glob(f"{read_file(file)[2]}*"):
            each.unlink()  # so that the next call writes everything again
    check(models, ids | {read_file(file)[2]}, current)
    print(f"killed: {kills}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
