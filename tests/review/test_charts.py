"""The charts of the live page: axes, values, time ranges; in a real browser, too."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from daemon.outbox import drift
from daemon.review import charts
from daemon.review.queries import Bucket, Span
from support.factories import BROKEN, SURE, doubtful
from support.site import Server, Site
from tests.review.test_browser import opened, shows

if TYPE_CHECKING:
    from playwright.sync_api import Browser

START = int(datetime(2026, 11, 24, 16, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("most", "labels"),
    [
        (0, ("2", "1", "0")),
        (1, ("2", "1", "0")),
        (7, ("8", "4", "0")),
        (10, ("10", "5", "0")),
        (11, ("20", "10", "0")),
        (1234, ("2,000", "1,000", "0")),
        (1_000_000, ("1,000,000", "500,000", "0")),
    ],
)
def test_axis_ends_at_a_round_number_above_all_bars(most: int, labels: tuple[str, ...]) -> None:
    chart = charts.files_over_time([Bucket(START, most, 0)], Span.DAY)
    assert chart.y_labels == labels
    parts = [part for bar in chart.bars for part in bar.parts]
    assert all(0 <= part.y <= 100 for part in parts)
    assert sum(part.height for part in parts) == pytest.approx(
        100 * most / int(labels[0].replace(",", ""))
    )


def test_bars_say_their_hour_counts_and_share() -> None:
    buckets = [Bucket(START, 8, 2), Bucket(START + 3600, 0, 0), Bucket(START + 7200, 1, 0)]
    chart = charts.unsure_over_time(buckets, Span.DAY)
    assert [bar.text for bar in chart.bars] == [
        "8 files, 2 unsure (25.0%)",
        "no files",
        "1 file, 0 unsure (0.0%)",
    ]
    times = [f"2026-11-24T{hour}:00:00+00:00" for hour in (16, 17, 18)]
    assert [bar.time for bar in chart.bars] == times
    assert chart.y_labels == ("40 %", "20 %", "0 %")
    assert [label.text or label.time for label in chart.x_labels] == [*times[:2], "now"]
    assert [bar.parts[0].height for bar in chart.bars] == [62.5, 0, 0]


def test_one_unsure_row_in_a_million_is_visible_and_all_unsure_fill_the_plot() -> None:
    (bar,) = charts.files_over_time([Bucket(START, 1_000_000, 1)], Span.YEAR).bars
    assert bar.parts[0].height == 1
    assert bar.parts[1].y == 0
    (bar,) = charts.unsure_over_time([Bucket(START, 3, 3)], Span.YEAR).bars
    assert (bar.parts[0].y, bar.parts[0].height) == (0, 100)


def test_bar_under_the_pointer_shows_its_values(browser: Browser, site: Site) -> None:
    site.add_all([("a.png", SURE), ("b.png", SURE), ("c.png", doubtful(3, 0.4))])
    with Server(site) as server:
        server.wait_for_rows(3)
        for page in opened(browser, server):
            page.goto(f"{server.base}/live")
            assert page.inner_text(".spans [aria-current]") == "24 hours"
            chart = page.locator(".chart").first
            assert "3 files, 1 of them unsure" in chart.locator(".reading").inner_text()
            assert chart.locator(".y-axis").inner_text().split() == ["4", "2", "0"]
            chart.locator(".place").last.hover()
            page.wait_for_function(
                """() => /^[^U]+: 3 files, 1 unsure/
                    .test(document.querySelector(".reading").textContent)"""
            )
            page.click(".chip:text-is('30 days')")
            page.wait_for_url("**/live?span=month")
            assert page.locator(".chart >> nth=0 >> .place").count() == 30
            assert page.inner_text("figcaption >> nth=0") == "Files per day"


def test_all_times_are_those_of_the_browser(browser: Browser, site: Site) -> None:
    """Days of the charts and of the gallery's filter begin at its midnight."""
    row = site.add("a.png", SURE)
    site.add("broken.png", BROKEN)
    edited = re.sub(r"[0-9-]+T[0-9:.]+Z", "2026-11-20T03:30:00.000Z", site.table.read_text())
    site.table.write_text(edited)
    with Server(site) as server:
        server.wait_for_rows(2)
        for page in opened(browser, server, timezone_id="America/Bogota", locale="en-US"):
            page.goto(f"{server.base}/row/{row}")
            shows(page, "a.png, Nov 19, 2026, 10:30")
            page.goto(f"{server.base}/live?span=year")
            page.wait_for_selector(".errors time:has-text('Nov 19, 2026, 10:30')")
            page.wait_for_selector(".x-axis time:text-matches('^[A-Z][a-z]{2} [0-9]+$')")
            texts = page.locator(".chart >> nth=0 >> .place title").all_text_contents()
            assert all(re.fullmatch(r"[A-Z][a-z]{2} [0-9]+: .+", one) for one in texts)
            assert "UTC" not in page.inner_text("main")
            page.goto(f"{server.base}/gallery")
            page.fill("[name=until]", "2026-11-19")
            page.wait_for_url("**until=2026-11-19&offset=-*")
            assert page.locator(".card").count() == 2
            page.fill("[name=since]", "2026-11-20")
            page.fill("[name=until]", "2026-11-20")
            page.wait_for_selector("text=No file is like that")


def test_live_page_says_what_today_is_compared_with(site: Site) -> None:
    usual = drift.Sample(drift.REFERENCE_ROWS, unsure=80, error=20)
    cases = {
        "So far it has read 1,999.": (replace(usual, rows=1999), replace(usual, rows=250)),
        "Fewer than 200 files were read today": (usual, replace(usual, rows=199)),
        "Today's files are like the first 2,000": (
            usual,
            replace(usual, rows=250, unsure=10, error=2),
        ),
        "The share of files that need a person has changed": (usual, replace(usual, rows=250)),
    }
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    with Server(site) as server:
        for said, (reference, today) in cases.items():
            drift.save(site.outbox, drift.Record("m", reference, day, today))
            page = " ".join(server.request("/live").text.split())
            assert [text for text in cases if text in page] == [said]
            assert "Another model starts the comparison again." in page
        drift.save(site.outbox, drift.Record("m", usual, "2026-11-24", replace(usual, rows=250)))
        assert "Fewer than 200 files were read today" in server.request("/live").text
