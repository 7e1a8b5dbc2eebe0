"""The table of labels of a measuring set, as ``digitd evaluate`` reads it."""

from __future__ import annotations

import csv
from contextlib import contextmanager
from typing import TYPE_CHECKING

from daemon.training.evaluate import LABELS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Add = Callable[[str, str | int, str], object]
    """Adds a row: file, label, kind."""


@contextmanager
def table(folder: Path) -> Iterator[Add]:
    """Create a folder with its ``labels.csv``, and give a function that adds a row to it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LABELS).open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("file", "label", "traits"))
        yield lambda name, label, kind: rows.writerow((name, label, kind))
