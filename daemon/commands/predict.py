"""The command ``predict``, which reads files in place."""

import errno
import hashlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from daemon import ids
from daemon.commands import echo, echo_json, model_option, reads_option
from daemon.errors import EX_FOUND_WRONG, DestinationError
from daemon.files import is_there
from daemon.inbox.listing import Kind, Listing, natural
from daemon.layout import fit_name
from daemon.outbox import rows
from daemon.pattern import IMAGES
from daemon.records import FileContent, Job, Pictures, Placement, Reads, Result, Status
from daemon.text import printable

if TYPE_CHECKING:
    from daemon.reading.reader import Reader

_STDIN = Path("-")
_ENDING = ".png"  # of a picture


@click.command()
@click.argument("files", metavar="FILE…", nargs=-1, required=True, type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object per file.")
@click.option(
    "--picture",
    "pictures",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write each file's annotated picture into this folder.",
)
@reads_option
@model_option
def predict(
    files: tuple[str, ...], pictures: Path | None, reads: Reads, model: Path, *, as_json: bool
) -> None:
    """Read the given files in place, without moving them.

    Of a folder, all images are read, but not those in its folders; `-` is standard input.

    A missing or unreadable file gets an error line. The others are still read, and the exit
    status is 1.

    \b
    Example:
      digitd predict samples/digit1.png
      digitd predict --json --picture seen/ photo.jpg scans/
      digitd predict --reads number - < meter.jpg
    """
    from daemon.config import Config
    from daemon.reading.reader import Reader

    painted = Pictures.NONE if pictures is None else Pictures.ALL
    options = replace(Config().reading, model=model, pictures=painted, reads=reads)
    failed = False
    listed = chain.from_iterable(map(_list_images, map(Path, files)))
    for row in _read_files(Reader(options), listed, pictures, options.max_file_mb):
        failed |= row.verdict.status is Status.ERROR
        if as_json:
            echo_json(row.fields())
        else:
            echo(_format_row(row))
    if failed:
        sys.exit(EX_FOUND_WRONG)


def _list_images(path: Path) -> list[Path]:
    """Return the images of a folder in natural order; the path itself if it has none, or no folder.

    Their names have the ending of an image format, as with `pattern: images`.
    """
    if not path.is_dir():
        return [path]
    try:
        entries = Listing(path, (IMAGES,)).split()
        names = [name for name, kind in entries if kind is Kind.MATCHING]
    except OSError:  # its error line says why
        return [path]
    images = [path / name for name in sorted(names, key=natural) if (path / name).is_file()]
    return images or [path]


def _read_files(
    reader: "Reader", files: Iterable[Path], pictures: Path | None, max_file_mb: float
) -> Iterator[rows.Row]:
    """Yield a row for each file; ``original`` is its path as given.

    The annotated pictures go into the folder ``pictures``. Nothing in it is overwritten.

    Raises:
        DestinationError: a picture cannot be written.
    """
    new_ids = ids.Ids()
    for file in files:
        content, sha256 = _load(file, max_file_mb)
        job = Job(new_ids.next(), content.name, file, len(content.data), datetime.now(UTC))
        try:
            (reading,) = reader.read([content])
        except MemoryError:
            why = "cannot be read: out of memory"
            (reading,) = reader.read([FileContent(file.name, b"", rejection=why)])
        picture = "" if pictures is None else _save_picture(pictures, job, reading.picture)
        yield rows.Row(
            Result(job, reading.verdict, sha256, reading.model, has_picture=bool(picture)),
            Placement(picture, printable(str(file))),
            datetime.now(UTC),
        )


def _load(file: Path, max_file_mb: float) -> tuple[FileContent, str]:
    """Return a file's bytes and sha256, or why it cannot be read and an empty string."""
    from daemon.reader import load_file

    try:
        content = _load_stdin(max_file_mb) if file == _STDIN else load_file(file, max_file_mb)
    except IsADirectoryError:
        why = "has no images: name a folder with files such as .png and .jpg"
        return FileContent(file.name, b"", rejection=why), ""
    except OSError as error:
        return FileContent(file.name, b"", rejection=f"cannot be opened: {error.strerror}"), ""
    return content, "" if content.rejection else hashlib.sha256(content.data).hexdigest()


def _load_stdin(max_file_mb: float) -> FileContent:
    from daemon.reader import limit_size

    if sys.stdin is None:
        raise OSError(errno.EBADF, "standard input is closed")
    return limit_size("stdin", sys.stdin.buffer.read(int(max_file_mb * 1e6) + 1), max_file_mb)


def _save_picture(folder: Path, job: Job, picture: bytes) -> str:
    """Write a picture under a name that is free and printable; return its path."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stem = printable(Path(job.name).stem)
        place = folder / f"{fit_name(stem, len(_ENDING))}{_ENDING}"
        if is_there(place):
            end = f"-{job.id}{_ENDING}"
            # After a separator, the dash would start a formula: `printable` adds a quote.
            place = folder / printable(f"{fit_name(stem, len(end) + 1)}{end}")
        with place.open("xb") as new:
            new.write(picture)
    except OSError as error:
        raise DestinationError(
            f"{folder}: the picture of {job.path} cannot be written: {error.strerror}: name "
            "another folder with --picture"
        ) from None
    return printable(str(place))


def _format_row(row: rows.Row) -> str:
    verdict = row.verdict
    digit = "-" if verdict.text is None else verdict.text
    confidence = "     -" if verdict.confidence is None else f"{verdict.confidence:6.1%}"
    reason = f"  {row.reason}" if row.reason else ""
    return f"{row.original}: {digit} {confidence}  {verdict.status}{reason}"
