"""The commands ``train`` and ``evaluate``."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from daemon.commands import StageBars, make_bar, model_option, reads_option
from daemon.errors import EX_FOUND_WRONG
from daemon.records import Reads

if TYPE_CHECKING:
    from daemon.training.evaluate import Case, Prediction

_EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_CLEARED = "\r\033[K"  # the progress bar's line, before another is written over it


@click.command()
@click.option(
    "--data",
    metavar="FILE",
    multiple=True,
    type=_EXISTING_FILE,
    help="A .npz set; repeat for several. Without it, MNIST is downloaded.",
)
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The model file to write; without it, model.keras in --work.",
)
@click.option(
    "--eye-epochs",
    default=60,
    show_default=True,
    type=click.IntRange(1),
    help="Epochs of the eye, of 12,800 pages each.",
)
@click.option(
    "--epochs",
    default=60,
    show_default=True,
    type=click.IntRange(1),
    help="Epochs of the classifier, of 51,200 glyphs each.",
)
@click.option(
    "--line-epochs",
    default=45,
    show_default=True,
    type=click.IntRange(1),
    help="Epochs of the line reader, of about 15,000 strips each.",
)
@click.option("--seed", default=0, show_default=True, type=int, help="Seed of all random numbers.")
@click.option(
    "--scale",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    help="Multiply the number of digits from fonts and strokes, and of non-digits.",
)
@click.option(
    "--work",
    "folder",
    metavar="DIR",
    default="runs",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder of the glyphs, the checkpoints and the pictures.",
)
@click.option("--resume", is_flag=True, help="Continue from the checkpoints in --work.")
def train(out: Path | None, folder: Path, *, resume: bool, **settings: Any) -> None:  # noqa: ANN401 - the fields of TrainSettings
    """Build a model from data; its curves and examples are written into --work.

    \b
    Example:
      digitd train --data mnist.npz --epochs 10
      digitd train --data mnist.npz --data pendigits.npz --out digits.keras --resume
    """
    from daemon.training import frameworks, report, train

    frameworks.import_tensorflow()  # say what is missing before what is going to be done
    chosen = train.TrainSettings(**settings)
    out = out or folder / "model.keras"
    click.echo(report.announce(chosen, out, folder, resume=resume))
    cleared = _CLEARED if sys.stderr.isatty() else ""
    with _resumable(), StageBars() as bars:
        callbacks = train.TrainCallbacks(
            on_stage=bars.begin,
            on_progress=bars.advance,
            on_epoch=lambda epoch: click.echo(f"{cleared}{report.format_epoch(epoch)}"),
        )
        trained = train.train(chosen, out, folder, callbacks, resume=resume)
    click.echo(report.report_training(trained, out, folder))


@contextmanager
def _resumable() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the training at once; say how to continue."""
    from daemon.training.processes import interruptible

    try:
        with interruptible():
            yield
    except KeyboardInterrupt:
        text = "interrupted: the same command with --resume continues from the last checkpoint"
        click.echo(f"\ndigitd: {text}", err=True)
        sys.exit(EX_FOUND_WRONG)


@click.command()
@click.argument("path", metavar="DATA", type=click.Path(exists=True, path_type=Path))
@reads_option
@model_option
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
    help="Exit with 1 if a smaller share is read right.",
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
    help="Write a CSV file with one row per image.",
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
    skip_traits: str,
    at_least: float | None,
    folder: Path | None,
    table: Path | None,
    as_json: bool,
    with_keras: bool,
) -> None:
    """Measure a model on DATA: an .npz set, or a folder with a labels.csv (file,label).

    With --reads number, a label is a number as it is written, such as 0471 or 7,5, or `none`.

    \b
    Example:
      digitd evaluate mnist.npz --at-least 0.993
      digitd evaluate scans/ --skip-traits hard,printed-font --pictures seen/
      digitd evaluate scans/ --json --table answers.csv
      digitd evaluate meters/ --reads number --pictures seen/
    """
    from daemon.training.evaluate import list_cases

    if with_keras and reads is Reads.NUMBER:
        raise click.UsageError("--keras measures the classifier of digits: omit --reads number")
    cases = list_cases(path, [word for word in skip_traits.split(",") if word])
    if reads is Reads.NUMBER:
        measured = _measure_numbers(model, cases, table)
    else:
        measured = _measure_digits(model, cases, table, with_keras=with_keras)
    click.echo(json.dumps(measured.figures, indent=2) if as_json else measured.text)
    if folder is not None:
        files = ", ".join(map(str, measured.draw(folder)))
        click.echo(f"pictures: {files}", err=as_json)
    if at_least is not None and measured.share_right < at_least:
        click.echo(f"digitd: {measured.share_right:.4f} is below {at_least}", err=True)
        sys.exit(EX_FOUND_WRONG)


@dataclass(frozen=True, slots=True)
class _Measured:
    """What ``evaluate`` prints, and the function that draws its pictures into a folder."""

    text: str
    figures: dict[str, Any]
    share_right: float
    draw: Callable[[Path], list[Path]]


def _measure_digits(
    model: Path, cases: "list[Case]", table: Path | None, *, with_keras: bool
) -> _Measured:
    from daemon.reading.model import load
    from daemon.training import networks, report
    from daemon.training.evaluate import evaluate

    # Loaded before anything is measured, because TensorFlow may be missing.
    keras = networks.load_with_keras(model) if with_keras else None
    reader = load(model)
    with _watch("reading", len(cases), table) as on_prediction:
        measured = evaluate(reader, cases, on_prediction)
    text, figures = report.format_evaluation(measured), report.to_json(measured, reader.hash)
    if keras is not None:
        with _watch("Keras", len(cases), None) as on_prediction:
            of_keras = evaluate(keras, cases, on_prediction)
        text += f"\nthe Keras network:\n{report.format_evaluation(of_keras)}"
        figures["keras"] = report.to_json(of_keras, reader.hash)
    draw = partial(report.draw_pictures, measured)
    return _Measured(text, figures, measured.total.accuracy, draw)


def _measure_numbers(model: Path, cases: "list[Case]", table: Path | None) -> _Measured:
    from daemon.reading.model import load
    from daemon.training import report_numbers
    from daemon.training.evaluate_numbers import evaluate_numbers

    reader = load(model)
    with _watch("reading", len(cases), table) as on_prediction:
        measured = evaluate_numbers(reader, cases, on_prediction)
    return _Measured(
        report_numbers.format_numbers(measured),
        report_numbers.numbers_to_json(measured, reader.hash),
        measured.total.accuracy,
        partial(report_numbers.draw_number_pictures, measured),
    )


@contextmanager
def _watch(
    label: str, count: int, table: Path | None
) -> "Iterator[Callable[[Prediction], object]]":
    """Show a progress bar on a terminal, and write a row for each prediction into the table."""
    from daemon.training import report

    with make_bar(label, count) as bar, report.open_table(table) as write:

        def on_prediction(prediction: "Prediction") -> None:
            bar.update(1)
            write(prediction)

        yield on_prediction
