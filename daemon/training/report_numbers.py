"""Text and pictures of an evaluation on whole numbers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from daemon.reading.reader import DecodedNumber
from daemon.training.evaluate import Prediction
from daemon.training.evaluate_numbers import NumberEvaluation, NumberTally
from daemon.training.report import (
    DPI,
    RIGHT,
    WORST,
    WRONG,
    describe,
    flagged_to_json,
    format_flagged,
    format_percent,
    format_share,
    title_mistakes,
)

_FIGURES = ("count", "exact", "digit errors", "ok", "ok and right", "wrong and ok")
_NAME_WIDTH = 20  # of the tables' first column, in characters
_COLUMNS = 4  # predictions in a row of a sheet


def format_numbers(measured: NumberEvaluation) -> str:
    """Return all figures as lines of text, with tables by the number of digits and by trait."""
    lines = []
    total = measured.total
    if total.count:
        lines = [
            format_share("exact match", total.right, total.count),
            format_share("digit errors", total.edits, total.digits),
            format_share("ok", total.ok, total.count),
            format_share("ok and right", total.ok_right, total.ok),
            format_share("wrong and ok", total.ok_wrong, total.count),
            f"{'calibration error':23} {format_percent(measured.calibration_error, 2):>8}",
        ]
    lines += [
        format_share("no number, flagged", flagged, count)
        for flagged, count in measured.refused.values()
    ]
    lines += format_flagged(measured.refused_per_trait)
    for title, groups in (("digits", measured.per_length), ("trait", measured.per_trait)):
        if groups:
            lines += ["", _format_cells((title, *_FIGURES))]
            lines += [_format_tally(name, each) for name, each in groups.items()]
    return "\n".join(lines)


def _format_tally(name: str, each: NumberTally) -> str:
    shares = (each.accuracy, each.digit_error_rate, each.coverage, each.precision)
    return _format_cells(
        (name, str(each.count), *(format_percent(share, 1) for share in shares), str(each.ok_wrong))
    )


def _format_cells(cells: Sequence[str]) -> str:
    name, *figures = cells
    widths = [max(6, len(figure)) for figure in _FIGURES]
    row = "  ".join(f"{cell:>{width}}" for cell, width in zip(figures, widths, strict=True))
    return f"{name:{_NAME_WIDTH}}  {row}"


def numbers_to_json(measured: NumberEvaluation, file_hash: str) -> dict[str, Any]:
    """Return all figures as one JSON object; shares are from 0 to 1, and null of nothing."""
    return {
        "model": file_hash,
        **_tally_to_json(measured.total),
        "calibration_error": measured.calibration_error,
        "not_a_number": flagged_to_json(measured.refused),
        "not_a_number_per_trait": flagged_to_json(measured.refused_per_trait),
        "per_length": {name: _tally_to_json(each) for name, each in measured.per_length.items()},
        "per_trait": {name: _tally_to_json(each) for name, each in measured.per_trait.items()},
    }


def _tally_to_json(each: NumberTally) -> dict[str, Any]:
    return {
        "count": each.count,
        "right": each.right,
        "exact_match": each.accuracy,
        "digits": each.digits,
        "digit_edits": each.edits,
        "digit_error_rate": each.digit_error_rate,
        "ok": each.ok,
        "ok_right": each.ok_right,
        "ok_wrong": each.ok_wrong,
        "coverage": each.coverage,
        "precision": each.precision,
    }


def draw_number_pictures(measured: NumberEvaluation, folder: Path) -> list[Path]:
    """Draw worst mistakes and examples; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{name}.png" for name in ("mistakes", "examples")]
    _draw_sheet(measured.mistakes[:WORST], title_mistakes(len(measured.mistakes)), files[0])
    _draw_sheet(measured.examples, "Examples", files[1])
    return files


def _draw_sheet(predictions: Sequence[Prediction], title: str, path: Path) -> None:
    """Draw four predictions a row: two lines of text, the image, what the model saw."""
    lines = max(1, -(-len(predictions) // _COLUMNS))
    height = 0.6 + 2.2 * lines
    figure = Figure(figsize=(12, height))
    figure.suptitle(title, y=1 - 0.2 / height)
    # A thin row after each pair keeps it apart from the next one's text.
    grid = figure.subplots(3 * lines, _COLUMNS, squeeze=False, height_ratios=[5, 2, 1.5] * lines)
    figure.subplots_adjust(0.01, 0.0, 0.99, 1 - 0.8 / height, wspace=0.04, hspace=0.1)
    for axes in figure.axes:
        axes.set_anchor("NW")
        axes.axis("off")
    for index, prediction in enumerate(predictions):
        row, column = divmod(index, _COLUMNS)
        _draw_pair(prediction, grid[3 * row, column], grid[3 * row + 1, column])
    figure.savefig(path, dpi=DPI)


def _draw_pair(prediction: Prediction, original: Axes, strip: Axes) -> None:
    colour = RIGHT if prediction.is_right else WRONG
    name, answer = describe(prediction, "no number")
    original.set_title(name, fontsize=8, loc="left")
    original.set_title(answer, fontsize=8, loc="right", color=colour)
    if isinstance(prediction.image, DecodedNumber):
        original.imshow(prediction.image.thumbnail)
        strip.imshow(prediction.image.detection.strip.pixels, cmap="gray", vmin=0, vmax=255)
