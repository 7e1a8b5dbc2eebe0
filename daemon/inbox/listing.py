"""List the names in a folder that match a pattern, and sort them."""

import fnmatch
import math
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_NUMBER = re.compile(r"\d+")
_NUMBER_WIDTH = 20  # longer digit sequences are not sorted by value


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many regular files match, and when the first came, as ``time.time``; inf if none."""

    count: int
    since: float


class Listing:
    """The files of a folder, split by whether their names match one of several globs."""

    def __init__(self, folder: Path, globs: Sequence[str]) -> None:
        self._folder = folder
        self._match = re.compile("|".join(map(fnmatch.translate, globs))).match

    def __iter__(self) -> Iterator[str]:
        """Yield the matching names in no particular order.

        Raises:
            OSError: the folder cannot be listed.
        """
        return (name for name, matches in self.split() if matches)

    def ignored(self) -> Iterator[str]:
        """Yield the names of files that do not match, except those that begin with a dot.

        Raises:
            OSError: the folder cannot be listed.
        """
        return (name for name, matches in self.split() if not matches)

    def split(self) -> Iterator[tuple[str, bool]]:
        """Yield each name that matches or is ignored, and whether it matches, from one listing.

        Raises:
            OSError: the folder cannot be listed.
        """
        # One by one: the process would never return the 8 MB of a list of 100,000 names.
        with os.scandir(self._folder) as entries:
            for entry in entries:
                matches = self.matches(entry.name)
                if matches or (not entry.name.startswith(".") and entry.is_file()):
                    yield entry.name, matches

    def waiting(self) -> Waiting:
        """Return how many files wait and since when; none if the folder cannot be listed."""
        number, since = 0, math.inf
        with suppress(OSError):
            for name in self:
                with suppress(OSError):  # it has been claimed
                    about = (self._folder / name).lstat()
                    if stat.S_ISREG(about.st_mode):  # anything else is left alone
                        number += 1
                        # The time of the last rename; cp and unzip keep the times of the content.
                        since = min(since, about.st_ctime)
        return Waiting(number, since)

    def matches(self, name: str) -> bool:
        """Return whether a name matches.

        As in a shell, a glob does not match names that begin with a dot. Uploads in progress
        (rsync, browsers) and digitd's own work folder have such names.
        """
        return not name.startswith(".") and self._match(name) is not None


def count(names: Iterable[str]) -> int:
    """Return the number of names; 0 if their folder cannot be listed."""
    try:
        return sum(1 for _ in names)
    except OSError:
        return 0


def natural(name: str) -> str:
    """Return the sort key that puts ``digit2`` before ``digit10``."""
    # One string takes half the time of a tuple of numbers and a quarter of the memory.
    return _NUMBER.sub(lambda number: number[0].zfill(_NUMBER_WIDTH), name)
