"""How this process was started: what a person adds to the commands that messages name."""

import shlex

_options = ""


def use_config(file: object | None) -> None:
    """Remember the config file that was named on the command line; ``None`` for none."""
    global _options  # noqa: PLW0603 - like sys.argv, it belongs to the process
    _options = "" if file is None else f" --config {shlex.quote(str(file))}"


def command_line(text: str) -> str:
    """Return a command of digitd as a person must type it.

    Args:
        text: the command and its arguments, without ``digitd`` and ``--config``.
    """
    return f"digitd {text}{_options}"


def command(text: str) -> str:
    """Return a command for a message, in backticks; see ``command_line``."""
    return f"`{command_line(text)}`"
