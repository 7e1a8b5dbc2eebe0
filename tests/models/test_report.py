"""The report on a model: the sign test, the reasons, JSON and the text for a terminal."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.models.report import Comparison, Report, parse, probability_of_more

BETTER = Comparison("digits", 100, 90, 95, 6, 1)
WORSE = Comparison("not a digit", 100, 95, 90, 1, 9)


def comparison(better: int, worse: int) -> Comparison:
    return Comparison("digits", 100, 50 + worse, 50 + better, better, worse)


@pytest.mark.parametrize(
    ("better", "worse", "p"),
    [(0, 0, 1.0), (0, 1, 1 / 2), (0, 5, 1 / 32), (1, 5, 7 / 64), (5, 5, 638 / 1024), (9, 0, 1.0)],
)
def test_sign_test_counts_the_coins(better: int, worse: int, p: float) -> None:
    assert comparison(better, worse).p_worse == pytest.approx(p)


def test_many_trials_neither_overflow_nor_lose_the_tail() -> None:
    assert probability_of_more(2, 3, 0.25) == pytest.approx(10 / 64)
    assert probability_of_more(0, 5_000, 0.15) == pytest.approx(1)
    assert probability_of_more(750, 5_000, 0.15) == pytest.approx(0.5, abs=0.02)
    assert 0 < probability_of_more(1_000, 5_000, 0.15) < 1e-15


def test_only_a_significant_difference_is_worse_or_better() -> None:
    assert [worse for worse in range(8) if comparison(0, worse).is_worse] == [5, 6, 7]
    assert [better for better in range(8) if comparison(better, 0).is_better] == [5, 6, 7]
    even = comparison(20_000, 20_000)
    assert not even.is_worse
    assert not even.is_better


def test_what_is_worse_is_a_reason_and_notes_are_not() -> None:
    report = Report("2026-11-29T10:00:00Z", "learn", None, (BETTER,), notes=("few answers",))
    assert report.reasons == ()
    assert "may be promoted" in report.describe().splitlines()
    report = Report("2026-11-29T10:00:00Z", "learn", None, (WORSE,), refusals=("too few answers",))
    first, second = report.reasons
    assert first == "too few answers"
    assert second.endswith("1 the other way round (p = 0.011)")
    assert second.startswith("it is worse on not a digit: 9 cases of 100 right before and wrong")
    assert "may be promoted" not in report.describe().splitlines()
    assert report.describe().count("must not be promoted: ") == 2


def test_text_has_a_line_for_each_comparison_and_no_control_character() -> None:
    facts = (("answers", "50 by \x1b[31mAda"),)
    report = Report("2026-11-29T10:00:00.000Z", "learn", "ab" * 6, (BETTER, WORSE), facts)
    lines = report.describe().splitlines()
    assert lines[0] == "made 2026-11-29 10:00 UTC by learn, compared with abababababab"
    assert lines[2].split() == ["cases", "right", "before", "right", "after", "better", "worse"]
    assert lines[3].split() == ["digits", "100", "90", "(90.0%)", "95", "(95.0%)", "6", "1"]
    assert len(lines[3]) == len(lines[4])
    assert lines[6].startswith("before: with abababababab; after: with this model; better: ")
    named = report.describe("cd" * 6).splitlines()
    assert named[6].startswith("before: with abababababab; after: with cdcdcdcdcdcd; better: ")
    assert "answers: 50 by \\x1b[31mAda" in lines


_TEXT = st.text(max_size=8)
_COUNT = st.integers(0, 1000)
_REPORTS = st.builds(
    Report,
    _TEXT,
    _TEXT,
    st.none() | _TEXT,
    st.lists(st.builds(Comparison, _TEXT, *[_COUNT] * 5), max_size=2).map(tuple),
    st.lists(st.tuples(_TEXT, _TEXT), max_size=2).map(tuple),
    *[st.lists(_TEXT, max_size=2).map(tuple)] * 3,
)


@settings(max_examples=30)
@given(_REPORTS)
def test_json_is_read_back_unchanged(report: Report) -> None:
    assert parse(report.as_json()) == report


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"made": 7}, "made"),
        ({"comparisons": [{"name": "digits"}]}, "comparisons.0"),
        ({"facts": [["only one"]]}, "facts.0.1"),
        ({"comparisons": [json.loads(json.dumps(["no", "object"]))]}, "comparisons.0"),
    ],
)
def test_what_is_no_report_is_refused_in_one_line(change: dict[str, object], fault: str) -> None:
    text = json.dumps(json.loads(Report("now", "learn").as_json()) | change)
    with pytest.raises(ValueError, match=f"^{fault}") as raised:
        parse(text)
    assert "\n" not in str(raised.value)


def test_negative_counts_and_text_that_is_no_json_are_refused() -> None:
    with pytest.raises(ValueError, match="worse"):
        parse(Report("now", "learn", None, (comparison(0, -1),)).as_json())
    with pytest.raises(ValueError, match="JSON"):
        parse("{")
