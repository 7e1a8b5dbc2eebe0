"""The commands that run the daemon, with its live line, prepare it and ask for its state."""

import logging
import os
import re
import shlex
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from daemon.commands import config_option, echo, echo_json, public_url_option
from daemon.errors import EX_FOUND_WRONG, EX_NOT_RUNNING, exit_status
from daemon.files import is_there
from daemon.inbox.listing import natural
from daemon.outbox.rows import Row
from daemon.records import Status
from daemon.systemd.journal import set_up_logging
from daemon.text import printable

if TYPE_CHECKING:
    from daemon.loop.service import Progress

_UNFINISHED_AT_MOST = 20  # names in the summary


@click.command()
@config_option
@click.option("--once", is_flag=True, help="Read what is in the inbox now, print a summary, exit.")
@click.option("--strict", is_flag=True, help="With --once: exit with 1 if a file is an error.")
@click.option("-q", "--quiet", is_flag=True, help="Log only warnings and errors.")
@click.option("-v", "--verbose", is_flag=True, help="Log details as well.")
def run(config_file: Path, *, once: bool, strict: bool, quiet: bool, verbose: bool) -> None:
    """Watch the inbox and read the files dropped into it until stopped.

    \b
    Example:
      digitd run --config /srv/digits/config.yaml
      digitd run --once
      digitd run --once --strict || mail -s "digitd" me@example.org < /dev/null
    """
    from daemon.loop.service import Service

    if strict and not once:
        raise click.UsageError("--strict needs --once: a daemon goes on after an error")
    level = logging.DEBUG if verbose else logging.INFO
    if quiet:
        level = logging.WARNING
    if once:
        has_bar = sys.stderr.isatty() and not quiet and not verbose
        counts = _run_once(config_file, level, has_bar=has_bar)
        if strict and counts[Status.ERROR]:
            sys.exit(EX_FOUND_WRONG)
    elif sys.stderr.isatty() and not quiet:
        with _show_footer(sys.stderr, level) as update:
            Service(config_file, on_turn=update).run()
    else:
        set_up_logging(level)
        Service(config_file).run()


def _run_once(config_file: Path, level: int, *, has_bar: bool) -> Counter[str]:
    """Read what is in the inbox, and print a summary; return the number of rows by status.

    With ``has_bar`` a progress bar replaces the line per file, and errors are listed after it.
    """
    from daemon.loop.service import Service, summary

    set_up_logging(logging.ERROR if has_bar else level)
    failed: list[Row] = []
    bar = click.progressbar(
        length=0, label="reading", show_pos=True, file=sys.stderr, hidden=not has_bar
    )

    def count(row: Row) -> None:
        bar.update(1)
        if has_bar and row.verdict.status is Status.ERROR:
            failed.append(row)

    service = Service(config_file, once=True, on_row=count)
    bar.length = service.waiting
    with bar:
        counts = service.run()
    for row in failed:
        echo(f"{row.file}: {row.reason}; it is now {row.original}", err=True)
    if has_bar and (left := service.left_alone):  # otherwise the log has said it
        echo(f"left alone in the inbox: {left}", err=True)
    click.echo(summary(counts))
    if service.unfinished:
        echo(f"left in the inbox: {_format_unfinished(service.unfinished)}")
    return counts


def _format_unfinished(files: Mapping[str, str]) -> str:
    """Return names with reasons, as many as a person reads."""
    named = [
        f"{printable(name)} ({files[name]})"
        for name in sorted(files, key=natural)[:_UNFINISHED_AT_MOST]
    ]
    if more := len(files) - len(named):
        named.append(f"and {more} more")
    return ", ".join(named)


@click.command()
@config_option
def check(config_file: Path) -> None:
    """Check whether `run` would start: config, folders, watch mode, expected numbers, model.

    Changes nothing. A line that begins with CHECK is about what is allowed and probably a mistake.
    Exits with the status that `run` would exit with, with 0 if digitd is already running on this
    config, and with 1 if only the metrics file or models/ cannot be written.

    \b
    Example:
      digitd check --config /srv/digits/config.yaml
    """
    from daemon import config
    from daemon.loop.check import run_checks

    status = 0
    for finding in run_checks(config.load(config_file)):
        word = "CHECK" if finding.is_doubtful else "ok   "
        echo(f"{'WRONG' if finding.error else word} {finding.text}")
        status = status or exit_status(finding.error)
    sys.exit(status)


