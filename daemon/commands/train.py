"""The command ``train``."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from daemon.commands import StageBars, begin_stage, config_option, echo, load_config
from daemon.commands.learning import adopt_file
from daemon.errors import EX_FOUND_WRONG, ModelError
from daemon.files import check_writable
from daemon.layout import MODEL_SUFFIX
from daemon.text import escape

if TYPE_CHECKING:
    from daemon.config import Config
    from daemon.models.folder import ModelsFolder
    from daemon.reading.model import Model

_CLEARED = "\r\033[K"  # the progress bar's line, before another is written over it


def _parse_out(_context: click.Context, _option: click.Parameter, file: Path | None) -> Path | None:
    """Return the file of --out; refuse one that Keras cannot write when the training has ended."""
    if file is not None and file.suffix != MODEL_SUFFIX:
        text = f"{escape(str(file))}: end the name of a model with {MODEL_SUFFIX}"
        raise click.BadParameter(text)
    return file


@click.command()
@click.option(
    "--data",
    metavar="FILE",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="A .npz set; repeat for several. Without it, MNIST is downloaded.",
)
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_parse_out,
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
@click.option(
    "--simple",
    is_flag=True,
    help="Build the tutorials' network in minutes, and adopt it as `digitd model adopt` does.",
)
@config_option
@click.pass_context
def train(
    context: click.Context,
    /,
    out: Path | None,
    folder: Path,
    config_file: Path,
    *,
    resume: bool,
    simple: bool,
    **settings: Any,  # noqa: ANN401 - the fields of TrainSettings
) -> None:
    """Build a model from data; its curves and examples are written into --work.

    At the end it is compared with the model that `run` would use.

    \b
    Example:
      digitd train --data mnist.npz --epochs 10
      digitd train --data mnist.npz --data pendigits.npz --out digits.keras --resume
      digitd train --simple --data mnist.npz
    """
    from daemon.models.folder import ModelsFolder
    from daemon.training import frameworks, report, train

    config = load_config(context, config_file)
    models = ModelsFolder(config.models)
    if simple:
        _check_simple(context)
        models.check_writable()
    # Say what is missing before what is going to be done, and before hours of work.
    train.check_data(settings["data"])
    out = out or folder / ("handwritten.keras" if simple else "model.keras")
    for each in (folder, out.parent):
        check_writable(each)
    frameworks.import_tensorflow()
    if simple:
        _train_simple(context, models, out, folder)
        return
    in_use = _load_in_use(config)
    chosen = train.TrainSettings(**settings)
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
    _compare(in_use, out, config)


def _load_in_use(config: "Config") -> "Model":
    """Return the model that `run` would use, or the shipped one if that cannot be used."""
    from daemon.assets import SHIPPED_MODEL
    from daemon.models.current import find_model
    from daemon.reading.model import load

    try:
        return load(find_model(config))
    except ModelError:  # the training may be going to make it
        return load(SHIPPED_MODEL)


def _compare(in_use: "Model", out: Path, config: "Config") -> None:
    """Say whether a new model is worse than the one in use, before anybody uses it."""
    from daemon.models import regression
    from daemon.reading.model import load
    from daemon.training import report

    trained = load(out)
    cache = config.models if config.models.is_dir() else None
    with begin_stage("comparing", 2 * regression.count_cases()) as bar:
        comparisons = regression.compare(in_use, trained, bar.update, cache)
    echo(report.format_comparisons(comparisons, in_use, trained))


_OF_SIMPLE = frozenset({"data", "out", "folder", "config_file", "seed", "epochs", "simple"})


def _check_simple(context: click.Context) -> None:
    """Raise UsageError for an option that --simple does not have."""
    for name in sorted(context.params):
        if name not in _OF_SIMPLE and _is_given(context, name):
            option = name.replace("_", "-")
            text = f"--{option} is not for --simple"
            raise click.UsageError(text)


def _is_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is not ParameterSource.DEFAULT


def _train_simple(context: click.Context, models: "ModelsFolder", file: Path, folder: Path) -> None:
    """Train the tutorials' network, and adopt it."""
    from daemon.training import adopt, simple

    epochs = context.params["epochs"] if _is_given(context, "epochs") else simple.EPOCHS
    click.echo(f"training two layers of 128 for {epochs} epochs; then adopting it")
    trained = simple.train(
        context.params["data"],
        file,
        folder,
        context.params["seed"],
        epochs,
        lambda epoch: click.echo(simple.format_epoch(epoch)),
    )
    echo(simple.format_training(trained))
    adopt_file(file, adopt.load_pack(), models, "train --simple", trained.pictures)


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
