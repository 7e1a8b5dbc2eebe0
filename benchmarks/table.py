"""Measure a model on all evaluation sets, and print each figure beside what it must be.

``python -m benchmarks.table MNIST.npz WORK [--model FILE] [--only RUN] [--against CHECKOUT]``

Sets that WORK lacks are written into it. ``--wild FOLDER`` and ``--wild-numbers FOLDER`` name sets
of real files: measure on them once, when everything has been chosen.
"""

from __future__ import annotations

import csv
import math
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks import speed
from benchmarks.bars import RUNS, Bar, Figure, Run
from daemon.assets import SHIPPED_MODEL
from daemon.training.evaluate import LABELS

_LARGEST = 6_000_000  # bytes of a model file
# The most a file, a number and the files per second may take or must reach, by what is measured.
_SLOWEST_FILE, _SLOWEST_NUMBER, _LEAST_FILES = 0.75, 5.0, 1.1
_HEAD = "| what | figure | must be | | count | 95 % |\n|---|---|---|---|---|---|"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model answered to a file."""

    label: str
    traits: frozenset[str]
    text: str
    is_ok: bool


def measure(run: Run, source: Path, model: Path, work: Path) -> list[Answer]:
    """Run ``digitd evaluate`` and return its answers; the mistakes are drawn into WORK.

    Raises:
        click.ClickException: it failed.
    """
    table = work / f"{run.name}.csv"
    command = [sys.executable, "-P", "-m", "daemon", *_arguments(run, source, model)]
    more = ["--table", str(table), "--pictures", str(work / "pictures" / run.name)]
    done = subprocess.run([*command, *more], check=False, stdout=subprocess.DEVNULL)
    if done.returncode:
        raise click.ClickException(f"{run.name}: `{' '.join(command)}` failed: see above")
    traits: dict[str, frozenset[str]] = {}
    if source.is_dir():
        with (source / LABELS).open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            traits = {row["file"]: frozenset((row["traits"] or "").split(";")) for row in rows}
    with table.open(newline="", encoding="utf-8") as file:
        return [
            Answer(
                label=row["label"],
                traits=traits.get(row["file"], frozenset()),
                text=row["digit"],
                is_ok=row["status"] == "ok",
            )
            for row in csv.DictReader(file)
        ]


def _arguments(run: Run, source: Path, model: Path) -> list[str]:
    return [
        *("evaluate", str(source), "--model", str(model)),
        *(("--reads", "number") if run.reads_numbers else ()),
        *(("--skip-traits", ",".join(run.skipped)) if run.skipped else ()),
    ]


def count(bar: Bar, answers: Sequence[Answer]) -> tuple[int, int]:
    """Return how many of a bar's files have its figure, and how many there are."""
    chosen = [each for each in answers if bar.counts(each.label, each.traits)]
    ok = [each for each in chosen if each.is_ok]
    right_of_ok = sum(each.text == each.label for each in ok)
    match bar.figure:
        case Figure.RIGHT:
            return sum(each.text == each.label for each in chosen), len(chosen)
        case Figure.OK:
            return len(ok), len(chosen)
        case Figure.NOT_OK:
            return len(chosen) - len(ok), len(chosen)
        case Figure.RIGHT_OF_OK:
            return right_of_ok, len(ok)
        case Figure.WRONG_AND_OK:
            return len(ok) - right_of_ok, len(chosen)


def interval(part: int, whole: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927)."""
    if not whole:
        return 0.0, 1.0
    z = 1.959964
    share, more = part / whole, z * z / whole
    middle = (share + more / 2) / (1 + more)
    half = z * math.sqrt(share * (1 - share) / whole + more / whole / 4) / (1 + more)
    return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the table: ``is_met`` is ``None`` where nothing is demanded."""

    what: str
    figure: str
    bar: str
    is_met: bool | None
    count: str
    interval: str

    def __str__(self) -> str:
        """Return it as a row of Markdown."""
        met = {True: "met", False: "**missed**", None: ""}[self.is_met]
        cells = (self.what, self.figure, self.bar, met, self.count, self.interval)
        return f"| {' | '.join(cells)} |"


