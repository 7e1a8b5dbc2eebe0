"""Report on a candidate that has learnt from answers: figures, warnings, refusals, pictures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from matplotlib.figure import Figure

from daemon.errors import UnreadableError
from daemon.models.report import Comparison, Report
from daemon.outbox.labels import NOT_A_DIGIT
from daemon.outbox.rows import timestamp
from daemon.reading import image
from daemon.reading.eye import Count
from daemon.reading.model import Settings
from daemon.records import DIGITS, Status, Verdict
from daemon.text import count, printable
from daemon.training import consistency
from daemon.training.corrections import Corrections, Disagreement, list_counts
from daemon.training.lessons import Lesson, is_right

HELD_OUT, TRAINED = "held-out answers", "answers trained on"
CHANGED = "changed.png"
_LISTED = 10  # names in a note
_SHOWN, _COLUMNS = 48, 8  # images of a sheet, and of a row
_DPI = 100
_RIGHT, _WRONG = "#2e7d32", "#c62828"


@dataclass(frozen=True, slots=True)
class Findings:
    """What is known after learning.

    Attributes:
        corrections: all answers.
        lessons: those that were read, also those that wait for a second answer.
        after: the candidate's verdict on each lesson.
        said: for contents with a digit, what the last layer says that has learnt from the other
            answers; see ``consistency``.
        regression: the comparisons on the regression pack.
        settings: the parent's and the candidate's.
    """

    corrections: Corrections
    lessons: tuple[Lesson, ...]
    after: tuple[Verdict, ...]
    said: dict[str, int]
    regression: tuple[Comparison, ...]
    settings: tuple[Settings, Settings]

    def counted(self, *, held_out: bool) -> list[tuple[Lesson, Verdict]]:
        """Return the lessons that count, with the candidate's verdicts."""
        waiting = {each.correction.sha256 for each in self.corrections.waiting}
        return [
            (lesson, verdict)
            for lesson, verdict in zip(self.lessons, self.after, strict=True)
            if lesson.correction.is_held_out == held_out and lesson.correction.sha256 not in waiting
        ]

    def disagreements(self) -> list[Lesson]:
        """Return the lessons that a model disagrees with which has learnt from the others.

        The line reader takes too long to learn five times: of a number, the candidate's verdict
        counts.
        """
        found = []
        for lesson, verdict in zip(self.lessons, self.after, strict=True):
            digit = lesson.digit()
            said = self.said.get(lesson.correction.sha256)
            if digit is None or said is None:
                agrees = is_right(verdict, lesson.correction.label)
            else:
                agrees = said == digit
            if not agrees:
                found.append(lesson)
        return found


def make_report(parent: str, findings: Findings, folder: Path) -> Report:
    """Return the report, and draw its pictures into a folder.

    Args:
        parent: the id of the model that was learnt from.
        findings: what is known.
        folder: where the pictures go.
    """
    held = findings.counted(held_out=True)
    comparisons = (*([_compare(HELD_OUT, held)] if held else []), *findings.regression)
    changed = [
        (lesson, verdict)
        for lesson, verdict in zip(findings.lessons, findings.after, strict=True)
        if _state(lesson.verdict) != _state(verdict)
    ]
    if changed:
        draw_changed(changed, folder / CHANGED)
    return Report(
        made=timestamp(datetime.now(UTC)),
        by="learn",
        parent=parent,
        comparisons=comparisons,
        facts=tuple(_list_facts(findings)),
        notes=tuple(_list_notes(findings)),
        refusals=tuple(_list_refusals(findings)),
        pictures=(CHANGED,) if changed else (),
    )


def _compare(name: str, pairs: Sequence[tuple[Lesson, Verdict]]) -> Comparison:
    before = [is_right(lesson.verdict, lesson.correction.label) for lesson, _ in pairs]
    after = [is_right(verdict, lesson.correction.label) for lesson, verdict in pairs]
    return Comparison.count(name, before, after)


def _list_facts(findings: Findings) -> Iterator[tuple[str, str]]:
    """Yield labels and texts."""
    corrections = findings.corrections
    trained, held = (findings.counted(held_out=each) for each in (False, True))
    yield "answers", f"{len(trained)} trained on, {len(held)} held out"
    for name, pairs in ((TRAINED, trained), (HELD_OUT, held)):
        if pairs:
            yield name, _describe_change(pairs)
    yield "agreement", _describe_agreement(findings)
    unreadable = len(corrections.usable) - len(trained) - len(held)
    counted = corrections.count_unused() | {"whose file cannot be read": unreadable}
    if unused := list_counts(counted):
        yield "not learnt from", unused
    before, after = findings.settings
    is_same = (before.temperature, before.unsure_below) == (after.temperature, after.unsure_below)
    source = "as before" if is_same else "fitted to the answers to the random sample"
    fitted = f"unsure below {after.unsure_below:g}, temperature {after.temperature:.2f}"
    yield "calibration", f"{fitted}, {source}"


def _describe_change(pairs: Sequence[tuple[Lesson, Verdict]]) -> str:
    total = len(pairs)
    compared = _compare("", pairs)
    ok_before = sum(lesson.verdict.status is Status.OK for lesson, _ in pairs)
    ok_after = sum(verdict.status is Status.OK for _, verdict in pairs)
    return (
        f"right {compared.right_before} of {total} before, {compared.right_after} after; "
        f"ok {ok_before} before, {ok_after} after"
    )


