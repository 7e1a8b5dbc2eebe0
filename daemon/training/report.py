"""Text, tables and pictures of a training and of an evaluation."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from daemon.assets import SHIPPED_MODEL
from daemon.errors import DestinationError
from daemon.files import open_result
from daemon.models.report import Comparison
from daemon.outbox import rows
from daemon.reading import model
from daemon.reading.reader import DecodedImage
from daemon.records import DIGITS
from daemon.training import evaluate
from daemon.training.evaluate import Evaluation, Prediction
from daemon.training.learner import Epoch
from daemon.training.train import CLASSIFIER, EYE, LINE, Trained, TrainSettings

# Seconds that an epoch of each network takes, and showing all inks to the eye: the training of the
# shipped model, see docs/training.md.
_EYE_SECONDS, _GLYPHS_SECONDS, _CLASSIFIER_SECONDS, _LINE_SECONDS = 33, 540, 70, 45

_TABLE_COLUMNS = (
    *("file", "label", "status", "digit", "confidence"),
    *(*rows.PROBABILITIES, "reason", "traits"),
)
_LABELS_IN_WORDS = {"multi": "several digits", "none": "no digit"}

DPI = 110
WORST = 24  # mistakes per sheet: as many as a person can check in a minute
RIGHT, WRONG, QUIET = "#2e7d32", "#c62828", "#757575"


def announce(settings: TrainSettings, out: Path, folder: Path, *, resume: bool) -> str:
    """Return what a training is going to do, and how long it takes, as text."""
    seconds = (
        settings.eye_epochs * _EYE_SECONDS
        + settings.scale * _GLYPHS_SECONDS
        + settings.epochs * _CLASSIFIER_SECONDS
        + settings.line_epochs * _LINE_SECONDS
    )
    minutes = f"{'at most' if resume else 'about'} {max(1, round(seconds / 60))} min"
    return (
        f"epochs of the eye: {settings.eye_epochs}, of the classifier: {settings.epochs}, "
        f"of the line reader: {settings.line_epochs}; the model is written to {out}\n"
        f"this takes {minutes} on 2 cores with AVX-512, and twice as long with AVX2\n"
        f"if it is interrupted, --resume continues from the checkpoints in {folder}"
    )


def format_epoch(epoch: Epoch) -> str:
    """Return the figures of an epoch as one line, and those of the eye's pages as another."""
    overlap = "" if epoch.held_overlap is None else f", overlap {epoch.held_overlap:.1%}"
    return (
        f"{epoch.network}, epoch {epoch.epoch}: loss {epoch.loss:.3f}, "
        f"validation {epoch.held_loss:.4f} {epoch.held_accuracy:.2%}{overlap}"
        f"{_format_kinds(epoch)}"
    )


def _format_kinds(epoch: Epoch) -> str:
    """Return accuracy of the count and overlap of the ink on each kind of pages."""
    if epoch.held_kinds is None:
        return ""
    kinds = []
    for kind, (_, *shares) in epoch.held_kinds.items():
        known = [f"{share:.1%}" for share in shares if share is not None]
        kinds.append(" ".join((kind, *known)))
    return f"\n  {', '.join(kinds)}"


