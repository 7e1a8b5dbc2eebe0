"""Test whether today's rows differ from the first rows of the same model.

The result is shown and nothing acts on it. The tests are a two-proportion z-test of unsure and
error rows, a Kolmogorov-Smirnov test of the confidence and a chi-squared test of the digits, each
at a significance level of 0.001.
"""

import json
import logging
import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from pathlib import Path

from daemon.files import replace_whole
from daemon.layout import DRIFT
from daemon.outbox import archive
from daemon.outbox.rows import Row
from daemon.records import DIGITS, Reads, Status
from daemon.waiting import Timer

log = logging.getLogger(__name__)

BINS = 50  # of the confidence
FEWEST = 200  # rows on each side; fewer are not tested
REFERENCE_ROWS = 2000
# Critical values at a significance level of 0.001.
_Z = 3.2905  # normal, two-sided
_CHI_SQUARED = 27.877  # 9 degrees of freedom: ten digits
_KOLMOGOROV = 1.9495
_SAVE_SECONDS = 15.0


@dataclass(slots=True)
class Sample:
    """Counts of some rows.

    Attributes:
        rows: their number.
        unsure: how many are unsure.
        error: how many could not be read.
        digits: (10,) how often each digit was read; a number has several.
        confidence: (50,) a histogram of the confidence, from 0 to 1.
    """

    rows: int = 0
    unsure: int = 0
    error: int = 0
    digits: list[int] = field(default_factory=lambda: [0] * DIGITS)
    confidence: list[int] = field(default_factory=lambda: [0] * BINS)

    def add(self, row: Row) -> None:
        """Count a row."""
        verdict = row.verdict
        self.rows += 1
        self.unsure += verdict.status is Status.UNSURE
        self.error += verdict.status is Status.ERROR
        if verdict.text is not None and verdict.confidence is not None:
            for digit in filter(str.isdigit, verdict.text):
                self.digits[int(digit)] += 1
            self.confidence[min(BINS - 1, int(verdict.confidence * BINS))] += 1


@dataclass(slots=True)
class Record:
    """The counts that are kept of an outbox.

    Attributes:
        model: the short hash of the model that read the reference.
        reference: the first rows with this model.
        day: the UTC day of ``today``, such as 2026-11-24.
        today: that day's rows.
        reads: what the model read.
    """

    model: str = ""
    reference: Sample = field(default_factory=Sample)
    day: str = ""
    today: Sample = field(default_factory=Sample)
    reads: Reads = Reads.DIGIT

    def add(self, row: Row) -> None:
        """Count a row; a new model starts a new reference."""
        day = archive.day_folder(row.processed_at)
        if day != self.day:
            self.day, self.today = day, Sample()
        if row.result.model and row.result.model != self.model:
            self.model, self.reference, self.today = row.result.model, Sample(), Sample()
        if self.reference.rows < REFERENCE_ROWS:
            self.reference.add(row)
        self.today.add(row)


class DriftMonitor:
    """Keeps an outbox's record while the daemon runs.

    After a kill, the rows of at most 15 seconds are missing from it.
    """

    def __init__(self, outbox: Path, reads: Reads) -> None:
        self._outbox = outbox
        self._reads = reads
        self._record = Record(reads=reads)
        self._is_saved = True
        self._timer = Timer(_SAVE_SECONDS)

    def open(self) -> None:
        """Load the record; begin a new one if something else is read now."""
        self._record = load(self._outbox)
        if self._record.reads is not self._reads:
            self._record, self._is_saved = Record(reads=self._reads), False

    def count(self, row: Row) -> None:
        """Add a committed row."""
        self._record.add(row)
        self._is_saved = False

    def run_if_due(self) -> None:
        """Save the record if it has changed and was not saved in the last 15 seconds."""
        if self._timer.is_due:
            self.save()

    def save(self) -> None:
        """Save the record if it has changed."""
        if self._is_saved:
            return
        self._timer.restart()
        try:
            save(self._outbox, self._record)
            self._is_saved = True
        except OSError as error:  # whatever needs the outbox reports its errors
            log.debug("the drift statistics cannot be saved: %s", error)

    @property
    def differences(self) -> list[str]:
        """A line for each respect in which today's rows differ from the reference."""
        return differences(self._record)


