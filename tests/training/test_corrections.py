"""Which answers teach, which wait, and how much one person can teach."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from daemon import ids
from daemon.errors import ConfigError, DataError
from daemon.outbox import labels
from daemon.outbox.labels import Answer
from daemon.records import Reads, Status, Verdict
from daemon.training.corrections import (
    CAP,
    AnsweredRow,
    Correction,
    Corrections,
    check_enough,
    choose,
    gather,
    weigh,
)
from support.factories import doubtful
from support.site import Site


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def answer(number: int, label: str, content: str = "", **changes: str) -> Answer:
    """Return an answer to the row with a number; each row has a content of its own."""
    given = Answer(
        id=ids.encode(number << 12),
        sha256=sha256(content or f"content {number}"),
        label=label,
        by="Ana",
        at="2026-11-25T09:05:07.042Z",
        model="model1",
        digit="1",
        confidence="0.512345",
        source="queue",
    )
    return replace(given, **changes)


def rows_of(answers: list[Answer], original: Path | None = Path("original")) -> list[AnsweredRow]:
    return [
        AnsweredRow(each.id, f"{each.id}.png", each.sha256, "1", "0.5", original)
        for each in answers
    ]


def chosen(*answers: Answer) -> Corrections:
    return choose(answers, rows_of(list(answers)))


def test_digits_numbers_and_none_teach() -> None:
    taught = chosen(answer(1, "7"), answer(2, "0471"), answer(3, "none")).usable
    assert [each.label for each in taught] == ["7", "0471", "none"]


def test_several_turned_and_undone_answers_teach_nothing() -> None:
    found = chosen(
        answer(1, "several"),
        answer(2, "7", source="turned"),
        answer(3, "7"),
        answer(3, "undo"),
    )
    assert (found.usable, found.several, found.turned) == ((), 1, 1)


@pytest.mark.parametrize("reason", ["several digits", "not a digit"])
def test_none_where_one_digit_was_read_says_nothing_of_numbers(reason: str) -> None:
    answers = [answer(number, "none") for number in range(4)]
    answers[1] = replace(answers[1], model="of a reread")
    read = [replace(each, model="model1", reason=reason) for each in rows_of(answers)]
    read[2] = replace(read[2], reason="not a number")
    read[3] = replace(read[3], reason="low confidence")  # in both modes
    found = choose(answers, read, Reads.NUMBER)
    assert (len(found.usable), found.of_digits) == (3, 1)
    assert len(choose(answers, read, Reads.DIGIT).usable) == 4


def test_same_content_teaches_once() -> None:
    found = chosen(answer(1, "7", "same"), answer(2, "7", "same"))
    assert [each.label for each in found.usable] == ["7"]


def test_newest_answer_to_a_row_counts() -> None:
    found = chosen(answer(1, "7"), answer(1, "9"))
    assert [each.label for each in found.usable] == ["9"]
    assert not found.contradicting


def test_contradicting_answers_are_listed_and_not_learnt() -> None:
    found = chosen(answer(1, "7", "same"), answer(2, "9", "same"))
    assert not found.usable
    ((correction, against),) = ((one.correction, one.against) for one in found.contradicting)
    assert {correction.label, against} == {"7", "9"}


def test_answer_against_a_sure_reading_waits_for_a_second_one() -> None:
    first = answer(1, "7", confidence="0.990000")
    (waiting,) = chosen(first).waiting
    assert (waiting.correction.label, waiting.against) == ("7", "1")
    assert not chosen(first).usable
    assert len(chosen(first, replace(first, by="Ben")).usable) == 1
    assert len(chosen(first, replace(first, label="1")).usable) == 1


def test_answer_like_a_sure_reading_or_against_a_doubtful_one_teaches() -> None:
    assert chosen(answer(1, "1", confidence="0.999")).usable
    assert chosen(answer(1, "7", confidence="0.98")).usable
    assert chosen(answer(1, "-1", confidence="0.999")).usable  # a dash was left out


def test_undone_answer_is_no_first_one() -> None:
    sure = answer(1, "7", confidence="0.990000")
    assert chosen(sure, replace(sure, label="undo"), sure).waiting


def test_answers_without_an_original_are_counted() -> None:
    answers = [answer(1, "7"), answer(2, "7")]
    found = choose(answers, rows_of(answers, None))
    assert (found.usable, found.gone) == ((), 2)
    assert choose(answers, []).gone == 2


def test_another_row_has_the_original() -> None:
    answers = [answer(1, "7", "same"), answer(2, "7", "same")]
    answered = rows_of(answers)
    (correction,) = choose(answers, [replace(answered[0], original=None), answered[1]]).usable
    assert correction.original == Path("original")


def test_every_fifth_content_is_held_out_and_stays_so() -> None:
    many = [answer(number, "7") for number in range(1, 1001)]
    found = chosen(*many)
    assert 150 < len(found.held_out) < 250
    assert len(found.training) + len(found.held_out) == 1000
    few = {each.sha256 for each in chosen(*many[:100]).held_out}
    assert few == {each.sha256 for each in found.held_out} & {each.sha256 for each in many[:100]}


def correction(number: int, label: str, by: str = "Ana") -> Correction:
    return Correction(sha256(str(number)), label, by, f"{number}.png", Path("original"))


def test_one_label_of_one_person_is_at_most_a_fifth() -> None:
    alike = [correction(number, "7") for number in range(30)]
    others = [correction(number, "3", "Ben") for number in range(30, 40)]
    shares = weigh([*alike, *others], 0.4)
    assert shares[:30].sum() == pytest.approx(CAP)
    assert shares[30:].sum() == pytest.approx(0.1)


def test_cap_does_not_touch_a_mixture() -> None:
    mixed = [correction(number, str(number % 10)) for number in range(40)]
    np.testing.assert_allclose(weigh(mixed, 0.4), 0.01)


def test_gather_reads_tables_originals_and_more_labels(tmp_path: Path) -> None:
    site = Site(tmp_path)
    for index in range(3):
        site.add(f"digit{index}.png", doubtful(1, 0.5), f"content {index}".encode())
    one, two, three = site.rows()

    def answered(row: dict[str, str], label: str) -> Answer:
        return Answer(
            *(row["id"], row["sha256"], label, "Ana", "2026-11-25T09:05:07.042Z", row["model"]),
            *(row["digit"], row["confidence"], "queue"),
        )

    labels.append_all(site.outbox, [answered(one, "7"), answered(two, "8")])
    (site.outbox / two["original"]).unlink()
    extra = tmp_path / "more"
    extra.mkdir()
    labels.append_all(extra, [answered(one, "9"), answered(three, "none")])
    found = gather(site.outbox, Reads.DIGIT)
    assert [(each.label, each.original.read_bytes()) for each in found.usable] == [
        ("7", b"content 0")
    ]
    assert found.gone == 1
    assert [
        each.label for each in gather(site.outbox, Reads.DIGIT, extra / "labels.csv").usable
    ] == [
        "9",
        "none",
    ]


def test_copied_labels_are_no_second_answer(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.add("digit1.png", Verdict(Status.OK, "1", 0.995, (0.0,) * 11))
    (row,) = site.rows()
    given = answer(1, "7", id=row["id"], sha256=row["sha256"], confidence=row["confidence"])
    labels.append(site.outbox, given)
    found = gather(site.outbox, Reads.DIGIT, site.outbox / "labels.csv")
    assert (len(found.waiting), found.usable) == (1, ())


def test_no_outbox_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist: mount its disk, start `digitd run`"):
        gather(tmp_path / "outbox", Reads.DIGIT)


def test_too_few_answers_say_what_became_of_the_others() -> None:
    found = chosen(answer(1, "7"), answer(2, "several"), answer(3, "7", confidence="0.999"))
    with pytest.raises(DataError, match=r"1 waiting for a second answer, 1 `several`\)"):
        check_enough(found)