def report_training(trained: Trained, out: Path, folder: Path) -> str:
    """Draw the pictures of a training; return where everything is, as text."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = []
    if trained.history:
        pictures = [folder / "curves.png"]
        draw_curves(trained.history, pictures[0])
    if trained.test is not None:
        measured = evaluate.evaluate(model.load(out), evaluate.encode_set(trained.test))
        pictures += draw_pictures(measured, folder)
    settings = trained.settings
    return (
        f"wrote {out}: temperature {settings.temperature:.2f}, "
        f"unsure below {settings.unsure_below:.2f}\n"
        f"pictures: {', '.join(map(str, pictures))}"
    )


def format_comparisons(
    comparisons: Sequence[Comparison], in_use: model.Model, trained: model.Model
) -> str:
    """Return how a new model compares with the one in use, and whether it is worse, as lines."""
    other = "the shipped model" if in_use.path == SHIPPED_MODEL else "the model in use"
    lines = [
        f"{one.name}: {one.right_after} of {one.cases} right, {one.right_before} with {other}"
        for one in comparisons
    ]
    if worse := " and ".join(one.name for one in comparisons if one.is_worse):
        lines.append(
            f"{trained.path} is worse on {worse} than {other}, {in_use.hash}: don't use it; "
            "train with more data, or for more epochs"
        )
    return "\n".join(lines)


def format_evaluation(measured: Evaluation) -> str:
    """Return all figures as lines of text."""
    lines = []
    total = measured.total
    if total.count:
        lines = [
            format_share("accuracy", total.right, total.count),
            format_share("ok", total.ok, total.count),
            format_share("ok and right", total.ok_right, total.ok),
            f"{'calibration error':23} {format_percent(measured.calibration_error, 2):>8}",
        ]
    lines += [
        format_share(f"{_LABELS_IN_WORDS[label]}, flagged", flagged, count)
        for label, (flagged, count) in measured.refused.items()
    ]
    lines += format_flagged(measured.refused_per_trait)
    lines += [
        format_share(f"  {digit}", right, count)
        for digit, (right, count) in enumerate(measured.per_digit)
        if count
    ]
    lines += [
        f"{format_share(f'  {name}', trait.right, trait.count)}, "
        f"ok {format_percent(trait.coverage, 1)}, wrong and ok {trait.ok_wrong}"
        for name, trait in measured.per_trait.items()
    ]
    return "\n".join(lines)


def format_flagged(refused: dict[str, tuple[int, int]]) -> list[str]:
    """Return a line for each trait of images in which nothing must be read."""
    return [
        format_share(f"  {trait}, flagged", flagged, count)
        for trait, (flagged, count) in refused.items()
    ]


def flagged_to_json(refused: dict[str, tuple[int, int]]) -> dict[str, dict[str, int]]:
    """Return counts of images in which nothing must be read as a JSON object."""
    return {
        name: {"flagged": flagged, "count": count} for name, (flagged, count) in refused.items()
    }


def format_share(name: str, part: int, whole: int) -> str:
    """Return a share as a line of text."""
    return f"{name:23} {format_percent(evaluate.share(part, whole), 2):>8}  {part} of {whole}"


def format_percent(share: float | None, decimals: int) -> str:
    """Return a share as text; a dash if there is none."""
    return "-" if share is None else f"{share:.{decimals}%}"


def to_json(measured: Evaluation, file_hash: str) -> dict[str, Any]:
    """Return all figures as one JSON object; shares are from 0 to 1, and null of nothing."""
    total = measured.total
    return {
        "model": file_hash,
        "count": total.count,
        "right": total.right,
        "accuracy": total.accuracy,
        "ok": total.ok,
        "ok_right": total.ok_right,
        "coverage": total.coverage,
        "precision": total.precision,
        "calibration_error": measured.calibration_error,
        "per_digit": {
            str(digit): {"right": right, "count": count}
            for digit, (right, count) in enumerate(measured.per_digit)
        },
        "not_a_digit": flagged_to_json(measured.refused),
        "not_a_digit_per_trait": flagged_to_json(measured.refused_per_trait),
        "per_trait": {name: asdict(trait) for name, trait in measured.per_trait.items()},
        "confusion": measured.confusion.tolist(),
    }


@contextmanager
def open_table(path: Path | None) -> Iterator[Callable[[Prediction], object]]:
    """Give a function that writes a prediction as a row of a CSV file; without a path, a no-op.

    The file is replaced when the block ends, if it is such a table.

    Raises:
        DestinationError: the file cannot be written, or is another one.
    """
    if path is None:
        yield lambda _: None
        return
    header = rows.csv_line(_TABLE_COLUMNS).encode()
    with open_result(path, "--table") as file:
        # It may be the labels that are measured, a table of digitd's, or the config.
        if path.is_file() and path.read_bytes()[: len(header)] not in {header, b""}:
            raise DestinationError(
                f"{path}: is there, and no table of `digitd evaluate`: name another file with "
                "--table"
            )
        file.write(header)
        yield lambda prediction: file.write(rows.csv_line(_to_row(prediction)).encode())


def _to_row(prediction: Prediction) -> list[str | float | None]:
    verdict = prediction.verdict
    return [
        prediction.case.name,
        prediction.case.label,
        verdict.status,
        verdict.text,
        verdict.confidence,
        *(verdict.probabilities or (None,) * len(rows.PROBABILITIES)),
        verdict.reason,
        ";".join(prediction.case.traits),
    ]


def draw_pictures(measured: Evaluation, folder: Path) -> list[Path]:
    """Draw mistakes, examples and, if there are digits, the confusion matrix; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{name}.png" for name in ("mistakes", "examples", "confusion")]
    _draw_sheet(measured.mistakes[:WORST], title_mistakes(len(measured.mistakes)), files[0])
    _draw_sheet(measured.examples, "Examples", files[1])
    if not measured.total.count:
        return files[:2]
    draw_confusion(measured, files[2])
    return files


def title_mistakes(count: int) -> str:
    """Return the title of the sheet of mistakes."""
    if count > WORST:
        return f"The {WORST} most confident of {count} mistakes"
    return f"Mistakes: {count or 'none'}"


