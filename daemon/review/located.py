"""Read a row from the place in its table that the index has."""

from daemon import ids
from daemon.outbox import rows
from daemon.review.follow import Follower

_LOCATE = "SELECT number, position, reread, reread_position FROM rows WHERE id = ?"
# What a reread replaces in a row.
_VERDICT = ("status", "digit", "confidence", *rows.PROBABILITIES, "reason", "model")


def read_row(follower: Follower, job_id: str) -> dict[str, str] | None:
    """Return the cells of a row by column, with the verdict of the newest reread.

    ``None`` if no row has this id, or if its table is being indexed again.
    """
    found = follower.index.reader().execute(_LOCATE, (ids.decode(job_id),)).fetchone()
    if found is None:
        return None
    number, position, reread, reread_position = found
    row = _read(follower, job_id, number, position)
    newest = None if reread is None else _read(follower, job_id, reread, reread_position)
    if row is None or newest is None:
        return row
    if not was_seen(row):
        row["picture"] = ""  # it does not show what the model of the reread saw
    return row | {column: newest[column] for column in _VERDICT}


def was_seen(row: dict[str, str]) -> bool:
    """Return whether a model was asked about a row, so that the picture shows its input.

    A number of several characters has no probabilities.
    """
    return bool(row["digit"] or row[rows.PROBABILITIES[0]])


def _read(follower: Follower, job_id: str, number: int, position: int) -> dict[str, str] | None:
    """Return the row with an id in a followed table; ``None`` if it is not at the position."""
    try:
        row = rows.parse(follower.read_line(number, position))
    except OSError:
        return None
    return row if row is not None and row["id"] == job_id else None
