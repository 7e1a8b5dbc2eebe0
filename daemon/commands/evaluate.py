"""The command ``evaluate``."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from daemon.commands import FORMATS, begin_stage, echo, model_option, parse_model, reads_option
from daemon.errors import EX_FOUND_WRONG, DataError
from daemon.files import check_writable
from daemon.records import Reads
from daemon.text import count, escape

if TYPE_CHECKING:
    from daemon.reading.model import Model
    from daemon.training.changes import Changes
    from daemon.training.evaluate import Case, Prediction


def _parse_table(
    _context: click.Context, _option: click.Parameter, file: Path | None
) -> Path | None:
    """Return the file of --table, which is CSV; refuse a name that says otherwise."""
    if file is not None and file.suffix.lower().removeprefix(".") in set(FORMATS) - {"csv"}:
        raise click.BadParameter(f"{escape(str(file))}: a table is CSV: end its name with .csv")
    return file


@click.command()
@click.argument("path", metavar="DATA", type=click.Path(exists=True, path_type=Path))
@reads_option
@model_option
@click.option(
    "--against",
    metavar="MODEL",
    callback=lambda context, _option, wanted: wanted and parse_model(context, wanted),
    help="Compare with another model on the same images; --pictures draws those that only one of "
    "the two has right.",
)
@click.option(
    "--skip-traits",
    metavar="WORDS",
    default="",
    help="Leave out images whose `traits` contain one of these, separated by commas.",
)
@click.option(
    "--at-least",
    metavar="SHARE",
    type=click.FloatRange(0, 1),
    help="Exit with 1 if a smaller share is read right; of an outbox, of the random sample.",
)
@click.option(
    "--pictures",
    "folder",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Draw the worst mistakes, examples and, of digits, the confusion matrix into this folder.",
)
@click.option(
    "--table",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_parse_table,
    help="Write a CSV file with one row per image; of an outbox, `traits` has the answer's source.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as one JSON object.")
@click.option(
    "--keras",
    "with_keras",
    is_flag=True,
    help="Also measure the Keras classifier that the compiled one was made from.",
)
def evaluate(  # noqa: PLR0913 - an argument for each option
    path: Path,
    reads: Reads,
    model: Path,
    *,
    against: Path | None,
    skip_traits: str,
    at_least: float | None,
    folder: Path | None,
    table: Path | None,
    as_json: bool,
    with_keras: bool,
) -> None:
    """Measure a model on DATA: an .npz set, a folder with a labels.csv (file,label), or an outbox.

    With --reads number, a label is a number as it is written, such as 0471 or 7,5, or `none`.

    Of an outbox, the images are those that people answered. The random sample is measured apart
    from the others: people choose the others, mostly what a model was unsure about.

    \b
    Example:
      digitd evaluate mnist.npz --at-least 0.993
      digitd evaluate scans/ --skip-traits hard,printed-font --pictures seen/
      digitd evaluate scans/ --json --table answers.csv
      digitd evaluate meters/ --reads number --pictures seen/
      digitd evaluate outbox/ --against shipped --pictures seen/
    """
    from daemon.training import report
    from daemon.training.evaluate import find_left_out

    if with_keras and reads is Reads.NUMBER:
        raise click.UsageError("--keras measures the classifier of digits: omit --reads number")
    groups, gone = _list_groups(path, reads, skip_traits)
    if at_least is not None and _OTHERS in groups and _SAMPLE not in groups:
        raise DataError(
            f"{path}: has no answers of the random sample, which --at-least needs: answer the "
            "checks in the queue of digitd review, or omit --at-least"
        )
    models = _load_models(model, against, with_keras=with_keras)
    if folder is not None:
        check_writable(folder)
    with report.open_table(table) as write:
        measured = {name: _measure(models, cases, reads, write) for name, cases in groups.items()}
    left_out = find_left_out(groups.get(_ALL, []), reads)
    if as_json:
        click.echo(json.dumps(_to_json(measured, gone, left_out), indent=2))
    else:
        echo(_to_text(measured, gone, _describe_left_out(left_out, reads)))
    if folder is not None:
        drawn = [
            file
            for name, each in measured.items()
            for file in each.draw(folder if name == _ALL else folder / name)
        ]
        echo(f"pictures: {', '.join(map(str, drawn))}", err=as_json)
    if at_least is None:
        return
    share = next(iter(measured.values())).share_right
    if share is None:
        raise DataError(f"{path}: has no {reads} with a label, which --at-least needs: omit it")
    if share < at_least:
        click.echo(f"digitd: {share:.4f} is below {at_least}", err=True)
        sys.exit(EX_FOUND_WRONG)


# What is measured apart: a whole data set, or the two groups of an outbox's answers, the sample
# first. They are keys of the JSON object, and names of the folders of pictures.
_ALL, _SAMPLE, _OTHERS = "all", "sample", "others"
_SHOWN = 40  # characters of a label
_TITLES = {_SAMPLE: "answers to the random sample", _OTHERS: "other answers"}
_NO_SAMPLE = (
    "no answers to the random sample yet, and only they measure how good a model is: answer the "
    "checks in the queue of `digitd review`"
)


def _list_groups(path: Path, reads: Reads, skip_traits: str) -> "tuple[dict[str, list[Case]], int]":
    """Return the cases by group, and how many answered images are gone."""
    from daemon.training import evaluate_outbox
    from daemon.training.evaluate import list_cases

    if not evaluate_outbox.is_outbox(path):
        return {_ALL: list_cases(path, [word for word in skip_traits.split(",") if word])}, 0
    answered = evaluate_outbox.list_answers(path, reads)
    groups = {_SAMPLE: answered.sample, _OTHERS: answered.others}
    return {name: cases for name, cases in groups.items() if cases}, answered.gone


def _to_text(measured: "dict[str, _Measured]", gone: int, left_out: str) -> str:
    lines = []
    if measured.keys() == {_OTHERS}:
        lines.append(_NO_SAMPLE)
    for name, each in measured.items():
        if name != _ALL:
            lines.append(f"{_TITLES[name]}:")
        lines.append(each.text)
    if gone:
        lines.append(f"left out, because their originals are gone: {count(gone, 'image')}")
    return "\n".join([*lines, left_out] if left_out else lines)


def _describe_left_out(cases: "Sequence[Case]", reads: Reads) -> str:
    """Return the line about images with a label that is not what is read; empty without one."""
    if not cases:
        return ""
    first = cases[0]
    label = f"has {escape(first.label[:_SHOWN])}" if first.label else "has no label"
    return (
        f"left out, because the label is not a {reads}: {count(len(cases), 'image')}; the first, "
        f"in line {first.line}, {label}"
    )


def _to_json(
    measured: "dict[str, _Measured]", gone: int, left_out: "Sequence[Case]"
) -> dict[str, Any]:
    if _ALL in measured:
        return {**measured[_ALL].figures, "left_out": len(left_out)}
    groups = {name: measured[name].figures if name in measured else None for name in _TITLES}
    return {**groups, "gone": gone}


@dataclass(frozen=True, slots=True)
class _Models:
    """What is measured: a model, another one to compare it with, and its Keras classifier."""

    main: "Model"
    against: "Model | None"
    keras: "Model | None"


def _load_models(model: Path, against: Path | None, *, with_keras: bool) -> _Models:
    """Load all models before anything is measured, because a file or TensorFlow may be missing."""
    from daemon.reading.model import load

    keras = None
    if with_keras:
        from daemon.training import networks

        keras = networks.load_with_keras(model)
    return _Models(load(model), None if against is None else load(against), keras)


@dataclass(frozen=True, slots=True)
class _Measured:
    """What ``evaluate`` prints, and the function that draws its pictures into a folder."""

    text: str
    figures: dict[str, Any]
    share_right: float | None
    draw: Callable[[Path], list[Path]]


def _measure(
    models: _Models, cases: "Sequence[Case]", reads: Reads, write: "Callable[[Prediction], object]"
) -> _Measured:
    from daemon.training import changes

    measure = partial(_measure_one, cases=cases, reads=reads)
    before = changes.Collector()
    measured = measure(models.main, "reading", write, before.add)
    if models.keras is not None:
        of_keras = measure(models.keras, "Keras")
        measured.figures["keras"] = of_keras.figures
        measured = _append(measured, f"the Keras network:\n{of_keras.text}")
    if models.against is not None:
        after = changes.Collector()
        other = measure(models.against, "reading again", after.add)
        compared = changes.compare(
            (models.main.hash, before.predictions),
            (models.against.hash, after.predictions),
            reads,
        )
        measured.figures["against"] = other.figures
        measured.figures["comparisons"] = changes.changes_to_json(compared)
        measured = replace(measured, text=f"{_name(models.main)}:\n{measured.text}")
        text = f"{_name(models.against)}:\n{other.text}\n{changes.format_changes(compared)}"
        measured = _append(measured, text, compared)
    return measured


def _name(model: "Model") -> str:
    return f"the model {model.hash}, {model.path}"


def _append(measured: _Measured, text: str, compared: "Changes | None" = None) -> _Measured:
    """Return figures with more text, and a picture more."""
    from daemon.training import changes

    def draw(folder: Path) -> list[Path]:
        files = measured.draw(folder)
        return files if compared is None else [*files, changes.draw_changes(compared, folder)]

    return _Measured(f"{measured.text}\n{text}", measured.figures, measured.share_right, draw)


def _measure_one(
    model: "Model",
    label: str,
    *callbacks: "Callable[[Prediction], object]",
    cases: "Sequence[Case]",
    reads: Reads,
) -> _Measured:
    from daemon.training import report, report_numbers
    from daemon.training.evaluate import evaluate
    from daemon.training.evaluate_numbers import evaluate_numbers

    with _watch(label, len(cases), callbacks) as on_prediction:
        if reads is Reads.NUMBER:
            numbers = evaluate_numbers(model, cases, on_prediction)
            return _Measured(
                report_numbers.format_numbers(numbers),
                report_numbers.numbers_to_json(numbers, model.hash),
                numbers.total.accuracy,
                partial(report_numbers.draw_number_pictures, numbers),
            )
        digits = evaluate(model, cases, on_prediction)
        return _Measured(
            report.format_evaluation(digits),
            report.to_json(digits, model.hash),
            digits.total.accuracy,
            partial(report.draw_pictures, digits),
        )


@contextmanager
def _watch(
    label: str, length: int, callbacks: "Sequence[Callable[[Prediction], object]]"
) -> "Iterator[Callable[[Prediction], object]]":
    """Show a progress bar on a terminal, and call functions with each prediction."""
    with begin_stage(label, length, "image") as bar:

        def on_prediction(prediction: "Prediction") -> None:
            bar.update(1)
            for call in callbacks:
                call(prediction)

        yield on_prediction
