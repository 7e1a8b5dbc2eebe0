"""Charts of the live page: bars in percent of a plot, and the labels of its axes.

The template draws them, and the style sheet colours them. Labels are text next to the plot, so that
they keep their size while the plot stretches.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from daemon.review.queries import Bucket, Span

_GAP = 0.16  # of a bar's place
_LEAST = 1.0  # percent; one row among a million is still visible


@dataclass(frozen=True, slots=True)
class Part:
    """A coloured part of a bar; ``y`` is its top, and ``kind`` a class of the style sheet."""

    kind: str
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar.

    Attributes:
        x, width: percent of the plot.
        place: where it is pointed at, which is wider.
        parts: from the bottom to the top.
        text: its values.
        time: when it begins; ISO 8601, empty if it is no time.
    """

    x: float
    width: float
    place: tuple[float, float]
    parts: tuple[Part, ...]
    text: str
    time: str


@dataclass(frozen=True, slots=True)
class Label:
    """A text at an axis, or a time, ISO 8601, with its form: day or clock."""

    text: str = ""
    time: str = ""
    form: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart.

    Attributes:
        title: what it shows, with the unit.
        summary: its values in a sentence, for who cannot see it.
        bars: from left to right.
        y_labels: of the top, the middle and the bottom.
        x_labels: of the left, the middle and the right.
    """

    title: str
    summary: str
    bars: tuple[Bar, ...]
    y_labels: tuple[str, str, str]
    x_labels: tuple[Label, Label, Label]


def files_over_time(buckets: Sequence[Bucket], span: Span) -> Chart:
    """Return how many files were received, with the unsure ones at the bottom."""
    top = _round_up(max((bucket.rows for bucket in buckets), default=0))
    total, unsure = (
        sum(getattr(bucket, name) for bucket in buckets) for name in ("rows", "unsure")
    )
    values = [
        (("unsure", bucket.unsure / top), ("rest", (bucket.rows - bucket.unsure) / top))
        for bucket in buckets
    ]
    return Chart(
        f"Files per {span.bucket_name}",
        f"{_files(total)}, {unsure:,} of them unsure, in the last {span.words}.",
        _bars(values, list(map(_describe, buckets)), list(map(_time, buckets))),
        (f"{top:,}", f"{top // 2:,}", "0"),
        _time_labels(buckets, span),
    )


def unsure_over_time(buckets: Sequence[Bucket], span: Span) -> Chart:
    """Return the share of unsure files."""
    shares = [bucket.unsure / bucket.rows if bucket.rows else 0.0 for bucket in buckets]
    # A single unsure row among many does not look like all.
    top = min(100, _round_up(math.ceil(100 * max(shares, default=0))))
    rows, unsure = (sum(getattr(bucket, name) for bucket in buckets) for name in ("rows", "unsure"))
    share = unsure / rows if rows else 0.0
    return Chart(
        f"Unsure, percent per {span.bucket_name}",
        f"{share:.1%} of the files in the last {span.words} are unsure.",
        _bars(
            [(("unsure", 100 * share / top),) for share in shares],
            list(map(_describe, buckets)),
            list(map(_time, buckets)),
        ),
        (f"{top} %", f"{top // 2} %", "0 %"),
        _time_labels(buckets, span),
    )


def histogram(bins: Sequence[int]) -> Chart:
    """Return how many files were read with which confidence."""
    top = _round_up(max(bins))
    step = 100 / len(bins)
    texts = [
        f"{step * number:.0f} to {step * (number + 1):.0f} % sure: {_files(count)}"
        for number, count in enumerate(bins)
    ]
    total, sure = sum(bins), bins[-1]
    share = f", {sure / total:.0%} of them above {100 - step:.0f} %" if total else ""
    return Chart(
        "Files by confidence, all files",
        f"{_files(total)} with a confidence{share}.",
        _bars([(("rest", count / top),) for count in bins], texts, [""] * len(bins)),
        (f"{top:,}", f"{top // 2:,}", "0"),
        (Label("0 %"), Label("50 %"), Label("100 %")),
    )


def _bars(
    values: Sequence[Sequence[tuple[str, float]]], texts: Sequence[str], times: Sequence[str]
) -> tuple[Bar, ...]:
    """Return bars whose parts are stacked from the bottom, each a share of the plot's height."""
    step = 100 / len(values)
    bars = []
    for number, (stack, text, time) in enumerate(zip(values, texts, times, strict=True)):
        parts, y = [], 100.0
        for kind, share in stack:
            height = max(_LEAST, 100 * share) if share else 0.0
            y = max(0.0, y - height)
            parts.append(Part(kind, y, height))
        left = step * number
        bars.append(
            Bar(left + step * _GAP / 2, step * (1 - _GAP), (left, step), tuple(parts), text, time)
        )
    return tuple(bars)


def _describe(bucket: Bucket) -> str:
    if not bucket.rows:
        return "no files"
    share = bucket.unsure / bucket.rows
    return f"{_files(bucket.rows)}, {bucket.unsure:,} unsure ({share:.1%})"


def _time_labels(buckets: Sequence[Bucket], span: Span) -> tuple[Label, Label, Label]:
    form = "clock" if span is Span.DAY else "day"
    first, middle = buckets[0], buckets[len(buckets) // 2]
    return Label("", _time(first), form), Label("", _time(middle), form), Label("now")


def _time(bucket: Bucket) -> str:
    return datetime.fromtimestamp(bucket.start, UTC).isoformat()


def _files(count: int) -> str:
    return f"{count:,} file{'s' if count != 1 else ''}"


def _round_up(value: int) -> int:
    """Return the end of an axis: the next of 2, 4, 6, 8, 10, 20, 40, …, whose half is whole."""
    scale = 1
    while value > 10 * scale:
        scale *= 10
    return next(step * scale for step in (2, 4, 6, 8, 10) if step * scale >= value)