def _lines(run: Run, source: Path, model: Path, work: Path) -> Iterator[Line]:
    answers = measure(run, source, model, work)
    for bar in run.bars:
        part, whole = count(bar, answers)
        low, high = interval(part, whole)
        is_met = bar.is_met(part, whole) if whole else False
        yield Line(
            bar.what,
            f"{bar.figure} {part / max(whole, 1):.2%}",
            _bar(bar.least, bar.most),
            is_met,
            f"{part} of {whole}",
            f"{low:.2%} to {high:.2%}",
        )


def _bar(least: float | None, most: float | None) -> str:
    if least is not None:
        return f"at least {100 * least:.4g} %"
    return "" if most is None else f"at most {100 * most:.3g} %"


def _size(model: Path) -> Line:
    size = model.stat().st_size
    shown, most = f"{size / 1e6:.2f} MB", f"at most {_LARGEST / 1e6:g} MB"
    return Line("the model file", shown, most, size <= _LARGEST, "", "")


def _speed(other: Path) -> Iterator[Line]:
    """Compare this checkout, with its shipped model, with another one."""
    limits = {speed.DIGIT: _SLOWEST_FILE, speed.NUMBER: _SLOWEST_NUMBER}
    for ratio in speed.compare_one_core(other, rounds=15, numbers=True):
        yield _ratio(ratio, limits.get(ratio.what))
    yield _ratio(speed.compare_daemons(other, 4000), None, least=_LEAST_FILES)


def _ratio(ratio: speed.Ratio, most: float | None, least: float | None = None) -> Line:
    low, high = ratio.spread
    bar, is_met = "", None
    if most is not None:
        bar, is_met = f"at most {most:g}", ratio.median <= most
    if least is not None:
        bar, is_met = f"at least {least:g}", ratio.median >= least
    rounds = f"{len(ratio.rounds)} rounds"
    spread = f"quartiles {low:.3f} to {high:.3f}"
    shown = f"{ratio.median:.3f} ({ratio.detail})"
    return Line(ratio.what, shown, bar, is_met, rounds, spread)


def _write_set(name: str, mnist: Path, folder: Path) -> None:
    """Write an evaluation set; it gets its name when it is complete."""
    unfinished = folder.with_name(f"{name}.unfinished")
    sources = [] if name == "styles" else [str(mnist)]
    command = [sys.executable, "-P", "-m", f"benchmarks.{name}", *sources, str(unfinished)]
    if subprocess.run(command, check=False).returncode:
        raise click.ClickException(f"{name}: `{' '.join(command)}` failed: see above")
    unfinished.rename(folder)


@click.command()
@click.argument("mnist", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("work", type=click.Path(file_okay=False, path_type=Path))
@click.option("--model", default=SHIPPED_MODEL, type=click.Path(exists=True, path_type=Path))
@click.option("--wild", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--wild-numbers", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--against",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A checkout of the version before, to compare the speed with.",
)
@click.option("--only", multiple=True, type=click.Choice([run.name for run in RUNS]))
def main(
    mnist: Path,
    work: Path,
    *,
    model: Path,
    wild: Path | None,
    wild_numbers: Path | None,
    against: Path | None,
    only: tuple[str, ...],
) -> None:
    """Measure a model on the sets in WORK; exit with 1 if any figure misses its bar."""
    work.mkdir(parents=True, exist_ok=True)
    sources = {"mnist": mnist, "wild": wild, "wild-numbers": wild_numbers}
    texts, missed = [], False

    def show(command: str, lines: Iterator[Line]) -> None:
        """Print a section of the table."""
        nonlocal missed
        texts.append(f"`{command}`\n\n{_HEAD}")
        click.echo(texts[-1])
        for line in lines:
            texts[-1] += f"\n{line}"
            missed |= line.is_met is False
            click.echo(line)
        texts[-1] += "\n"
        click.echo()

    for run in RUNS:
        source = sources.get(run.source, work / run.source)
        if (only and run.name not in only) or source is None:
            continue
        if run.source not in sources and not source.exists():
            _write_set(run.source, mnist, source)
        show(f"digitd {' '.join(_arguments(run, source, model))}", _lines(run, source, model, work))
    if not only:
        show(f"ls -l {model}", iter([_size(model)]))
    if against is not None:
        show(f"python -m benchmarks.speed {against} --numbers", _speed(against.resolve()))
    (work / "table.md").write_text("\n".join(texts))
    sys.exit(missed)


if __name__ == "__main__":
    main()
