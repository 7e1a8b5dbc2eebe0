"""The files in ``annotated/``, ``originals/``, ``failed/``: flat, or in a folder for each day."""

import os
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from daemon.files import PART_SUFFIX

_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def day(moment: datetime) -> str:
    """Return the name of the folder of a day, such as ``2026-11-24``; ``moment`` is in UTC."""
    return f"{moment:%Y-%m-%d}"


def is_day(name: str) -> bool:
    """Return whether a folder has the name of a day."""
    return _DAY.fullmatch(name) is not None


def is_name(name: str) -> bool:
    """Return whether a text can be the name of a published file, such as ``digit7.png``.

    A file in the folder of a day is named with it: ``2026-11-24/digit7.png``.
    """
    *folders, file = name.split("/")
    at_most_a_day = not folders or (len(folders) == 1 and is_day(folders[0]))
    return at_most_a_day and bool(file) and not file.startswith(".") and "\0" not in name


def names(folder: Path) -> Iterator[str]:
    """Yield the names of the files in one of the folders; none if it does not exist.

    Unfinished copies from another file system are left out.
    """
    try:
        entries = os.scandir(folder)
    except FileNotFoundError:
        return
    with entries:
        for entry in entries:
            if is_day(entry.name) and entry.is_dir(follow_symlinks=False):
                yield from (f"{entry.name}/{name}" for name in names(folder / entry.name))
            elif not (entry.name.startswith(".") and entry.name.endswith(PART_SUFFIX)):
                yield entry.name
