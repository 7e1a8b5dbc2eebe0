"""The commands on an outbox: audit, results, review, retry."""

import getpass
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from daemon.commands import (
    FORMATS,
    config_option,
    echo,
    make_bar,
    public_url_option,
)
from daemon.errors import EX_FOUND_WRONG, RetryError, StorageError
from daemon.files import is_there
from daemon.systemd.journal import set_up_logging
from daemon.text import count, escape

_POLL_MS = 250  # how often `results --follow` looks for rows and answers
TEXT_FORMATS = frozenset({"csv", "jsonl"})


@click.command()
@config_option
def audit(config_file: Path) -> None:
    """Check that every file has one row and every row has its files.

    Lists each discrepancy, and exits with 1 if there is one.

    \b
    Example:
      digitd audit --config /srv/digits/config.yaml
    """
    from daemon import config
    from daemon.loop.reload import describe_folders_not_taken, find_folders_in_use
    from daemon.loop.status import was_last_outbox
    from daemon.outbox.audit import find_discrepancies

    new = config.load(config_file)
    settings = find_folders_in_use(new)
    if fault := describe_folders_not_taken(new, settings):
        echo(f"digitd: {fault}", err=True)
    if not settings.outbox.is_dir() and was_last_outbox(settings):
        raise StorageError(
            f"outbox: {settings.outbox} is missing, and digitd has written rows there: mount its "
            "disk, or move the folder back"
        )
    with make_bar("checking", 0) as bar:
        found = find_discrepancies(settings, bar.update)
    for line in found.discrepancies:
        echo(line)
    for line in found.notes:
        echo(f"note: {line}")
    number = len(found.discrepancies)
    click.echo(
        f"{count(found.rows, 'row')}, {count(found.files, 'file')}, {found.in_flight} in work, "
        f"{count(number, 'discrepancy', 'discrepancies')}"
    )
    if found.discrepancies:
        sys.exit(EX_FOUND_WRONG)


@click.command()
@config_option
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write to this file instead of standard output; it is replaced when complete.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    help="Default: what the ending of --out says, or else csv. parquet needs pyarrow.",
)
@click.option(
    "--follow",
    is_flag=True,
    help="Print JSON lines: all rows, then each row that is added or answered, until Ctrl-C.",
)
@click.option(
    "--after", metavar="ID", default="", help="With --follow: only what came after this row."
)
def results(
    config_file: Path, out: Path | None, format_: str | None, *, follow: bool, after: str
) -> None:
    """Print each row of predictions.csv with its final answer.

    Adds two columns: `answer`, and `answered_by` (`person` or `model`). A person's newest answer
    counts more than the model's. Rows that are not `ok` have no answer until a person gives one.

    On a terminal this is a short table of the newest rows, unless --format is given.

    \b
    Example:
      digitd results
      digitd results --out results.parquet
      digitd results --follow | mosquitto_pub -t digits -l
      digitd results --format jsonl | jq -r 'select(.answer == null) | .file'
    """
    from daemon import config
    from daemon.outbox.results import final_rows, open_output, write
    from daemon.review import workbook

    if follow:
        if out is not None or format_ not in {None, "jsonl"}:
            raise click.UsageError("--follow prints JSON lines: leave out --out and --format")
        _follow(config.load(config_file).outbox, after)
        return
    if after:
        raise click.UsageError("--after needs --follow")
    chosen = _choose_format(out, format_)
    is_terminal = out is None and sys.stdout.isatty()
    if is_terminal and chosen not in TEXT_FORMATS:
        raise click.UsageError(f"--format {chosen} is not text: name a file with --out")
    settings = config.load(config_file)
    outbox = settings.outbox
    if is_terminal and format_ is None:
        _print_newest(outbox)
        return
    others = [settings.inbox, settings.models, *filter(None, [settings.file])]
    with open_output(out, outbox, others) as stream:
        if chosen == "xlsx":
            limits = workbook.Limits(settings.max_megapixels, settings.max_file_mb)
            workbook.write(outbox, limits, stream)
        else:
            write(final_rows(outbox), stream, chosen)


def _print_newest(outbox: Path) -> None:
    """Print the newest rows as a table; see ``format_newest``."""
    from daemon.commands.terminal import format_newest
    from daemon.outbox import rows
    from daemon.outbox.archive import original_path
    from daemon.outbox.results import final_rows

    place = rows.COLUMNS.index("original")

    def has_file(cells: list[str]) -> bool:
        path = original_path(outbox, cells[place])
        return path is not None and is_there(path)

    size = shutil.get_terminal_size()
    text = format_newest(final_rows(outbox), size.columns, size.lines, has_file)
    click.echo(text, nl=False)


