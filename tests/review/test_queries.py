"""Pages of the gallery have the rows that going through all of them one by one would find."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from daemon import ids
from daemon.outbox import rows
from daemon.records import Status
from daemon.review import queries
from daemon.review.index import Index, Line, Position
from daemon.review.queries import Cursor, Filter, Sort

START = datetime(2026, 11, 20, tzinfo=UTC)
COUNT = 400


def row(number: int) -> list[str]:
    """Return the cells of a row; an hour lies between two rows."""
    chance = random.Random(number)
    status = chance.choice(list(Status))
    digit = chance.choice(["", *"0123456789"])
    confidence = "" if digit == "" else f"{chance.choice([0.25, 0.5, 0.75, 0.99]):.6f}"
    name = f"{chance.choice(['digit', 'DIGIT', 'scan', 'a%_'])}{number % 50}.png"
    moment = START + timedelta(hours=number)
    job_id = ids.encode(int(moment.timestamp() * 1000) << 12 | number)
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
        day = ids.moment(job_id).date()
        if (
            wanted.status in {"", status}
            and wanted.value in {None, digit}
            and wanted.answered is not True
            and name.lower().startswith(wanted.name.lower())
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
            name=chance.choice(["", "digit", "Digit1", "scan4", "a%_", "zzz", "digit49.png"]),
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
