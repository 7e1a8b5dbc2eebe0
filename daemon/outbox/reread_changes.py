"""What a reread changed: how many verdicts of each kind, and examples."""

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from enum import Enum
from itertools import chain, zip_longest
from pathlib import Path

from daemon.outbox import results, rows
from daemon.outbox.rereads import Rereads
from daemon.outbox.table import open_tables
from daemon.records import Status

_FILE, _STATUS, _DIGIT, _CONFIDENCE, _ORIGINAL = map(
    rows.COLUMNS.index, ("file", "status", "digit", "confidence", "original")
)


class Change(Enum):
    """How a verdict differs from the one before; the values are for people."""

    OTHER = "sure before and now, with another answer"
    DOUBTFUL = "sure before, doubtful now"
    SURE = "doubtful before, sure now"
    GUESS = "doubtful before and now, with another guess"
    READABLE = "could not be read before, can be read now"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One verdict on a file.

    Attributes:
        status: one of ``Status``.
        text: the digit or number; empty if there is none.
        confidence: of the text; ``None`` if there is none.
    """

    status: str
    text: str
    confidence: float | None


@dataclass(frozen=True, slots=True)
class Example:
    """A row whose verdict has changed.

    Attributes:
        change: how.
        file: the name under which it was dropped.
        original: the path of its original, relative to the outbox.
        before, after: the verdicts.
    """

    change: Change
    file: str
    original: str
    before: Verdict
    after: Verdict


@dataclass(frozen=True, slots=True)
class Changes:
    """What a reread changed, compared with the verdicts without it.

    Attributes:
        same: how many rows have the same status and text as before.
        counts: how many have changed in each way.
        examples: of each way that occurs, if there is room; in the order of ``Change``.
    """

    same: int
    counts: dict[Change, int]
    examples: tuple[Example, ...]


def find_changes(
    outbox: Path, name: str, includes: Callable[[list[str]], bool], at_most: int
) -> Changes:
    """Compare a table of rereads with the verdicts that count without it.

    Args:
        outbox: has the tables.
        name: of the table.
        includes: returns whether a row, as it is without the table, is compared.
        at_most: the number of examples.

    Raises:
        ConfigError: a table is not digitd's.
        OSError: one cannot be read.
    """
    counts = Counter[Change | None]()
    found: dict[Change, list[Example]] = {change: [] for change in Change}
    with (
        closing(Rereads(outbox, without=name)) as others,
        closing(Rereads(outbox, only=name)) as table,
        open_tables(outbox) as tables,
    ):
        for row in results.parse_tables(tables):
            before = results.reread(row.line, row.cells, others)[1]
            after = results.reread(row.line, row.cells, table)[1]
            if after is row.cells or not includes(before):
                continue
            change = _compare(before, after)
            counts[change] += 1
            if change is not None and len(found[change]) < at_most:
                verdicts = _verdict(before), _verdict(after)
                found[change].append(
                    Example(change, row.cells[_FILE], row.cells[_ORIGINAL], *verdicts)
                )
    # One of each way after the other, until there are enough.
    chosen = [one for one in chain(*zip_longest(*found.values())) if one is not None][:at_most]
    order = list(Change)
    examples = tuple(sorted(chosen, key=lambda one: order.index(one.change)))
    return Changes(counts[None], {one: counts[one] for one in Change if counts[one]}, examples)


def _compare(before: list[str], after: list[str]) -> Change | None:
    """Return how a verdict has changed; ``None`` if its status and its text are as before."""
    match before[_STATUS], after[_STATUS]:
        case Status.ERROR, _:
            return Change.READABLE
        case Status.OK, Status.UNSURE:
            return Change.DOUBTFUL
        case Status.UNSURE, Status.OK:
            return Change.SURE
    if before[_DIGIT] == after[_DIGIT]:
        return None
    return Change.OTHER if after[_STATUS] == Status.OK else Change.GUESS


def _verdict(cells: list[str]) -> Verdict:
    confidence = rows.parse_number(cells[_CONFIDENCE])
    return Verdict(cells[_STATUS], cells[_DIGIT], confidence)
