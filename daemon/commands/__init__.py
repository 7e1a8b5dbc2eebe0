"""The commands: parse arguments, call, print, exit. Here are the options that several share."""

from pathlib import Path

import click

from daemon.assets import SHIPPED_MODEL
from daemon.records import Reads
from daemon.text import escape_lines

config_option = click.option(
    "--config",
    "config_file",
    default="config.yaml",
    show_default=True,
    type=click.Path(readable=False, path_type=Path),  # a bad one exits with EX_CONFIG
    help="The config file.",
)
public_url_option = click.option(
    "--public-url", metavar="URL", help="Where a reverse proxy serves the review page."
)
model_option = click.option(
    "--model",
    metavar="FILE",
    default=SHIPPED_MODEL,
    type=click.Path(dir_okay=False, path_type=Path),
    help="A .keras file; default: the shipped model.",
)
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
