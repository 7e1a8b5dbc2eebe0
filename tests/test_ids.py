"""Ids: unique, in order, readable back, whatever the clock does."""

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
def test_ids_sort_as_their_numbers_do_and_read_back(one: int, other: int) -> None:
    assert (ids.encode(one) < ids.encode(other)) == (one < other)
    assert ids.decode(ids.encode(one)) == one
    assert ids.PATTERN.fullmatch(ids.encode(one))
    assert len(ids.encode(one)) == ids.LENGTH


def test_each_id_is_greater_than_the_one_before_however_fast_they_come() -> None:
    made = ids.Ids()
    many = [made.next() for _ in range(20_000)]
    assert many == sorted(set(many))


def test_ids_go_on_when_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    made = ids.Ids()
    before = made.next()
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    assert before < made.next() < made.next()


def test_no_id_up_to_one_that_was_seen_is_given_again() -> None:
    seen = ids.encode(ids.decode(ids.Ids().next()) + (3_600_000 << 12))
    made = ids.Ids()
    made.skip(seen)
    made.skip(ids.encode(5))
    assert made.next() > seen


def test_an_id_tells_when_it_was_made_to_the_millisecond() -> None:
    before = datetime.now(UTC)
    told = ids.moment(ids.Ids().next())
    after = datetime.now(UTC)
    assert before.replace(microsecond=before.microsecond // 1000 * 1000) <= told <= after
    assert told.microsecond % 1000 == 0


@pytest.mark.parametrize("text", ["", "d123", "d0123456789aB", "e0123456789ab", "d0123456789abc"])
def test_what_is_not_an_id_is_not_taken_for_one(text: str) -> None:
    assert not ids.PATTERN.fullmatch(text)


def test_an_id_that_a_stranger_made_up_has_a_moment_too() -> None:
    assert ids.moment("d" + "z" * 12).year == 9999
