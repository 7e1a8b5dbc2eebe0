"""Measure what a model learns from somebody's answers.

``python -m benchmarks.learning WORK [--hands development] [--answers 20 --answers 50 …]``

For each hand of ``benchmarks.hands``: the real program reads its drawings, some of them are
answered in labels.csv, ``digitd learn`` builds a candidate, and the candidate reads the drawings
that are never answered. Prints what is right, ``ok``, and wrong and ``ok``, and draws the curves
into WORK. What WORK has already is not computed again.
"""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import click
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import hands
from daemon.assets import SHIPPED_MODEL
from daemon.models.folder import ModelsFolder
from daemon.outbox import labels
from daemon.reading import model, reader
from daemon.records import Status
from support.daemon import DIGITD, Box, run_once

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.hands import Hand

_DROPPED = 150  # drawings of each hand that are read; the answers are to them
_UNSEEN = 300  # further ones, which nobody answers
_ANSWERS = (20, 50, 100)
_ASKED_AT = "2026-01-01T00:00:00.000Z"


@dataclass(frozen=True, slots=True)
class Figures:
    """What a model makes of a hand's drawings that nobody answered.

    Attributes:
        hand: its name.
        answers: how many the model has learnt from; 0 for the shipped one.
        drawings: how many are measured.
        right: how many texts are right.
        ok: how many are ``ok``.
        wrong_and_ok: how many of these are wrong.
        model: the model's hash.
        report: whether it may be promoted, or why not.
    """

    hand: str
    answers: int
    drawings: int
    right: int
    ok: int
    wrong_and_ok: int
    model: str
    report: str


def read_all(hand: Hand, folder: Path) -> Box:
    """Have the real program read a hand's drawings in a folder, unless it has."""
    box = Box(folder, {"pictures": "false", "reads": hand.reads})
    if len(box.rows()) < _DROPPED:
        hands.write(hand, box.inbox, _DROPPED)
        run_once(box, DIGITD)
    return box


def answer(hand: Hand, box: Box, count: int, order: str) -> None:
    """Answer ``count`` of a hand's drawings rightly.

    Args:
        hand: whose.
        box: where they were read.
        count: how many.
        order: ``drawn``: the first ones; ``queue``: as the review page asks, the ``unsure`` ones
            first, the least confident of them at the front, then others.
    """
    texts = hands.texts(hand, _DROPPED)
    named = {hands.name(hand, number): text for number, text in enumerate(texts)}
    rows = sorted(box.rows(), key=lambda row: row["file"])
    if order == "queue":
        rows.sort(key=lambda row: (row["status"] != Status.UNSURE, float(row["confidence"] or 0)))
    labels.append_all(
        box.outbox,
        [
            labels.Answer(
                id=row["id"],
                sha256=row["sha256"],
                label=named[row["file"]],
                by="somebody",
                at=_ASKED_AT,
                model=row["model"],
                digit=row["digit"],
                confidence=row["confidence"],
                source=labels.Source.QUEUE,
            )
            for row in rows[:count]
        ],
    )


def learn(hand: Hand, read: Box, count: int, order: str) -> tuple[Path, str]:
    """Learn from some answers in a copy of a box, unless that is done.

    Returns:
        The candidate, and what its report says.
    """
    folder = read.folder.with_name(f"{read.folder.name}-{count}")
    models = ModelsFolder(folder / "models")
    if not (models.path.is_dir() and models.entries()):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(read.folder, folder)
        box = Box(folder, read.settings.copy())
        answer(hand, box, count, order)
        subprocess.run(
            ["nice", "-n", "19", *DIGITD, "learn", "--config", str(box.config)], check=True
        )
    (entry,) = models.entries()
    return entry.path, "; ".join(entry.reasons) or "may be promoted"


def measure(hand: Hand, path: Path, answers: int, report: str) -> Figures:
    """Return what a model makes of the drawings that nobody answers."""
    network = model.load(path)
    texts = hands.texts(hand, _DROPPED + _UNSEEN)
    right = sure = mistaken = 0
    for number in range(_DROPPED, _DROPPED + _UNSEEN):
        image = hands.draw(hand, texts[number], number)
        found = reader.find(network, image, hand.reads, max_megapixels=1)
        (verdict,) = reader.judge_all(network, [found])
        is_right, is_ok = verdict.text == texts[number], verdict.status is Status.OK
        right += is_right
        sure += is_ok
        mistaken += is_ok and not is_right
    return Figures(hand.name, answers, _UNSEEN, right, sure, mistaken, network.hash, report)


def draw_curves(figures: Sequence[Figures], file: Path) -> None:
    """Draw the shares right and ``ok`` over the number of answers, a panel for each hand."""
    names = list(dict.fromkeys(each.hand for each in figures))
    figure = Figure(figsize=(3 * len(names), 3), layout="constrained")
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, names, strict=True):
        of = [each for each in figures if each.hand == name]
        answers = [each.answers for each in of]
        for label, colour, counts in (
            ("right", "#00755e", [each.right for each in of]),
            ("ok", "#3b5b92", [each.ok for each in of]),
            ("wrong and ok", "#b3261e", [each.wrong_and_ok for each in of]),
        ):
            shares = [100 * count / each.drawings for count, each in zip(counts, of, strict=True)]
            axes.plot(answers, shares, marker="o", color=colour, label=label)
        axes.set_title(name)
        axes.set_xlabel("answers")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel(f"% of {_UNSEEN} drawings")
    panels[0].set_ylim(0, 100)
    panels[-1].legend(loc="center right")
    FigureCanvasAgg(figure)
    figure.savefig(file)


@click.command()
@click.argument("work", type=click.Path(file_okay=False, path_type=Path))
@click.option("--hands", "which", type=click.Choice(list(hands.SETS)), default="development")
@click.option("--hand", "only", multiple=True, help="Only the hand of this name.")
@click.option("--answers", "counts", multiple=True, type=click.IntRange(1, _DROPPED))
@click.option("--order", type=click.Choice(["drawn", "queue"]), default="drawn", show_default=True)
def main(
    work: Path, which: str, only: tuple[str, ...], counts: tuple[int, ...], order: str
) -> None:
    """Measure what a model learns from a hand's answers, and draw the curves into WORK."""
    work.mkdir(parents=True, exist_ok=True)
    figures: list[Figures] = []
    for hand in hands.SETS[which]:
        if only and hand.name not in only:
            continue
        read = read_all(hand, work / f"{hand.name}-{order}")
        _print(figures, measure(hand, SHIPPED_MODEL, 0, ""))
        for count in counts or _ANSWERS:
            candidate, report = learn(hand, read, count, order)
            _print(figures, measure(hand, candidate, count, report))
    name = f"{which}-{order}"
    with (work / f"{name}.csv").open("w", newline="", encoding="utf-8") as table:
        rows = csv.writer(table, lineterminator="\n")
        rows.writerow([field.name for field in fields(Figures)])
        rows.writerows(map(astuple, figures))
    draw_curves(figures, work / f"{name}.png")


def _print(figures: list[Figures], one: Figures) -> None:
    figures.append(one)
    click.echo(
        f"{one.hand}: {one.answers} answers: {one.right / one.drawings:.1%} right, "
        f"{one.ok / one.drawings:.1%} ok, {one.wrong_and_ok} of {one.drawings} wrong and ok; "
        f"model {one.model}: {one.report or 'shipped'}"
    )
    sys.stdout.flush()


if __name__ == "__main__":
    main()
