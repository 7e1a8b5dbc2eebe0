"""The commands: parse arguments, call, print, exit. Here are the options that several share."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from daemon.files import is_there
from daemon.records import Reads
from daemon.text import escape_lines

_DEFAULT_CONFIG = Path("config.yaml")
config_option = click.option(
    "--config",
    "config_file",
    default=_DEFAULT_CONFIG,
    show_default=True,
    type=click.Path(readable=False, path_type=Path),  # a bad one exits with EX_CONFIG
    help="The config file.",
)
public_url_option = click.option(
    "--public-url", metavar="URL", help="Where a reverse proxy serves the review page."
)
Command = TypeVar("Command", bound=Callable[..., object])
_CONFIG_KEY = "daemon.commands.config_file"  # in click's ``Context.meta``


def model_option(command: Command) -> Command:
    """Add --model, and --config, whose model is the default of --model."""
    add_config = click.option(
        "--config",
        metavar="FILE",
        type=click.Path(readable=False, path_type=Path),
        is_eager=True,  # before --model
        expose_value=False,
        callback=lambda context, _option, file: context.meta.update({_CONFIG_KEY: file}),
        help="The config file whose model is the default; default: config.yaml, if there is one.",
    )
    add_model = click.option(
        "--model",
        metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        callback=lambda context, _option, file: file or _find_model(context.meta[_CONFIG_KEY]),
        help="A .keras file; default: the model that `run` would use.",
    )
    return add_config(add_model(command))


def _find_model(config_file: Path | None) -> Path:
    """Return the model that ``run`` would use; without a config file, with the default settings."""
    from daemon import config
    from daemon.models.current import find_model

    file = config_file or _DEFAULT_CONFIG
    is_default = config_file is None and not is_there(file)
    return find_model(config.Config() if is_default else config.load(file))


reads_option = click.option(
    "--reads",
    default=Reads.DIGIT.value,
    show_default=True,
    type=click.Choice([each.value for each in Reads]),
    callback=lambda _context, _option, value: Reads(value),
    help="What an image has: one digit, or a whole number.",
)


def echo(text: str, *, err: bool = False) -> None:
    """Print text that may contain names of files, to standard output or to stderr."""
    click.echo(escape_lines(text), err=err)
