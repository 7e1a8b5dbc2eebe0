"""Charts as SVG, drawn on the server; the style sheet colours them."""

from collections.abc import Sequence

from markupsafe import Markup

from daemon.review.figures import Hour

_WIDTH, _HEIGHT = 480, 120
_FEWEST_HOURS = 24  # so that the bar of a single hour is not as wide as the chart
_BASE = _HEIGHT - 18  # room for the labels of the axis


def histogram(bins: Sequence[int]) -> Markup:
    """Return the histogram of confidence, from 0 to 100 %."""
    tallest = max(1, *bins)
    step = _WIDTH / len(bins)
    bars = [
        _bar(
            number * step + 1, step - 2, count / tallest, f"{_range(number, len(bins))}: {count:,}"
        )
        for number, count in enumerate(bins)
    ]
    return _chart("How many files were read with which confidence", bars, ("0 %", "50 %", "100 %"))


def doubt(hours: Sequence[Hour]) -> Markup:
    """Return the share of unsure rows over the hours that have rows, scaled to the highest."""
    if not hours:
        return Markup("")
    shares = [hour.unsure / hour.rows for hour in hours]
    highest = max(*shares, 0.01)  # 1 %, so that a single one does not look like all
    step = _WIDTH / max(len(hours), _FEWEST_HOURS)
    first = _WIDTH - step * len(hours)
    bars = [
        _bar(
            first + number * step + step * 0.05,
            step * 0.9,
            share / highest,
            f"{share:.1%} of {hour.rows:,}",
        )
        for number, (hour, share) in enumerate(zip(hours, shares, strict=True))
    ]
    return _chart(
        "Share of unsure rows by hour", bars, ("earlier", f"at most {highest:.0%}", "now")
    )


def _bar(x: float, width: float, share: float, title: str) -> Markup:
    height = round(share * (_BASE - 4), 1)
    if share and height < 1:
        height = 1  # one row among a million is still visible
    return Markup(
        '<rect class="bar" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">'
        "<title>{}</title></rect>"
    ).format(x, _BASE - height, max(width, 0.5), height, title)


def _chart(title: str, bars: Sequence[Markup], labels: tuple[str, str, str]) -> Markup:
    anchors = zip((0, _WIDTH / 2, _WIDTH), ("start", "middle", "end"), labels, strict=True)
    texts = [
        Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(
            x, _HEIGHT - 4, anchor, label
        )
        for x, anchor, label in anchors
    ]
    return Markup(
        '<svg class="chart" role="img" aria-label="{}" viewBox="0 0 {} {}">'
        '{}<line x1="0" x2="{}" y1="{}" y2="{}" />{}</svg>'
    ).format(
        title, _WIDTH, _HEIGHT, Markup("").join(bars), _WIDTH, _BASE, _BASE, Markup("").join(texts)
    )


def _range(number: int, bins: int) -> str:
    return f"{100 * number // bins} to {100 * (number + 1) // bins} %"