def _follow(outbox: Path, after: str) -> None:
    """Print final answers as they come, until Ctrl-C or until nobody reads them."""
    import select

    from daemon.outbox.feed import Feed
    from daemon.outbox.results import format_json

    out = sys.stdout.buffer
    closed = select.poll()
    closed.register(out, 0)  # only errors: the other end of a pipe was closed
    try:
        feed = Feed(outbox)
        finals = feed.start(after)
        while True:
            for final in finals:
                out.write(format_json(final).encode())
            out.flush()
            if closed.poll(_POLL_MS):
                break
            finals = feed.poll()
    except (BrokenPipeError, KeyboardInterrupt):
        # What is left in the buffer would be an error at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())


def _choose_format(out: Path | None, given: str | None) -> str:
    """Return the format that --format names, or else the ending of --out; csv without both.

    Raises:
        UsageError: they contradict each other, or the ending names no format.
    """
    if out is None:
        return given or "csv"
    ending = out.suffix.lower().removeprefix(".")
    if given in {None, ending} and ending in FORMATS:
        return ending
    name = f"--out {escape(str(out))}"
    if given is None:
        endings = ", ".join(f".{each}" for each in FORMATS)
        raise click.UsageError(
            f"{name}: its ending names no format: use one of {endings}, or give --format"
        )
    if ending in FORMATS:
        raise click.UsageError(
            f"{name}: its ending is that of another format than --format {given}: end it with "
            f".{given}, or leave out --format"
        )
    return given


@click.command()
@config_option
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    default=8383,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="The port to listen on; 0 for any free one.",
)
@click.option("--no-browser", is_flag=True, help="Only print the URL.")
@click.option(
    "--tls-cert",
    "certificate",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A certificate, in PEM format.",
)
@click.option(
    "--tls-key",
    "key",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Its private key.",
)
@click.option(
    "--password-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A file whose first line is a password.",
)
@public_url_option
def review(
    config_file: Path,
    *,
    no_browser: bool,
    **address_options: Any,  # noqa: ANN401 - the fields of an Address
) -> None:
    """Serve a page on which a person checks the doubtful answers.

    Prints the page's URL and opens it. Works with or without a running digitd. An address
    that other machines can reach needs TLS and a password. So does a public URL, whose TLS is
    that of the reverse proxy.

    \b
    Example:
      digitd review
      digitd review --no-browser --port 8000
      digitd review --public-url https://digits.example.org/review \\
          --password-file /etc/digitd/password
    """
    from daemon import config
    from daemon.review import server
    from daemon.review.address import Address
    from daemon.systemd.notify import notify

    try:
        address = Address.create(**address_options)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    settings = config.load(config_file)
    set_up_logging()

    def ready(url: str) -> None:
        click.echo(f"The review page: {url}")
        click.echo("Stop it with Ctrl-C.")
        notify("READY=1")
        if not no_browser:
            server.open_browser(url)

    server.serve(settings, address, _user_name(), ready)


def _user_name() -> str:
    """Return the name of this user, or the id of one without a name, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # KeyError before Python 3.13
        return str(os.getuid())


@click.command()
@click.argument("names", metavar="[NAME]…", nargs=-1)
@config_option
@click.option("--all", "everything", is_flag=True, help="Put back all files.")
def retry(config_file: Path, names: tuple[str, ...], *, everything: bool) -> None:
    """Put files from the outbox's failed/ back into the inbox.

    Each is read again as a new file and gets a new row. Exits with 1 if one could not be put back.

    \b
    Example:
      digitd retry digit7.png digit8.png
      digitd retry --all
    """
    from daemon import config
    from daemon.inbox.put import list_failed, retry_file
    from daemon.layout import FAILED

    if everything and names:
        raise click.UsageError(
            f"--all puts back every file in {FAILED}/: leave out the names, or leave out --all"
        )
    if not everything and not names:
        raise click.UsageError(f"which files? give their names in {FAILED}/, or --all")
    settings = config.load(config_file)
    status = 0
    for given in list_failed(settings.outbox) if everything else names:
        name = _name_failed(given, settings.outbox / FAILED)
        try:
            inbox_name = retry_file(settings, name)
            echo(f"{name}: put back into the inbox as {inbox_name}")
        except RetryError as error:
            echo(f"digitd: {error}", err=True)
            status = EX_FOUND_WRONG
    sys.exit(status)


def _name_failed(given: str, folder: Path) -> str:
    """Return the name in ``failed/`` of a file that may be given by its path."""
    path = Path(given).absolute()
    if path.is_relative_to(folder):
        return str(path.relative_to(folder))
    return given.removeprefix(f"{folder.name}/")
