"""The random sample: one in 50, each model's 20 rows with the lowest hashes, what was shown."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from daemon import ids
from daemon.layout import REVIEW_INDEX
from daemon.outbox import rows
from daemon.review.index import Index, Line, Position
from daemon.review.sample import is_drawn, random_order
from support.factories import BLANK, SURE
from support.site import Server
from support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from support.site import Site


AT = "2026-11-25T09:00:00.000Z"


@dataclass(frozen=True)
class Read:
    """A row of a table: its id's number, its model, its status."""

    number: int
    model: str
    status: str

    @property
    def line(self) -> str:
        name = f"{self.number}.png"
        return rows.csv_line(
            [
                *(ids.encode(self.number), name, self.status, "7", "0.99", *[""] * 11),
                *("", "", f"originals/{name}", "", self.model, AT, AT),
            ]
        )


def expected(read: list[Read], shown: set[int]) -> set[int]:
    by_model: dict[str, list[int]] = {}
    for one in read:
        if one.status == "ok":
            by_model.setdefault(one.model, []).append(one.number)
    lowest = {
        number for group in by_model.values() for number in sorted(group, key=random_order)[:20]
    }
    return (
        lowest | shown | {one.number for one in read if one.status == "ok" and is_drawn(one.number)}
    )


def sampled(index: Index) -> set[int]:
    return {number for (number,) in index.reader().execute("SELECT id FROM rows WHERE sampled")}


@pytest.mark.parametrize("batch", [3, 40, 300])
def test_sample_of_each_model_has_the_lowest_hashes_and_what_was_shown(
    tmp_path: Path, batch: int
) -> None:
    chance = random.Random(batch)
    index = Index(tmp_path)
    read: list[Read] = []
    shown: set[int] = set()
    for start in range(0, 900, batch):
        new = [
            Read(number, chance.choice("abb"), chance.choice(["ok", "ok", "unsure", "error"]))
            for number in range(start, start + batch)
        ]
        lines = [Line(one.number, one.line) for one in new]
        for _ in range(2):  # the second is a copy
            index.add_rows(lines, Position(1, "predictions", 0, 0, 0, b""))
        read += new
        if start and chance.random() < 0.2:
            seen = chance.sample(sorted(expected(read, shown)), 2)
            index.shown.add(seen)
            shown |= set(seen)
        if chance.random() < 0.1:
            index.close()
            index = Index(tmp_path)
        assert sampled(index) == expected(read, shown)
    place = "SELECT id FROM rows WHERE priority >= 2 ORDER BY priority"
    waiting = [number for (number,) in index.reader().execute(place)]
    assert waiting == sorted(expected(read, shown), key=random_order)


class LowIds(ids.Ids):
    """Issues only ids with a hash below a bound."""

    def __init__(self, bound: int) -> None:
        super().__init__()
        self._bound = bound

    def next(self) -> str:
        while random_order(ids.decode(found := super().next())) >= self._bound:
            pass
        return found


def sample(server: Server) -> list[str]:
    items, place = list[str](), ""
    while True:
        reply = server.request(f"/api/queue?after={place}").json
        items += [item["id"] for item in reply["items"] if item["is_sample"]]
        # All have one content: until its answer is indexed, a page of the queue may be empty.
        if reply["is_last"] or not reply["items"]:
            return items
        place = reply["items"][-1]["place"]


def test_answer_counts_for_each_row_of_the_sample_with_its_content(site: Site) -> None:
    """Those are not asked about, and of hard files there may be many copies."""
    for name in ("a.png", "b.png", "c.png"):
        site.add(name, SURE, b"the same")
    site.add("other.png", SURE)
    with Server(site) as server:
        server.wait_for_rows(4)
        ids_of = {row["file"]: row["id"] for row in site.rows()}

        def accuracy(text: str) -> None:
            until(lambda: text in server.request("/live/figures").text, text)

        assert server.answer(ids_of["other.png"], "7", is_sample=True).status == 200
        accuracy("100.0%</b> of 1 checked")
        assert server.answer(ids_of["a.png"], "4", is_sample=True).status == 200
        accuracy("25.0%</b> of 4 checked")
        assert server.answer(ids_of["b.png"], "7", seen="4", is_sample=True).status == 200
        accuracy("75.0%</b> of 4 checked")  # the newest answer counts for the third one
        assert server.answer(ids_of["b.png"], "undo", seen="7").status == 200
        accuracy("25.0%</b> of 4 checked")
        # An answer elsewhere was not drawn at random.
        assert server.answer(ids_of["a.png"], "undo", seen="4").status == 200
        assert server.answer(ids_of["a.png"], "4", in_queue=False).status == 200
        accuracy("100.0%</b> of 1 checked")


def test_row_that_was_shown_stays_when_rows_with_lower_hashes_come(site: Site) -> None:
    site.add_all([(f"a{number}.png", SURE) for number in range(30)], b"", with_sample=False)
    with Server(site) as server:
        server.wait_for_rows(30)
        first = sample(server)
        assert len(first) == 20
        site.ids = LowIds(min(random_order(ids.decode(one)) for one in first))
        new = site.add_all(
            [(f"b{number}.png", SURE) for number in range(20)], b"", with_sample=False
        )
        server.wait_for_rows(50)
        assert set(sample(server)) == {*first, *new}
    (site.outbox / REVIEW_INDEX).unlink()
    site.add("c.png", BLANK)
    with Server(site) as server:
        server.wait_for_rows(51)
        assert set(sample(server)) == {*first, *new}
        one = first[-1]
        assert server.answer(one, "1", is_sample=True).status == 200
        assert site.answers() == [(one, "1", "sample")]
        until(lambda: one not in sample(server), "the answer")
        assert server.answer(one, "undo", seen="1").status == 200
        until(lambda: one in sample(server), "the row in the sample again")
