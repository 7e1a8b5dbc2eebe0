"""Pages of the gallery have the rows that going through all of them one by one would find."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import astuple
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from daemon import ids
from daemon.outbox import labels, rows
from daemon.records import Status
from daemon.review import queries
from daemon.review.index import Index, Line, Position
from daemon.review.queries import Cursor, Filter, Sort, Span

if TYPE_CHECKING:
    from pathlib import Path

START = datetime(2026, 11, 20, tzinfo=UTC)
COUNT = 400
# The clock was ten years ahead before the first row, so ids count on from there.
FIRST_ID = int((START + timedelta(days=3650)).timestamp() * 1000) << 12


def row(number: int) -> list[str]:
    """Return the cells of a row; an hour lies between two rows."""
    chance = random.Random(number)
    status = chance.choice(list(Status))
    digit = chance.choice(["", *"0123456789"])
    confidence = "" if digit == "" else f"{chance.choice([0.25, 0.5, 0.75, 0.99]):.6f}"
    name = f"{chance.choice(['digit', 'DIGIT', 'scan', 'a%_'])}{number % 50}.png"
    moment = START + timedelta(hours=number)
    job_id = ids.encode(FIRST_ID + number)
    return [
        *(job_id, name, status.value, digit, confidence, *[""] * 11),
        *("", "", f"originals/{name}", "", "", rows.timestamp(moment), rows.timestamp(moment)),
    ]


ROWS = [row(number) for number in range(COUNT)]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    made = Index(tmp_path_factory.mktemp("outbox"))
    lines = [Line(number, rows.csv_line(cells)) for number, cells in enumerate(ROWS)]
    made.add_rows(lines, Position(1, "predictions", 0, 0, 0, b""))
    return made


def expected(wanted: Filter) -> list[str]:
    found = []
    for cells in ROWS:
        job_id, name, status, digit, confidence = cells[:5]
        day = datetime.fromisoformat(cells[-2]).date()
        if (
            wanted.status in {"", status}
            and wanted.value in {None, digit}
            and wanted.answered is not True
            and wanted.name.lower() in name.lower()
            and (wanted.since is None or day >= wanted.since)
            and (wanted.until is None or day <= wanted.until)
        ):
            found.append((float(confidence or -1), job_id))
    if wanted.sort in {Sort.NEWEST, Sort.OLDEST}:
        found.sort(key=lambda one: one[1])
    else:
        found.sort()
    if wanted.sort in {Sort.NEWEST, Sort.MOST}:
        found.reverse()
    return [job_id for _, job_id in found]


@pytest.mark.parametrize("seed", [20_000, 100, 1])
@pytest.mark.parametrize("sort", list(Sort))
def test_pages_have_what_a_search_of_all_rows_finds(index: Index, sort: Sort, seed: int) -> None:
    db = index.reader()
    chance = random.Random(seed)
    for _ in range(40):
        first, second = sorted((START + timedelta(days=chance.randrange(17))).date() for _ in "ab")
        wanted = Filter(
            status=chance.choice(["", "ok", "unsure", "error"]),
            value=chance.choice([None, "7", ""]),
            answered=chance.choice([None, False, True]),
            name=chance.choice(["", "digit", "Digit1", "CAN4", "9.P", "a%_", "zzz", "digit49.png"]),
            since=chance.choice([None, first]),
            until=chance.choice([None, second]),
            sort=sort,
        )
        found: list[str] = []
        place: Cursor | None = None
        while page := queries.page(db, wanted, place, 7):
            found += [card.id for card in page]
            place = page[-1].cursor
        assert found == expected(wanted), wanted


def test_counts_are_those_of_the_rows_after_copies_and_answers(tmp_path: Path) -> None:
    index = Index(tmp_path)
    lines = [Line(number, rows.csv_line(cells)) for number, cells in enumerate(ROWS)]
    for number in (1, 2):  # the second is a copy
        index.add_rows(lines, Position(number, "predictions", 0, number, 0, b""))
    for label in ("5", "none", "undo", "7"):
        given = [
            labels.Answer(cells[0], "", label, "Ana", "now", "m", cells[3], "", "sample")
            for cells in ROWS[:: len(label)]
        ]
        answered = [Line(0, rows.csv_line(astuple(answer))) for answer in given]
        index.add_answers(answered, Position(3, "labels", 0, 3, 0, b""))
        db = index.reader()
        found = db.execute("SELECT status, value, answered, confidence, priority FROM rows")
        everything = found.fetchall()
        assert len(everything) == COUNT
        statuses = Counter(row[0] for row in everything)
        assert queries.counts(db) == {
            "rows": COUNT,
            **{status.value: statuses[status] for status in Status},
            "answered": sum(row[2] for row in everything),
            "to_check": sum(row[0] == "unsure" and not row[2] for row in everything),
            "sample": sum(row[4] is not None and row[0] == "ok" for row in everything),
            "to_retry": 0,  # nothing is in failed/
            "unanswered": sum(row[0] == "unsure" and not row[2] for row in everything),
        }
        assert queries.histogram(db) == [
            sum(number == min(int(row[3] * 20), 19) for row in everything if row[3] >= 0)
            for number in range(20)
        ]
        for span in (Span.MONTH, Span.YEAR):
            buckets = queries.timeline(db, span, START + timedelta(hours=COUNT))
            assert len(buckets) == span.buckets
            assert sum(bucket.rows for bucket in buckets) == COUNT
            assert sum(bucket.unsure for bucket in buckets) == statuses[Status.UNSURE]
        agreed = db.execute("SELECT id, label, digit FROM answers WHERE label != 'undo'").fetchall()
        accuracy = queries.accuracy(db)
        if accuracy is not None:
            assert accuracy.checked == len(agreed)
            right = sum(label == (digit or "none") for _, label, digit in agreed)
            assert accuracy.share == right / len(agreed)


def test_rows_with_the_same_content_are_found_through_an_index(index: Index) -> None:
    plan = "EXPLAIN QUERY PLAN SELECT id FROM rows WHERE sha256 = x'00'"
    assert "by_sha256" in index.reader().execute(plan).fetchone()[3]


@pytest.mark.parametrize("span", list(Span))
def test_span_has_the_rows_of_each_of_its_parts(index: Index, span: Span) -> None:
    now = START + timedelta(hours=200, minutes=30)
    buckets = queries.timeline(index.reader(), span, now)
    hour = timedelta(hours=1).total_seconds()
    times = [START.timestamp() + number * hour for number in range(201)]  # none after now
    for bucket in buckets:
        end = bucket.start + span.bucket_hours * hour
        assert bucket.rows == sum(bucket.start <= time < end for time in times)
    assert buckets[-1].start <= now.timestamp() < buckets[-1].start + span.bucket_hours * hour
