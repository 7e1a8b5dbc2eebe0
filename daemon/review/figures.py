"""What the live page counts: rows by kind, confidence, doubt over time, accuracy."""

import math
from collections import defaultdict
from dataclasses import dataclass

from daemon.outbox.labels import NOT_A_DIGIT
from daemon.records import Status
from daemon.review import kinds

BINS = 20  # of the histogram of confidence, from 0 to 1
NO_BIN = -1
HOUR = 3_600_000 << 12  # in numbers of ids
_Z = 1.959964  # of a 95 % interval


@dataclass(frozen=True, slots=True)
class Share:
    """A share with its 95 % interval."""

    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Hour:
    """The rows of one hour: when it starts (ms since 1970), how many, how many are unsure."""

    start_ms: int
    rows: int
    unsure: int


class Figures:
    """Counts that are kept up to date row by row."""

    def __init__(self) -> None:
        self.kinds = [0] * kinds.COUNT
        self.histogram = [0] * BINS
        self.checked = self.agreed = 0
        self._hours: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0])

    def add(self, number: int, kind: int, confidence: float) -> None:
        """Count a new row.

        Args:
            number: of its id.
            kind: see ``kinds``.
            confidence: the model's; negative if there is none.
        """
        column = min(int(confidence * BINS), BINS - 1) if confidence >= 0 else NO_BIN
        self.add_all(number // HOUR, kind, column, 1)

    def add_all(self, hour: int, kind: int, column: int, rows: int) -> None:
        """Count new rows of one hour, one kind, and one bin of the histogram or ``NO_BIN``."""
        self.kinds[kind] += rows
        counts = self._hours[hour]
        counts[0] += rows
        if kinds.status_of(kind) is Status.UNSURE:
            counts[1] += rows
        if column != NO_BIN:
            self.histogram[column] += rows

    def move(self, old: int, new: int) -> None:
        """Count a row that changed its kind."""
        self.kinds[old] -= 1
        self.kinds[new] += 1

    def check(self, label: str, digit: str, times: int) -> None:
        """Count an answer to the random sample; ``times`` is -1 to take it back."""
        self.checked += times
        self.agreed += times * (label == (digit or NOT_A_DIGIT))

    def count(self, status: Status, *, answered: bool | None = None) -> int:
        """Return the number of rows of a status, all or only those with or without an answer."""
        return sum(
            count
            for kind, count in enumerate(self.kinds)
            if kinds.status_of(kind) is status and answered in {None, kinds.is_answered(kind)}
        )

    @property
    def rows(self) -> int:
        """The number of rows."""
        return sum(self.kinds)

    @property
    def answered(self) -> int:
        """The number of rows that a person has answered."""
        return sum(self.kinds[1::2])

    def hours(self, most: int) -> list[Hour]:
        """Return the last hours that have rows, oldest first."""
        return [
            Hour(hour * (HOUR >> 12), *self._hours[hour]) for hour in sorted(self._hours)[-most:]
        ]

    def accuracy(self) -> Share | None:
        """Return the share of checked rows that the model read correctly; ``None`` if none is."""
        return wilson(self.agreed, self.checked) if self.checked else None


def wilson(hits: int, trials: int) -> Share:
    """Return a share with its interval after Wilson (1927), which never leaves 0 to 1."""
    share = hits / trials
    middle = share + _Z**2 / (2 * trials)
    spread = _Z * math.sqrt(share * (1 - share) / trials + _Z**2 / (4 * trials**2))
    whole = 1 + _Z**2 / trials
    return Share(share, max(0.0, (middle - spread) / whole), min(1.0, (middle + spread) / whole))
