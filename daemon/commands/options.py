"""Options that several commands have."""

from collections.abc import Callable
from pathlib import Path

import click


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