@click.command()
@config_option
def reload(config_file: Path) -> None:
    """Have the running digitd take its changed config, and say what came of it.

    digitd checks the new settings, tries the model, and finishes the files in flight before it
    goes on with the new settings. If it refuses them, nothing changes, and the exit status is
    the one with which it would have exited at a start. It is 3 if digitd is not running.

    \b
    Example:
      digitd reload --config /srv/digits/config.yaml
    """
    from daemon import config
    from daemon.loop.reload import reload as reload_daemon
    from daemon.loop.status import State

    found = reload_daemon(config.load(config_file, may_be_empty=False))
    if found.outcome.error:
        echo(f"digitd: {found.outcome.error}", err=True)
        sys.exit(found.outcome.exit_status)
    echo(f"reloaded {config_file}: digitd (process {found.pid}) is {found.health}")
    if found.health.state is State.PAUSED:
        sys.exit(EX_FOUND_WRONG)


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(config_file: Path, *, as_json: bool) -> None:
    """Show whether digitd is running, since when, and what it has read.

    Exits with 3 if it is not running, as systemctl does, and with 1 if it hangs.

    \b
    Example:
      digitd status --config /srv/digits/config.yaml
    """
    from daemon import config
    from daemon.errors import ConfigError
    from daemon.loop.reload import describe_folders_not_taken, find_folders_in_use
    from daemon.loop.status import State, read_status

    try:
        settings = config.load(config_file)
    except ConfigError as error:
        if as_json:
            echo_json(_read_status_of_folders(config_file) | {"config_fault": str(error)}, indent=2)
        echo(f"digitd: {error}", err=True)
        echo(_describe_running(config_file), err=True)
        sys.exit(error.exit_status)
    in_use = find_folders_in_use(settings)
    found = read_status(in_use)
    if fault := describe_folders_not_taken(settings, in_use):
        echo(f"digitd: {fault}", err=True)
        found["config_fault"] = fault
    if as_json:
        echo_json(found, indent=2)
    else:
        for key, value in found.items():
            echo(f"{key.replace('_', ' ') + ':':12} {_format_value(value)}")
    if not found["running"]:
        sys.exit(EX_NOT_RUNNING)
    if found["state"] == State.HUNG:
        sys.exit(EX_FOUND_WRONG)


def _read_status_of_folders(config_file: Path) -> dict[str, Any]:
    """Return the status of the digitd with the folders of a config that cannot be used.

    What is not known without the rest of the config is ``None``.
    """
    from daemon import config
    from daemon.errors import DigitdError
    from daemon.loop.status import read_status

    try:
        found = read_status(config.load_folders(config_file))
    except DigitdError:
        return {"running": None, "state": None}
    return found | dict.fromkeys(("waiting", "empty", "ignored"))  # they depend on `pattern`


def _describe_running(config_file: Path) -> str:
    """Return whether a digitd reads into the folders of a config that cannot be used."""
    from daemon import config
    from daemon.errors import DigitdError
    from daemon.loop.status import State, read_health

    try:
        health = read_health(config.load_folders(config_file))
    except DigitdError:
        return "whether digitd is running is not known without the config"
    if health.state is State.STOPPED:
        return "digitd is not running"
    return f"digitd is {health}; it keeps its earlier settings"


def _format_value(value: object) -> str:
    """Return a status value as readable text."""
    match value:
        case bool():
            return "yes" if value else "no"
        case dict():
            return " ".join(str(part) for part in value.values() if part not in {None, ""})
        case [*parts] if parts:
            return "; ".join(map(str, parts))
        case None | "" | []:
            return "-"
    return str(value)


@click.command()
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path(path_type=Path))
def init(folder: Path) -> None:
    """Write a commented config.yaml, inbox/ and outbox/ into DIR.

    \b
    Example:
      digitd init /srv/digits
    """
    from daemon import config
    from daemon.errors import ConfigError

    file = folder / "config.yaml"
    if is_there(file):
        raise ConfigError(
            f"{file} already exists and was not changed: choose another folder, or remove it"
        )
    try:
        for made in (folder, folder / "inbox", folder / "outbox"):
            made.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as new:
            new.write(config.template())
    except OSError as error:
        raise ConfigError(
            f"{error.filename}: cannot be created: {error.strerror}: choose another folder"
        ) from None
    echo(
        f"wrote {file}, {folder / 'inbox'} and {folder / 'outbox'}; "
        f"next: digitd run --config {shlex.quote(str(file))}"
    )


_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*|[0-9]+")


def _check_user(_context: click.Context, _option: click.Parameter, user: str) -> str:
    """Refuse what is no user's name, and could be more than one in a unit."""
    if not _USER.fullmatch(user):
        raise click.BadParameter(f"{user!r} is no user's name: give one such as digitd")
    return user


