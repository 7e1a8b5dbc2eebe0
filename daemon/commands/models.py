"""The commands ``train`` and ``evaluate``."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click

from daemon.commands.options import model_option
from daemon.errors import EX_FOUND_WRONG

if TYPE_CHECKING:
    from daemon.reading.model import Model
    from daemon.training.evaluate import Cases, Evaluation

_EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_CLEARED = "\r\033[K"  # the progress bar's line, before another is written over it


@click.command()
@click.option(
    "--data",
    "sets",
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
    help="Draw so many times the usual number of digits from fonts and strokes, and non-digits.",
)
@click.option(
    "--work",
    "folder",
    metavar="DIR",
    default="runs",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Keeps the glyphs, the checkpoints and the pictures.",
)
@click.option("--resume", is_flag=True, help="Go on from the checkpoints in --work.")
def train(  # noqa: PLR0913 - one for each option
    sets: tuple[Path, ...],
    out: Path | None,
    eye_epochs: int,
    epochs: int,
    seed: int,
    scale: float,
    folder: Path,
    *,
    resume: bool,
) -> None:
    """Build a model from data; its curves and examples are written into --work.

    \b
    Example:
      digitd train --data mnist.npz --epochs 10
      digitd train --data mnist.npz --data pendigits.npz --out digits.keras --resume
    """
    from daemon.training import report, train

    settings = train.TrainSettings(
        data=sets, eye_epochs=eye_epochs, epochs=epochs, seed=seed, scale=scale
    )
    out = out or folder / "model.keras"
    with _Bars() as bars:

        def ended(epoch: train.Epoch) -> None:
            click.echo(f"{bars.cleared}{report.line(epoch)}")

        progress = train.Progress(begun=bars.begin, advanced=bars.advance, ended=ended)
        trained = train.train(settings, out, folder, progress, resume=resume)
    click.echo(report.of_training(trained, out, folder))


class _Bars:
    """A progress bar on a terminal for each stage, one after another."""

    def __init__(self) -> None:
        self._seen = sys.stderr.isatty()
        self._bar: Any = None
        self.cleared = _CLEARED if self._seen else ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._finish()

    def begin(self, stage: str, length: int, done: int) -> None:
        """Begin a stage of which a part may be done already."""
        self._finish()
        # click never shows progress again on a bar that has finished.
        self._bar = click.progressbar(
            length=length, label=stage, file=sys.stderr, hidden=not self._seen
        )
        self._bar.render_progress()
        self.advance(done)

    def advance(self, steps: int) -> None:
        """Advance the bar."""
        self._bar.update(steps)

    def _finish(self) -> None:
        if self._bar is not None:
            self._bar.render_finish()


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
    help="Measure the Keras network as well, which the compiled one was made from.",
)
def evaluate(  # noqa: PLR0913 - one for each option
    path: Path,
    model: Path,
    skip_traits: str,
    at_least: float | None,
    folder: Path | None,
    table: Path | None,
    *,
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
    from daemon.training import evaluate, network, report

    reader = load(model)
    skipped = [word for word in skip_traits.split(",") if word]
    measured = _measured("reading", reader, evaluate.cases(path, skipped), table)
    others = []
    if with_keras:
        keras = network.as_model(model)
        others = [_measured("Keras", keras, evaluate.cases(path, skipped), None)]
    if as_json:
        figures = report.figures(measured, reader.hash)
        for other in others:
            figures["keras"] = report.figures(other, reader.hash)
        click.echo(json.dumps(figures, indent=2))
    else:
        click.echo(report.of_evaluation(measured))
        for other in others:
            click.echo(f"the Keras network:\n{report.of_evaluation(other)}")
    if folder is not None:
        files = ", ".join(map(str, report.drawn(measured, folder)))
        click.echo(f"pictures: {files}", err=as_json)
    if at_least is not None and measured.accuracy < at_least:
        click.echo(f"digitd: {measured.accuracy:.4f} is below {at_least}", err=True)
        sys.exit(EX_FOUND_WRONG)


def _measured(label: str, reader: "Model", cases: "Cases", table: Path | None) -> "Evaluation":
    """Measure a model with a progress bar on a terminal, and a row per image in the table."""
    from daemon.training import evaluate, report

    hidden = not sys.stderr.isatty()
    bar = click.progressbar(length=cases.count, label=label, file=sys.stderr, hidden=hidden)
    with bar, report.table(table) as write:

        def answered(answer: evaluate.Answer) -> None:
            bar.update(1)
            write(answer)

        return evaluate.evaluate(reader, cases, on_answer=answered)
