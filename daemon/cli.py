"""The command line: parse arguments, set up logging, print, exit."""

import json
import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from daemon import __version__
from daemon.errors import EX_FOUND_WRONG, EX_NOT_RUNNING, DigitdError, exit_status
from daemon.ledger.rows import Row
from daemon.service import logs
from daemon.training import commands

# Each command imports what it needs when it runs, so that `digitd --help` is fast and the daemon
# does not load modules that only training needs.
# D301: \b in a docstring tells click to keep the line breaks.
# ruff: noqa: PLC0415, D301

_PATH = click.Path(path_type=Path)


class _Commands(click.Group):
    """A command group that prints a DigitdError's message and exits with its status."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - the signature is click's
        try:
            return super().invoke(ctx)
        except DigitdError as error:
            click.echo(f"digitd: {error}", err=True)
            ctx.exit(error.exit_status)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="digitd")
def main() -> None:
    """Watch a folder, read the handwritten digit in each image, record every result.

    \b
    Start with:
      digitd init          write config.yaml, inbox/ and outbox/ here
      digitd run           then drop digit1.png into inbox/
    """


def _config_option(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--config",
        "config_file",
        default="config.yaml",
        show_default=True,
        type=click.Path(dir_okay=False, path_type=Path),
        help="The config file.",
    )(command)


@main.command()
@_config_option
@click.option("--once", is_flag=True, help="Read what is in the inbox now, print a summary, exit.")
@click.option("-q", "--quiet", is_flag=True, help="Log only warnings and errors.")
@click.option("-v", "--verbose", is_flag=True, help="Log details as well.")
def run(config_file: Path, *, once: bool, quiet: bool, verbose: bool) -> None:
    """Watch the inbox and read the files dropped into it until stopped.

    \b
    Example:
      digitd run --config /srv/digits/config.yaml
      digitd run --once
    """
    from daemon.records import Status
    from daemon.service import footer
    from daemon.service.service import Service, summary

    level = logs.level(quiet=quiet, verbose=verbose)
    if not once:
        if sys.stderr.isatty() and not quiet:
            with footer.shown(sys.stderr, level) as show:
                Service(config_file, on_turn=show).run()
        else:
            logs.set_up(level)
            Service(config_file).run()
        return
    # On a terminal, show a progress bar instead of one line per file, and list errors after it.
    watched = sys.stderr.isatty() and not quiet and not verbose
    logs.set_up(logging.ERROR if watched else level)
    failed: list[Row] = []
    bar = click.progressbar(
        length=0, label="reading", show_pos=True, file=sys.stderr, hidden=not watched
    )

    def count(row: Row) -> None:
        bar.update(1)
        if watched and row.verdict.status is Status.ERROR:
            failed.append(row)

    service = Service(config_file, once=True, on_row=count)
    bar.length = service.waiting
    with bar:
        counts = service.run()
    for row in failed:
        click.echo(f"{row.file}: {row.verdict.reason}; it is now {row.original}", err=True)
    click.echo(summary(counts))


@main.command()
@click.argument("files", metavar="FILE…", nargs=-1, required=True, type=_PATH)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object per file.")
@click.option(
    "--picture",
    "pictures",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write each file's annotated picture into this folder.",
)
@click.option(
    "--model",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A .keras file; default: the model that comes with digitd.",
)
def predict(
    files: tuple[Path, ...], pictures: Path | None, model: Path | None, *, as_json: bool
) -> None:
    """Read the given files in place, without moving them.

    A missing or unreadable file gets an error line. The others are still read, and the exit
    status is 1.

    \b
    Example:
      digitd predict samples/digit1.png
      digitd predict --json --picture seen/ photo.jpg
    """
    from daemon.assets import SHIPPED_MODEL
    from daemon.config import Config
    from daemon.reading.reader import Reader
    from daemon.records import Status
    from daemon.service.predict import predict as read_files

    options = replace(Config().reading, model=model or SHIPPED_MODEL, pictures=pictures is not None)
    failed = False
    for row in read_files(Reader(options), files, pictures):
        failed |= row.verdict.status is Status.ERROR
        if as_json:
            click.echo(json.dumps(row.fields(), ensure_ascii=False))
        else:
            click.echo(_line(row))
    if failed:
        sys.exit(EX_FOUND_WRONG)


def _line(row: Row) -> str:
    verdict = row.verdict
    digit = "-" if verdict.digit is None else str(verdict.digit)
    sure = "     -" if verdict.confidence is None else f"{verdict.confidence:6.1%}"
    reason = f"  {verdict.reason}" if verdict.reason else ""
    return f"{row.original}: {digit} {sure}  {verdict.status}{reason}"


@main.command()
@_config_option
def check(config_file: Path) -> None:
    """Check whether `run` would start: config, folders, watch mode, model.

    Changes nothing. Exits with the status that `run` would exit with.

    \b
    Example:
      digitd check --config /srv/digits/config.yaml
    """
    from daemon import config
    from daemon.service.check import check as findings

    status = 0
    for finding in findings(config.load(config_file)):
        click.echo(f"{'WRONG' if finding.fault else 'ok   '} {finding.text}")
        status = status or exit_status(finding.fault)
    sys.exit(status)


@main.command()
@_config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(config_file: Path, *, as_json: bool) -> None:
    """Show whether digitd is running, since when, and what it has read.

    Exits with 3 if it is not running, as systemctl does.

    \b
    Example:
      digitd status --config /srv/digits/config.yaml
    """
    from daemon import config
    from daemon.service import status as page

    found = page.read(config.load(config_file))
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        for key, value in found.items():
            click.echo(f"{key.replace('_', ' ') + ':':12} {_shown(value)}")
    if not found["running"]:
        sys.exit(EX_NOT_RUNNING)


def _shown(value: object) -> str:
    """Return a status value as readable text."""
    match value:
        case bool():
            return "yes" if value else "no"
        case dict():
            return " ".join(str(part) for part in value.values() if part not in {None, ""})
        case None | "":
            return "-"
    return str(value)


@main.command()
@_config_option
def audit(config_file: Path) -> None:
    """Check that every file has one row and every row has its files.

    Lists each discrepancy, and exits with 1 if there is one.

    \b
    Example:
      digitd audit --config /srv/digits/config.yaml
    """
    from daemon import config
    from daemon.ledger.audit import audit as balance

    settings = config.load(config_file)
    with click.progressbar(
        length=0, label="checking", file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:
        found = balance(settings, bar.update)
    for line in found.breaks:
        click.echo(line)
    click.echo(
        f"{found.rows} rows, {found.files} files, {found.in_work} in work, "
        f"{len(found.breaks)} discrepancies"
    )
    if found.breaks:
        sys.exit(EX_FOUND_WRONG)


@main.command()
@_config_option
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write to this file instead of standard output; it is replaced when complete.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["csv", "jsonl", "parquet"]),
    default="csv",
    show_default=True,
    help="parquet needs the package pyarrow.",
)
def results(config_file: Path, out: Path | None, kind: str) -> None:
    """Print each row of predictions.csv with its final answer.

    Adds two columns: `answer`, and `answered_by` (`person` or `model`). A person's newest answer
    counts more than the model's. Rows that are not `ok` have no answer until a person gives one.

    \b
    Example:
      digitd results --out results.csv
      digitd results --format jsonl | jq -r 'select(.answer == null) | .file'
    """
    from daemon import config
    from daemon.ledger import export
    from daemon.ledger.results import results as final_answers

    outbox = config.load(config_file).outbox
    finals = final_answers(outbox)
    if out is not None:
        export.save(finals, out, kind, outbox)
        return
    if kind == "parquet" and sys.stdout.isatty():
        raise click.UsageError("a Parquet file is not text: name a file with --out")
    export.write(finals, sys.stdout.buffer, kind)
    sys.stdout.buffer.flush()


@main.command()
@_config_option
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    default=8383,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="The port to listen on; 0 for any free one.",
)
@click.option("--no-browser", is_flag=True, help="Only print the URL.")
@click.option("--tls-cert", metavar="FILE", type=_PATH, help="A certificate, in PEM format.")
@click.option("--tls-key", metavar="FILE", type=_PATH, help="Its private key.")
@click.option(
    "--password-file", metavar="FILE", type=_PATH, help="A file whose first line is a password."
)
def review(
    config_file: Path,
    host: str,
    port: int,
    tls_cert: Path | None,
    tls_key: Path | None,
    password_file: Path | None,
    *,
    no_browser: bool,
) -> None:
    """Serve a page on which a person checks the doubtful answers.

    Prints the page's URL and opens it. Works beside a running digitd and without one. An address
    that other machines can reach needs TLS and a password.

    \b
    Example:
      digitd review
      digitd review --no-browser --port 8000
    """
    import getpass

    from daemon import config
    from daemon.errors import MissingPackageError
    from daemon.service.notify import notify

    try:
        from daemon.review import server
        from daemon.review.access import is_loopback, read_password
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        raise MissingPackageError(
            f"{package} is not installed, and the review page needs it: "
            "pip install 'digitd[review]'"
        ) from None
    secured = (tls_cert, tls_key, password_file)
    if not is_loopback(host) and not all(secured):
        raise click.UsageError(
            f"--host {host} can be reached from other machines: give --tls-cert, --tls-key and "
            "--password-file too, or leave it out and use `ssh -L`"
        )
    if any(secured) and not all(secured):
        raise click.UsageError("--tls-cert, --tls-key and --password-file belong together")
    settings = config.load(config_file)
    password = read_password(password_file) if password_file is not None else ""
    logs.set_up()

    def ready(url: str) -> None:
        click.echo(f"The review page: {url}")
        click.echo("Stop it with Ctrl-C.")
        notify("READY=1")
        if not no_browser:
            server.open_browser(url)

    address = server.Address(host, port, password, tls_cert, tls_key)
    server.serve(settings, address, getpass.getuser(), ready)


@main.command()
@click.argument("names", metavar="[NAME]…", nargs=-1)
@_config_option
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
    from daemon.intake.retry import failed_names
    from daemon.intake.retry import retry as put_back

    if everything == bool(names):
        raise click.UsageError("give the names of files in failed/, or --all")
    settings = config.load(config_file)
    status = 0
    for one in put_back(settings, failed_names(settings.outbox) if everything else names):
        if one.fault is None:
            click.echo(f"{one.name}: put back into the inbox as {one.inbox_name}")
        else:
            click.echo(f"digitd: {one.fault}", err=True)
            status = EX_FOUND_WRONG
    sys.exit(status)


@main.command()
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
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("inbox", "outbox"):
            (folder / name).mkdir(exist_ok=True)
        with file.open("x", encoding="utf-8") as new:
            new.write(config.template())
    except FileExistsError:
        raise ConfigError(
            f"{file} already exists and was not changed: choose another folder, or remove it"
        ) from None
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from None
    click.echo(
        f"wrote {file}, {folder / 'inbox'} and {folder / 'outbox'}; "
        f"next: digitd run --config {file}"
    )


@main.command()
@_config_option
@click.option("--user", default="digitd", show_default=True, help="System user to run as.")
@click.option("--review", is_flag=True, help="Print the unit of the review page instead.")
def service(config_file: Path, user: str, *, review: bool) -> None:
    """Print a systemd unit with this installation's paths filled in.

    \b
    Example:
      digitd service --config /srv/digits/config.yaml > /etc/systemd/system/digitd.service
      digitd service --review --config /srv/digits/config.yaml \\
          > /etc/systemd/system/digitd-review.service
    """
    from daemon import config
    from daemon.service.unit import unit

    click.echo(unit(config.load(config_file), config_file, user, review=review), nl=False)


main.add_command(commands.train)
main.add_command(commands.evaluate)
