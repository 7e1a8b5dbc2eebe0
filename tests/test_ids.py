"""Ids: unique, sorted and decodable, whatever the clock does."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon import ids

NUMBERS = st.integers(0, (1 << 60) - 1)


@settings(deadline=None, max_examples=200)
@given(NUMBERS, NUMBERS)
def test_ids_sort_like_their_numbers_and_decode(one: int, other: int) -> None:
    assert (ids.encode(one) < ids.encode(other)) == (one < other)
    assert ids.decode(ids.encode(one)) == one
    assert ids.PATTERN.fullmatch(ids.encode(one))
    assert len(ids.encode(one)) == ids.LENGTH


def test_each_id_is_greater_than_the_previous_one() -> None:
    made = ids.Ids()
    many = [made.next() for _ in range(20_000)]
    assert many == sorted(set(many))


def test_ids_keep_increasing_when_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    made = ids.Ids()
    before = made.next()
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    assert before < made.next() < made.next()


def test_ids_are_greater_than_a_skipped_id() -> None:
    seen = ids.encode(ids.decode(ids.Ids().next()) + (3_600_000 << 12))
    made = ids.Ids()
    made.skip(seen)
    made.skip(ids.encode(5))
    assert made.next() > seen
    made.skip(seen, more=100)
    assert made.next() > ids.encode(ids.decode(seen) + 100)


def test_id_contains_its_time_to_the_millisecond() -> None:
    before = datetime.now(UTC)
    told = ids.moment(ids.Ids().next())
    after = datetime.now(UTC)
    assert before.replace(microsecond=before.microsecond // 1000 * 1000) <= told <= after
    assert told.microsecond % 1000 == 0


@pytest.mark.parametrize("text", ["", "d123", "d0123456789aB", "e0123456789ab", "d0123456789abc"])
def test_pattern_rejects_malformed_ids(text: str) -> None:
    assert not ids.PATTERN.fullmatch(text)


def test_forged_id_has_a_time_too() -> None:
    assert ids.moment("d" + "z" * 12).year == 9999