def draw_curves(history: Sequence[Epoch], path: Path) -> None:
    """Plot loss and error rate per epoch, a row for each network that was trained."""
    trained = {epoch.network for epoch in history}
    names = [plan.name for plan in (EYE, CLASSIFIER, LINE) if plan.name in trained]
    figure = Figure(figsize=(10, 3.7 * len(names)), layout="constrained")
    panels = figure.subplots(len(names), 2, squeeze=False)
    for name, (losses, errors) in zip(names, panels, strict=True):
        epochs = [epoch for epoch in history if epoch.network == name]
        _plot(losses, epochs, "training", QUIET, [epoch.loss for epoch in epochs])
        _plot(losses, epochs, "validation", "#1565c0", [epoch.held_loss for epoch in epochs])
        losses.set(ylabel="loss (nats)", title=f"{name}: loss")
        wrong = [100 * (1 - epoch.held_accuracy) for epoch in epochs]
        what = {EYE.name: "number of digits", CLASSIFIER.name: "digit", LINE.name: "text"}[name]
        _plot(errors, epochs, f"{what}, validation", "#1565c0", wrong)
        missed = [100 * (1 - e.held_overlap) for e in epochs if e.held_overlap is not None]
        if missed:
            _plot(errors, epochs, "pixels outside the overlap, validation", "#e65100", missed)
        errors.set(ylabel="wrong (%)", title=f"{name}: error rate")
    for axes in panels.ravel():
        axes.set(xlabel="epoch", yscale="log")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.grid(visible=True, which="both", alpha=0.25)
        if axes.lines:
            axes.legend()
    figure.savefig(path, dpi=DPI)


def _plot(
    axes: Axes, epochs: Sequence[Epoch], label: str, colour: str, values: Sequence[float]
) -> None:
    # Markers are needed for a single epoch: a line through one point is invisible.
    numbers = [epoch.epoch for epoch in epochs]
    axes.plot(numbers, values, label=label, color=colour, marker="o", markersize=3.0)


def draw_confusion(measured: Evaluation, path: Path) -> None:
    """Plot the confusion matrix."""
    # Saved with a tight bounding box: a constrained layout leaves a margin on the right.
    figure = Figure(figsize=(7.5, 7.2))
    axes = figure.subplots()
    counts, total = measured.confusion, measured.total
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
        title=f"{total.right} of {total.count} right ({format_percent(total.accuracy, 2)})",
    )
    figure.savefig(path, dpi=DPI, bbox_inches="tight")


def _draw_sheet(predictions: Sequence[Prediction], title: str, path: Path) -> None:
    """Draw four predictions a row, each as a pair of images below two lines of text."""
    lines = max(1, -(-len(predictions) // 4))
    height = 0.45 + 1.83 * lines
    figure = Figure(figsize=(12, height))
    figure.suptitle(title, y=1 - 0.2 / height)
    pairs = figure.subplots(lines, 8, squeeze=False).reshape(-1, 2)
    # A layout engine takes three times as long.
    figure.subplots_adjust(0.01, 0.1 / height, 0.99, 1 - 0.8 / height, wspace=0.07, hspace=0.36)
    for axes in figure.axes:
        axes.set_anchor("NW")  # the texts of a row line up whatever the shapes of the images
        axes.axis("off")
    for prediction, (original, glyph) in zip(predictions, pairs, strict=False):
        _draw_pair(prediction, original, glyph)
    figure.savefig(path, dpi=DPI)


def _draw_pair(prediction: Prediction, original: Axes, glyph: Axes) -> None:
    """Draw the image and the model's input."""
    name, answer = describe(prediction, "no digit")
    colour = RIGHT if prediction.is_right else WRONG
    original.set_title(name, fontsize=8, loc="left")
    glyph.set_title(answer, fontsize=8, loc="left", color=colour)
    if isinstance(prediction.image, DecodedImage):
        original.imshow(prediction.image.thumbnail)
        glyph.imshow(prediction.image.detection.glyph, cmap="gray", vmin=0, vmax=255)


def describe(prediction: Prediction, nothing: str) -> tuple[str, str]:
    """Return two lines each on the image and on the answer; ``nothing`` if there is no text."""
    verdict = prediction.verdict
    sure = "" if verdict.confidence is None else f" {verdict.confidence:.0%}"
    # `$` would start a formula. Some names are long, so only the end is shown.
    name = prediction.case.name.replace("$", r"\$")[-22:]
    answer = f"read as {verdict.text or nothing}{sure}\n{verdict.status}"
    return f"{name}\nis {prediction.case.label}", answer
