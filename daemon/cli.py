"""The entry point: register the commands, and print the message of one that fails."""

import io
import os
import sys
from typing import Any, TextIO

import click

from daemon import __version__
from daemon.commands import (
    OnceGroup,
    echo,
    evaluate,
    learn,
    learning,
    outbox,
    predict,
    reread,
    running,
    train,
)
from daemon.errors import DigitdError, describe, exit_status
from daemon.invocation import use_config
from daemon.systemd.journal import prefix_warnings

_STDOUT, _STDERR = 1, 2  # descriptors

# D301: \b in a docstring tells click to keep the line breaks.
# ruff: noqa: D301


class _Commands(OnceGroup):
    """A command group that prints the message of an error and exits with its status."""

    def main(self, *arguments: Any, **settings: Any) -> Any:  # noqa: ANN401 - the signature is click's
        _prepare_streams()
        return super().main(*arguments, **settings)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - the signature is click's
        try:
            return super().invoke(ctx)
        except DigitdError as error:
            echo(f"digitd: {error}", err=True)
            ctx.exit(error.exit_status)
        except BrokenPipeError:  # click ends quietly
            raise
        except OSError as error:
            echo(f"digitd: {describe(error)}", err=True)
            ctx.exit(exit_status(error))
        finally:
            use_config(None)


def _prepare_streams() -> None:
    """Make standard output and stderr usable, whatever started this program.

    If they are closed, what is written there is dropped. Otherwise the next files to be opened,
    such as predictions.csv, would get their numbers, and with them what libraries print. A
    character that the locale's encoding lacks is escaped.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(descriptor, True)  # noqa: FBT003 - it takes no keyword
    os.close(descriptor)
    sys.stdout = _usable(sys.stdout, _STDOUT)
    sys.stderr = _usable(sys.stderr, _STDERR)


def _usable(stream: TextIO | None, descriptor: int) -> TextIO:
    if stream is None:
        return open(descriptor, "w", encoding="utf-8", closefd=False)
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="digitd")
def main() -> None:
    """Watch a folder, read the handwritten digit in each image, record every result.

    \b
    Start with:
      digitd init          write config.yaml, inbox/ and outbox/ here
      digitd run           then drop digit1.png into inbox/
    """
    prefix_warnings()


for _command in (
    running.run,
    running.check,
    running.reload,
    running.status,
    running.init,
    running.service,
    predict.predict,
    outbox.audit,
    outbox.results,
    outbox.review,
    outbox.retry,
    reread.reread,
    train.train,
    evaluate.evaluate,
    learn.learn,
    learning.model,
):
    main.add_command(_command)