def differences(record: Record) -> list[str]:
    """Return a line for each respect in which today's rows differ from the reference."""
    reference, today = record.reference, record.today
    if reference.rows < REFERENCE_ROWS or today.rows < FEWEST:
        return []
    found = []
    for name in ("unsure", "error"):
        now, then = getattr(today, name), getattr(reference, name)
        if abs(two_proportion_z(now, today.rows, then, reference.rows)) > _Z:
            found.append(
                f"{name}: {now / today.rows:.1%} today, {then / reference.rows:.1%} before"
            )
    if min(sum(today.confidence), sum(reference.confidence)) >= FEWEST:
        distance, limit = kolmogorov_smirnov(today.confidence, reference.confidence)
        if distance > limit:
            found.append(
                f"confidence: median {_median(today.confidence):.0%} today, "
                f"{_median(reference.confidence):.0%} before"
            )
        if chi_squared(today.digits, reference.digits) > _CHI_SQUARED:
            digit, now, then = _largest_change(today.digits, reference.digits)
            found.append(f"digits: {now:.1%} are a {digit} today, {then:.1%} before")
    return found


def load(outbox: Path) -> Record:
    """Return an outbox's record; an empty one if there is none or it cannot be read."""
    try:
        data = json.loads((outbox / DRIFT).read_text(encoding="ascii"))
        reference, today = Sample(**data["reference"]), Sample(**data["today"])
        reads = Reads(data.get("reads", Reads.DIGIT))  # 0.1.0 read digits only
        return Record(data["model"], reference, data["day"], today, reads)
    except (OSError, ValueError, KeyError, TypeError):
        return Record()


def save(outbox: Path, record: Record) -> None:
    """Save a record, whole.

    Raises:
        OSError: it cannot be written.
    """
    replace_whole(outbox / DRIFT, json.dumps(asdict(record)).encode())


def two_proportion_z(now: int, of_now: int, then: int, of_then: int) -> float:
    """Return the z statistic of two proportions, with the pooled variance."""
    pooled = (now + then) / (of_now + of_then)
    variance = pooled * (1 - pooled) * (1 / of_now + 1 / of_then)
    return (now / of_now - then / of_then) / math.sqrt(variance) if variance else 0.0


def kolmogorov_smirnov(now: Sequence[int], then: Sequence[int]) -> tuple[float, float]:
    """Return the statistic of two histograms, and its critical value."""
    total_now, total_then = sum(now), sum(then)
    distance = max(
        abs(one / total_now - other / total_then)
        for one, other in zip(accumulate(now), accumulate(then), strict=True)
    )
    return distance, _KOLMOGOROV * math.sqrt(1 / total_now + 1 / total_then)


def chi_squared(now: Sequence[int], then: Sequence[int]) -> float:
    """Return the statistic of the contingency table of two rows of counts."""
    total_now, total_then = sum(now), sum(then)
    return sum(
        (one * total_then - other * total_now) ** 2 / ((one + other) * total_now * total_then)
        for one, other in zip(now, then, strict=True)
        if one or other
    )


def _median(bins: Sequence[int]) -> float:
    """Return the centre of the bin that contains the median."""
    return (bisect_left(list(accumulate(bins)), sum(bins) / 2) + 0.5) / len(bins)


def _largest_change(now: Sequence[int], then: Sequence[int]) -> tuple[int, float, float]:
    """Return the digit whose share has changed most, and both shares."""
    shares = [
        (digit, one / sum(now), other / sum(then))
        for digit, (one, other) in enumerate(zip(now, then, strict=True))
    ]
    return max(shares, key=lambda share: abs(share[1] - share[2]))