@click.command()
@config_option
@click.option(
    "--user",
    default="digitd",
    show_default=True,
    callback=_check_user,
    help="System user to run as.",
)
@click.option("--review", is_flag=True, help="Print the unit of the review page instead.")
@public_url_option
@click.option(
    "--password-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="With --public-url: a file whose first line is a password.",
)
@click.option(
    "--cluster",
    "cluster_units",
    is_flag=False,
    flag_value="both",
    type=click.Choice(["scheduler", "worker", "both"]),
    help="Print the units of a cluster's scheduler and workers instead, or one of them.",
)
def service(
    config_file: Path,
    user: str,
    cluster_units: str | None,
    public_url: str | None,
    password_file: Path | None,
    *,
    review: bool,
) -> None:
    """Print a systemd unit with this installation's paths filled in.

    Warns if the user of the unit cannot run this installation, and of folders below /tmp, which
    the service does not see.

    \b
    Example:
      digitd service --config /srv/digits/config.yaml > /etc/systemd/system/digitd.service
      digitd service --review --config /srv/digits/config.yaml \\
          > /etc/systemd/system/digitd-review.service
      digitd service --review --public-url https://digits.example.org/review \\
          --password-file /etc/digitd/password > /etc/systemd/system/digitd-review.service
      digitd service --cluster=worker --config /srv/digits/config.yaml \\
          > /etc/systemd/system/digitd-worker@.service
    """
    from daemon import config
    from daemon.assets import SCHEDULER_UNIT_TEMPLATE, WORKER_UNIT_TEMPLATE
    from daemon.review.address import Address
    from daemon.systemd.units import (
        find_hidden,
        find_obstacle,
        render_dask_unit,
        render_unit,
        review_options,
    )

    if (public_url or password_file) and not (public_url and review):
        raise click.UsageError("--public-url and --password-file belong to --review")
    try:
        Address.create(public_url, password_file=password_file)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    settings = config.load(config_file)
    for warning in filter(None, (find_obstacle(user), find_hidden(settings, config_file))):
        echo(f"digitd: {warning}", err=True)
    if cluster_units is None:
        options = review_options(public_url, password_file)
        unit = render_unit(settings, config_file, user, review=review, options=options)
        click.echo(unit, nl=False)
        return
    if cluster_units != "worker":
        click.echo(render_dask_unit(SCHEDULER_UNIT_TEMPLATE, settings.cluster, user), nl=False)
    if cluster_units != "scheduler":
        click.echo(render_dask_unit(WORKER_UNIT_TEMPLATE, settings.cluster, user), nl=False)


_REDRAW_SECONDS = 0.2
_RATE_SECONDS = 5.0  # the window over which the rate is averaged
_CLEAR_LINE = "\r\033[K"
_NARROWEST = 20  # columns; used if the terminal reports fewer


class _Footer(logging.StreamHandler[TextIO]):
    """The live line, and the handler that writes log lines above it.

    When the terminal is closed, digitd ends as it does after Ctrl-C.
    """

    def __init__(self, terminal: TextIO) -> None:
        super().__init__(terminal)
        self._is_closed = False
        self._text = ""
        self._drawn_at = -1.0
        self._samples: deque[tuple[float, int]] = deque()  # (time, rows so far)

    def show(self, progress: "Progress") -> None:
        """Redraw the line, at most five times a second."""
        now = time.monotonic()
        if now < self._drawn_at + _REDRAW_SECONDS:
            return
        self._drawn_at = now
        self._text = _format_live_line(progress, self._rate(now, progress.rows.total()))
        self._draw()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a log line above the live line."""
        self.clear()
        super().emit(record)
        self._draw()

    def clear(self) -> None:
        """Remove the live line from the terminal until it is drawn again."""
        self._write("")

    def _draw(self) -> None:
        self._write(self._text)

    def _write(self, text: str) -> None:
        """Write a text in place of the live line."""
        if self._is_closed:
            return
        terminal = self.stream.fileno()
        try:
            # Leave one column free, because a full line would make the terminal scroll.
            columns = max(_NARROWEST, os.get_terminal_size(terminal).columns) - 1
            self.stream.write(_CLEAR_LINE + text[:columns])
            self.stream.flush()
        except OSError:
            self._is_closed = True
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, terminal)  # what is logged until the end raises no error
            os.close(nowhere)
            signal.raise_signal(signal.SIGTERM)

    def _rate(self, now: float, rows: int) -> float:
        """Return files per second over the last ``_RATE_SECONDS``."""
        self._samples.append((now, rows))
        while len(self._samples) > 1 and self._samples[1][0] <= now - _RATE_SECONDS:
            self._samples.popleft()
        oldest, rows_then = self._samples[0]
        return (rows - rows_then) / (now - oldest) if now > oldest else 0.0


@contextmanager
def _show_footer(terminal: TextIO, level: int) -> Iterator[Callable[["Progress"], None]]:
    """Log to a terminal above a footer; yield the function that updates it."""
    footer = _Footer(terminal)
    set_up_logging(level, footer)
    try:
        yield footer.show
    finally:
        footer.clear()


def _format_live_line(progress: "Progress", rate: float) -> str:
    """Return the text of the line: state, rows by status, files per second, backlog."""
    counts = ", ".join(f"{progress.rows[status]:,} {status}" for status in Status)
    files = "file" if progress.backlog == 1 else "files"
    return (
        f"{progress.state} | {progress.rows.total():,} read: {counts} | {rate:,.0f} files/s | "
        f"{progress.backlog:,} {files} waiting | Ctrl-C stops"
    )
