"""The command ``predict``, which reads files in place."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import click

from daemon.commands.options import model_option
from daemon.errors import EX_FOUND_WRONG
from daemon.outbox.rows import Row


@click.command()
@click.argument("files", metavar="FILE…", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object per file.")
@click.option(
    "--picture",
    "pictures",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write each file's annotated picture into this folder.",
)
@model_option
def predict(files: tuple[Path, ...], pictures: Path | None, model: Path, *, as_json: bool) -> None:
    """Read the given files in place, without moving them.

    A missing or unreadable file gets an error line. The others are still read, and the exit
    status is 1.

    \b
    Example:
      digitd predict samples/digit1.png
      digitd predict --json --picture seen/ photo.jpg
    """
    from daemon.commands.predicting import predict as read_files
    from daemon.config import Config
    from daemon.reading.reader import Reader
    from daemon.records import Status

    options = replace(Config().reading, model=model, pictures=pictures is not None)
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
