"""The command that reads archived originals again."""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from daemon.commands import MODEL_HELP, begin_stage, config_option, echo
from daemon.errors import EX_FOUND_WRONG
from daemon.invocation import command
from daemon.records import Status
from daemon.text import count, printable

if TYPE_CHECKING:
    from daemon.config import Config
    from daemon.loop.originals import LeftOut, Selection
    from daemon.loop.reread import Reread

_NICER = 10
_MOST_TILES = 48
_MOST_NAMES = 5


def _parse_statuses(
    _context: click.Context, _option: click.Parameter, values: tuple[str, ...]
) -> frozenset[Status]:
    """Return what was given: the option may be repeated, and each value may be a list."""
    words = [word.strip() for value in values for word in value.split(",")]
    for word in words:
        if word not in set(Status):
            raise click.BadParameter(f"{word!r} is not one of {', '.join(Status)}.")
    return frozenset(map(Status, words))


def _parse_day(_context: click.Context, _option: click.Parameter, value: str | None) -> date | None:
    if value is None:
        return None
    try:
        return datetime.strptime(value, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        raise click.BadParameter(f"{value!r} is no day: write it like 2026-11-24.") from None


@click.command()
@config_option
@click.option(
    "--model",
    "wanted",
    metavar="ID",
    help=f"{MODEL_HELP}; default: the model that `run` would use.",
)
@click.option(
    "--status",
    "statuses",
    metavar="STATUS",
    multiple=True,
    callback=_parse_statuses,
    help="Only rows that are ok, unsure or error, or were before this model read them again; "
    "repeat it, or separate several by commas.",
)
@click.option(
    "--since",
    metavar="DAY",
    callback=_parse_day,
    help="Only rows received on this day (UTC) or later, such as 2026-11-24.",
)
def reread(
    config_file: Path, wanted: str | None, statuses: frozenset[Status], since: date | None
) -> None:
    """Read archived originals again, and show what changed.

    The results go into outbox/rereads/. `digitd results` and the review page use them instead of
    the verdicts in predictions.csv, which stays as it is; what a person answered still counts
    more. If several models read a row again, the reread that was started last counts.

    Rows that this model has read again already are skipped: after an interruption, the same
    command continues. digitd may run meanwhile.

    \b
    Example:
      digitd reread
      digitd reread --model 3f2a --status unsure,error --since 2026-11-24
    """
    from daemon import config
    from daemon.loop.originals import Selection
    from daemon.loop.reread import Reread
    from daemon.models.folder import choose_model
    from daemon.systemd.journal import set_up_logging

    is_terminal = sys.stderr.isatty()
    set_up_logging(logging.ERROR if is_terminal else logging.WARNING)
    settings = config.load(config_file)
    selection = Selection(statuses, since)
    with (
        closing(Reread(settings, choose_model(settings, wanted), selection)) as job,
        _stopped_by_signals(job),
    ):
        os.nice(_NICER)  # a daemon that reads new files goes first
        number = job.count()
        if job.originals.numbers:
            echo(_warn_of_numbers(job.originals.numbers), err=True)
        with begin_stage("reading again", number, "row", with_position=True) as bar:
            job.run(bar.update)
        if job.is_stopped:
            echo(
                f"digitd: stopped after {job.done:,} of {count(job.originals.wanted, 'row')}: the "
                "same command continues where this one ended",
                err=True,
            )
            sys.exit(EX_FOUND_WRONG)
        _report(job, settings, selection)


@contextmanager
def _stopped_by_signals(job: "Reread") -> Iterator[None]:
    """Stop at Ctrl-C and SIGTERM."""
    stopping = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: job.stop()) for number in stopping}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _warn_of_numbers(number: int) -> str:
    """Return what becomes of rows that are numbers where digits are read."""
    return (
        f"digitd: warning: {count(number, 'row')} with a number of several characters will be "
        "`unsure`, because the config has `reads: digit`: a reread with `reads: number` undoes this"
    )


def _report(job: "Reread", settings: "Config", selection: "Selection") -> None:
    """Print what a reread has changed, and draw it."""
    from daemon.loop.reread_sheet import draw_changes
    from daemon.outbox.reread_changes import find_changes

    table = job.writer.path
    changes = find_changes(settings.outbox, table.name, selection.includes, _MOST_TILES)
    now = job.done - job.originals.done_before
    echo(f"{count(now, 'row')} read again with the model {job.model}: {table}")
    if job.originals.done_before:
        echo(f"including {count(job.originals.done_before, 'row')} that it had read before:")
    lines = [(changes.same, "as before")]
    lines += [(number, change.value) for change, number in changes.counts.items()]
    unreadable = job.done - sum(number for number, _ in lines)
    if unreadable > 0:
        lines.append((unreadable, "could not be read, and keep their verdict"))
    width = len(f"{max(number for number, _ in lines):,}")
    for number, text in lines:
        echo(f"  {number:{width},} {text}")
    for text in _describe_left_out(job.originals.left_out):
        echo(f"left out: {text}")
    picture = table.with_suffix(".png")
    draw_changes(settings, changes, f"read again with {job.model}", picture)
    if changes.examples:
        echo(f"what changed: {picture}")


def _describe_left_out(left_out: "LeftOut") -> Iterator[str]:
    """Yield a line for each reason why originals were not read again."""
    if left_out.deleted:
        yield f"{count(left_out.deleted, 'original')} that keep_days has deleted"
    if left_out.retried:
        yield f"{count(left_out.retried, 'file')} that `digitd retry` has taken out of failed/"
    if left_out.unpublished:
        yield f"{count(left_out.unpublished, 'file')} that digitd has not moved into the outbox yet"
    for names, why in ((left_out.missing, "missing"), (left_out.changed, "changed")):
        if names:
            shown = ", ".join(map(printable, names[:_MOST_NAMES]))
            more = ", \N{HORIZONTAL ELLIPSIS}" if len(names) > _MOST_NAMES else ""
            yield (
                f"{count(len(names), 'original')} {why} ({shown}{more}): "
                f"{command('audit')} says what to do"
            )
