"""The commands: parse arguments, call, print, exit. Here are the options that several share."""

from collections.abc import Callable
from pathlib import Path

import click

from daemon.assets import SHIPPED_MODEL


def config_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add the option that names the config file."""
    return click.option(
        "--config",
        "config_file",
        default="config.yaml",
        show_default=True,
        type=click.Path(dir_okay=False, path_type=Path),
        help="The config file.",
    )(command)


def model_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add the option that names a model."""
    return click.option(
        "--model",
        metavar="FILE",
        default=SHIPPED_MODEL,
        type=click.Path(dir_okay=False, path_type=Path),
        help="A .keras file; default: the shipped model.",
    )(command)
