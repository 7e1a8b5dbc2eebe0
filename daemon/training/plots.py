"""Plot training curves and evaluation results as PNG files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from daemon.records import DIGITS
from daemon.training.evaluate import Answer, Evaluation
from daemon.training.train import CLASSIFIER, EYE, Epoch

DPI = 110
WORST = 24  # mistakes per sheet: as many as a person can check in a minute
# Layout of a sheet of answers: each is a pair of images with two lines of text above it.
_SIDE_INCHES, _WORDS_INCHES, _TITLE_INCHES = 1.35, 0.36, 0.45
_PAIR_INCHES = 3.0, _SIDE_INCHES + _WORDS_INCHES + 0.12
RIGHT, WRONG, QUIET = "#2e7d32", "#c62828", "#757575"


def curves(history: Sequence[Epoch], path: Path) -> None:
    """Plot loss and error rate per epoch: the eye above, the classifier below."""
    figure = Figure(figsize=(10, 7.4), layout="constrained")
    rows = figure.subplots(2, 2)
    for name, (losses, errors) in zip((EYE, CLASSIFIER), rows, strict=True):
        of = [epoch for epoch in history if epoch.network == name]
        _line(losses, of, "training", QUIET, [epoch.loss for epoch in of])
        _line(losses, of, "validation", "#1565c0", [epoch.held_loss for epoch in of])
        losses.set(ylabel="loss (nats)", title=f"{name}: loss")
        wrong = [100 * (1 - epoch.held_accuracy) for epoch in of]
        what = "number of digits" if name == EYE else "digit"
        _line(errors, of, f"{what}, validation", "#1565c0", wrong)
        missed = [100 * (1 - e.held_overlap) for e in of if e.held_overlap is not None]
        if missed:
            _line(errors, of, "pixels outside the overlap, validation", "#e65100", missed)
        errors.set(ylabel="wrong (%)", title=f"{name}: error rate")
    for axes in rows.ravel():
        axes.set(xlabel="epoch", yscale="log")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.grid(visible=True, which="both", alpha=0.25)
        if axes.lines:
            axes.legend()
    figure.savefig(path, dpi=DPI)


def _line(
    axes: Axes, epochs: Sequence[Epoch], label: str, colour: str, values: Sequence[float]
) -> None:
    # Markers are needed for a single epoch: a line through one point is invisible.
    numbers = [epoch.epoch for epoch in epochs]
    axes.plot(numbers, values, label=label, color=colour, marker="o", markersize=3.0)


def confusion(evaluation: Evaluation, path: Path) -> None:
    """Plot the confusion matrix."""
    # Saved with a tight bounding box: a constrained layout leaves a margin on the right.
    figure = Figure(figsize=(7.5, 7.2))
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
        xlabel="read as",
        ylabel="digit in the image",
        title=f"{evaluation.right} of {evaluation.count} right ({evaluation.accuracy:.2%})",
    )
    figure.savefig(path, dpi=DPI, bbox_inches="tight")


def mistakes(evaluation: Evaluation, path: Path) -> None:
    """Draw the most confident mistakes: the original, the model's input, the verdict."""
    shown = evaluation.mistakes[:WORST]
    if len(shown) < len(evaluation.mistakes):
        title = f"The {len(shown)} most confident of {len(evaluation.mistakes)} mistakes"
    else:
        title = f"Mistakes: {len(shown) or 'none'}"
    _sheet(shown, title, path)


def examples(evaluation: Evaluation, path: Path) -> None:
    """Draw a sheet of sample answers, right and wrong."""
    _sheet(evaluation.examples, "Examples", path)


def _sheet(answers: Sequence[Answer], title: str, path: Path) -> None:
    columns = 4
    rows = max(1, -(-len(answers) // columns))
    # Fixed positions instead of a layout engine, so that the titles of a row line up whatever
    # the shapes of the images.
    height = _TITLE_INCHES + rows * _PAIR_INCHES[1]
    figure = Figure(figsize=(columns * _PAIR_INCHES[0], height))
    figure.suptitle(title, y=1 - 0.2 / height)
    for index, answer in enumerate(answers):
        row, column = divmod(index, columns)
        top = height - _TITLE_INCHES - row * _PAIR_INCHES[1] - _WORDS_INCHES
        _pair(figure, column * _PAIR_INCHES[0], top, answer)
    figure.savefig(path, dpi=DPI)


def _pair(figure: Figure, left: float, top: float, answer: Answer) -> None:
    """Draw an answer as two images of the same size below its text; positions are in inches."""
    dropped, seen = (_square(figure, left + 0.1 + i * (_SIDE_INCHES + 0.1), top) for i in (0, 1))
    verdict = answer.verdict
    if answer.page is not None:
        dropped.imshow(answer.page.thumbnail)
        seen.imshow(answer.page.found.glyph, cmap="gray", vmin=0, vmax=255)
    said = "no digit" if verdict.digit is None else f"{verdict.digit}"
    sure = "" if verdict.confidence is None else f" {verdict.confidence:.0%}"
    # `$` would start a formula. Some names are long, so only the end is shown.
    name = answer.name.replace("$", r"\$")[-22:]
    colour = RIGHT if answer.right else WRONG
    width, height = figure.get_size_inches()
    for i, (text, shade) in enumerate(
        (
            (f"{name}\nis {answer.truth}", "black"),
            (f"read as {said}{sure}\n{verdict.status}", colour),
        )
    ):
        x = left + 0.1 + i * (_SIDE_INCHES + 0.1)
        figure.text(x / width, (top + 0.04) / height, text, color=shade, fontsize=8, va="bottom")


def _square(figure: Figure, left: float, top: float) -> Axes:
    width, height = figure.get_size_inches()
    place = (
        left / width,
        (top - _SIDE_INCHES) / height,
        _SIDE_INCHES / width,
        _SIDE_INCHES / height,
    )
    axes = figure.add_axes(place)
    axes.axis("off")
    return axes
