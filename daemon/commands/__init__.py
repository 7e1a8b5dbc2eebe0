"""The commands: parse arguments, call, print, exit. Here is what several of them share."""

import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Self, TypeVar

import click
from click.core import ParameterSource

from daemon.files import is_there
from daemon.invocation import use_config
from daemon.records import Reads
from daemon.text import count, escape_lines

if TYPE_CHECKING:
    from daemon.config import Config

_DEFAULT_CONFIG = Path("config.yaml")


def _use_config(context: click.Context, option: click.Parameter, file: Path) -> Path:
    """Return the config file; messages name commands with it if it was given."""
    is_given = context.get_parameter_source(option.name or "") is not ParameterSource.DEFAULT
    use_config(file if is_given else None)
    return file


config_option = click.option(
    "--config",
    "config_file",
    default=_DEFAULT_CONFIG,
    show_default=True,
    type=click.Path(readable=False, path_type=Path),  # a bad one exits with EX_CONFIG
    is_eager=True,  # before what another option has to say
    callback=_use_config,
    help="The config file.",
)
public_url_option = click.option(
    "--public-url", metavar="URL", help="Where a reverse proxy serves the review page."
)
FORMATS = ("csv", "jsonl", "parquet", "xlsx")  # of `results`, and the endings of their files
MODEL_HELP = "A .keras file, an id of `digitd model list` or its beginning, or `shipped`"
Command = TypeVar("Command", bound=Callable[..., object])
_CONFIG_KEY = "daemon.commands.config_file"  # in click's ``Context.meta``


def _remember_config(context: click.Context, _option: click.Parameter, file: Path | None) -> None:
    """Keep the config file for --model; messages name commands with it if it was given."""
    use_config(file)
    context.meta[_CONFIG_KEY] = file


def model_option(command: Command) -> Command:
    """Add --model, and --config, whose model is the default of --model."""
    add_config = click.option(
        "--config",
        metavar="FILE",
        type=click.Path(readable=False, path_type=Path),
        is_eager=True,  # before --model
        expose_value=False,
        callback=_remember_config,
        help="The config file whose model is the default; default: config.yaml, if there is one. "
        "Its other settings, such as `reads`, `unsure_below` and `expect`, are not used.",
    )
    add_model = click.option(
        "--model",
        metavar="MODEL",
        callback=lambda context, _option, wanted: parse_model(context, wanted),
        help=f"{MODEL_HELP}; default: the model that `run` would use.",
    )
    return add_config(add_model(command))


def parse_model(context: click.Context, wanted: str | None) -> Path:
    """Return the file of the model that an option of a command with --config names.

    Without a config file, the settings are the default ones.
    """
    from daemon import config
    from daemon.models.folder import choose_model, is_path

    if wanted is not None and is_path(wanted):
        return Path(wanted)
    given = context.meta[_CONFIG_KEY]
    file = given or _DEFAULT_CONFIG
    is_default = given is None and not is_there(file)
    return choose_model(config.Config() if is_default else config.load(file), wanted)


reads_option = click.option(
    "--reads",
    default=Reads.DIGIT.value,
    show_default=True,
    type=click.Choice([each.value for each in Reads]),
    callback=lambda _context, _option, value: Reads(value),
    help="What an image has: one digit, or a whole number.",
)


class OnceGroup(click.Group):
    """A group of commands that refuse an option that is given twice, and an empty name.

    Click takes the last of two values, and an empty path as the current folder.
    """

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command and its arguments; raise UsageError for what is refused."""
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None and not isinstance(command, click.Group):
            inner = click.Context(command, ctx, name, resilient_parsing=True)
            values, _, given = command.make_parser(inner).parse_args(list(rest))
            for each in given:
                if fault := _find_fault(each, values[each.name or ""], given.count(each)):
                    raise click.UsageError(fault, inner)
        return name, command, rest


def _find_fault(given: click.Parameter, value: Any, times: int) -> str:  # noqa: ANN401 - what click parsed
    """Return why an option or an argument is refused; empty if it is not."""
    label = given.human_readable_name.strip("[]…")
    if isinstance(given, click.Option):
        label = given.opts[0]
        if times > 1 and not (given.multiple or given.is_flag):
            return f"{label} is given twice: give it once"
    is_empty = "" in value if isinstance(value, list | tuple) else value == ""
    if is_empty and (isinstance(given.type, click.Path) or isinstance(given, click.Argument)):
        return f"{label} is empty: is a variable of the shell not set?"
    return ""


def echo(text: str, *, err: bool = False) -> None:
    """Print text that may contain names of files, to standard output or to stderr."""
    click.echo(escape_lines(text), err=err)


def echo_json(value: object, indent: int | None = None) -> None:
    """Print a value as JSON in UTF-8, whatever the locale's encoding is (RFC 8259, section 8.1)."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    click.echo(text.encode(errors="backslashreplace"))  # bytes of a path that are not UTF-8


def make_bar(label: str, length: int, *, with_position: bool = False) -> Any:  # noqa: ANN401 - click doesn't export the type
    """Return a progress bar, which is shown on a terminal only."""
    return click.progressbar(
        length=length,
        label=label,
        show_pos=with_position,
        file=sys.stderr,
        hidden=not sys.stderr.isatty(),
    )


_LOGGED_EACH = 60.0  # seconds


class _LoggedStage:
    """The progress of a stage as lines, at most one a minute."""

    def __init__(self, stage: str, length: int, unit: str) -> None:
        self._stage, self._whole = stage, count(length, unit)
        self._done = 0

    def __enter__(self) -> Self:
        echo(f"{self._stage}: {self._whole}", err=True)
        self._logged_at = monotonic()
        return self

    def __exit__(self, *_: object) -> None: ...

    def update(self, steps: int) -> None:
        self._done += steps
        if monotonic() - self._logged_at >= _LOGGED_EACH:
            echo(f"{self._stage}: {self._done} of {self._whole}", err=True)
            self._logged_at = monotonic()


def begin_stage(stage: str, length: int, unit: str = "step", **options: bool) -> Any:  # noqa: ANN401 - see `make_bar`
    """Return the progress bar of a stage that may take minutes; without a terminal, lines.

    The log of a command that cron runs then says what it is doing, and that it does not hang.
    """
    if sys.stderr.isatty():
        return make_bar(stage, length, **options)
    return _LoggedStage(stage, length, unit)


class StageBars(ExitStack):
    """Progress bars on a terminal, one for each stage in turn; elsewhere lines."""

    def begin(self, stage: str, length: int, done: int = 0) -> None:
        """Begin a stage; ``done`` of its steps are done already."""
        self.close()  # click never shows progress again on a bar that has finished
        self._bar = self.enter_context(begin_stage(stage, length))
        self.advance(done)

    def advance(self, steps: int) -> None:
        """Advance the bar."""
        self._bar.update(steps)


def load_config(context: click.Context, config_file: Path) -> "Config":
    """Return the config; all defaults if --config was not given and there is no config.yaml.

    Raises:
        ConfigError, StorageError: see ``config.load``.
    """
    from daemon import config

    is_given = context.get_parameter_source("config_file") is not ParameterSource.DEFAULT
    return config.load(config_file) if is_given or is_there(config_file) else config.Config()
