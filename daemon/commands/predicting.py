"""Read files in place, for ``digitd predict``."""

import hashlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from daemon import ids
from daemon.errors import ConfigError
from daemon.outbox import rows
from daemon.reading.reader import Reader
from daemon.records import Job, Parcel, Placement, Result


def predict(reader: Reader, files: Iterable[Path], pictures: Path | None) -> Iterator[rows.Row]:
    """Yield a row for each file; ``original`` is its path as given.

    Args:
        reader: the loaded model.
        files: the files to read, in this order; they are not changed.
        pictures: a folder for the annotated pictures; created if missing. Nothing in it is
            overwritten.

    Raises:
        ConfigError: a picture cannot be written.
    """
    made = ids.Ids()
    for file in files:
        parcel, sha256 = _load(file)
        job = Job(made.next(), file.name, file, len(parcel.data))
        (reading,) = reader.read([parcel])
        picture = "" if pictures is None else str(_save(pictures, job, reading.picture))
        yield rows.Row(
            Result(job, reading.verdict, sha256, reading.model, has_picture=bool(picture)),
            Placement(job, picture, rows.printable(str(file))),
            datetime.now(UTC),
        )


def _load(file: Path) -> tuple[Parcel, str]:
    """Return a file's bytes and sha256, or why it cannot be read and an empty string."""
    try:
        data = file.read_bytes()
    except OSError as error:
        return Parcel(file.name, b"", refusal=f"cannot be opened: {error.strerror}"), ""
    return Parcel(file.name, data), hashlib.sha256(data).hexdigest()


def _save(folder: Path, job: Job, picture: bytes) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        place = folder / f"{job.path.stem}.png"
        if place.exists():
            place = folder / f"{job.path.stem}-{job.id}.png"
        with place.open("xb") as new:
            new.write(picture)
    except OSError as error:
        raise ConfigError(
            f"the picture of {job.path} cannot be written into {folder}: {error.strerror}"
        ) from None
    return place
