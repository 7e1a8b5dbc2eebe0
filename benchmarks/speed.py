"""Compare the speed of this checkout with that of another one, in turns.

``python -m benchmarks.speed OTHER [--rounds 15] [--files 4000]``

OTHER is a checkout of an older version: ``git worktree add OTHER COMMIT``. Both run in this
Python environment, each with its own shipped model. The machine's speed drifts by 10 to 15 %
within minutes and more if it is busy, so each round measures both, and the ratio is the median
over the rounds.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import click

from benchmarks import material
from benchmarks.timed import TimedDaemon
from support.daemon import ROOT, Box

_FILES = 192  # a round's, on one core
_PHOTOS = 16
_DAEMON_ROUNDS = 5
DIGIT = "a digit, 28x28: time, this against the other"
NUMBER = "a number of six digits: time against a digit's"


@dataclass(frozen=True, slots=True)
class Ratio:
    """Ratios of two figures, one for each round."""

    what: str
    rounds: tuple[float, ...]
    detail: str

    @property
    def median(self) -> float:
        """The median over the rounds."""
        return statistics.median(self.rounds)

    @property
    def spread(self) -> tuple[float, float]:
        """The quartiles over the rounds."""
        low, _, high = statistics.quantiles(self.rounds, n=4)
        return low, high


class OneCore:
    """A process that reads a folder of files whenever it is asked to, on one core."""

    def __init__(self, checkout: Path, folder: Path, *, pictures: bool, reads: str) -> None:
        """Start it with the daemon of a checkout."""
        shown = "pictures" if pictures else "no-pictures"
        script = Path(__file__).with_name("one_core.py")
        # -P: the script's folder has a `numbers`, as the standard library does.
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(script), str(folder), shown, reads],
            env={**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def milliseconds(self) -> float:
        """Return the processor time for a file."""
        assert self._process.stdin  # noqa: S101 - it is a pipe
        assert self._process.stdout  # noqa: S101 - it is a pipe
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise click.ClickException("a measured process ended: see its error above")
        return float(answer)


def compare_one_core(other: Path, rounds: int, *, numbers: bool) -> Iterator[Ratio]:
    """Compare the processor time for a file; ``numbers`` also compares a number with a digit."""
    with tempfile.TemporaryDirectory() as name:
        small, photos, six = (Path(name, kind) for kind in ("small", "photos", "six"))
        for folder in (small, photos, six):
            folder.mkdir()
        material.small_pngs(small, _FILES)
        material.photos(photos, _PHOTOS)
        material.six_digits(six, _FILES)
        kinds = {
            DIGIT: (small, False),
            "a digit with its picture: the same": (small, True),
            "a photo of 2 megapixels: the same": (photos, False),
        }
        for what, (folder, pictures) in kinds.items():
            with (
                OneCore(other, folder, pictures=pictures, reads="digit") as before,
                OneCore(ROOT, folder, pictures=pictures, reads="digit") as now,
            ):
                yield _compare(what, before, now, rounds)
        if numbers:
            with (
                OneCore(ROOT, small, pictures=False, reads="digit") as digit,
                OneCore(ROOT, six, pictures=False, reads="number") as number,
            ):
                yield _compare(NUMBER, digit, number, rounds)


def _compare(what: str, first: OneCore, second: OneCore, rounds: int) -> Ratio:
    pairs = [(first.milliseconds(), second.milliseconds()) for _ in range(rounds)]
    medians = [statistics.median(each) for each in zip(*pairs, strict=True)]
    ratios = tuple(later / earlier for earlier, later in pairs)
    return Ratio(what, ratios, f"{medians[1]:.3f} and {medians[0]:.3f} ms")


def compare_daemons(other: Path, files: int) -> Ratio:
    """Compare the files per second of two daemons with rows and pictures."""
    rates = []
    with tempfile.TemporaryDirectory() as name:
        made = Path(name, "made")
        made.mkdir()
        material.small_pngs(made, files)
        for turn in range(_DAEMON_ROUNDS):
            # Who is second finds a warm disk cache, so they change places.
            order = [other, ROOT] if turn % 2 else [ROOT, other]
            measured = {
                checkout: _files_per_second(checkout, made, Path(name, f"{turn}-{place}"))
                for place, checkout in enumerate(order)
            }
            rates.append((measured[other], measured[ROOT]))
    medians = [statistics.median(each) for each in zip(*rates, strict=True)]
    ratios = tuple(now / before for before, now in rates)
    detail = f"{medians[1]:.0f} and {medians[0]:.0f} files/s"
    return Ratio("files/s with pictures, this against the other", ratios, detail)


def _files_per_second(checkout: Path, made: Path, folder: Path) -> float:
    box = Box(folder, {})
    shutil.copytree(made, box.inbox, dirs_exist_ok=True)
    command = ["env", f"PYTHONPATH={checkout}", sys.executable, "-P", "-m", "daemon"]
    with TimedDaemon(box, command) as run:
        run.wait_for_rows(len(list(made.iterdir())))
        rate = run.steady_files_per_second()
    shutil.rmtree(folder)
    return rate


@click.command()
@click.argument("other", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--rounds", default=15, show_default=True, type=click.IntRange(2))
@click.option("--files", default=4000, show_default=True, help="0: don't start daemons.")
@click.option("--numbers", is_flag=True, help="Also compare a number with a digit.")
def main(other: Path, rounds: int, files: int, *, numbers: bool) -> None:
    """Compare this checkout with OTHER."""
    other = other.resolve()
    for ratio in compare_one_core(other, rounds, numbers=numbers):
        _print(ratio)
    if files:
        _print(compare_daemons(other, files))


def _print(ratio: Ratio) -> None:
    low, high = ratio.spread
    click.echo(f"{ratio.what:50} {ratio.median:.3f} ({low:.3f} to {high:.3f}), {ratio.detail}")


if __name__ == "__main__":
    main()
