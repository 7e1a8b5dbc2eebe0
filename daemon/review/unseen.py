"""The look-through's pages: sure rows that nobody has answered, in the order of their texts.

The order is that of the texts' lengths, the texts, and arrival. A page seeks to one text after the
other, and there to the first row whose file is not deleted.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from daemon import ids
from daemon.records import is_number
from daemon.review.schema import UNSEEN

# Of the same length, then of any greater one.
_NEXT_TEXTS = (
    "length = ? AND digit > ? ORDER BY digit",
    "length > ? ORDER BY length, digit",
)


@dataclass(frozen=True, slots=True)
class Tile:
    """A sure row as the look-through shows it; ``sha256`` is empty if it is not known."""

    id: str
    sha256: str
    file: str
    digit: str
    is_sample: bool


def page(db: sqlite3.Connection, after: str, through: str, limit: int) -> list[Tile]:
    """Return the rows after a row.

    Args:
        db: the index.
        after: the id of the row; empty for the first page.
        through: the highest id of a row whose file digitd may have deleted; empty for none.
        limit: how many rows to return.
    """
    first = ids.decode(through) if through else 0
    tiles = list[Tile]()
    for text, start in _texts(db, after):
        found = db.execute(
            f"SELECT id, sha256, file, digit, sampled FROM rows INDEXED BY by_text WHERE {UNSEEN} "  # noqa: S608 - no text of a user's
            "AND length = ? AND digit = ? AND id > ? ORDER BY id LIMIT ?",
            (len(text), text, max(first, start), limit - len(tiles)),
        )
        tiles += [
            Tile(ids.encode(number), (content or b"").hex(), file, digit, bool(is_sample))
            for number, content, file, digit, is_sample in found
        ]
        if len(tiles) == limit:
            break
    return tiles


def count(db: sqlite3.Connection, through: str) -> int:
    """Return how many rows all pages have together."""
    if not through:
        found = db.execute(f"SELECT ifnull(sum(rows), 0) FROM counts WHERE {UNSEEN}")  # noqa: S608 - no text of a user's
    else:
        scan = f"SELECT count(*) FROM rows INDEXED BY by_arrival WHERE id > ? AND {UNSEEN}"  # noqa: S608 - no text of a user's
        found = db.execute(scan, (ids.decode(through),))
    return int(found.fetchone()[0])


def _texts(db: sqlite3.Connection, after: str) -> Iterator[tuple[str, int]]:
    """Yield the texts from a row's on, and the number of the id after which their rows begin."""
    text = ""
    if after:
        number = ids.decode(after)
        found = db.execute("SELECT digit FROM rows WHERE id = ?", (number,)).fetchone()
        if found is not None:
            text = found[0]
            yield text, number
    while True:
        for condition in _NEXT_TEXTS:
            scan = (
                f"SELECT digit FROM rows INDEXED BY by_text WHERE {UNSEEN} AND {condition} LIMIT 1"  # noqa: S608 - no text of a user's
            )
            values = (len(text), text)[: condition.count("?")]
            if (found := db.execute(scan, values).fetchone()) is not None:
                break
        else:
            return
        (text,) = found
        if is_number(text):  # somebody may have edited a cell
            yield text, 0
