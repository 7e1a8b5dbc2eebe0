"""Pictures of a training and of a measurement, as PNG files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from daemon.records import DIGITS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from daemon.training.evaluate import Answer, Evaluation
    from daemon.training.train import Epoch

DPI = 110
WORST = 24  # mistakes on the sheet: what a person looks through in a minute
RIGHT, WRONG, QUIET = "#2e7d32", "#c62828", "#757575"


def curves(history: Sequence[Epoch], path: Path) -> None:
    """Draw loss and accuracy over the epochs."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    losses, errors = figure.subplots(1, 2)
    epochs = [epoch.epoch for epoch in history]
    # Markers: a single epoch is a point, and a line through one point shows nothing.
    marks = {"marker": "o", "markersize": 3.0}
    smoothed = [e.loss for e in history]
    losses.plot(epochs, smoothed, label="training, smoothed labels", color=QUIET, **marks)
    held_losses = [e.held_loss for e in history]
    losses.plot(epochs, held_losses, label="validation", color="#1565c0", **marks)
    losses.set(xlabel="epoch", ylabel="cross-entropy (nats)", title="Loss")
    held = [100 * (1 - e.held_accuracy) for e in history]
    errors.plot(epochs, held, label="validation, all groups", color="#1565c0", **marks)
    tests = [(e.epoch, 100 * (1 - e.test_accuracy)) for e in history if e.test_accuracy is not None]
    if tests:
        errors.plot(*zip(*tests, strict=True), label="MNIST test", color="#e65100", **marks)
    errors.set(xlabel="epoch", ylabel="wrong (%)", title="Error rate")
    for axes in (losses, errors):
        axes.set_yscale("log")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.grid(visible=True, which="both", alpha=0.25)
        axes.legend()
    figure.savefig(path, dpi=DPI)


def confusion(evaluation: Evaluation, path: Path) -> None:
    """Draw what was drawn against what was said; the counts that matter are off the diagonal."""
    figure = Figure(figsize=(7.5, 6.5), layout="constrained")
    axes = figure.subplots()
    counts = evaluation.confusion
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares**0.3, cmap="Blues", vmin=0, vmax=1.2)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if row == column else WRONG
            axes.text(column, row, str(count), ha="center", va="center", color=colour)
    axes.set_xticks(range(DIGITS + 1), [*map(str, range(DIGITS)), "none"])
    axes.set_yticks(range(DIGITS))
    axes.set(
        xlabel="said",
        ylabel="drawn",
        title=f"{evaluation.right} of {evaluation.count} right ({evaluation.accuracy:.2%})",
    )
    figure.savefig(path, dpi=DPI)


def mistakes(evaluation: Evaluation, path: Path) -> None:
    """Draw the worst mistakes: what was dropped, what the model saw, what it said."""
    _sheet(
        evaluation.mistakes[:WORST],
        f"The {min(WORST, len(evaluation.mistakes))} surest of {len(evaluation.mistakes)} mistakes",
        path,
    )


def examples(evaluation: Evaluation, path: Path) -> None:
    """Draw a few answers, right and wrong, as they come."""
    _sheet(evaluation.examples, "Examples", path)


def _sheet(answers: Sequence[Answer], title: str, path: Path) -> None:
    columns = 4
    rows = max(1, -(-len(answers) // columns))
    figure = Figure(figsize=(3.2 * columns, 1.9 * rows + 0.5), layout="constrained")
    figure.suptitle(title)
    grid = figure.subplots(rows, 2 * columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for index, answer in enumerate(answers):
        row, column = divmod(index, columns)
        _pair(grid[row, 2 * column], grid[row, 2 * column + 1], answer)
    figure.savefig(path, dpi=DPI)


def _pair(dropped: Axes, seen: Axes, answer: Answer) -> None:
    verdict = answer.verdict
    if answer.prepared is not None:
        dropped.imshow(answer.prepared.thumbnail)
        seen.imshow(answer.prepared.glyph, cmap="gray", vmin=0, vmax=255)
    said = "no digit" if verdict.digit is None else f"{verdict.digit}"
    sure = "" if verdict.confidence is None else f" {verdict.confidence:.0%}"
    # `$` would begin a formula; a name is long in some folders.
    name = answer.case.name.replace("$", r"\$")[-22:]
    dropped.set_title(f"{name}\nis {answer.case.label}", fontsize=8)
    colour = RIGHT if answer.right else WRONG
    seen.set_title(f"said {said}{sure}\n{verdict.status}", fontsize=8, color=colour)
