"""Choose the answers that teach, from the tables of an outbox and the originals on its disk."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from daemon.errors import DataError
from daemon.files import is_there
from daemon.layout import LABELS
from daemon.outbox import labels, results, rows
from daemon.outbox.archive import original_path
from daemon.outbox.labels import SEVERAL, UNDO, Answer, Source
from daemon.outbox.table import open_tables
from daemon.records import Reads

# An answer against a reading with more confidence than this teaches when it was given twice.
SURE = 0.98
TIMES = 2
HELD_OUT = 5  # every fifth answer is held out
# At most this share of what is learnt from, replayed data included, has one label of one person.
CAP = 0.2
FEWEST = 8  # answers to train on

_ID, _FILE, _DIGIT, _CONFIDENCE, _REASON, _ORIGINAL, _SHA256, _MODEL = map(
    rows.COLUMNS.index,
    ("id", "file", "digit", "confidence", "reason", "original", "sha256", "model"),
)


@dataclass(frozen=True, slots=True)
class AnsweredRow:
    """What a correction needs of a row of predictions.csv.

    Attributes:
        id, file, sha256, digit, confidence, model, reason: the cells.
        original: the path of its original; ``None`` if the file is gone.
    """

    id: str
    file: str
    sha256: str
    digit: str
    confidence: str
    original: Path | None
    model: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Correction:
    """The answer about one content.

    Attributes:
        sha256: of the content.
        label: a digit, a number or ``none``.
        by: who gave the newest answer.
        file: the name of a file with this content.
        original: its path.
        is_sample: whether the random sample asked for it.
    """

    sha256: str
    label: str
    by: str
    file: str
    original: Path
    is_sample: bool = False

    @property
    def is_held_out(self) -> bool:
        """Whether it is never trained on; it depends on the content alone."""
        return int(self.sha256[:8], 16) % HELD_OUT == 0


@dataclass(frozen=True, slots=True)
class Disagreement:
    """An answer that contradicts a sure reading, or another answer.

    Attributes:
        correction: the answer.
        against: what else was read or answered.
    """

    correction: Correction
    against: str


@dataclass(frozen=True, slots=True)
class Corrections:
    """All answers, sorted by what becomes of them; each content is counted once.

    Attributes:
        usable: those that teach, or are held out.
        waiting: those against a sure reading, given once.
        contradicting: those about contents that have different answers.
        several: how many say ``several``.
        turned: how many were given when the view was turned.
        of_digits: how many say ``none`` where one digit was read and a number is to be.
        gone: how many have no original.
    """

    usable: tuple[Correction, ...]
    waiting: tuple[Disagreement, ...] = ()
    contradicting: tuple[Disagreement, ...] = ()
    several: int = 0
    turned: int = 0
    of_digits: int = 0
    gone: int = 0

    @property
    def training(self) -> tuple[Correction, ...]:
        """Those that are trained on."""
        return tuple(each for each in self.usable if not each.is_held_out)

    @property
    def held_out(self) -> tuple[Correction, ...]:
        """Those that are never trained on."""
        return tuple(each for each in self.usable if each.is_held_out)

    def count_unused(self) -> dict[str, int]:
        """Return how many answers teach nothing, by the reason in words."""
        return {
            "waiting for a second answer": len(self.waiting),
            "contradicting each other": len(self.contradicting),
            "`several`": self.several,
            "of turned views": self.turned,
            "`none` where one digit was read": self.of_digits,
            "without an original": self.gone,
        }

    @property
    def unused(self) -> str:
        """How many answers teach nothing, and why, for people; empty if all teach."""
        return list_counts(self.count_unused())


def gather(outbox: Path, reads: Reads, extra: Path | None = None) -> Corrections:
    """Return the corrections of an outbox.

    Args:
        outbox: has predictions.csv, labels.csv and the originals.
        reads: what is to be learnt.
        extra: another file like labels.csv, whose answers are the newest.

    Raises:
        ConfigError: there is no outbox, or a table is not digitd's.
        OSError: a table cannot be read.
    """
    results.check_outbox(outbox)
    given = labels.read_file(outbox / LABELS)
    if extra is not None:
        remedy = f"name a file with these columns with --labels: {labels.HEADER.strip()}"
        given = chain(given, labels.read_file(extra, remedy))
    # A copy of labels.csv gives no answer a second time.
    answers = list(dict.fromkeys(given))
    return choose(answers, list(_read_rows(outbox, answers)), reads)


def _read_rows(outbox: Path, answers: Sequence[Answer]) -> Iterator[AnsweredRow]:
    """Yield the rows that were answered, and those with the same content."""
    ids = {answer.id for answer in answers}
    contents = {answer.sha256 for answer in answers} - {""}
    with open_tables(outbox) as tables:
        for row in results.parse_tables(tables):
            cells = row.cells
            if cells[_ID] in ids or cells[_SHA256] in contents:
                path = original_path(outbox, cells[_ORIGINAL])
                yield AnsweredRow(
                    id=cells[_ID],
                    file=cells[_FILE],
                    sha256=cells[_SHA256],
                    digit=cells[_DIGIT],
                    confidence=cells[_CONFIDENCE],
                    original=path if path is not None and is_there(path) else None,
                    model=cells[_MODEL],
                    reason=cells[_REASON],
                )


def choose(
    answers: Iterable[Answer], answered: Iterable[AnsweredRow], reads: Reads = Reads.DIGIT
) -> Corrections:
    """Sort answers by what becomes of them.

    Args:
        answers: all, oldest first.
        answered: the rows that they are about, and others with the same content.
        reads: what is to be learnt.
    """
    by_id: dict[str, AnsweredRow] = {}
    by_content: dict[str, AnsweredRow] = {}
    for row in answered:
        by_id[row.id] = row
        known = by_content.get(row.sha256)
        if known is None or known.original is None:
            by_content[row.sha256] = row
    usable: list[Correction] = []
    waiting: list[Disagreement] = []
    contradicting: list[Disagreement] = []
    several = turned = of_digits = gone = 0
    for content, given in _group_by_content(answers, by_id).items():
        straight = [each for each in given if each.source != Source.TURNED]
        fitting = [each for each in straight if not _may_be_number(each, by_id, reads)]
        if not straight:
            turned += 1
            continue
        if not fitting:
            of_digits += 1
            continue
        newest = fitting[-1]
        source = by_content.get(content)
        if source is None or source.original is None:
            gone += 1
            continue
        correction = Correction(
            sha256=content,
            label=newest.label,
            by=newest.by,
            file=source.file,
            original=source.original,
            is_sample=any(each.source == Source.SAMPLE for each in fitting),
        )
        others = {each.label for each in _last_of_each_row(fitting)} - {newest.label}
        if others:
            contradicting.append(Disagreement(correction, ", ".join(sorted(others))))
        elif newest.label == SEVERAL:
            several += 1
        elif _is_against_sure(newest, source) and _count(fitting, newest.label) < TIMES:
            waiting.append(Disagreement(correction, newest.digit or source.digit))
        else:
            usable.append(correction)
    counts = several, turned, of_digits, gone
    return Corrections(tuple(usable), tuple(waiting), tuple(contradicting), *counts)


def _may_be_number(answer: Answer, by_id: dict[str, AnsweredRow], reads: Reads) -> bool:
    """Return whether numbers are learnt, and an answer says nothing of them."""
    row = by_id.get(answer.id)
    if row is None or reads is Reads.DIGIT:
        return False
    return labels.may_be_number(answer, row.model, row.reason)


def _group_by_content(
    answers: Iterable[Answer], by_id: dict[str, AnsweredRow]
) -> dict[str, list[Answer]]:
    """Return the answers about each content that were not undone, oldest first."""
    kept: dict[str, list[tuple[int, Answer]]] = {}
    for place, answer in enumerate(answers):
        if answer.label == UNDO:
            kept.pop(answer.id, None)
        else:
            kept.setdefault(answer.id, []).append((place, answer))
    grouped: dict[str, list[Answer]] = {}
    for _, answer in sorted(chain.from_iterable(kept.values()), key=itemgetter(0)):
        grouped.setdefault(_find_content(answer, by_id), []).append(answer)
    return grouped


def _find_content(answer: Answer, by_id: dict[str, AnsweredRow]) -> str:
    """Return the hash of what an answer is about; the id of its row if nobody knows the hash."""
    row = by_id.get(answer.id)
    for cell in (answer.sha256, row.sha256 if row else ""):
        digest = rows.parse_sha256(cell)
        if digest is not None:
            return digest.hex()
    return answer.id


def _last_of_each_row(given: Sequence[Answer]) -> Iterable[Answer]:
    """Return the answers that count: a newer one about the same row replaces an older one."""
    return {each.id: each for each in given}.values()


def _count(given: Sequence[Answer], label: str) -> int:
    return Counter(each.label for each in given)[label]


def _is_against_sure(answer: Answer, row: AnsweredRow) -> bool:
    """Return whether an answer contradicts what was read with more than 98 % confidence.

    A dash that may be the number's or fill the field is not in what was read.
    """
    of_answer = answer.digit, rows.parse_number(answer.confidence)
    read, confidence = of_answer if answer.digit else (row.digit, rows.parse_number(row.confidence))
    return (
        read not in {"", answer.label, answer.label.removeprefix("-")}
        and (confidence or 0.0) > SURE
    )


def list_counts(counted: Mapping[str, int]) -> str:
    """Return numbers with what they count, for people, without those that are 0."""
    return ", ".join(f"{number} {what}" for what, number in counted.items() if number)


def check_enough(corrections: Corrections) -> None:
    """Check that there is enough to learn from.

    Raises:
        DataError: there is not; the text says what became of the answers.
    """
    count = len(corrections.training)
    if count >= FEWEST:
        return
    others = {"held out": len(corrections.held_out)} | corrections.count_unused()
    listed = list_counts(others)
    raise DataError(
        f"labels.csv: too few answers to learn from: {count}, and at least {FEWEST} are needed"
        f"{f' (not counted: {listed})' if listed else ''}: answer more files on the review page"
    )


def weigh(corrections: Sequence[Correction], share: float) -> NDArray[np.float64]:
    """Return the share of each correction in what is learnt from.

    Args:
        corrections: those that are trained on.
        share: of all of them together, before the cap. What the cap takes is replayed data.

    Returns:
        (N,) float64; the sum is at most ``share``, and that of one label of one person at most
        ``CAP``.
    """
    groups = Counter((each.by, each.label) for each in corrections)
    each_share = share / max(1, len(corrections))
    return np.array(
        [min(each_share, CAP / groups[each.by, each.label]) for each in corrections], np.float64
    )
