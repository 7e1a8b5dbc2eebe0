"""Compare two models on the same images: a sign test, and a picture of what changed."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from daemon.models.report import Comparison
from daemon.reading.reader import DecodedImage, DecodedNumber
from daemon.records import Reads
from daemon.text import count
from daemon.training.evaluate import Prediction
from daemon.training.report import DPI, RIGHT, WORST, WRONG

_COLUMNS = 6  # images in a row of the picture
_NAMES = {
    Reads.DIGIT: ("digits", "not a digit"),
    Reads.NUMBER: ("numbers", "not a number"),
}


@dataclass(frozen=True, slots=True)
class Change:
    """An image that one model has right and the other has not."""

    before: Prediction
    after: Prediction


@dataclass(frozen=True, slots=True)
class Changes:
    """Two models on the same images.

    Attributes:
        before, after: the models' short hashes.
        comparisons: one for the images with a digit or a number, one for the others.
        changed: the images that became right or wrong, those that became wrong first.
    """

    before: str
    after: str
    comparisons: tuple[Comparison, ...]
    changed: tuple[Change, ...]


class Collector:
    """Collects predictions, and of the images those that may be drawn."""

    def __init__(self) -> None:
        self.predictions: list[Prediction] = []

    def add(self, prediction: Prediction) -> None:
        """Add the next prediction."""
        if prediction.is_counted:
            is_drawn = prediction.is_mistake
            self.predictions.append(prediction if is_drawn else replace(prediction, image=None))


def compare(
    before: tuple[str, Sequence[Prediction]], after: tuple[str, Sequence[Prediction]], reads: Reads
) -> Changes:
    """Compare two models.

    Args:
        before: a model's short hash, and its predictions.
        after: the same of another one; the images are the same, and in the same order.
        reads: what was read.
    """
    pairs = [Change(*each) for each in zip(before[1], after[1], strict=True)]
    comparisons = []
    for name, is_read in zip(_NAMES[reads], (True, False), strict=True):
        some = [each for each in pairs if (each.before.label is not None) == is_read]
        if some:
            old = [not each.before.is_mistake for each in some]
            new = [not each.after.is_mistake for each in some]
            comparisons.append(Comparison.count(name, old, new))
    changed = [each for each in pairs if each.before.is_mistake != each.after.is_mistake]
    changed.sort(key=lambda each: each.before.is_mistake)
    return Changes(before[0], after[0], tuple(comparisons), tuple(changed))


def probability_of_chance(comparison: Comparison) -> float:
    """Return the p-value of the exact two-sided sign test."""
    swapped = replace(comparison, better=comparison.worse, worse=comparison.better)
    return min(1.0, 2 * min(comparison.p_worse, swapped.p_worse))


def format_changes(changes: Changes) -> str:
    """Return the comparisons as lines of text."""
    return "\n".join(
        f"{one.name}: of {one.cases}, {changes.before} has {one.right_before} right and "
        f"{changes.after} has {one.right_after}; {one.worse} are right only with {changes.before}, "
        f"{one.better} only with {changes.after} "
        f"(p = {probability_of_chance(one):.2g}, sign test)"
        for one in changes.comparisons
    )


def changes_to_json(changes: Changes) -> list[dict[str, Any]]:
    """Return the comparisons as JSON objects, which name both models."""
    models = {"before": changes.before, "after": changes.after}
    return [models | asdict(one) | {"p": probability_of_chance(one)} for one in changes.comparisons]


def draw_changes(changes: Changes, folder: Path) -> Path:
    """Draw the images that only one model has right, at most 24; return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    shown = changes.changed[:WORST]
    lines = max(1, -(-len(shown) // _COLUMNS))
    height = 0.5 + 2.6 * lines
    figure = Figure(figsize=(13, height))
    figure.suptitle(
        f"{_title(changes)}; upper line: {changes.before}, lower line: {changes.after}",
        y=1 - 0.2 / height,
    )
    grid = figure.subplots(lines, _COLUMNS, squeeze=False)
    figure.subplots_adjust(0.01, 0.05 / height, 0.99, 1 - 1.0 / height, wspace=0.08, hspace=0.45)
    for axes in grid.ravel():
        axes.set_anchor("NW")
        axes.axis("off")
    for change, axes in zip(shown, grid.ravel(), strict=False):
        _draw_change(change, axes)
    file = folder / "changes.png"
    figure.savefig(file, dpi=DPI)
    return file


def _title(changes: Changes) -> str:
    """Return what the picture shows; an unsure reading may be as right as a sure one."""
    number = len(changes.changed)
    if not number:
        return "No image is right with only one of two models"
    shown = "" if number <= WORST else f", {WORST} of them are shown"
    return f"{count(number, 'image')} right with only one of two models{shown}"


def _draw_change(change: Change, axes: Axes) -> None:
    # `$` would start a formula. Some names are long, so only the end is shown.
    name = change.before.case.name.replace("$", r"\$")[-24:]
    axes.set_title(f"{name}\nis {change.before.case.label}\n", fontsize=8, loc="left")
    for line, prediction in ((1, change.before), (0, change.after)):
        verdict = prediction.verdict
        sure = "" if verdict.confidence is None else f" {verdict.confidence:.0%}"
        axes.annotate(
            f"{verdict.text or 'nothing'}{sure}, {verdict.status}",
            (1.0, 1.0),
            xytext=(0, 4 + 10 * line),
            xycoords="axes fraction",
            textcoords="offset points",
            ha="right",
            fontsize=8,
            color=WRONG if prediction.is_mistake else RIGHT,
        )
    image = change.before.image or change.after.image
    if isinstance(image, DecodedImage | DecodedNumber):
        axes.imshow(image.thumbnail)
