"""Words, tables and pictures of a training and of a measurement."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from daemon.errors import DataError
from daemon.outbox import rows
from daemon.reading import model
from daemon.training import evaluate, plots
from daemon.training.train import Epoch, Trained

_TABLE_COLUMNS = ("file", "label", "status", "digit", "confidence", *rows.PROBABILITIES, "reason")
_LABELS_IN_WORDS = {"multi": "several digits", "none": "no digit"}


def line(epoch: Epoch) -> str:
    """Return the figures of an epoch as one line."""
    overlap = "" if epoch.held_overlap is None else f", overlap {epoch.held_overlap:.1%}"
    return (
        f"{epoch.network}, epoch {epoch.epoch}: loss {epoch.loss:.3f}, "
        f"validation {epoch.held_loss:.4f} {epoch.held_accuracy:.2%}{overlap}"
    )


def of_training(trained: Trained, out: Path, folder: Path) -> str:
    """Draw the pictures of a training; return where everything is, as text."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = []
    if trained.history:
        pictures = [folder / "curves.png"]
        plots.curves(trained.history, pictures[0])
    if trained.test is not None:
        measured = evaluate.evaluate(model.load(out), evaluate.of(trained.test))
        pictures += drawn(measured, folder)
    settings = trained.settings
    return (
        f"wrote {out}: temperature {settings.temperature:.2f}, "
        f"unsure below {settings.unsure_below:.2f}\n"
        f"pictures: {', '.join(map(str, pictures))}"
    )


def of_evaluation(measured: evaluate.Evaluation) -> str:
    """Return all figures as lines of text."""
    lines = []
    if measured.count:
        lines = [
            _share("accuracy", measured.right, measured.count),
            _share("ok", measured.ok, measured.count),
            _share("ok and right", measured.ok_right, measured.ok),
            f"{'calibration error':23} {measured.calibration_error:8.2%}",
        ]
    lines += [
        _share(f"{_LABELS_IN_WORDS[label]}, flagged", flagged, count)
        for label, (flagged, count) in measured.refused.items()
    ]
    lines += [
        _share(f"  {digit}", right, count)
        for digit, (right, count) in enumerate(measured.per_digit)
        if count
    ]
    lines += [_of_trait(trait, figures) for trait, figures in measured.per_trait.items()]
    return "\n".join(lines)


def _share(name: str, part: int, whole: int) -> str:
    share = part / whole if whole else 1.0
    return f"{name:23} {share:8.2%}  {part} of {whole}"


def _of_trait(name: str, of: evaluate.Trait) -> str:
    return (
        f"  {name:21} {of.right / of.count:8.2%}  {of.right} of {of.count}, "
        f"ok {of.ok / of.count:.1%}, wrong and ok {of.ok_wrong}"
    )


def figures(measured: evaluate.Evaluation, file_hash: str) -> dict[str, Any]:
    """Return all figures as one JSON object; shares are from 0 to 1."""
    return {
        "model": file_hash,
        "count": measured.count,
        "right": measured.right,
        "accuracy": measured.accuracy,
        "ok": measured.ok,
        "ok_right": measured.ok_right,
        "coverage": measured.coverage,
        "precision": measured.precision,
        "calibration_error": measured.calibration_error,
        "per_digit": {
            str(digit): {"right": right, "count": count}
            for digit, (right, count) in enumerate(measured.per_digit)
        },
        "not_a_digit": {
            label: {"flagged": flagged, "count": count}
            for label, (flagged, count) in measured.refused.items()
        },
        "per_trait": {name: asdict(trait) for name, trait in measured.per_trait.items()},
        "confusion": measured.confusion.tolist(),
    }


@contextmanager
def table(path: Path | None) -> Iterator[Callable[[evaluate.Answer], object]]:
    """Give a function that writes an answer into a CSV file as a row; without a path, nothing.

    Raises:
        DataError: the file cannot be written.
    """
    if path is None:
        yield lambda _: None
        return
    try:
        with path.open("w", encoding="utf-8") as file:
            file.write(rows.csv_line(_TABLE_COLUMNS))
            yield lambda answer: file.write(rows.csv_line(_table_row(answer)))
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from error


def _table_row(answer: evaluate.Answer) -> list[str | float | None]:
    verdict = answer.verdict
    return [
        answer.name,
        answer.truth,
        verdict.status,
        verdict.digit,
        verdict.confidence,
        *(verdict.probabilities or (None,) * len(rows.PROBABILITIES)),
        verdict.reason,
    ]


def drawn(measured: evaluate.Evaluation, folder: Path) -> list[Path]:
    """Draw confusion matrix, worst mistakes and examples; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{name}.png" for name in ("confusion", "mistakes", "examples")]
    for draw, file in zip((plots.confusion, plots.mistakes, plots.examples), files, strict=True):
        draw(measured, file)
    return files
