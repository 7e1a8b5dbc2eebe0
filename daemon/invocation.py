"""How this process was started: what a person adds to the commands that messages name."""

import os
import shlex

# In the environment, because messages about the model come from worker processes.
_CONFIG = "DIGITD_CONFIG_OPTION"


def use_config(file: object | None) -> None:
    """Remember the config file that was named on the command line; ``None`` for none."""
    if file is None:
        os.environ.pop(_CONFIG, None)
    else:
        os.environ[_CONFIG] = str(file)


def command_line(text: str) -> str:
    """Return a command of digitd as a person must type it.

    Args:
        text: the command and its arguments, without ``digitd`` and ``--config``.
    """
    file = os.environ.get(_CONFIG)
    return f"digitd {text}" if file is None else f"digitd {text} --config {shlex.quote(file)}"


def command(text: str) -> str:
    """Return a command for a message, in backticks; see ``command_line``."""
    return f"`{command_line(text)}`"
