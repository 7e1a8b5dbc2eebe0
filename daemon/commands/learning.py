"""The commands that manage models."""

import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from daemon.commands import (
    OnceGroup,
    StageBars,
    begin_stage,
    config_option,
    echo,
    load_config,
)
from daemon.errors import DigitdError, ModelError
from daemon.text import format_utc

if TYPE_CHECKING:
    from daemon.config import Config
    from daemon.models.folder import Entry, ModelsFolder
    from daemon.training.adopt import Examples


@click.group(cls=OnceGroup)
def model() -> None:
    """List models, put one in use, go back.

    \b
    Example:
      digitd model list
    """


@model.command("list")
@config_option
def list_models(config_file: Path) -> None:
    """List the models beside the config, and the shipped one.

    A * marks the one in use.

    \b
    Example:
      digitd model list --config /srv/digits/config.yaml
    """
    from daemon import config
    from daemon.assets import SHIPPED_MODEL
    from daemon.models.current import find_model, shipped_id
    from daemon.models.folder import ModelsFolder

    settings = config.load(config_file)
    fault, in_use = None, Path()
    try:
        in_use = find_model(settings)
    except DigitdError as error:  # after the list
        fault = error
    shipped = (shipped_id(), "", "digitd", "", "the shipped model")
    rows = [(SHIPPED_MODEL, shipped, tuple[str, ...]())]
    entries = ModelsFolder(settings.models).entries()
    rows.extend((one.path, _cells(one), one.reasons) for one in entries)
    widths = [max(len(cells[column]) for _, cells, _ in rows) for column in range(4)]
    columns = shutil.get_terminal_size().columns - 6
    wrapper = textwrap.TextWrapper(columns, break_long_words=False, break_on_hyphens=False)
    for path, cells, reasons in rows:
        texts = [cell.ljust(width) for cell, width in zip(cells, widths, strict=False)]
        echo("  ".join(["*" if path == in_use else " ", *texts, cells[-1]]))
        for reason in reasons:
            echo(textwrap.indent(wrapper.fill(reason), 6 * " "))
    if settings.model is not None:
        echo(f"in use: {settings.model}, because {settings.file} sets `model`")
        if not settings.model.is_file():
            raise ModelError(f"{settings.locate('model')}: {settings.model} is not there")
    if fault is not None:
        raise fault


def _cells(entry: "Entry") -> tuple[str, str, str, str, str]:
    verdict = "not to be promoted:" if entry.reasons else "may be promoted"
    if entry.report is None:
        return entry.id, "", "", "", verdict
    made = format_utc(entry.report.made)
    parent = f"from {entry.report.parent}" if entry.report.parent else ""
    return entry.id, made, entry.report.by, parent, verdict


@model.command()
@click.argument("model_id", metavar="ID")
@config_option
def promote(model_id: str, config_file: Path) -> None:
    """Put a model in use: the running digitd takes it at its next rescan.

    ID is the id of a model, enough of its beginning, or `shipped`. A model whose report has reasons
    against it is refused.

    \b
    Example:
      digitd model promote 3fa9
    """
    from daemon import config
    from daemon.models.folder import open_models

    settings = config.load(config_file)
    folder = open_models(settings)
    promoted = folder.promote(model_id, settings.reads)
    echo(f"{promoted} is in use; {_taken(settings)}")


@model.command()
@config_option
def rollback(config_file: Path) -> None:
    """Go back to the model that was promoted before, or to the shipped one.

    \b
    Example:
      digitd model rollback
    """
    from daemon import config
    from daemon.models.folder import open_models

    settings = config.load(config_file)
    went = open_models(settings).rollback()
    for fault in went.skipped:
        echo(f"skipped: {fault}", err=True)
    echo(f"{went.now} is in use again, no longer {went.before}; {_taken(settings)}")


@model.command()
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--data",
    metavar="DATA",
    type=click.Path(exists=True, path_type=Path),
    help="Images to fit the model to: an .npz set, or a folder with a labels.csv (file,label).",
)
@config_option
@click.pass_context
def adopt(context: click.Context, file: Path, data: Path | None, config_file: Path) -> None:
    """Make a model for digitd of your own Keras classifier.

    FILE is a .keras file that maps 28x28 pixels to 10 digits, or to 11 classes with "not a digit"
    as the last. The scaling of its input is found: 0 to 1, 0 to 255, normalized, and whether the
    ink is white or black. It takes the place of digitd's classifier; digitd's eye still finds the
    digit, and numbers are still read by digitd's line reader.

    \b
    Example:
      digitd model adopt handwritten.keras
      digitd model adopt handwritten.keras --data scans/
    """
    from daemon.models.folder import ModelsFolder
    from daemon.training import adopt as adopting
    from daemon.training import frameworks, keras_file

    folder = ModelsFolder(load_config(context, config_file).models)
    # Seconds of importing come after what is refused without, and before minutes of reading.
    folder.check_writable()
    keras_file.check(file)
    number = 0 if data is None else len(adopting.list_cases(data))
    frameworks.import_keras()
    if data is None:
        examples = adopting.load_pack()
    else:
        with begin_stage("finding digits", number, "image") as bar:
            examples = adopting.load_data(data, bar.update)
    adopt_file(file, examples, folder)


def adopt_file(
    file: Path,
    examples: "Examples",
    folder: "ModelsFolder",
    by: str = "adopt",
    pictures: Sequence[Path] = (),
) -> None:
    """Adopt a Keras classifier with progress bars, and print its report; see ``adopt.adopt``."""
    from daemon.training import adopt as adopting

    with StageBars() as bars:
        adopted = adopting.adopt(file, examples, folder, by, pictures, bars.begin, bars.advance)
    echo(adopted.report.describe(adopted.id))
    echo(adopting.explain_use(adopted, folder))


def _taken(settings: "Config") -> str:
    return f"a running digitd takes it within {settings.rescan_seconds:g} s"
