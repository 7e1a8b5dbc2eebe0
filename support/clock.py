"""A clock that a test sets for a program, also while it runs."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from support.programs import require

if TYPE_CHECKING:
    from pathlib import Path


class Clock:
    """The wall clock of the programs that are started with ``command``; other clocks are right."""

    def __init__(self, folder: Path, days: float = 0.0) -> None:
        """Take a folder for the file with the offset; ``days`` is how far the clock is ahead."""
        self._file = folder / "clock"
        asked = subprocess.run(
            [require("faketime"), "-f", "+0d", "printenv", "LD_PRELOAD"],
            capture_output=True,
            text=True,
            check=True,
        )
        self._library = asked.stdout.strip()
        self.set(days)

    def set(self, days: float) -> None:
        """Set the clock to so many days from now."""
        part = self._file.with_suffix(".part")
        part.write_text(f"{days:+.6f}d\n")
        part.replace(self._file)

    def command(self, command: list[str]) -> list[str]:
        """Return a command that runs another one with this clock."""
        settings = {
            "LD_PRELOAD": self._library,
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",  # read the file each time
            "NO_FAKE_STAT": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
        return ["env", *(f"{name}={value}" for name, value in settings.items()), *command]
