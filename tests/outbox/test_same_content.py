"""An answer counts for every row with the same bytes that has none of its own."""

from __future__ import annotations

import csv
import io
import json
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from daemon import ids
from daemon.layout import LABELS, TABLE
from daemon.outbox import labels, rows
from daemon.outbox.labels import UNDO, Answer, AnswersInForce
from daemon.outbox.results import final_rows
from daemon.records import Status, Verdict
from support.daemon import digitd
from support.factories import BLANK, BROKEN, SURE, row

if TYPE_CHECKING:
    from pathlib import Path

ONE, OTHER = "1a" * 32, "2b" * 32
DOUBTFUL = Verdict(Status.UNSURE, "1", 0.5, (0.05,) * 11, "low confidence")


def test_many_answers_to_one_content_take_linear_time() -> None:
    """A million list operations take 0.1 s; removing each row from a list, an hour."""
    in_force = AnswersInForce()
    many = [f"{number:013}" for number in range(100_000)]
    for label in ("1", "2", UNDO, "3"):
        for job_id in many:
            in_force.add(given(job_id, label))
    assert in_force.find("another", ONE) == ("3", many[-1])
    for job_id in reversed(many):
        in_force.add(given(job_id, UNDO))
    assert in_force.find("another", ONE) is None


def given(job_id: str, label: str, sha256: str = ONE) -> Answer:
    return Answer(job_id, sha256, label, "Ana", "now", "model1", "1", "0.5", "queue")


@dataclass
class Ledger:
    """A folder with a config and an outbox to write rows and answers into."""

    folder: Path
    ids: dict[str, str] = field(default_factory=dict)  # by the files' names

    @property
    def outbox(self) -> Path:
        return self.folder / "outbox"

    def add(self, name: str, verdict: Verdict, sha256: str = ONE, table: str = TABLE) -> None:
        made = row(name, verdict, sha256=sha256)
        line = rows.format_row(made)
        if sha256 == "-":
            line = line.replace(",-,", ",,")
        path = self.outbox / table
        if not path.exists():
            path.write_text(rows.HEADER)
        with path.open("a") as file:
            file.write(line)
        self.ids[name] = made.result.job.id

    def answer(self, name: str, label: str, sha256: str = ONE) -> None:
        labels.append(self.outbox, given(self.ids[name], label, sha256))

    def results(self, format_: str = "csv") -> dict[str, tuple[str, str]]:
        """Return answer and answered_by by file, as `digitd results` prints them."""
        command = ("results", "--format", format_, "--config", self.folder / "config.yaml")
        done = digitd(*command)
        assert done.returncode == 0, done.stderr
        if format_ == "csv":
            found = list(csv.DictReader(io.StringIO(done.stdout)))
        else:
            found = [json.loads(line) for line in done.stdout.splitlines()]
        return {one["file"]: (one["answer"] or "", one["answered_by"] or "") for one in found}


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    (tmp_path / "config.yaml").write_text("")
    (tmp_path / "outbox").mkdir()
    return Ledger(tmp_path)


@pytest.mark.parametrize("format_", ["csv", "jsonl"])
def test_answer_counts_for_each_row_with_the_same_bytes(ledger: Ledger, format_: str) -> None:
    ledger.add("rotated.png", DOUBTFUL, table=f"{TABLE}.1")
    for name, verdict in {
        "before.png": DOUBTFUL,
        "answered.png": DOUBTFUL,
        "after.png": BLANK,
        "sure.png": SURE,
        "error.png": BROKEN,
    }.items():
        ledger.add(name, verdict)
    ledger.add("another.png", DOUBTFUL, OTHER)
    ledger.add("without.png", DOUBTFUL, "-")
    ledger.add("without_too.png", DOUBTFUL, "-")
    ledger.answer("answered.png", "4")
    ledger.answer("without_too.png", "8", "")
    assert ledger.results(format_) == {
        **dict.fromkeys(
            ("rotated.png", "before.png", "answered.png", "after.png", "sure.png", "error.png"),
            ("4", "person"),
        ),
        "another.png": ("", ""),
        "without.png": ("", ""),
        "without_too.png": ("8", "person"),
    }


def test_undo_of_an_answer_undoes_it_for_all_rows(ledger: Ledger) -> None:
    for name in ("first.png", "second.png", "third.png"):
        ledger.add(name, DOUBTFUL)
    answers = dict.fromkeys(ledger.ids, ("7", "person"))
    for name, label, expected in (
        ("first.png", "7", answers),
        (
            "second.png",
            "4",
            {**answers, "second.png": ("4", "person"), "third.png": ("4", "person")},
        ),
        ("second.png", "undo", answers),
        ("third.png", "undo", answers),
        ("first.png", "undo", dict.fromkeys(answers, ("", ""))),
    ):
        ledger.answer(name, label)
        assert ledger.results() == expected, (name, label)


def test_answer_of_a_row_that_is_gone_counts(ledger: Ledger) -> None:
    ledger.add("second.png", DOUBTFUL)
    labels.append(ledger.outbox, given(ids.encode(7), "3"))
    assert ledger.results() == {"second.png": ("3", "person")}


def test_labels_moved_away_count_no_longer(ledger: Ledger) -> None:
    ledger.add("first.png", DOUBTFUL)
    ledger.add("second.png", DOUBTFUL)
    ledger.answer("first.png", "7")
    (ledger.outbox / LABELS).rename(ledger.outbox / f"{LABELS}.1")
    assert ledger.results() == dict.fromkeys(ledger.ids, ("", ""))
    ledger.answer("second.png", "5")
    assert ledger.results() == dict.fromkeys(ledger.ids, ("5", "person"))


def expected_label(answers: list[Answer], job_id: str, sha256: str) -> str | None:
    """Return what the contract says: the newest by id, or else the newest by content."""
    in_force = [
        one
        for place, one in enumerate(answers)
        if one.label != UNDO and all(later.id != one.id for later in answers[place + 1 :])
    ]
    own = [one.label for one in in_force if one.id == job_id]
    same = [one.label for one in in_force if sha256 and one.sha256 == sha256]
    counting = own or same
    return counting[-1] if counting else None


@pytest.mark.parametrize("seed", range(20))
def test_answers_in_force_are_those_of_the_contract(seed: int) -> None:
    chance = random.Random(seed)
    contents = ["", ONE, OTHER]
    job_ids = {ids.encode(number): contents[number % 3] for number in range(8)}
    answers, in_force = list[Answer](), AnswersInForce()
    for _ in range(60):
        job_id = chance.choice(list(job_ids))
        answer = given(job_id, chance.choice(["1", "2", "none", UNDO]), job_ids[job_id])
        answers.append(answer)
        in_force.add(answer)
        for one, sha256 in job_ids.items():
            found = in_force.find(one, sha256)
            assert (found and found.label) == expected_label(answers, one, sha256)
            assert in_force.find(one, sha256.upper()) == found


def test_one_answer_to_many_rows_says_whose_it_is(ledger: Ledger) -> None:
    ledger.add("first.png", DOUBTFUL)
    ledger.add("second.png", DOUBTFUL)
    ledger.answer("second.png", "7")
    first, second = final_rows(ledger.outbox)
    assert (first.same_as, second.same_as) == (ledger.ids["second.png"], "")
