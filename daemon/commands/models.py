"""The commands ``train`` and ``evaluate``."""

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from daemon.commands import model_option
from daemon.errors import EX_FOUND_WRONG

if TYPE_CHECKING:
    from daemon.reading.model import Model
    from daemon.training.evaluate import Case, Evaluation

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
    with _Bars() as bars:
        callbacks = train.TrainCallbacks(
            on_stage=bars.begin,
            on_progress=bars.advance,
            on_epoch=lambda epoch: click.echo(f"{cleared}{report.format_epoch(epoch)}"),
        )
        trained = train.train(chosen, out, folder, callbacks, resume=resume)
    click.echo(report.report_training(trained, out, folder))


class _Bars(ExitStack):
    """Progress bars on a terminal, one for each stage in turn."""

    def begin(self, stage: str, length: int, done: int) -> None:
        """Begin a stage; ``done`` of its steps are done already."""
        self.close()  # click never shows progress again on a bar that has finished
        self._bar = self.enter_context(_make_bar(stage, length))
        self.advance(done)

    def advance(self, steps: int) -> None:
        """Advance the bar."""
        self._bar.update(steps)


def _make_bar(label: str, length: int) -> Any:  # noqa: ANN401 - click doesn't export the type
    return click.progressbar(
        length=length, label=label, file=sys.stderr, hidden=not sys.stderr.isatty()
    )


@click.command()
@click.argument("path", metavar="DATA", type=click.Path(exists=True, path_type=Path))
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
    help="Exit with 1 if the accuracy is below this.",
)
@click.option(
    "--pictures",
    "folder",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Draw the confusion matrix, the worst mistakes and examples into this folder.",
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
    help="Also measure the Keras network that the compiled one was made from.",
)
def evaluate(  # noqa: PLR0913 - an argument for each option
    path: Path,
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

    \b
    Example:
      digitd evaluate mnist.npz --at-least 0.993
      digitd evaluate scans/ --skip-traits hard,printed-font --pictures seen/
      digitd evaluate scans/ --json --table answers.csv
    """
    from daemon.reading.model import load
    from daemon.training import networks, report
    from daemon.training.evaluate import list_cases

    # Loaded before anything is measured, because TensorFlow may be missing.
    keras = networks.load_with_keras(model) if with_keras else None
    reader = load(model)
    cases = list_cases(path, [word for word in skip_traits.split(",") if word])
    measured = _measure("reading", reader, cases, table)
    measured_keras = _measure("Keras", keras, cases, None) if keras else None
    if as_json:
        figures = report.to_json(measured, reader.hash)
        if measured_keras:
            figures["keras"] = report.to_json(measured_keras, reader.hash)
        click.echo(json.dumps(figures, indent=2))
    else:
        click.echo(report.format_evaluation(measured))
        if measured_keras:
            click.echo(f"the Keras network:\n{report.format_evaluation(measured_keras)}")
    if folder is not None:
        files = ", ".join(map(str, report.draw_pictures(measured, folder)))
        click.echo(f"pictures: {files}", err=as_json)
    if at_least is not None and measured.total.accuracy < at_least:
        click.echo(f"digitd: {measured.total.accuracy:.4f} is below {at_least}", err=True)
        sys.exit(EX_FOUND_WRONG)


def _measure(label: str, reader: "Model", cases: "list[Case]", table: Path | None) -> "Evaluation":
    """Measure a model with a progress bar on a terminal, and a row per image in the table."""
    from daemon.training import report
    from daemon.training.evaluate import Prediction, evaluate

    with _make_bar(label, len(cases)) as bar, report.open_table(table) as write:

        def on_prediction(prediction: Prediction) -> None:
            bar.update(1)
            write(prediction)

        return evaluate(reader, cases, on_prediction=on_prediction)
