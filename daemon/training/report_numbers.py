"""Text of an evaluation on whole numbers."""

from collections.abc import Sequence
from typing import Any

from daemon.training.evaluate_numbers import NumberEvaluation, NumberTally
from daemon.training.report import flagged_to_json, format_flagged, format_share

_FIGURES = ("count", "exact", "digit errors", "ok", "ok and right", "wrong and ok")
_NAME_WIDTH = 20  # of the tables' first column, in characters


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
            f"{'calibration error':23} {measured.calibration_error:8.2%}",
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
        (name, str(each.count), *(f"{share:.1%}" for share in shares), str(each.ok_wrong))
    )


def _format_cells(cells: Sequence[str]) -> str:
    name, *figures = cells
    widths = [max(6, len(figure)) for figure in _FIGURES]
    row = "  ".join(f"{cell:>{width}}" for cell, width in zip(figures, widths, strict=True))
    return f"{name:{_NAME_WIDTH}}  {row}"


def numbers_to_json(measured: NumberEvaluation, file_hash: str) -> dict[str, Any]:
    """Return all figures as one JSON object; shares are from 0 to 1."""
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