def _describe_agreement(findings: Findings) -> str:
    total = len(findings.lessons)
    disagreeing = findings.disagreements()
    agreeing = f"{total - len(disagreeing)} of {total} answers agree with what the others teach"
    return f"{agreeing}; not {_list_files(disagreeing)}" if disagreeing else agreeing


def _list_notes(findings: Findings) -> Iterator[str]:
    """Yield warnings that do not prevent a promotion."""
    corrections = findings.corrections
    if corrections.waiting:
        yield (
            f"{count(len(corrections.waiting), 'answer')} against more than 98 % confidence: not "
            "learnt from until given once more, from the file's page in the gallery: "
            + _list_names(corrections.waiting, "{file} (read as {against}, answered {label})")
        )
    if corrections.contradicting:
        yield (
            f"{count(len(corrections.contradicting), 'file')} with different answers for the same "
            "content: " + _list_names(corrections.contradicting, "{file} ({label}; {against})")
        )
    blocked = [
        lesson
        for lesson, verdict in zip(findings.lessons, findings.after, strict=True)
        if lesson.count in {Count.SEVERAL, Count.MARKED}
        and verdict.status is not Status.OK
        and lesson.digit() not in {None, DIGITS}
    ]
    if blocked:
        yield (
            f"{count(len(blocked), 'digit')} that the eye takes for several, or for one with "
            f"marks; they stay unsure, because the eye does not learn: {_list_files(blocked)}"
        )


def _list_files(those: Sequence[Lesson]) -> str:
    return _shorten([printable(each.correction.file) for each in those])


def _shorten(listed: Sequence[str]) -> str:
    more = len(listed) - _LISTED
    return ", ".join([*listed[:_LISTED], *([f"and {more} more"] if more > 0 else [])])


def _list_names(disagreements: Sequence[Disagreement], form: str) -> str:
    return _shorten(
        [
            form.format(
                file=printable(each.correction.file),
                against=each.against,
                label=each.correction.label,
            )
            for each in disagreements
        ]
    )


def _list_refusals(findings: Findings) -> Iterator[str]:
    """Yield reasons not to promote the candidate, besides the comparisons."""
    total, disagreeing = len(findings.lessons), findings.disagreements()
    if consistency.disagree_too_often(len(disagreeing), total):
        yield (
            f"{len(disagreeing)} of {total} answers disagree with what the other answers teach: "
            f"some must be wrong; check them on the review page: {_list_files(disagreeing)}"
        )
    monotonous = consistency.find_monotonous(
        [each.correction for each in findings.lessons],
        [_describe_reading(each) for each in findings.lessons],
    )
    for person, (times, label) in monotonous.items():
        yield (
            f"{printable(person) or 'somebody'} answered {label} {times} times, whatever was in "
            "the image: remove these answers from labels.csv"
        )


def _describe_reading(lesson: Lesson) -> str:
    """Return what the parent reads; nothing if somebody may well have meant ``none``."""
    is_doubtful = lesson.verdict.status is not Status.OK
    if is_doubtful and lesson.correction.label == NOT_A_DIGIT:
        return ""
    return lesson.verdict.text or ""


def _state(verdict: Verdict) -> tuple[str | None, bool]:
    return verdict.text, verdict.status is Status.OK


def draw_changed(changed: Sequence[tuple[Lesson, Verdict]], path: Path) -> None:
    """Draw the originals whose verdict has changed, with what was answered, read before, and after.

    The held-out ones come first, because they show what the candidate does to other files.
    """
    ordered = sorted(changed, key=lambda pair: not pair[0].correction.is_held_out)[:_SHOWN]
    lines = -(-len(ordered) // _COLUMNS)
    height = 0.5 + 2.0 * lines
    figure = Figure(figsize=(1.5 * _COLUMNS, height))
    figure.suptitle(f"Answers that changed: {len(changed)}", y=1 - 0.2 / height)
    panels = figure.subplots(lines, _COLUMNS, squeeze=False)
    # A layout engine takes three times as long.
    figure.subplots_adjust(0.01, 0.05 / height, 0.99, 1 - 1.0 / height, wspace=0.1, hspace=0.5)
    for axes in panels.flat:
        axes.axis("off")
    for axes, (lesson, verdict) in zip(panels.flat, ordered, strict=False):
        label = lesson.correction.label
        is_held = "held out, " if lesson.correction.is_held_out else ""
        axes.set_title(
            f"{is_held}is {label}\n{_describe(lesson.verdict)}\n→ {_describe(verdict)}",
            fontsize=7,
            loc="left",
            color=_RIGHT if is_right(verdict, label) else _WRONG,
        )
        try:
            pixels = image.decode(lesson.correction.original.read_bytes(), max_megapixels=1000)
        except (UnreadableError, OSError):
            continue
        axes.imshow(image.make_thumbnail(pixels))
    figure.savefig(path, dpi=_DPI)


def _describe(verdict: Verdict) -> str:
    sure = "" if verdict.confidence is None else f" {verdict.confidence:.0%}"
    return f"{verdict.text or 'nothing'}{sure} {verdict.status}"
